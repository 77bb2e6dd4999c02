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

func TestFromDesired(t *testing.T) {
	settings, sources := FromDesired(json.RawMessage(`{"models":{"default":{"uri":"s3://b/k"}},
		"sources":{"front":{"slot":"doors","enabled":false,"score_threshold":null}},
		"config":{"engine":{"providers":["cuda","cpu"],"cuda":{"graph":true}},"mqtt":{"outbox":1e3,"publish":"a<b \u0022é\u2028\n"}}}`))
	got := map[string]string{}
	for _, one := range slices.Concat(settings, sources) {
		got[one.Name()] = one.Text
	}
	want := map[string]string{
		"engine.providers": `["cuda","cpu"]`, "engine.cuda.graph": "true", "mqtt.outbox": "1e3", "mqtt.publish": `"a<b \"é\u2028\n"`,
		"sources.front.slot": `"doors"`, "sources.front.enabled": "false",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var c config.Config
	if err := assign(&c, Setting{Path: []string{"mqtt", "publish"}, Text: want["mqtt.publish"]}); err != nil || c.MQTT.Publish != "a<b \"é\u2028\n" {
		t.Errorf("%q, %v", c.MQTT.Publish, err)
	}
}

// What is shown can be read again and is the same; sources are shown as the shadow sets them.
func TestValues(t *testing.T) {
	s := stack(t, State{})
	s.Set(Parameters, append(fleet("engine/providers", "[cuda, cpu]", "mqtt/keep_alive", "2m"),
		Setting{Path: []string{"telemetry", "metrics", "cloudwatch_namespace"}, Text: "PLANTED", From: "/p", Secret: true}))
	_, sources := FromDesired(json.RawMessage(`{"sources":{"front":{"slot":"doors","score_threshold":5},"gone":{"slot":"a"}}}`))
	if !s.SetSources(sources) || s.SetSources(sources) {
		t.Error("changed or not")
	}
	if got := shown(s, "sources.front.slot"); got != "doors | shadow" {
		t.Errorf("slot %s", got)
	}
	if got := shown(s, "sources.front.score_threshold"); got != "0.4 | gnomon.yaml:3" {
		t.Errorf("score %s", got)
	}
	if s.Config().Sources["front"].Slot != "" {
		t.Error("the shadow's sources are applied here as well")
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
	want := s.Config()
	front := want.Sources["front"]
	front.Slot = "doors"
	want.Sources["front"] = front
	if d := cmp.Diff(want, got); d != "" {
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
	text, _ = json.Marshal(NewReport([]Refusal{{"a", "shadow", "c", "m", "/x"}}, []string{"b"}))
	if string(text) != `{"refused":[{"name":"a","origin":"shadow","code":"c","message":"m"}],"restart_required":["b"]}` {
		t.Errorf("%s", text)
	}
	if len(Codes()) != 6 {
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
	all := leaves(reflect.ValueOf(base).Elem(), nil)
	f.Fuzz(func(t *testing.T, n uint8, text string) {
		one := Setting{Path: all[int(n)%len(all)].path, Text: text, From: "/p"}
		c := clone(base)
		if err := assign(&c, one); err == nil {
			if d := Diff(base, &c); len(d) > 1 || len(d) == 1 && d[0] != one.Name() {
				t.Fatalf("%s: %q has changed %v", one.Name(), text, d)
			}
		} else if strings.ContainsAny(err.Error(), "\r\n") {
			t.Fatalf("an error of several lines: %q", err)
		}
		s.Set(Parameters, []Setting{one})
		if err := s.Config().Validate(); err != nil {
			t.Fatal(err)
		}
		if len(s.Refused()) == 0 && localOnly(one.Path) != "" {
			t.Fatalf("%s is not for the cloud", one.Name())
		}
	})
}
