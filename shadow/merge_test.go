package shadow

import (
	"encoding/json"
	"strings"
	"testing"
)

func object(t *testing.T, s string) map[string]any {
	t.Helper()
	v, err := parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%s is no object", s)
	}
	return m
}

func TestDiffIsTheSmallestPatch(t *testing.T) {
	for _, c := range []struct{ known, want, patch string }{
		{`{}`, `{}`, `{}`},
		{`{"a":1}`, `{"a":1}`, `{}`},
		{`{"a":1}`, `{"a":1.0}`, `{}`},
		{`{"a":100}`, `{"a":1e2}`, `{}`},
		{`{"a":1,"b":2}`, `{"a":1}`, `{"b":null}`},
		{`{"a":{"b":1,"c":2}}`, `{"a":{"b":1,"c":3}}`, `{"a":{"c":3}}`},
		{`{"a":{"b":1}}`, `{"a":{}}`, `{"a":{"b":null}}`},
		{`{"a":{"b":1}}`, `{"a":5}`, `{"a":5}`},
		{`{"a":5}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{`{"a":[1,2,3]}`, `{"a":[1,2]}`, `{"a":[1,2]}`},
		{`{"a":[{"b":1}]}`, `{"a":[{"b":2}]}`, `{"a":[{"b":2}]}`},
	} {
		got := diff(object(t, c.known), object(t, c.want))
		check(t, "diff("+c.known+", "+c.want+")", text(got), c.patch)
	}
}

func FuzzDiffThenApplyGivesWhatWasWanted(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, `{"a":{"b":null,"c":[1,{"d":2}]}}`, `{"a":{"b":{"c":-0.0}},"x":"y"}`, `{"a":1e400}`} {
		for _, o := range []string{`{}`, `{"a":{"b":2}}`, `{"a":[null]}`, `{"b":true,"a":1.50}`} {
			f.Add(s, o)
		}
	}
	f.Fuzz(func(t *testing.T, knownText, wantText string) {
		k, err1 := parse([]byte(knownText))
		w, err2 := parse([]byte(wantText))
		known, ok1 := k.(map[string]any)
		want, ok2 := w.(map[string]any)
		if err1 != nil || err2 != nil || !ok1 || !ok2 {
			t.Skip("not two JSON objects")
		}
		if _, err := withoutNulls(want); err != nil {
			t.Skip("no shadow can hold null in an array")
		}
		before := text(known)
		// Over the wire and back, as the service sees it.
		patch := object(t, text(diff(known, want)))
		if got := apply(known, patch); !equal(got, want) {
			t.Errorf("apply(%s, %s) = %s, want %s", knownText, text(patch), text(got), text(want))
		}
		if text(known) != before {
			t.Error("apply or diff changed its argument")
		}
		if again := diff(want, want); len(again) != 0 {
			t.Errorf("diff of equals is %s", text(again))
		}
	})
}

func FuzzNothingThatArrivesCrashes(f *testing.F) {
	topics := []string{topicGetAccepted, topicGetRejected, topicUpdateAccepted, topicUpdateRejected, topicUpdateDelta, topicDeleteAccepted}
	for i, s := range []string{
		`{"state":{"desired":{"a":1},"reported":{"b":2}},"version":3,"timestamp":4}`, `{"code":404,"message":"no"}`,
		`{"version":1,"clientToken":"x"}`, `{"code":429}`, `{"version":9,"state":{"desired":5}}`, `{}`, `[`, `nul`, ``,
		strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), `{"version":-1}`, `{"version":1e3}`, `{"state":{"reported":7},"version":0}`,
	} {
		f.Add(i, []byte(s))
	}
	f.Fuzz(func(t *testing.T, i int, payload []byte) {
		c, err := New(Options{Thing: thing})
		if err != nil {
			t.Fatal(err)
		}
		s := &c.state
		now := s.lastGet.Add(1 << 40)
		s.connect(now)
		s.setWant(&report{object: map[string]any{"a": json.Number("1")}, text: `{"a":1}`})
		s.next(now)
		s.handle(topics[uint(i)%uint(len(topics))], payload, now)
		s.takeDesired()
		for range 3 {
			now = now.Add(refreshEvery)
			if out, due := s.next(now); out == nil && !due.After(now) {
				t.Fatal("nothing to send and no time to wait: Serve would spin")
			}
		}
	})
}

func TestDepthCountsObjectsAndArraysButNotText(t *testing.T) {
	for s, want := range map[string]int{`1`: 0, `{}`: 1, `{"a":[{}]}`: 3, `{"a{[\"{":"{{"}`: 1, `[[],[[]]]`: 3, `"\\"`: 0} {
		check(t, s, depth([]byte(s)), want)
	}
}

func TestReportRefusesWhatAShadowCannotHold(t *testing.T) {
	c, err := New(Options{Thing: thing})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		doc  any
		says string // empty: accepted
	}{
		{map[string]any{"a": nil}, ""},
		{json.RawMessage(`{"a":{"b":{"c":{"d":[]}}}}`), ""},
		{json.RawMessage(`{"a":{"b":{"c":{"d":[[]]}}}}`), "flatten it"},
		{nil, "not a JSON object but null"},
		{[]int{1}, "not a JSON object but [1]"},
		{"text", "not a JSON object"},
		{json.RawMessage(`{"a":[1,null]}`), "element 1 of an array is null"},
		{map[string]string{"a": strings.Repeat("x", MaxReported)}, "at most 4096 fit"},
		{map[string]string{"a": strings.Repeat("x", MaxReported-len(`{"a":""}`))}, ""},
		{map[string]any{"a": make(chan int)}, "turn the document into JSON"},
	} {
		err := c.Report(x.doc)
		if x.says == "" && err != nil {
			t.Errorf("Report: %v", err)
		}
		if x.says != "" && (err == nil || !strings.Contains(err.Error(), x.says)) {
			t.Errorf("Report: got error %v, want one with %q", err, x.says)
		}
	}
}

func TestNamesThatAWSRefusesAreRefused(t *testing.T) {
	for _, x := range []struct {
		thing, name string
		ok          bool
	}{
		{"camera-7", "", true},
		{"a:B_c-9", "model", true},
		{strings.Repeat("x", 128), strings.Repeat("y", 64), true},
		{"", "", false},
		{strings.Repeat("x", 129), "", false},
		{"a", strings.Repeat("y", 65), false},
		{"a/b", "", false},
		{"a", "+", false},
		{"a", "$x", false},
		{"ä", "", false},
	} {
		c, err := New(Options{Thing: x.thing, Name: x.name})
		check(t, x.thing+" "+x.name, err == nil, x.ok)
		if c == nil {
			continue
		}
		for _, f := range filters(c.prefix) {
			if len(f) > 256 || strings.Count(f, "/") > 7 || strings.ContainsAny(f, "+#") {
				t.Errorf("the broker refuses %s", f)
			}
		}
	}
	check(t, "classic", prefix("t", ""), "$aws/things/t/shadow/")
	check(t, "named", prefix("t", "n"), "$aws/things/t/shadow/name/n/")
}
