package layers

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gnomon/config"
)

func TestDesired(t *testing.T) {
	got := map[string]string{}
	for _, one := range Desired(json.RawMessage(`{"models":{"default":{"uri":"s3://b/k"}},
		"sources":{"front":{"slot":"doors","enabled":false,"score_threshold":null,"roi":[0, 0.5, 1, 0.5]},"gone":null,"none":{"slot":null},"bad":[1]},
		"config":{"engine":{"providers":["cuda","cpu"],"cuda":{"graph":true}},"mqtt":{"outbox":1e3,"publish":"a<b \u0022é\u2028\n"}}}`)) {
		got[one.Name()] = one.Text
	}
	want := map[string]string{
		"engine.providers": `["cuda","cpu"]`, "engine.cuda.graph": "true", "mqtt.outbox": "1e3", "mqtt.publish": `"a<b \"é\u2028\n"`,
		"sources.front": `{"enabled":false,"roi":[0,0.5,1,0.5],"slot":"doors"}`, "sources.none": "{}", "sources.bad": "[1]",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var c config.Config
	if _, err := assign(&c, Setting{Path: []string{"mqtt", "publish"}, Text: want["mqtt.publish"]}); err != nil || c.MQTT.Publish != "a<b \"é\u2028\n" {
		t.Errorf("%q, %v", c.MQTT.Publish, err)
	}
}

// What is shown can be read again and is the same, with the sources as the shadow sets them.
func TestValues(t *testing.T) {
	s := stack(t, State{})
	s.Set(Parameters, append(fleet("engine/providers", "[cuda, cpu]", "mqtt/keep_alive", "2m"),
		Setting{Path: []string{"telemetry", "metrics", "cloudwatch_namespace"}, Text: "PLANTED", From: "/p", Secret: true}))
	s.Set(Shadow, desired(t, `{"sources":{"front":{"slot":"doors"},"door":{"uri":"rtsp://user:PLANTED@10.0.0.7/s1","roi":[0,0.5,1,0.5]},"gone":{"slot":"doors"}}}`))
	for name, want := range map[string]string{
		"sources.front.slot": "doors | shadow", "sources.front.score_threshold": "0.4 | gnomon.yaml:3",
		"sources.door.uri": `"rtsp://***@10.0.0.7/s1" | shadow`, "sources.door.roi": "[0,0.5,1,0.5] | shadow", "sources.door.frozen_after": "1m0s | default",
	} {
		if got := shown(s, name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if s.Config().Telemetry.Metrics.CloudWatchNamespace != "PLANTED" {
		t.Error("a SecureString is not in use")
	}
	text := YAML(s.Values())
	if strings.Contains(text, "PLANTED") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "***@", "user:PLANTED@"), `"(SecureString)"`, "PLANTED")
	got, err := config.Parse("shown", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if d := cmp.Diff(s.Config(), got); d != "" {
		t.Error(d)
	}
	c := config.Default()
	again, err := config.Parse("default", []byte(YAML(New(Options{Base: &c}).Values())))
	if d := cmp.Diff(&c, again); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
}

func TestDiffAndCopy(t *testing.T) {
	s := stack(t, State{})
	s.Set(Parameters, fleet("log/level", "debug", "sources/front/publish", "detections", "mqtt/outbox", "7"))
	base, now := s.Base(), s.Config()
	names := Diff(base, now)
	if want := []string{"sources.front.publish", "mqtt.outbox", "log.level"}; !slices.Equal(names, want) {
		t.Errorf("differ in %v", names)
	}
	some := Copy(base, now, names[:2])
	if left := Diff(some, now); !slices.Equal(left, names[2:]) {
		t.Errorf("left: %v", left)
	}
	if d := Diff(s.Base(), base); len(d) > 0 {
		t.Errorf("the original has changed: %v", d)
	}

	// Sources come, change and go.
	after := Copy(base, base, nil)
	delete(after.Sources, "yard.1")
	added, changed := after.Sources["front"], after.Sources["front"]
	added.URI, changed.FPS = "usb:0", 5
	after.Sources["door"], after.Sources["front"] = added, changed
	names = Diff(base, after)
	if want := []string{"sources.door", "sources.front.fps", `sources["yard.1"]`}; !slices.Equal(names, want) {
		t.Errorf("differ in %q", names)
	}
	if d := cmp.Diff(Changes{Added: []string{"door"}, Changed: []string{"front"}, Removed: []string{"yard.1"}}, Sources(base, after)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(after, Copy(base, after, names)); d != "" {
		t.Errorf("all copied: %s", d)
	}
	some = Copy(base, after, []string{"sources.front.fps", `sources["yard.1"]`})
	if got := Diff(some, after); !slices.Equal(got, []string{"sources.door"}) {
		t.Errorf("left: %q", got)
	}
}

func TestReport(t *testing.T) {
	if NewReport(nil, nil) != nil {
		t.Error("nothing is a report")
	}
	var refused []Refusal
	var restart []string
	for i := range 100 {
		refused = append(refused, Refusal{Name: strings.Repeat("é", i), Origin: "parameter", Code: codeBadSetting, Message: strings.Repeat(`"ü`, i), From: "/x"})
		restart = append(restart, fmt.Sprintf("mqtt.x%d", i))
	}
	r := NewReport(refused, restart)
	text, err := json.Marshal(r)
	if err != nil || len(text) > MaxReport || len(r.Refused) < 3 || len(r.Restart) < 5 || len(r.Refused)+len(r.Restart)+r.More != 200 {
		t.Errorf("%d bytes: %s", len(text), text)
	}
	text, _ = json.Marshal(NewReport([]Refusal{{Name: "a", Origin: "shadow", Code: "c", Message: "m", From: "/x", Source: "s"}}, []string{"b"}))
	if string(text) != `{"refused":[{"name":"a","origin":"shadow","code":"c","message":"m"}],"restart_required":["b"]}` {
		t.Errorf("%s", text)
	}
	if len(Codes()) != 5 {
		t.Error("codes")
	}
}

// Whatever a value is: it changes its own setting or nothing, and what comes out is a configuration that passes.
func FuzzValue(f *testing.F) {
	for i, text := range []string{"debug", "2m", "[a, b]", "{a: b}", "1}, x: {", "a: b", "- a", "|", ">-", "? a", "'a", "\"\\u0041\"", "# a", "a # b", "&a b", "*a", "!!str a", "---", "%A", "null", "~", "1\u2028x: y", "1\u0085broker: x", "\ufeffx", "\t", "0x1", ".nan", "-0", "1e999"} {
		f.Add(uint8(i), text)
	}
	s := stack(f, State{})
	base := s.Base()
	var all [][]string
	for _, l := range leaves(reflect.ValueOf(base).Elem(), nil) {
		all = append(all, l.path)
	}
	all = append(all, []string{"sources", "front"}, []string{"sources", "new"}, []string{"sources", "new", "uri"})
	for i, text := range []string{"{uri: sample}", `{"uri":"exec:a"}`, "{uri: a}, b: {uri: c}", "{}\n  b: {uri: c}", "uri: a", "{uri: a}}", "{? uri : a}", "gst:a"} {
		f.Add(uint8(len(all)-3+i%3), text)
	}
	f.Fuzz(func(t *testing.T, n uint8, text string) {
		one := Setting{Path: all[int(n)%len(all)], Text: text, From: "/p"}
		c := clone(base)
		if _, err := assign(&c, one); err == nil {
			for _, name := range Diff(base, &c) {
				if !within(name, one.Name()) && name != sourceKey(one.source()) {
					t.Fatalf("%s: %q has changed %v", one.Name(), text, name)
				}
			}
		} else if strings.ContainsAny(err.Error(), "\r\n") {
			t.Fatalf("an error of several lines: %q", err)
		}
		s.Set(Parameters, []Setting{one})
		c = *s.Config()
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		if len(s.Refused()) == 0 && !one.entry() && localOnly(one.Path) != "" {
			t.Fatalf("%s is not for the cloud", one.Name())
		}
		for name, source := range c.Sources {
			if kind := source.Kind(); kind == config.KindProgram || kind == config.KindFile {
				t.Fatalf("%s is %s", name, source.URI)
			}
		}
	})
}
