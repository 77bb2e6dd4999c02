package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gnomon/cloud/keypair"
)

// ErrExists is what WriteConfig returns for a file that is there: it is somebody's, so it stays as it is.
var ErrExists = errors.New("the file exists")

// Config writes settings, such as mqtt.broker, as a YAML document, section by section. Values are what JSON makes of
// them: text, true or false.
func Config(settings map[string]any) ([]byte, error) {
	out := strings.Builder{}
	out.WriteString("# Made by gnomon provision. What isn't here is as gnomon config default shows it: the sample video is watched\n" +
		"# until sources says otherwise, for example\n# sources: {door: {uri: \"rtsp://camera.example/stream1\"}}\n")
	open := []string{} // the sections that the last line was in
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value, err := json.Marshal(settings[name])
		if err != nil {
			return nil, fmt.Errorf("write the setting %s: %w", name, err)
		}
		path := strings.Split(name, ".")
		sections := path[:len(path)-1]
		same := 0
		for same < min(len(open), len(sections)) && open[same] == sections[same] {
			same++
		}
		for i := same; i < len(sections); i++ {
			fmt.Fprintf(&out, "%s%s:\n", strings.Repeat("  ", i), sections[i])
		}
		open = sections
		fmt.Fprintf(&out, "%s%s: %s\n", strings.Repeat("  ", len(sections)), path[len(path)-1], value)
	}
	return []byte(out.String()), nil
}

// WriteConfig writes a configuration if there is no file yet, in one step, after check has read it and found it right.
// It never overwrites: the error is ErrExists then.
func WriteConfig(path string, data []byte, check func(path string) error) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("write the configuration %s: %w", path, ErrExists)
	}
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return fmt.Errorf("make the folder for the configuration: %w", err)
	}
	trial := path + ".new"
	if err := keypair.Replace(trial, data); err != nil {
		return err
	}
	defer os.Remove(trial) //nolint:errcheck // gone already after the rename
	if err := check(trial); err != nil {
		return fmt.Errorf("the configuration that would be written is wrong; correct the template's DeviceConfiguration or the flags: %w", err)
	}
	switch err := os.Link(trial, path); {
	case err == nil:
		return keypair.SyncDir(filepath.Dir(path))
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("write the configuration %s: %w", path, ErrExists)
	}
	return keypair.Rename(trial, path) // a file system without links; nobody else makes this file at this moment
}
