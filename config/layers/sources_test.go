package layers

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gnomon/config"
)

// told is what the shadow is told of its sources.
func told(s *Stack) string {
	refused := s.ShadowSources()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(refused)) {
		if r := refused[name]; r != nil {
			name += " " + r.Code
		}
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}

// watched are the sources in effect.
func watched(s *Stack) string {
	sources := s.Config().Sources
	var all []string
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		v := sources[name]
		off := map[bool]string{false: " off"}[v.Enabled]
		all = append(all, fmt.Sprintf("%s%s %s %s %v", name, off, strings.ReplaceAll(v.URI, "user:PLANTED@", ""), v.SlotName(), v.FPS))
	}
	return strings.Join(all, ", ")
}

// Sources come, change and go through the shadow: each entry is taken or refused as one, and a refused one leaves the last
// good one, across restarts as well.
func TestShadowSources(t *testing.T) {
	const (
		front = "front rtsp://10.0.0.9/s1 default 0"
		yard  = "yard.1 /dev/video0 doors 0"
		file  = front + ", " + yard
	)
	s := stack(t, State{})
	for _, step := range []struct{ name, doc, watched, told string }{
		{"nothing", `{}`, file, ""},
		{"added", `{"sources":{"door":{"uri":"usb:0","fps":5}}}`, "door usb:0 default 5, " + file, "door"},
		{"changed", `{"sources":{"door":{"uri":"usb:1","slot":"doors","fps":7}}}`, "door usb:1 doors 7, " + file, "door"},
		{"bad: the last good one stays", `{"sources":{"door":{"uri":"usb:2","fps":-1}}}`, "door usb:1 doors 7, " + file, "door bad_setting"},
		{"not to be read at all", `{"sources":[1]}`, "door usb:1 doors 7, " + file, ""},
		{"a program", `{"sources":{"door":{"uri":"exec:reboot"}}}`, "door usb:1 doors 7, " + file, "door local_only"},
		{"no such slot", `{"sources":{"door":{"uri":"usb:1","slot":"windows"}}}`, "door usb:1 doors 7, " + file, "door bad_setting"},
		{"removed", `{"sources":{"door":null}}`, file, ""},
		{"bad from the start", `{"sources":{"door":{"uri":"usb:2","fps":-1}}}`, file, "door bad_setting"},
		{"without an address", `{"sources":{"door":{"enabled":true}}}`, file, "door unknown_source"},
		{"one of the file", `{"sources":{"front":{"uri":"test:","fps":3,"score_threshold":null},"yard.1":{"enabled":false}}}`, "front test: default 3, yard.1 off /dev/video0 doors 0", "front, yard.1"},
		{"one is refused, the other is not", `{"sources":{"front":{"fps":-3},"yard.1":{"fps":4}}}`, "front test: default 3, yard.1 /dev/video0 doors 4", "front bad_setting, yard.1"},
		{"all gone", `{"sources":null}`, file, ""},
	} {
		s.Set(Shadow, desired(t, step.doc))
		for range 2 { // and again after a restart
			if got := watched(s); got != step.watched {
				t.Errorf("%s: %s", step.name, got)
			}
			if got := told(s); got != step.told {
				t.Errorf("%s: %s", step.name, got)
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
}

// Parameters may bring a source as one, or key by key; the shadow's entry goes over it.
func TestParameterSources(t *testing.T) {
	s := stack(t, State{})
	s.Set(Parameters, fleet("sources/door/uri", "usb:1", "sources/door/fps", "5", "sources/gate", "{uri: 'rtsp://10.0.0.8/x', detect_fps: 2}", "log/level", "debug"))
	s.Set(Shadow, desired(t, `{"sources":{"door":{"enabled":false},"gate":{"detect_fps":3}}}`))
	if codes(s) != "" {
		t.Fatalf("%+v", s.Refused())
	}
	for name, want := range map[string]string{
		"sources.door.uri":        `"usb:1" | parameter /gnomon/fleet/sources/door/uri`,
		"sources.door.enabled":    "false | shadow",
		"sources.gate.uri":        `"rtsp://10.0.0.8/x" | parameter /gnomon/fleet/sources/gate`,
		"sources.gate.detect_fps": "3 | shadow",
		"sources.gate.enabled":    "true | default",
	} {
		if got := shown(s, name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	// A refused address takes the rest of a new source with it, and nothing else.
	s = stack(t, State{})
	s.Set(Parameters, fleet("sources/door/uri", "exec:a", "sources/door/fps", "5", "log/level", "debug"))
	if got := codes(s); got != "parameter sources.door.uri local_only, parameter sources.door.fps unknown_source" || s.Config().Log.Level != config.LevelDebug {
		t.Errorf("%s", got)
	}
	// So do too many, and one that makes topics too long.
	var many []string
	for i := range 63 {
		many = append(many, fmt.Sprintf("sources/s%02d", i), "{uri: usb:0}")
	}
	s.Set(Parameters, fleet(append(many, "telemetry/logs/rate", "7")...))
	if c := s.Config(); len(c.Sources) != 64 || c.Telemetry.Logs.Rate != 7 || codes(s) != "parameter sources.s62 bad_setting" {
		t.Errorf("too many: %d, %s", len(c.Sources), codes(s))
	}
}

// A file that has changed is taken with what the cloud wants over it: refusals and origins are those of the new one.
func TestRebase(t *testing.T) {
	s := stack(t, State{})
	s.Set(Parameters, fleet("log/level", "debug", "sources/yard.1/fps", "5", "sources/gate/enabled", "false"))
	s.Set(Shadow, desired(t, `{"sources":{"door":{"uri":"usb:0","slot":"doors"}}}`))
	if got := codes(s); got != "parameter sources.gate.enabled unknown_source" {
		t.Fatal(got)
	}
	path := filepath.Join(t.TempDir(), "gnomon.yaml")
	load := func(text string) error {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, doc, err := config.LoadDocument(path)
		if err == nil {
			s.Rebase(c, doc)
		}
		return err
	}
	before := s.Config()
	if load("sources: {gate: {uri: sample, fps: 5}}") == nil || len(Diff(before, s.Config())) > 0 {
		t.Error("a bad file is taken")
	}
	if err := load("log: {level: error}\n\nsources:\n  gate: {uri: sample}\n  door: {uri: /dev/video3, slot: doors, motion: 0.1}\n"); err != nil {
		t.Fatal(err)
	}
	if got := codes(s); got != `parameter sources["yard.1"].fps unknown_source` {
		t.Error(got)
	}
	for name, want := range map[string]string{
		"log.level": "debug | parameter /gnomon/fleet/log/level", "sources.gate.enabled": "false | parameter /gnomon/fleet/sources/gate/enabled",
		"sources.gate.uri": "sample | gnomon.yaml:4", "sources.door.uri": `"usb:0" | shadow`, "sources.door.motion": "0.1 | gnomon.yaml:5",
		"mqtt.keep_alive": "1m0s | default", "sources.front.uri": "",
	} {
		if got := shown(s, name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if c := Sources(before, s.Config()); fmt.Sprint(c) != "{[gate] [door] [front yard.1]}" {
		t.Error(c)
	}
}

// What an older program kept of the shadow's sources is taken over, and what it kept of anything else.
func TestFormerState(t *testing.T) {
	kept, err := DecodeState([]byte(`{"parameters":{},"shadow":{"want":[{"path":["log","level"],"text":"debug"}],"good":[{"path":["log","level"],"text":"debug"}]},
		"sources":[{"path":["sources","front","enabled"],"text":"false"},{"path":["sources","front","slot"],"text":"\"doors\""},
			{"path":["sources","yard.1","score_threshold"],"text":"7"},{"path":["sources"],"text":"[1]"},{"path":["sources","front","uri"],"text":"exec:x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := stack(t, kept)
	c := s.Config()
	if front := c.Sources["front"]; front.Enabled || front.Slot != "doors" || c.Log.Level != config.LevelDebug {
		t.Errorf("%+v", front)
	}
	if got := codes(s); got != `shadow sources["yard.1"] bad_setting` {
		t.Error(got)
	}
	text, err := json.Marshal(s.State())
	if err != nil || strings.Contains(string(text), `"sources":[{`) {
		t.Errorf("%s, %v", text, err)
	}
}
