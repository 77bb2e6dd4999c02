package layers

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gnomon/config"
)

const file = `device: {thing: cam-1}
sources:
  front: {uri: "rtsp://user:PLANTED@10.0.0.9/s1", score_threshold: 0.4}
  yard.1:
    uri: /dev/video0
    slot: doors
mqtt:
  keep_alive: 90s
  publish: every-frame
engine: {sessions: 2}
log: {level: warn}
`

// stack is one over the file above.
func stack(t testing.TB, kept State) *Stack {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gnomon.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	c, doc, err := config.LoadDocument(path)
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Base: c, Document: doc, File: "gnomon.yaml", Kept: kept})
}

// fleet makes settings of parameters out of names with slashes and texts.
func fleet(pairs ...string) []Setting {
	var all []Setting
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Setting{Path: strings.Split(pairs[i], "/"), Text: pairs[i+1], From: "/gnomon/fleet/" + pairs[i]})
	}
	return all
}

func desired(t testing.TB, doc string) []Setting {
	t.Helper()
	return Desired(json.RawMessage(doc))
}

// shown is a value with its origin.
func shown(s *Stack, name string) string {
	for _, v := range s.Values() {
		if v.Name == name {
			return v.Text + " | " + v.Origin
		}
	}
	return ""
}

func codes(s *Stack) string {
	var all []string
	for _, r := range s.Refused() {
		all = append(all, r.Origin+" "+r.Name+" "+r.Code)
	}
	return strings.Join(all, ", ")
}

func TestPrecedence(t *testing.T) {
	for _, test := range []struct {
		name       string
		parameters []Setting
		shadow     string
		setting    string
		want       string
	}{
		{"default", nil, `{}`, "mqtt.outbox", "10000 | default"},
		{"file", nil, `{}`, "mqtt.keep_alive", "1m30s | gnomon.yaml:8"},
		{"file, flow style", nil, `{}`, "log.level", "warn | gnomon.yaml:11"},
		{"parameter over default", fleet("mqtt/outbox", "5"), `{}`, "mqtt.outbox", "5 | parameter /gnomon/fleet/mqtt/outbox"},
		{"parameter over file", fleet("mqtt/keep_alive", " 2m\n"), `{}`, "mqtt.keep_alive", "2m0s | parameter /gnomon/fleet/mqtt/keep_alive"},
		{"shadow over file", nil, `{"config":{"log":{"level":"debug"}}}`, "log.level", "debug | shadow"},
		{"shadow over parameter", fleet("log/level", "error"), `{"config":{"log":{"level":"debug"}}}`, "log.level", "debug | shadow"},
		{"null sets nothing", fleet("log/level", "error"), `{"config":{"log":{"level":null}}}`, "log.level", "error | parameter /gnomon/fleet/log/level"},
		{"bad one in the shadow", fleet("log/level", "error"), `{"config":{"log":{"level":"loud"}}}`, "log.level", "error | parameter /gnomon/fleet/log/level"},
		{"bad one below a good one", fleet("log/level", "loud"), `{"config":{"log":{"level":"debug"}}}`, "log.level", "debug | shadow"},
		{"source", fleet("sources/front/score_threshold", "0.7"), `{}`, "sources.front.score_threshold", "0.7 | parameter /gnomon/fleet/sources/front/score_threshold"},
		{"source in the file", fleet("sources/front/slot", "doors"), `{}`, "sources.front.score_threshold", "0.4 | gnomon.yaml:3"},
		{"source with a dot", fleet("sources/yard.1/fps", "15"), `{}`, `sources["yard.1"].fps`, "15 | parameter /gnomon/fleet/sources/yard.1/fps"},
		{"unset", fleet("sources/front/score_threshold", "null"), `{}`, "sources.front.score_threshold", "null | parameter /gnomon/fleet/sources/front/score_threshold"},
		{"list", fleet("engine/providers", "[cuda, cpu]"), `{}`, "engine.providers", `["cuda","cpu"] | parameter /gnomon/fleet/engine/providers`},
		{"count", fleet("engine/sessions", "auto"), `{}`, "engine.sessions", "auto | parameter /gnomon/fleet/engine/sessions"},
		{"size", nil, `{"config":{"models":{"download_rate":"2MB"}}}`, "models.download_rate", "2MB | shadow"},
		{"password", nil, `{}`, "sources.front.uri", `"rtsp://***@10.0.0.9/s1" | gnomon.yaml:3`},
	} {
		s := stack(t, State{})
		s.Set(Parameters, test.parameters)
		s.Set(Shadow, desired(t, test.shadow))
		if got := shown(s, test.setting); got != test.want {
			t.Errorf("%s: %s, want %s (refused: %+v)", test.name, got, test.want, s.Refused())
		}
		if err := s.Config().Validate(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestRefused(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for _, test := range []struct {
		setting Setting
		code    string
		message string
	}{
		{fleet("mqtt/kep_alive", "1m")[0], codeUnknownSetting, `did you mean "keep_alive"?`},
		{fleet("mqqt/keep_alive", "1m")[0], codeUnknownSetting, `did you mean "mqtt"?`},
		{fleet("mqtt.keep_alive", "1m")[0], codeUnknownSetting, "mqtt/keep_alive"},
		{fleet("mqtt", "{keep_alive: 1m}")[0], codeUnknownSetting, "mqtt is a section"},
		{fleet("log/level/deep", "debug")[0], codeUnknownSetting, "log.level must be text"},
		{fleet("a/b/c/d/e/f/g/h/i", "1")[0], codeUnknownSetting, "with its section"},
		{fleet("sources/front/slots", "a")[0], codeUnknownSetting, `did you mean "slot"?`},
		{fleet("sources", "{front: {slot: a}}")[0], codeUnknownSetting, "sources is a section"},
		{fleet("sources/front", "{slots: a}")[0], codeBadSetting, `unknown key "slots" in sources.front; did you mean "slot"?`},
		{fleet("sources/front", "[a]")[0], codeBadSetting, "sources.front must be a mapping"},
		{fleet("sources/front", "{slot: a}, back: {uri: sample}")[0], codeBadSetting, "sources.front cannot be read"},
		{fleet("sources/yard.1", "{fps: 5, uri: 7}")[0], codeBadSetting, `sources["yard.1"].uri must be text, not the number 7`},
		{fleet("sources/yard.1", "{fps: 5, motion: 3}")[0], codeBadSetting, `sources["yard.1"].motion must be a share`},
		{fleet("sources/back/slot", "a")[0], codeUnknownSource, "it has front, yard.1; a new one needs a uri"},
		{fleet("sources/back", "{enabled: true}")[0], codeUnknownSource, "it has front, yard.1"},
		{fleet("sources/a b", "{uri: sample}")[0], codeBadSetting, "has a name that cannot be part of a topic"},
		{fleet("sources/front/uri", "exec:reboot")[0], codeLocalOnly, "programs may be named in the device's own file only"},
		{fleet("sources/door", `{uri: "gst:filesrc"}`)[0], codeLocalOnly, "programs may be named"},
		{fleet("sources/front/uri", "/etc/shadow")[0], codeLocalOnly, "files and folders"},
		{fleet("sources/front/uri", "/dev/watchdog")[0], codeLocalOnly, "/dev/video0"},
		{fleet("sources/front/uri", "/dev/video0/../../etc/passwd")[0], codeLocalOnly, "/dev/video0"},
		{fleet("sources/front/uri", "/dev/v4l/by-id/../../sda")[0], codeLocalOnly, "/dev/video0"},
		{fleet("sources/front/uri", "tcp://0.0.0.0:80?listen")[0], codeLocalOnly, "open a port"},
		{fleet("sources/front/uri", `"rtsp://u:PLANTED@h:99999/x"`)[0], codeBadSetting, "not a valid URL"},
		{fleet("sources/front/uri", `["rtsp://u:PLANTED@h/x"]`)[0], codeBadSetting, "must be text"},
		{fleet("mqtt/broker", "mqtt://evil.example:1883")[0], codeLocalOnly, "way to the cloud"},
		{fleet("mqtt/cert_file", "/c")[0], codeLocalOnly, "who this device is"},
		{fleet("device/thing", "x")[0], codeLocalOnly, "who this device is"},
		{fleet("aws/region", "x")[0], codeLocalOnly, "way to the cloud"},
		{fleet("aws/parameters/path", "/other")[0], codeLocalOnly, "way to the cloud"},
		{fleet("engine/library", "/tmp/x.so")[0], codeLocalOnly, "trusts"},
		{fleet("engine/provider_options", "{}")[0], codeLocalOnly, "trusts"},
		{fleet("models/trusted_keys", "[]")[0], codeLocalOnly, "trusts"},
		{fleet("models/allow", "[]")[0], codeLocalOnly, "trusts"},
		{fleet("telemetry/logs/files", "[/etc/shadow]")[0], codeLocalOnly, "file or folder"},
		{fleet("telemetry/metrics/listen", `"0.0.0.0:80"`)[0], codeLocalOnly, "port"},
		{fleet("mqtt/keep_alive", "1s")[0], codeBadSetting, "mqtt.keep_alive must be from 30s to 20m, not 1s"},
		{fleet("mqtt/keep_alive", "60")[0], codeBadSetting, "mqtt.keep_alive must have a unit; write 60s"},
		{fleet("mqtt/outbox", "many")[0], codeBadSetting, `mqtt.outbox must be a whole number, not the text "many"`},
		{fleet("mqtt/outbox", "1\nbroker: x")[0], codeBadSetting, "mqtt.outbox must be written on one line"},
		{fleet("mqtt/outbox", "1\rbroker: x")[0], codeBadSetting, "one line"},
		{fleet("mqtt/outbox", "1}, broker: {x")[0], codeBadSetting, "mqtt.outbox"},
		{fleet("mqtt/outbox", "1, broker: x")[0], codeBadSetting, "mqtt.outbox"},
		{fleet("mqtt/outbox", "*anchor")[0], codeBadSetting, "mqtt.outbox cannot be read: anchors"},
		{fleet("mqtt/outbox", "")[0], codeBadSetting, "mqtt.outbox is empty"},
		{fleet("sources/front/score_threshold", "2")[0], codeBadSetting, "sources.front.score_threshold must be above 0"},
		{fleet("sources/yard.1/width", "640")[0], codeBadSetting, "write both or neither"},
		{fleet("engine/providers", "[cpu, cuda]")[0], codeBadSetting, "put it last"},
		{fleet("log/level", long)[0], codeBeyondLimits, "8193 bytes"},
		{Setting{Path: []string{"log", "level"}, Text: "PLANTED", From: "p", Secret: true}, codeBadSetting, "it is not shown"},
		{Setting{Path: []string{"log", "level"}, Text: "[PLANTED", From: "p", Secret: true}, codeBadSetting, "it is not shown"},
	} {
		s := stack(t, State{})
		s.Set(Parameters, []Setting{test.setting})
		r := s.Refused()
		if len(r) != 1 || r[0].Code != test.code || !strings.Contains(r[0].Message, test.message) || r[0].Name != test.setting.Name() || r[0].From == "" {
			t.Errorf("%v: %+v", test.setting, r)
		}
		if strings.Contains(fmt.Sprint(r), "PLANTED") || strings.Contains(fmt.Sprintf("%+v %#v", test.setting, test.setting), "PLANTED") {
			t.Errorf("%v: a secret is shown: %+v", test.setting, r)
		}
		if d := Diff(s.Base(), s.Config()); len(d) > 0 {
			t.Errorf("%v: has changed %v", test.setting, d)
		}
	}
	s := stack(t, State{})
	for doc, want := range map[string]string{
		`{"config":{"sources":{"front":{"slot":"doors","publish":"detections"}}}}`: "",
		`{"config":{"sources":{"front":{"slot":"a"}}}}`:                            "shadow sources.front.slot bad_setting",
		`{"sources":[1]}`:                      "shadow sources bad_setting",
		`{"config":[1]}`:                       "shadow config unknown_setting",
		`{"config":{"mqtt":"x"}}`:              "shadow mqtt unknown_setting",
		`{"config":{"nothing":{"here":1}}}`:    "shadow nothing unknown_setting",
		`{"config":{"shadow":{"name":"x"}}}`:   "shadow shadow.name local_only",
		`{"config":{"log":{"level":7}}}`:       "shadow log.level bad_setting",
		`{"config":{"log":{"level":{"a":1}}}}`: "shadow log.level bad_setting",
		`{"config":{}}`:                        "",
		`{"config":null}`:                      "",
		`{}`:                                   "",
		`[]`:                                   "",
	} {
		s.Set(Shadow, desired(t, doc))
		if got := codes(s); got != want {
			t.Errorf("%s: %s", doc, got)
		}
	}
	s.Set(Shadow, nil)
	var many []Setting
	for i := range maxSettings + 5 {
		many = append(many, fleet(fmt.Sprintf("log/x%03d", i), "1")...)
	}
	s.Set(Parameters, many)
	if r := s.Refused(); len(r) != maxSettings+1 || r[0].Code != codeBeyondLimits || r[0].Name != "config" {
		t.Errorf("too many: %d, %+v", len(r), r[0])
	}
}

// The life of a value: refused ones leave the last good one, across restarts as well; without one the layer below counts.
func TestLastGood(t *testing.T) {
	const name = "mqtt.keep_alive"
	s := stack(t, State{})
	step := func(what string, parameters []Setting, changed bool, want, refused string) {
		t.Helper()
		if s.Set(Parameters, parameters) != changed {
			t.Errorf("%s: changed is not %v", what, changed)
		}
		for range 2 { // and again after a restart
			if got := shown(s, name); got != want || codes(s) != refused {
				t.Errorf("%s: %s, refused %s", what, got, codes(s))
			}
			text, err := s.State().Encode()
			if err != nil {
				t.Fatal(err)
			}
			kept, err := DecodeState(text)
			if err != nil {
				t.Fatal(err)
			}
			s = stack(t, kept)
		}
	}
	const from = " | parameter /gnomon/fleet/mqtt/keep_alive"
	const bad = "parameter mqtt.keep_alive bad_setting"
	step("bad from the start", fleet("mqtt/keep_alive", "x"), true, "1m30s | gnomon.yaml:8", bad)
	step("good", fleet("mqtt/keep_alive", "2m"), true, "2m0s"+from, "")
	step("the same", fleet("mqtt/keep_alive", "2m"), false, "2m0s"+from, "")
	step("not to be read", fleet("mqtt/keep_alive", "x"), true, "2m0s"+from, bad)
	step("out of bounds", fleet("mqtt/keep_alive", "1s"), true, "2m0s"+from, bad)
	step("good again", fleet("mqtt/keep_alive", "3m"), true, "3m0s"+from, "")
	step("gone", nil, true, "1m30s | gnomon.yaml:8", "")
	step("bad, and nothing left to fall back on", fleet("mqtt/keep_alive", "x"), true, "1m30s | gnomon.yaml:8", bad)

	// Two values that go together or not at all.
	s = stack(t, State{})
	s.Set(Parameters, fleet("sources/yard.1/width", "640", "sources/yard.1/height", "480"))
	if c := s.Config().Sources["yard.1"]; c.Width != 640 || c.Height != 480 {
		t.Errorf("together: %+v, %v", c, codes(s))
	}
	s.Set(Parameters, fleet("sources/yard.1/width", "640", "log/level", "debug"))
	if c := s.Config(); c.Sources["yard.1"].Width != 0 || c.Log.Level != config.LevelDebug || codes(s) != `parameter sources["yard.1"].width bad_setting` {
		t.Errorf("one alone: %+v, %v", c.Sources["yard.1"], codes(s))
	}
	// A value that is possible, and makes another layer's impossible.
	s.Set(Parameters, fleet("sources/yard.1/width", "640", "sources/yard.1/height", "480"))
	s.Set(Shadow, desired(t, `{"config":{"sources":{"yard.1":{"width":0}}}}`))
	if c := s.Config().Sources["yard.1"]; c.Width != 640 || !strings.Contains(codes(s), `shadow sources["yard.1"].width bad_setting`) {
		t.Errorf("across layers: %+v, %v", c, codes(s))
	}
}

// What was kept is looked at again: a file that somebody has changed gains nothing.
func TestKept(t *testing.T) {
	bad := fleet("mqtt/broker", "mqtt://evil.example", "nonsense", "1", "mqtt/keep_alive", "1s")
	s := stack(t, State{Parameters: KeptLayer{Want: bad, Good: bad}, Shadow: KeptLayer{Good: bad}})
	if d := Diff(s.Base(), s.Config()); len(d) > 0 {
		t.Errorf("changed: %v", d)
	}
	for _, text := range []string{"", "{", `{"parameters":{"want":"PLANTED"}}`, strings.Repeat(" ", MaxState+1)} {
		if _, err := DecodeState([]byte(text)); err == nil || strings.Contains(err.Error(), "PLANTED") {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if kept, err := DecodeState([]byte("{}")); err != nil || !kept.Empty() || s.State().Empty() {
		t.Errorf("%+v, %v", kept, err)
	}
	long := Setting{Path: []string{"log", "level"}, Text: strings.Repeat("x", MaxState)}
	if _, err := (State{Shadow: KeptLayer{Want: []Setting{long}}}).Encode(); err == nil {
		t.Error("a state of any size")
	}
}

// Every setting has a rule, and every rule a setting: a new one has to be decided on.
func TestRulesAreComplete(t *testing.T) {
	c, used := config.Default(), map[string]bool{}
	for _, l := range leaves(reflect.ValueOf(&c).Elem(), nil) {
		path := slices.Clone(l.path)
		if path[0] == "sources" {
			path[1] = "*"
		}
		i := slices.IndexFunc(rules(), func(r rule) bool {
			name := strings.Join(path, ".")
			return name == r.name || r.reason != "" && strings.HasPrefix(name, r.name+".")
		})
		if i < 0 {
			t.Errorf("%s has no rule; may the cloud set it?", nameOf(l.path))
			continue
		}
		used[rules()[i].name] = true
		if got := localOnly(l.path); got != rules()[i].reason {
			t.Errorf("%s: %q", nameOf(l.path), got)
		}
	}
	for _, r := range rules() {
		if !used[r.name] {
			t.Errorf("there is no setting %s", r.name)
		}
	}
	if localOnly([]string{"new"}) == "" {
		t.Error("what has no rule is free")
	}
}
