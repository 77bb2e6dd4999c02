package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gnomon/config"
	"gnomon/config/yamldoc"
)

func TestDefaultYAML(t *testing.T) {
	got, err := config.Parse("default.yaml", config.DefaultYAML())
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("the default file and Default differ: -code +file\n%s", diff)
	}
	if empty, err := config.Parse("empty.yaml", nil); err != nil || !cmp.Equal(&want, empty) {
		t.Errorf("an empty file is not the default: %+v, %v", empty, err)
	}
	if err := want.Validate(); err != nil {
		t.Error(err)
	}
	config.DefaultYAML()[0] = 'x'
	if config.DefaultYAML()[0] != '#' {
		t.Error("the default file can be changed from outside")
	}
}

// TestDefaultYAMLIsComplete checks that every key of the schema is in the default file, live or commented out, with a
// comment above it.
func TestDefaultYAMLIsComplete(t *testing.T) {
	lines := strings.Split(string(config.DefaultYAML()), "\n")
	for _, path := range schemaKeys(t) {
		parts := strings.Split(path, ".")
		key := parts[len(parts)-1]
		indent := strings.Repeat("  ", len(parts)-1)
		found := false
		for i, line := range lines {
			rest, ok := strings.CutPrefix(line, indent)
			if !ok || !strings.HasPrefix(strings.TrimPrefix(rest, "# "), key+":") {
				continue
			}
			found = true
			above := strings.TrimSpace(lines[i-1])
			if !strings.HasPrefix(above, "# ") {
				t.Errorf("line %d: no comment above %s", i+1, path)
			}
			break
		}
		if !found {
			t.Errorf("%s is missing", path)
		}
	}
}

// source is one with the defaults beside what s says.
func source(s config.Source) config.Source {
	var d config.Source
	d.SetDefaults()
	s.Enabled, s.Labels, s.FrozenAfter, s.BlackAfter = d.Enabled, d.Labels, d.FrozenAfter, d.BlackAfter
	return s
}

func TestParse(t *testing.T) {
	got, err := config.Parse("gnomon.yaml", []byte(`
device: {thing: box-1}
sources:
  front.door: {uri: "rtsp://user:p%40ss@cam.example:554/s1", score_threshold: 0.5, publish: every-frame, slot: doors}
  back:
    uri: /dev/video2
    width: 1280
    height: 720
    fps: 29.97
  files: {uri: ../clips/a.mp4, pace: max, loop: true, enabled: false, frozen_after: 0s}
  strip:
    uri: rtsp://cam/2
    transport: udp
    decoder: jetson
    rotate: 90
    flip: both
    crop: [0.25, 0, 0.5, 1]
    roi: [0, 0.5, 1, 0.5]
    labels: [person, traffic light]
    detect_fps: 2.5
    motion: 0.01
    stall: 20s
    frozen_after: 5m
    black_after: 0s
  new: {uri: pictures, watch: true}
  raw: {uri: "gst:videotestsrc ! fdsink", format: i420, width: 64, height: 48, fps: 5}
model: {path: m.onnx, manifest: m.yaml}
engine:
  library: /opt/ort.so
  providers: [tensorrt, cuda, cpu]
  strict: true
  plugins: [/opt/npu.so]
  provider_options: {cuda: {device_id: "1"}}
  tensorrt: {fp16: true, int8: true, cache_dir: /e}
  cuda: {graph: true}
  sessions: 2
  batch: 8
  threads: auto
  spinning: true
  run_timeout: 1m30s
mqtt: {broker: "mqtts://b.example", client_id: c, username: u, password_file: p, ca_file: ca, cert_file: c.pem, key_file: k.pem, topic_prefix: a/b/c/d/e, qos: 0, keep_alive: 20m, outbox: 1, publish: every-frame}
shadow: {enabled: true, name: ""}
models:
  dir: /m
  max_size: 500MB
  allow: ["s3://b/*"]
  trusted_keys: [k.pem]
  private_addresses: true
  registry_credentials: c.json
  download_size: 1GB
  download_rate: 250KB
  download_timeout: 1h
  probe_timeout: 10s
  probe_memory: 0
  probation: 5m
  max_slowdown: 0
  min_detections: 0.5
aws: {region: eu-central-1, credentials_endpoint: c.example, role_alias: r, ca_file: a.pem, endpoint_url: "https://h:1", ecr_registries: ["h:1"], rotation_template: t-1, parameters: {path: /a/b, every: 1m}}
telemetry:
  spool: {dir: memory, max_size: 1GB, commit_every: 0s}
  basic_ingest: {detections: d_1, events: e, metrics: m, logs: l}
  metrics: {every: 1m, listen: "[::1]:1", cloudwatch_namespace: fleet}
  logs: {enabled: false, level: error, rate: 7, journal_units: [a@b.service], kernel: true, files: [/var/log/a]}
log: {level: debug, format: json}
`))
	if err != nil {
		t.Fatal(err)
	}
	half := float32(0.5)
	want := &config.Config{
		Device: config.Device{Thing: "box-1"},
		Sources: map[string]config.Source{
			"front.door": source(config.Source{URI: "rtsp://user:p%40ss@cam.example:554/s1", ScoreThreshold: &half, Publish: config.PublishEveryFrame, Slot: "doors"}),
			"back":       source(config.Source{URI: "/dev/video2", Width: 1280, Height: 720, FPS: 29.97}),
			"files":      {URI: "../clips/a.mp4", Pace: config.PaceMax, Loop: true, Labels: []string{}, BlackAfter: config.Duration(time.Minute)},
			"strip": {
				Enabled: true, URI: "rtsp://cam/2", Transport: config.TransportUDP, Decoder: config.DecoderJetson, Rotate: 90, Flip: config.FlipBoth,
				Crop: config.Area{0.25, 0, 0.5, 1}, ROI: config.Area{0, 0.5, 1, 0.5}, Labels: []string{"person", "traffic light"}, DetectFPS: 2.5, Motion: 0.01,
				Stall: config.Duration(20 * time.Second), FrozenAfter: config.Duration(5 * time.Minute),
			},
			"new": source(config.Source{URI: "pictures", Watch: true}),
			"raw": source(config.Source{URI: "gst:videotestsrc ! fdsink", Format: "i420", Width: 64, Height: 48, FPS: 5}),
		},
		Model: config.Model{Path: "m.onnx", Manifest: "m.yaml"},
		Engine: config.Engine{
			Library: "/opt/ort.so", Providers: []string{"tensorrt", "cuda", "cpu"}, Strict: true, Plugins: []string{"/opt/npu.so"},
			ProviderOptions: map[string]map[string]string{"cuda": {"device_id": "1"}},
			TensorRT:        config.TensorRT{FP16: true, INT8: true, CacheDir: "/e"}, CUDA: config.CUDA{Graph: true},
			Sessions: 2, Batch: 8, Spinning: true, RunTimeout: config.Duration(90 * time.Second),
		},
		MQTT: config.MQTT{
			Broker: "mqtts://b.example", ClientID: "c", Username: "u", PasswordFile: "p", CAFile: "ca", CertFile: "c.pem", KeyFile: "k.pem",
			TopicPrefix: "a/b/c/d/e", KeepAlive: config.Duration(20 * time.Minute), Outbox: 1, Publish: config.PublishEveryFrame,
		},
		Shadow: config.Shadow{Enabled: true},
		Models: config.Models{
			Dir: "/m", MaxSize: 500e6, Allow: []string{"s3://b/*"}, TrustedKeys: []string{"k.pem"}, PrivateAddresses: true,
			RegistryCredentials: "c.json", DownloadSize: 1e9, DownloadRate: 250e3, DownloadTimeout: config.Duration(time.Hour),
			ProbeTimeout: config.Duration(10 * time.Second), Probation: config.Duration(5 * time.Minute), MinDetections: 0.5,
		},
		AWS: config.AWS{
			Region: "eu-central-1", CredentialsEndpoint: "c.example", RoleAlias: "r", CAFile: "a.pem", EndpointURL: "https://h:1",
			ECRRegistries: []string{"h:1"}, RotationTemplate: "t-1", Parameters: config.Parameters{Path: "/a/b", Every: config.Duration(time.Minute)},
		},
		Telemetry: config.Telemetry{
			Spool:       config.Spool{Dir: config.SpoolMemory, MaxSize: 1_000_000_000},
			BasicIngest: config.BasicIngest{Detections: "d_1", Events: "e", Metrics: "m", Logs: "l"},
			Metrics:     config.Metrics{Every: config.Duration(time.Minute), Listen: "[::1]:1", CloudWatchNamespace: "fleet"},
			Logs:        config.Logs{Level: config.LevelError, Rate: 7, Units: []string{"a@b.service"}, Kernel: true, Files: []string{"/var/log/a"}},
		},
		Log: config.Log{Level: config.LevelDebug, Format: config.FormatJSON},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if slots := got.Slots(); !cmp.Equal(slots, []string{"default", "doors"}) {
		t.Errorf("slots %q", slots)
	}
	for name, want := range map[string][2]bool{"front.door": {true, true}, "back": {true, true}, "files": {false, false}, "new": {false, true}, "raw": {true, true}} {
		s := got.Sources[name]
		if s.Live() != want[0] || s.Realtime() != want[1] {
			t.Errorf("%s: live %t, realtime %t", name, s.Live(), s.Realtime())
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gnomon.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`
sources:
  s: {uri: sample}
  f: {uri: clips/a.mp4}
  a: {uri: /abs/a.mp4}
  d: {uri: /dev/video0}
  r: {uri: rtsp://cam/x}
  e: {uri: "exec:./read a.mp4"}
  t: {uri: "test:"}
model: {path: models/m.onnx, manifest: models/m.yaml}
engine: {library: lib/ort.so, plugins: [p.so, /q.so], tensorrt: {cache_dir: e}}
mqtt: {broker: "mqtts://b", username: u, password_file: pw, ca_file: /etc/ca.pem, cert_file: c.pem, key_file: ../k.pem}
models: {dir: m, trusted_keys: [a.pem, /b.pem], registry_credentials: r.json}
aws: {ca_file: aws.pem}
`)
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for what, pair := range map[string][2]string{
		"sample":          {c.Sources["s"].URI, "sample"},
		"file":            {c.Sources["f"].URI, in("clips/a.mp4")},
		"models":          {c.Models.Dir, in("m")},
		"trusted key":     {c.Models.TrustedKeys[0], in("a.pem")},
		"absolute key":    {c.Models.TrustedKeys[1], "/b.pem"},
		"registry":        {c.Models.RegistryCredentials, in("r.json")},
		"aws ca":          {c.AWS.CAFile, in("aws.pem")},
		"absolute":        {c.Sources["a"].URI, "/abs/a.mp4"},
		"device":          {c.Sources["d"].URI, "/dev/video0"},
		"stream":          {c.Sources["r"].URI, "rtsp://cam/x"},
		"program":         {c.Sources["e"].URI, "exec:./read a.mp4"},
		"test":            {c.Sources["t"].URI, "test:"},
		"model":           {c.Model.Path, in("models/m.onnx")},
		"manifest":        {c.Model.Manifest, in("models/m.yaml")},
		"plugin":          {c.Engine.Plugins[0], in("p.so")},
		"absolute plugin": {c.Engine.Plugins[1], "/q.so"},
		"engines":         {c.Engine.TensorRT.CacheDir, in("e")},
		"library":         {c.Engine.Library, in("lib/ort.so")},
		"password_file":   {c.MQTT.PasswordFile, in("pw")},
		"ca_file":         {c.MQTT.CAFile, "/etc/ca.pem"},
		"cert_file":       {c.MQTT.CertFile, in("c.pem")},
		"key_file":        {c.MQTT.KeyFile, filepath.Join(filepath.Dir(dir), "k.pem")},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %q, want %q", what, pair[0], pair[1])
		}
	}

	write("log: {level: info}")
	if c, err = config.Load(path); err != nil || c.Model.Path != "default" || c.Model.Manifest != "" || c.MQTT.Broker != "embedded" || c.Sources["sample"].URI != "sample" {
		t.Errorf("words that are no paths were changed: %+v, %v", c, err)
	}

	write("log: {level: loud}")
	var inFile *yamldoc.Error
	if _, err := config.Load(path); !errors.As(err, &inFile) || !strings.HasPrefix(err.Error(), path+":1:14: log.level must be one of") {
		t.Errorf("bad file: %v", err)
	}
	missing := filepath.Join(dir, "none.yaml")
	if _, err := config.Load(missing); !errors.Is(err, os.ErrNotExist) || err.Error() != "configuration "+missing+": no such file" {
		t.Errorf("no file: %v", err)
	}
	if _, err := config.Load(dir); err == nil || err.Error() != "configuration "+dir+": it is a directory; give the path of a file in it" {
		t.Errorf("a directory: %v", err)
	}
}

func TestEndpoint(t *testing.T) {
	for broker, want := range map[string]struct {
		address string
		tls     bool
	}{
		"embedded":           {"", false},
		"mqtt://h":           {"h:1883", false},
		"tcp://10.0.0.1:77/": {"10.0.0.1:77", false},
		"mqtts://h":          {"h:8883", true},
		"SSL://h:443":        {"h:443", true},
		"tls://[::1]":        {"[::1]:8883", true},
	} {
		m := config.MQTT{Broker: broker}
		address, tls, err := m.Endpoint()
		if err != nil || address != want.address || tls != want.tls {
			t.Errorf("%s: %q, %t, %v", broker, address, tls, err)
		}
	}
}

func TestRedacted(t *testing.T) {
	for uri, want := range map[string]string{
		"clips/a@b.mp4":               "clips/a@b.mp4",
		"rtsp://cam/x":                "rtsp://cam/x",
		"rtsp://u:p@cam/x?a=b@c":      "rtsp://***@cam/x?a=b@c",
		"rtsp://u:p@ss@cam/x":         "rtsp://***@cam/x",
		"rtsp://u:p/w@cam/x":          "rtsp://***@cam/x",
		"http://cam/mail?to=a@b.test": "http://***@b.test",
		"rtsp://u:a://b@cam/x":        "rtsp://***@cam/x",
		"gst:rtspsrc location=rtsp://u:PLANTED@cam/x ! decodebin":                  "gst:rtspsrc location=rtsp://***@cam/x ! decodebin",
		"gst:rtspsrc location=rtsp://cam/x user-id=u user-pw=PLANTED ! a":          "gst:rtspsrc location=rtsp://cam/x user-id=u user-pw=*** ! a",
		`gst:rtspsrc user-pw = "PLANTED PLANTED" ! a`:                              "gst:rtspsrc user-pw = *** ! a",
		"exec:sh -c 'a rtsp://u:PLANTED@cam/x | b http://v:PLANTED/PLANTED@c/y' d": "exec:sh -c 'a rtsp://***@cam/x | b http://***@c/y' d",
		"exec:ffmpeg -i rtsp://u:PLANTED PLANTED@cam/x -":                          "exec:ffmpeg -i rtsp://***@cam/x -",
		"exec:curl -u admin:PLANTED http://cam/x":                                  "exec:curl -u *** http://cam/x",
		"exec:python3 -u read.py http://cam/x":                                     "exec:python3 -u read.py http://cam/x",
		`exec:curl -H "Authorization: Basic UExBTlRFRFBMQU5URUQ=" http://cam/x`:    `exec:curl -H "Authorization: Basic ***" http://cam/x`,
		"exec:cam --password PLANTED --url http://cam/x?key=PLANTED&a=b":           "exec:cam --password *** --url http://cam/x?key=***&a=b",
	} {
		s := config.Source{URI: uri}
		if got := s.Redacted(); got != want {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
}

func TestThing(t *testing.T) {
	c := config.Default()
	host, err := c.Thing()
	if name, hostErr := os.Hostname(); hostErr != nil || err == nil && host != name {
		t.Errorf("thing %q, host %q, %v", host, name, hostErr)
	}
	c.Device.Thing = "box"
	if thing, err := c.Thing(); thing != "box" || err != nil {
		t.Errorf("thing %q, %v", thing, err)
	}
}

func TestValidateInGo(t *testing.T) {
	c := config.Default()
	c.Engine.Threads = -1
	c.Sources = map[string]config.Source{"z": {URI: "sample"}, "a": {}}
	const want = `configuration: sources.a.uri is missing; write a video file, a folder of pictures, /dev/video0, rtsp://… or sample
configuration: engine.threads must be auto or from 1 to 64, not -1`
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("\ngot  %v\nwant %s", err, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(config.DefaultYAML())
	for _, tt := range badConfigs {
		f.Add([]byte(tt.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("gnomon.yaml", data)
		if err == nil {
			if err := c.Validate(); err != nil {
				t.Fatalf("parsed, but: %v", err)
			}
			if _, _, err := c.MQTT.Endpoint(); err != nil {
				t.Fatalf("parsed, but mqtt.broker %v", err)
			}
			return
		}
		for _, line := range strings.Split(err.Error(), "\n") {
			if !strings.HasPrefix(line, "gnomon.yaml:") {
				t.Fatalf("a problem of more than one line: %q", err)
			}
		}
	})
}
