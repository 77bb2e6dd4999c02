package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"gnomon/cloud/keypair"
	"gnomon/cloud/params"
	"gnomon/config"
	"gnomon/config/layers"
	"gnomon/config/yamldoc"
)

const (
	settingsFile   = "settings.json"   // keptSettings
	parametersFile = "parameters.json" // what Parameter Store said last, which is cloud/params' own
	settingsMode   = 0o700             // there are SecureStrings in both
	// settingsRoom is for what is around the layers' state in the file, in bytes.
	settingsRoom = 1024
)

// keptSettings is what the next start has to know.
type keptSettings struct {
	Starts int             `json:"starts,omitempty"` // in a row that have not proved good
	Layers json.RawMessage `json:"layers"`

	State layers.State `json:"-"`
}

// readSettings reads what save wrote; nothing kept is no error.
func readSettings(dir string) (keptSettings, error) {
	var none, k keptSettings
	f, _, err := yamldoc.OpenFile(yamldoc.AnyFolder{}, filepath.Join(dir, settingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("read %s: %w", filepath.Join(dir, settingsFile), err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, layers.MaxState+settingsRoom))
	if err != nil {
		return none, fmt.Errorf("read %s: %w", filepath.Join(dir, settingsFile), err)
	}
	if json.Unmarshal(data, &k) != nil { // what the parser says may repeat a value
		return none, fmt.Errorf("%s is damaged; the settings from the cloud are fetched again", filepath.Join(dir, settingsFile))
	}
	if k.State, err = layers.DecodeState(k.Layers); err != nil {
		return none, fmt.Errorf("read %s: %w", filepath.Join(dir, settingsFile), err)
	}
	return k, nil
}

// save writes down what the next start has to know.
func (s *fleetSettings) save() error {
	if s.file == "" {
		return nil
	}
	s.mu.Lock()
	state := s.stack.State()
	s.mu.Unlock()
	var err error
	k := keptSettings{Starts: s.starts}
	if k.Layers, err = state.Encode(); err != nil {
		return err
	}
	data, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("keep the settings from the cloud: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(s.file), settingsMode); err != nil {
		return fmt.Errorf("make the folder for settings from the cloud: %w", err)
	}
	return keypair.Replace(s.file, data)
}

// belonging leaves out what the file no longer asks for: the shadow's settings without a shadow, and the parameters of
// another path.
func belonging(s layers.State, base *config.Config) layers.State {
	if !base.Shadow.Enabled {
		s.Shadow, s.Sources = layers.KeptLayer{}, nil
	}
	path := base.AWS.Parameters.Path
	foreign := func(one layers.Setting) bool { return path == "" || !strings.HasPrefix(one.From, path+"/") }
	s.Parameters.Want = slices.DeleteFunc(s.Parameters.Want, foreign)
	s.Parameters.Good = slices.DeleteFunc(s.Parameters.Good, foreign)
	return s
}

// settingsDir is where the settings of a device from the cloud are kept, and what Parameter Store said last. Only things
// of AWS IoT have any, and their names are good as those of folders.
func settingsDir(thing string) (string, error) {
	if !regexp.MustCompile(`^[A-Za-z0-9:_-]{1,128}$`).MatchString(thing) {
		return "", fmt.Errorf("settings from the cloud need a thing's name of letters, digits and : _ -, not %.130q; set device.thing", thing)
	}
	dir, err := stateDir("settings")
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, thing), nil
}

// newParameters makes the part that asks Parameter Store. dir is settingsDir's; credentials and client are those that the
// whole process has for AWS.
func newParameters(a config.AWS, dir string, credentials aws.CredentialsProvider, client *http.Client, s *fleetSettings, log *zap.Logger) (*params.Poller, error) {
	return params.New(params.Options{
		Path: a.Parameters.Path, Every: duration(a.Parameters.Every), File: filepath.Join(dir, parametersFile),
		Region: a.Region, Endpoint: a.EndpointURL, Credentials: credentials, Client: client, Log: log,
		OnChange: func(all []params.Parameter) { s.takeParameters(a.Parameters.Path, all) },
	})
}

// parameterSettings turns parameters into settings: /gnomon/fleet/mqtt/publish is mqtt.publish.
func parameterSettings(path string, all []params.Parameter) []layers.Setting {
	settings := make([]layers.Setting, 0, len(all))
	for _, p := range all {
		one := layers.Setting{Path: strings.Split(strings.TrimPrefix(p.Name, path+"/"), "/"), Text: p.Value, From: p.Name, Secret: p.Secret()}
		if p.Type == params.TypeList {
			one.Text = listOf(p.Value)
		}
		settings = append(settings, one)
	}
	return settings
}

// listOf writes a StringList as YAML has it.
func listOf(value string) string {
	items := strings.Split(value, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	text, err := json.Marshal(items)
	if err != nil {
		return value // cannot be: texts
	}
	return string(text)
}
