package telemetry

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTopics(t *testing.T) {
	got, err := DetectionsTopic("dt/gnomon", "thing-1", "street")
	if err != nil || got != "dt/gnomon/thing-1/street/detections" {
		t.Errorf("DetectionsTopic = %q, %v", got, err)
	}
	got, err = StatusTopic("dt/gnomon", "thing-1")
	if err != nil || got != "dt/gnomon/thing-1/status" {
		t.Errorf("StatusTopic = %q, %v", got, err)
	}
	got, err = DetectionsTopic("$aws/rules/detections/dt/gnomon", "thing-1", "street")
	if err != nil || got != "$aws/rules/detections/dt/gnomon/thing-1/street/detections" {
		t.Errorf("DetectionsTopic for a rule = %q, %v", got, err)
	}
}

func TestTopicErrors(t *testing.T) {
	detections := func(prefix, thing, source string) error {
		_, err := DetectionsTopic(prefix, thing, source)
		return err
	}
	status := func(prefix, thing string) error {
		_, err := StatusTopic(prefix, thing)
		return err
	}
	tests := []struct {
		name string
		err  error
		want string // "": no error
	}{
		{"longest", ValidateTopic(strings.Repeat("x", 256)), ""},
		{"too long", ValidateTopic(strings.Repeat("x", 257)), "has 257 bytes; at most 256"},
		{"seven slashes", ValidateTopic("a/b/c/d/e/f/g/h"), ""},
		{"eight slashes", ValidateTopic("a/b/c/d/e/f/g/h/i"), "has 8 slashes; at most 7"},
		{"rule not counted", ValidateTopic("$aws/rules/r/a/b/c/d/e/f/g/h"), ""},
		{"rule not counted in bytes", ValidateTopic("$aws/rules/r/" + strings.Repeat("x", 256)), ""},
		{"eight slashes behind a rule", ValidateTopic("$aws/rules/r/a/b/c/d/e/f/g/h/i"), "has 8 slashes"},
		{"rule alone", ValidateTopic("$aws/rules/r"), "no topic behind the rule"},
		{"shadow", ValidateTopic("$aws/things/thing-1/shadow/name/config/update/accepted"), ""},
		{"other $", ValidateTopic("$SYS/broker"), "brokers keep for themselves"},
		{"empty", ValidateTopic(""), "is empty"},
		{"empty level", ValidateTopic("a//b"), "has an empty level"},
		{"trailing slash", ValidateTopic("a/b/"), "has an empty level"},
		{"leading slash", ValidateTopic("/a/b"), "has an empty level"},
		{"wildcard +", ValidateTopic("a/+/b"), "wildcard '+'"},
		{"wildcard #", ValidateTopic("a/#"), "wildcard '#'"},
		{"NUL", ValidateTopic("a\x00b"), "control character U+0000"},
		{"not UTF-8", ValidateTopic("a\xff"), "not valid UTF-8"},
		{"no prefix", detections("", "t", "s"), "prefix is empty"},
		{"slash after prefix", detections("dt/", "t", "s"), "begins or ends with a slash"},
		{"no thing", detections("dt", "", "s"), "name of the thing is empty"},
		{"thing with slash", detections("dt", "a/b", "s"), `thing "a/b" has a slash`},
		{"source with wildcard", detections("dt", "t", "cam#1"), `source "cam#1" has the wildcard '#'`},
		{"source with slash", detections("dt", "t", "a/b"), "use a hyphen"},
		{"prefix too deep", detections("a/b/c/d/e/f", "t", "s"), "has 8 slashes"},
		{"status below $", status("$aws/rules/r/dt", "t"), "brokers retain no message"},
		{"status of nobody", status("dt", ""), "name of the thing is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantError(t, tt.err, tt.want) })
	}
}

// wantError checks that err says want, or is nil if want is empty.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && err == nil:
		t.Errorf("no error, want one with %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("error %q, want one with %q", err, want)
	}
}

func FuzzDetectionsTopic(f *testing.F) {
	f.Add("dt/gnomon", "thing-1", "street")
	f.Add("$aws/rules/r/dt", "t", "s")
	f.Add("a/b/c/d/e/f/g", "+", "\xff")
	f.Add("dt//x", "#", "a\x00")
	f.Fuzz(func(t *testing.T, prefix, thing, source string) {
		topic, err := DetectionsTopic(prefix, thing, source)
		if err != nil {
			return
		}
		// What a broker would disconnect for must never get through.
		if !utf8.ValidString(topic) || strings.ContainsAny(topic, "+#\x00") || len(topic) > 65535 {
			t.Errorf("accepted the topic %q", topic)
		}
		if err := ValidateTopic(topic); err != nil {
			t.Errorf("made a topic that is refused: %v", err)
		}
		if !strings.HasSuffix(topic, "/"+thing+"/"+source+"/detections") {
			t.Errorf("topic %q for thing %q and source %q", topic, thing, source)
		}
	})
}
