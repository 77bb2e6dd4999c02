package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gnomon/cloud"
	"gnomon/cloud/params"
	"gnomon/config"
	"gnomon/config/layers"
	"gnomon/config/yamldoc"
	"gnomon/devcloud"
)

const fleetFile = `device: {thing: cam-1}
sources:
  front: {uri: "rtsp://user:PLANTED@10.0.0.9/s1"}
  back: {uri: sample, slot: doors}
mqtt: {broker: "mqtts://b.example", cert_file: c.pem, key_file: k.pem}
shadow: {enabled: true}
aws: {region: eu-central-1, credentials_endpoint: c.example, role_alias: r, parameters: {path: /gnomon/fleet}}
`

// slate is an applier that notes what it was told.
type slate struct {
	mu     sync.Mutex
	told   map[string]string // the settings that were applied, with their values
	refuse map[string]error
	looks  int
}

func (s *slate) applySettings(_ context.Context, cfg *config.Config, names []string) map[string]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := map[string]error{}
	for _, name := range names {
		if s.refuse[name] != nil {
			failed[name] = s.refuse[name]
		}
	}
	for _, v := range layers.New(layers.Options{Base: cfg}).Values() {
		switch {
		case !slices.Contains(names, v.Name):
		case failed[v.Name] != nil:
		default:
			s.told[v.Name] = v.Text
		}
	}
	return failed
}

func (s *slate) looked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
}

// device is an agent as far as settings go, with its state in dir.
type device struct {
	*fleetSettings
	t     *testing.T
	slate *slate
	logs  *observer.ObservedLogs
	end   func()
}

// fleetConfig reads fleetFile, changed.
func fleetConfig(t *testing.T, old, other string) (*config.Config, *yamldoc.Document, string) {
	t.Helper()
	path := write(t, filepath.Join(t.TempDir(), "gnomon.yaml"), []byte(strings.Replace(fleetFile, old, other, 1)))
	c, doc, err := config.LoadDocument(path)
	if err != nil {
		t.Fatal(err)
	}
	return c, doc, path
}

func newDevice(t *testing.T, dir string, refuse map[string]error) *device {
	t.Helper()
	c, doc, path := fleetConfig(t, "", "")
	core, logs := observer.New(zap.InfoLevel)
	d := &device{newFleetSettings(c, doc, path, dir), t, &slate{told: map[string]string{}, refuse: refuse}, logs, nil}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.run(ctx, d.slate, d.slate.looked, zap.New(core)) }()
	d.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(d.end)
	return d
}

// shadow and fleet send settings and wait until they have been looked at.
func (d *device) shadow(doc string) { d.after(func() { d.takeDesired(json.RawMessage(doc)) }) }

func (d *device) fleet(pairs ...string) {
	var all []params.Parameter
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, params.Parameter{Name: "/gnomon/fleet/" + pairs[i], Type: params.TypeString, Value: pairs[i+1]})
	}
	d.after(func() { d.takeParameters("/gnomon/fleet", all) })
}

func (d *device) after(send func()) {
	d.t.Helper()
	looks := func() int {
		d.slate.mu.Lock()
		defer d.slate.mu.Unlock()
		return d.slate.looks
	}
	d.waitFor("the first look", func() bool { return looks() > 0 })
	before := looks()
	send()
	d.waitFor("another look", func() bool { return looks() > before })
}

func (d *device) waitFor(what string, ok func() bool) {
	d.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("no %s", what)
		}
	}
}

func (d *device) told(want map[string]string) {
	d.t.Helper()
	d.slate.mu.Lock()
	defer d.slate.mu.Unlock()
	if diff := cmp.Diff(want, d.slate.told); diff != "" {
		d.t.Error(diff)
	}
	d.slate.told = map[string]string{}
}

func (d *device) reports(want string) {
	d.t.Helper()
	text, err := json.Marshal(d.report())
	if err != nil || string(text) != want {
		d.t.Errorf("reported %s, %v, want %s", text, err, want)
	}
}

// Live settings reach the agent at once, others wait for the next start and are named; what cannot be is told.
func TestFleetSettings(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "settings")
	d := newDevice(t, dir, map[string]error{"sources.front.slot": errNextStart, "sources.front.enabled": errors.New("the camera is busy")})
	d.reports("null")
	d.fleet("log/level", "debug", "mqtt/keep_alive", "2m", "mqtt/publish", "every-frame", "mqtt/broker", "PLANTED")
	d.told(map[string]string{"log.level": "debug", "mqtt.publish": "every-frame"})
	const local = `{"refused":[{"name":"mqtt.broker","origin":"parameter","code":"local_only","message":"mqtt.broker is set in the device's own file only: it is the way to the cloud; a wrong one cuts the device off"}],`
	d.reports(local + `"restart_required":["mqtt.keep_alive"]}`)

	d.shadow(`{"config":{"log":{"level":"error"},"telemetry":{"logs":{"rate":7}}},"sources":{"front":{"slot":"doors"}}}`)
	d.told(map[string]string{"log.level": "error", "telemetry.logs.rate": "7"})
	d.shadow(`{}`)
	d.told(map[string]string{"log.level": "debug", "telemetry.logs.rate": "50"})
	d.fleet("log/level", "loud")
	d.told(map[string]string{"mqtt.publish": "detections"})
	d.reports(`{"refused":[{"name":"log.level","origin":"parameter","code":"bad_setting","message":"log.level must be one of debug, info, warn, error, not \"loud\""}]}`)

	d.fleet("log/level", `"http://h/?X-Amz-Signature=PLANTED"`)
	if text := jsonText(t, d.report()); !strings.Contains(text, "bad_setting") || strings.Contains(text, "PLANTED") {
		t.Errorf("reported %s", text)
	}
	d.fleet("sources/front/slot", "doors", "sources/front/enabled", "false", "sources/front/score_threshold", "0.5")
	d.told(map[string]string{"log.level": "info", "sources.front.score_threshold": "0.5"})
	d.reports(`{"refused":[{"name":"sources.front.enabled","origin":"parameter","code":"not_applied","message":"the camera is busy"}],"restart_required":["sources.front.slot"]}`)
	d.end()
	refusals := 0
	for _, line := range d.logs.All() {
		if line.Message == "a setting from the cloud is refused" {
			refusals++
		}
		if text := line.Message + " " + jsonText(t, line.ContextMap()); strings.Contains(text, "PLANTED") {
			t.Errorf("a log has a value: %s", text)
		}
	}
	if refusals != 3 {
		t.Errorf("%d refusals were logged", refusals)
	}

	// The next start has them all, and nobody has to be told.
	d = newDevice(t, dir, nil)
	front := d.config().Sources["front"]
	if front.Slot != "doors" || front.Enabled || front.ScoreThreshold == nil || *front.ScoreThreshold != 0.5 {
		t.Errorf("after a restart: %+v", front)
	}
	d.reports("null")
	d.end()
	d.told(map[string]string{})
	if info, err := os.Stat(filepath.Join(dir, settingsFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}

	// What the file no longer asks for is not used.
	for _, change := range [][2]string{{"/gnomon/fleet", "/gnomon/fleet2"}, {", parameters: {path: /gnomon/fleet}", ""}} {
		c, doc, path := fleetConfig(t, change[0], change[1])
		if s := newFleetSettings(c, doc, path, dir); len(layers.Diff(c, s.config())) > 0 {
			t.Errorf("%v: still in use: %v", change, layers.Diff(c, s.config()))
		}
	}
}

// A file that was read again goes below what the cloud wants; what the shadow adds and what is wrong with it is told beside
// the sources, and a URI with a password never is.
func TestSourcesOfFileAndShadow(t *testing.T) {
	t.Parallel()
	d := newDevice(t, t.TempDir(), map[string]error{"sources.gate": errors.New("the model is being exchanged")})
	d.shadow(`{"sources":{"front":{"detect_fps":2},"door":{"uri":"rtsp://u:PLANTED@10.0.0.8/s"},"gate":{"uri":"usb:1"},"shell":{"uri":"exec:sh -c PLANTED"},"none":{"enabled":true},"other":{"fps":1}}}`)
	d.slate.mu.Lock()
	if d.slate.told["sources.front.detect_fps"] != "2" {
		t.Errorf("told %v", d.slate.told)
	}
	d.slate.told = map[string]string{}
	d.slate.mu.Unlock()
	want := map[string]string{"front": "", "door": "", "gate": codeNotApplied, "shell": "local_only", "none": "unknown_source"}
	reports, broken := d.sourceReports()
	got := map[string]string{}
	for name, r := range reports {
		got[name] = ""
		if r.Error != nil {
			got[name] = r.Error.Code
		}
		if (r.settings != nil) != (name == "front" || name == "door") {
			t.Errorf("%s is reported as %+v", name, r.settings)
		}
	}
	// Of the names that are not watched the first two are told of.
	delete(want, "shell")
	if diff := cmp.Diff(want, got); diff != "" || broken != "" || strings.Contains(jsonText(t, reports), "PLANTED") {
		t.Errorf("%s%s\n%s", diff, broken, jsonText(t, reports))
	}
	d.shadow(`{"sources":[1]}`)
	if _, broken := d.sourceReports(); !strings.Contains(broken, "must be") {
		t.Errorf("what is no object is reported as %q", broken)
	}

	c, doc, _ := fleetConfig(t, `back: {uri: sample, slot: doors}`, `yard: {uri: sample, slot: doors}`)
	d.after(func() { d.takeFile(c, doc) })
	if cfg := d.config(); len(cfg.Sources) != 3 || cfg.Sources["yard"].URI != config.SourceSample || cfg.Sources["door"].URI == "" {
		t.Errorf("after the file has changed: %v", slices.Sorted(maps.Keys(cfg.Sources)))
	}
	d.shadow(`{}`)
	if cfg := d.config(); len(cfg.Sources) != 2 {
		t.Errorf("after the shadow has forgotten its own: %v", slices.Sorted(maps.Keys(cfg.Sources)))
	}
}

// In safe mode nothing of the cloud is used but what switches a camera off, and the file still is.
func TestSafeSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := newDevice(t, dir, nil)
	d.shadow(`{"config":{"log":{"level":"debug"}},"sources":{"front":{"enabled":false},"door":{"uri":"usb:0"},"back":{"fps":0,"detect_fps":2}}}`)
	d.end()

	c, doc, path := fleetConfig(t, "", "")
	s := newFleetSettings(c, doc, path, dir)
	s.beSafe()
	told := &slate{told: map[string]string{}}
	cfg := s.config()
	if cfg.Log.Level != config.LevelInfo || cfg.Sources["front"].Enabled || !cfg.Sources["back"].Enabled || cfg.Sources["back"].DetectFPS != 0 || len(cfg.Sources) != 2 {
		t.Errorf("safe: %+v", cfg)
	}
	running := inBackground(func(ctx context.Context) error { return s.run(ctx, told, told.looked, zap.NewNop()) })
	d = &device{s, t, told, nil, nil}
	d.shadow(`{"config":{"log":{"level":"debug"}},"sources":{"back":{"enabled":false}}}`)
	d.told(map[string]string{"sources.back.enabled": "false", "sources.front.enabled": "true"})
	c, doc, _ = fleetConfig(t, "back: {uri: sample, slot: doors}", "back: {uri: sample, slot: doors, labels: [person]}")
	d.after(func() { d.takeFile(c, doc) })
	d.told(map[string]string{"sources.back.labels": `["person"]`})
	if text := jsonText(t, d.report()); !strings.Contains(text, `"log.level"]`) {
		t.Errorf("reported %s", text)
	}
	if err := running.stop(); err != nil {
		t.Error(err)
	}
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Settings with which the agent does not live are left out of the fourth start, so that it can hear of better ones.
func TestFailedStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func() (*fleetSettings, config.Duration) {
		c, doc, path := fleetConfig(t, "", "")
		s := newFleetSettings(c, doc, path, dir)
		return s, s.config().MQTT.KeepAlive
	}
	d := newDevice(t, dir, nil)
	d.fleet("mqtt/keep_alive", "2m", "log/level", "debug")
	d.end()
	for n := range maxFailedStarts {
		if s, v := start(); v != config.Duration(2*time.Minute) || s.trouble != nil {
			t.Errorf("start %d: %v, %v", n+1, v, s.trouble)
		}
	}
	d = newDevice(t, dir, nil)
	if d.config().MQTT.KeepAlive != config.Duration(time.Minute) || !strings.Contains(d.trouble.Error(), "the last 3 starts") {
		t.Errorf("the fourth start: %v, %v", d.config().MQTT.KeepAlive, d.trouble)
	}
	d.fleet("mqtt/keep_alive", "3m", "log/level", "debug")
	d.told(map[string]string{"log.level": "debug"})
	d.reports(`{"restart_required":["mqtt.keep_alive"]}`)
	d.end()
	if _, v := start(); v != config.Duration(3*time.Minute) {
		t.Errorf("after a good start: %v", v)
	}
	for name, text := range map[string]string{"half": `{"starts":1,"lay`, "layers": `{"layers":7}`} {
		write(t, filepath.Join(dir, settingsFile), []byte(text))
		if s, v := start(); v != config.Duration(time.Minute) || s.trouble == nil {
			t.Errorf("damaged (%s): %v, %v", name, v, s.trouble)
		}
	}
	if s := newFleetSettings(d.stack.Base(), nil, "", ""); s.trouble != nil || s.save() != nil {
		t.Error("without a folder")
	}
	for thing, ok := range map[string]bool{"cam-1": true, "..": false, "": false, "a/b": false, strings.Repeat("a", 129): false} {
		if _, err := settingsDir(thing); (err == nil) != ok {
			t.Errorf("thing %q: %v", thing, err)
		}
	}
}

// From Parameter Store itself to the agent: lists, secrets that nobody is shown, and what was kept when the cloud is gone.
func TestParametersReachTheAgent(t *testing.T) {
	t.Parallel()
	c, err := devcloud.NewCloud(devcloud.CloudOptions{Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	served := inBackground(c.Run)
	t.Cleanup(func() { _ = served.stop() })
	thing, err := c.AddThing("cam-1")
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := cloud.NewCredentials(cloud.CredentialsOptions{
		Endpoint: c.HTTPSURL(), RoleAlias: devcloud.DefaultRoleAlias, Thing: thing.Name,
		CertFile: thing.CertFile, KeyFile: thing.KeyFile, CAFile: thing.CAFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := cloud.HTTPClient(c.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	id, secret := c.AdminCredentials()
	admin := ssm.NewFromConfig(aws.Config{
		Region: "eu-central-1", BaseEndpoint: aws.String(c.HTTPSURL()), HTTPClient: client,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, nil
		}),
	})
	for name, v := range map[string]params.Parameter{
		"log/level":                              {Type: params.TypeString, Value: "debug\n"},
		"engine/providers":                       {Type: params.TypeList, Value: "cuda, cpu"},
		"mqtt/publish":                           {Type: params.TypeSecret, Value: "PLANTED"},
		"telemetry/metrics/cloudwatch_namespace": {Type: params.TypeSecret, Value: "PLANTED"},
	} {
		_, err := admin.PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String("/gnomon/fleet/" + name), Value: &v.Value, Type: types.ParameterType(v.Type)})
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	d := newDevice(t, dir, nil)
	a := config.AWS{Region: "eu-central-1", EndpointURL: c.HTTPSURL(), Parameters: config.Parameters{Path: "/gnomon/fleet", Every: config.Duration(time.Minute)}}
	p, err := newParameters(a, dir, credentials, client, d.fleetSettings, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	polling := inBackground(p.Run)
	d.waitFor("setting", func() bool {
		d.slate.mu.Lock()
		defer d.slate.mu.Unlock()
		return len(d.slate.told) > 0
	})
	d.reports(`{"refused":[{"name":"mqtt.publish","origin":"parameter","code":"bad_setting","message":"mqtt.publish has a value that is not possible; it is not shown, as it is a SecureString"}],` +
		`"restart_required":["engine.providers","telemetry.metrics.cloudwatch_namespace"]}`)
	d.told(map[string]string{"log.level": "debug"})
	if err := polling.stop(); err != nil {
		t.Error(err)
	}
	d.end()
	_ = served.stop()
	kept := newDevice(t, dir, nil).config()
	if !slices.Equal(kept.Engine.Providers, []string{"cuda", "cpu"}) || kept.Telemetry.Metrics.CloudWatchNamespace != "PLANTED" || kept.Log.Level != config.LevelDebug {
		t.Errorf("without the cloud: %+v, %+v, %+v", kept.Engine, kept.Telemetry.Metrics, kept.Log)
	}
}
