package shadows

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	thing   = "camera-7"
	classic = "$aws/things/" + thing + "/shadow/"
	start   = 1_700_000_000 // of the tests' clocks, in seconds since 1970
)

// bench is a service with a clock that stands still and all messages that it has sent.
type bench struct {
	*Service
	t    *testing.T
	dir  string
	at   time.Time
	sent []Message
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), at: time.Unix(start, 0)}
	b.open()
	return b
}

func (b *bench) open() {
	b.t.Helper()
	s, err := New(Options{
		Dir: b.dir, Publish: func(m Message) { b.sent = append(b.sent, m) }, now: func() time.Time { return b.at },
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Service = s
}

// ask publishes a request, a second after the last, and returns the answers as "topic payload", a line each.
func (b *bench) ask(topic, payload string) string {
	b.t.Helper()
	b.at = b.at.Add(time.Second)
	b.sent = nil
	if !b.Request(topic, []byte(payload)) {
		b.t.Fatalf("%s was not taken for a request", topic)
	}
	lines := make([]string, len(b.sent))
	for i, m := range b.sent {
		if !json.Valid(m.Payload) {
			b.t.Errorf("no JSON: %s", m.Payload)
		}
		lines[i] = strings.TrimPrefix(m.Topic, classic) + " " + string(m.Payload)
	}
	return strings.Join(lines, "\n")
}

// state is the state of the classic shadow as get shows it.
func (b *bench) state() string {
	b.t.Helper()
	doc, err := b.Get(thing, "")
	if err != nil {
		b.t.Fatal(err)
	}
	var d struct{ State json.RawMessage }
	if err := json.Unmarshal(doc, &d); err != nil {
		b.t.Fatal(err)
	}
	return string(d.State)
}

func (b *bench) version() int64 {
	b.t.Helper()
	doc, err := b.Get(thing, "")
	var d struct{ Version int64 }
	if err = errors.Join(err, json.Unmarshal(doc, &d)); err != nil {
		b.t.Fatal(err)
	}
	return d.Version
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func TestMessagesOfALife(t *testing.T) {
	b := newBench(t)
	for _, step := range []struct{ topic, payload, want string }{
		{"get", ``, `get/rejected {"code":404,"message":"No shadow exists with name: 'camera-7'","timestamp":1700000001}`},
		{
			"update", `{"state":{"desired":{"fps":5,"list":[1,{"a":true}]}},"clientToken":"t1"}`,
			`update/accepted {"state":{"desired":{"fps":5,"list":[1,{"a":true}]}},"metadata":{"desired":{"fps":{"timestamp":1700000002},"list":[{"timestamp":1700000002},{"a":{"timestamp":1700000002}}]}},"version":1,"timestamp":1700000002,"clientToken":"t1"}
update/delta {"state":{"fps":5,"list":[1,{"a":true}]},"metadata":{"fps":{"timestamp":1700000002},"list":[{"timestamp":1700000002},{"a":{"timestamp":1700000002}}]},"version":1,"timestamp":1700000002,"clientToken":"t1"}
update/documents {"previous":{"state":{},"metadata":{},"version":0},"current":{"state":{"desired":{"fps":5,"list":[1,{"a":true}]}},"metadata":{"desired":{"fps":{"timestamp":1700000002},"list":[{"timestamp":1700000002},{"a":{"timestamp":1700000002}}]}},"version":1},"timestamp":1700000002,"clientToken":"t1"}`,
		},
		{
			"update", `{"state":{"reported":{"fps":4}}}`, // the delta comes again although desired is as before
			`update/accepted {"state":{"reported":{"fps":4}},"metadata":{"reported":{"fps":{"timestamp":1700000003}}},"version":2,"timestamp":1700000003}
update/delta {"state":{"fps":5,"list":[1,{"a":true}]},"metadata":{"fps":{"timestamp":1700000002},"list":[{"timestamp":1700000002},{"a":{"timestamp":1700000002}}]},"version":2,"timestamp":1700000003}
update/documents {"previous":{"state":{"desired":{"fps":5,"list":[1,{"a":true}]}},"metadata":{"desired":{"fps":{"timestamp":1700000002},"list":[{"timestamp":1700000002},{"a":{"timestamp":1700000002}}]}},"version":1},"current":{"state":{"desired":{"fps":5,"list":[1,{"a":true}]},"reported":{"fps":4}},"metadata":{"desired":{"fps":{"timestamp":1700000002},"list":[{"timestamp":1700000002},{"a":{"timestamp":1700000002}}]},"reported":{"fps":{"timestamp":1700000003}}},"version":2},"timestamp":1700000003}`,
		},
		{
			"update", `{"state":{"desired":{"list":null},"reported":{"fps":5.0}},"version":2}`, // no delta: nothing is left
			`update/accepted {"state":{"desired":{"list":null},"reported":{"fps":5.0}},"metadata":{"desired":{"list":{"timestamp":1700000004}},"reported":{"fps":{"timestamp":1700000004}}},"version":3,"timestamp":1700000004}
update/documents {"previous":{"state":{"desired":{"fps":5,"list":[1,{"a":true}]},"reported":{"fps":4}},"metadata":{"desired":{"fps":{"timestamp":1700000002},"list":[{"timestamp":1700000002},{"a":{"timestamp":1700000002}}]},"reported":{"fps":{"timestamp":1700000003}}},"version":2},"current":{"state":{"desired":{"fps":5},"reported":{"fps":5.0}},"metadata":{"desired":{"fps":{"timestamp":1700000002}},"reported":{"fps":{"timestamp":1700000004}}},"version":3},"timestamp":1700000004}`,
		},
		{
			"update", `{"state":{"desired":{"fps":7}},"version":2,"clientToken":"t2"}`,
			`update/rejected {"code":409,"message":"Version conflict","timestamp":1700000005,"clientToken":"t2"}`,
		},
		{
			"get", `{"clientToken":"t3"}`,
			`get/accepted {"state":{"desired":{"fps":5},"reported":{"fps":5.0}},"metadata":{"desired":{"fps":{"timestamp":1700000002}},"reported":{"fps":{"timestamp":1700000004}}},"version":3,"timestamp":1700000006,"clientToken":"t3"}`,
		},
		{"delete", `{"clientToken":"t4"}`, `delete/accepted {"version":3,"timestamp":1700000007,"clientToken":"t4"}`},
		{"delete", `not JSON`, `delete/rejected {"code":404,"message":"No shadow exists with name: 'camera-7'","timestamp":1700000008}`},
		{
			"name/night/get", `{"clientToken":5}`, // refused for its token, which is not repeated
			`name/night/get/rejected {"code":400,"message":"Invalid clientToken","timestamp":1700000009}`,
		},
		{
			"name/night/delete", ``,
			`name/night/delete/rejected {"code":404,"message":"No shadow exists with name: 'night'","timestamp":1700000010}`,
		},
	} {
		equal(t, step.topic+" "+step.payload, b.ask(classic+step.topic, step.payload), step.want)
	}
}

func TestMergeAndDelta(t *testing.T) {
	for name, test := range map[string]struct {
		patches []string // of the state
		want    string   // the state as get shows it, the delta included
	}{
		"objects merge":                 {[]string{`{"reported":{"a":{"x":1,"y":2}}}`, `{"reported":{"a":{"y":3}}}`}, `{"reported":{"a":{"x":1,"y":3}}}`},
		"arrays are replaced":           {[]string{`{"reported":{"a":[1,2,3]}}`, `{"reported":{"a":[4]}}`}, `{"reported":{"a":[4]}}`},
		"an empty array is a value":     {[]string{`{"reported":{"a":[1]}}`, `{"reported":{"a":[]}}`}, `{"reported":{"a":[]}}`},
		"null deletes":                  {[]string{`{"reported":{"a":{"x":1,"y":2}}}`, `{"reported":{"a":{"y":null},"none":null}}`}, `{"reported":{"a":{"x":1}}}`},
		"null deletes a section":        {[]string{`{"desired":{"a":1},"reported":{"a":2}}`, `{"desired":null}`}, `{"reported":{"a":2}}`},
		"the last key takes a section":  {[]string{`{"desired":{"a":1},"reported":{"a":2}}`, `{"reported":{"a":null}}`}, `{"desired":{"a":1},"delta":{"a":1}}`},
		"an empty section is none":      {[]string{`{"desired":{},"reported":{}}`}, `{}`},
		"an empty state is one":         {[]string{`{}`}, `{}`},
		"nothing but null is nothing":   {[]string{`{"reported":{"a":{"b":null},"c":1}}`}, `{"reported":{"c":1}}`},
		"a scalar becomes an object":    {[]string{`{"reported":{"a":1}}`, `{"reported":{"a":{"b":{}}}}`}, `{"reported":{"a":{"b":{}}}}`},
		"an object becomes a scalar":    {[]string{`{"reported":{"a":{"b":1}}}`, `{"reported":{"a":false}}`}, `{"reported":{"a":false}}`},
		"the last of two keys counts":   {[]string{`{"reported":{"a":{"x":1},"a":{"y":2}}}`}, `{"reported":{"a":{"y":2}}}`},
		"numbers stay as they are":      {[]string{`{"reported":{"a":1.50,"b":123456789012345678901234567890,"c":-0,"d":1E400}}`}, `{"reported":{"a":1.50,"b":123456789012345678901234567890,"c":-0,"d":1E400}}`},
		"so does text":                  {[]string{`{"reported":{"größe":"<&> \u00e9 𝄞"}}`}, `{"reported":{"größe":"<&> é 𝄞"}}`},
		"other fields are ignored":      {[]string{`{"reported":{"a":1}},"metadata":7,"STATE":{"desired":{"a":2}},"x":[null]`}, `{"reported":{"a":1}}`},
		"delta: desired alone":          {[]string{`{"desired":{"a":{"b":1}}}`}, `{"desired":{"a":{"b":1}},"delta":{"a":{"b":1}}}`},
		"delta: reported alone":         {[]string{`{"reported":{"a":1}}`}, `{"reported":{"a":1}}`},
		"delta: nested from the root":   {[]string{`{"desired":{"a":{"b":{"c":1,"d":2}},"e":3}}`, `{"reported":{"a":{"b":{"c":1,"d":9,"z":0}},"e":3,"y":1}}`}, `{"desired":{"a":{"b":{"c":1,"d":2}},"e":3},"reported":{"a":{"b":{"c":1,"d":9,"z":0}},"e":3,"y":1},"delta":{"a":{"b":{"d":2}}}}`},
		"delta: arrays whole":           {[]string{`{"desired":{"a":[1,2],"b":[1,{"x":1.0}]},"reported":{"a":[1,3],"b":[1,{"x":1}]}}`}, `{"desired":{"a":[1,2],"b":[1,{"x":1.0}]},"reported":{"a":[1,3],"b":[1,{"x":1}]},"delta":{"a":[1,2]}}`},
		"delta: big integers":           {[]string{`{"desired":{"a":9007199254740993},"reported":{"a":9007199254740992}}`}, `{"desired":{"a":9007199254740993},"reported":{"a":9007199254740992},"delta":{"a":9007199254740993}}`},
		"delta: other types":            {[]string{`{"desired":{"a":"1","b":{},"c":{"x":1},"d":{}},"reported":{"a":1,"b":5,"c":[1]}}`}, `{"desired":{"a":"1","b":{},"c":{"x":1},"d":{}},"reported":{"a":1,"b":5,"c":[1]},"delta":{"a":"1","b":{},"c":{"x":1}}}`},
		"delta: an array has one more":  {[]string{`{"desired":{"a":[1]},"reported":{"a":[1,1]}}`}, `{"desired":{"a":[1]},"reported":{"a":[1,1]},"delta":{"a":[1]}}`},
		"delta: a key called timestamp": {[]string{`{"desired":{"timestamp":{"timestamp":1}}}`}, `{"desired":{"timestamp":{"timestamp":1}},"delta":{"timestamp":{"timestamp":1}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			for _, patch := range test.patches {
				if got := b.ask(classic+"update", `{"state":`+patch+`}`); !strings.HasPrefix(got, "update/accepted ") {
					t.Fatal(got)
				}
			}
			equal(t, "state", b.state(), test.want)
			before, _ := b.Get(thing, "")
			b.open() // the same from disk, metadata included
			after, err := b.Get(thing, "")
			equal(t, fmt.Sprint("after a restart, error ", err), string(after), string(before))
		})
	}
}

func TestRefusals(t *testing.T) {
	deep := func(levels int, inner string) string {
		return `{"state":{"desired":` + strings.Repeat(`{"a":`, levels) + inner + strings.Repeat(`}`, levels) + `}}`
	}
	for payload, want := range map[string]string{
		``: "400 Invalid JSON", `{`: "400 Invalid JSON", `[]`: "400 Invalid JSON", `7`: "400 Invalid JSON",
		`{"state":{}} {}`: "400 Invalid JSON", `{"state":{"reported":{"a":NaN}}}`: "400 Invalid JSON",
		strings.Repeat("[", 100_000):                                   "400 Invalid JSON",
		`{"clientToken":"t"}`:                                          "400 Missing required node: state t",
		`{"state":5,"clientToken":"t"}`:                                "400 State node must be an object t",
		`{"state":null}`:                                               "400 State node must be an object",
		`{"state":{"desired":[]}}`:                                     "400 Desired node must be an object",
		`{"state":{"reported":"x"}}`:                                   "400 Reported node must be an object",
		`{"state":{"delta":{}}}`:                                       "400 State contains an invalid node: 'delta'",
		`{"state":{},"version":"1"}`:                                   "400 Invalid version",
		`{"state":{},"version":1.5}`:                                   "400 Invalid version",
		`{"state":{},"version":-1}`:                                    "400 Invalid version",
		`{"state":{},"version":null}`:                                  "400 Invalid version",
		`{"state":{},"version":7}`:                                     "409 Version conflict",
		`{"state":{},"clientToken":7}`:                                 "400 Invalid clientToken",
		`{"clientToken":"` + strings.Repeat("ä", 33) + `"}`:            "400 Invalid clientToken",
		deep(9, `1`):                                                   "400 JSON contains too many levels of nesting; maximum is 8",
		deep(8, `[1]`):                                                 "400 JSON contains too many levels of nesting; maximum is 8",
		deep(1000, `1`):                                                "400 JSON contains too many levels of nesting; maximum is 8",
		`{"state":{"reported":{"a":[1,null]}}}`:                        "400 Invalid JSON: an array can't have null in it",
		`{"state":{"reported":{"a":[{"b":null}]}}}`:                    "400 Invalid JSON: an array can't have null in it",
		"{\"state\":{\"reported\":{\"a\":\"\xff\"}}}":                  "415 Unsupported documented encoding; supported encoding is UTF-8",
		`{"state":{},"clientToken":"t"}` + spaces(maxState):            "413 The payload exceeds the maximum size allowed t",
		`{"state":{},"clientToken":"t"}` + spaces(128<<10):             "413 The payload exceeds the maximum size allowed",
		`{"state":{},"version":0}`:                                     "", // the version that a new shadow follows
		deep(8, `1`):                                                   "",
		deep(8, `{}`):                                                  "",
		`{"state":{},"clientToken":"` + strings.Repeat("ä", 32) + `"}`: "",
	} {
		b := newBench(t)
		got := b.ask(classic+"update", payload)
		if want == "" {
			equal(t, fmt.Sprintf("accepted %.80s: %.80s", payload, got), strings.HasPrefix(got, "update/accepted"), true)
			continue
		}
		var r rejection
		body, ok := strings.CutPrefix(got, "update/rejected ")
		if err := json.Unmarshal([]byte(body), &r); err != nil || !ok {
			t.Errorf("%.80s: %s, %v", payload, got, err)
			continue
		}
		said := fmt.Sprint(r.Code, " ", r.Message)
		if r.ClientToken != nil {
			said += " " + *r.ClientToken
		}
		equal(t, fmt.Sprintf("%.80s", payload), said, want)
		if _, err := b.Get(thing, ""); err == nil {
			t.Errorf("%.80s: refused, but there is a shadow", payload)
		}
	}
}

func spaces(n int) string { return strings.Repeat(" ", n) }

func TestSizeCountsDesiredAndReportedInBytes(t *testing.T) {
	b := newBench(t)
	set := func(section string, bytes int) string { // `{"a":""}` has 8
		text := strings.Repeat("ä", (bytes-8)/2)
		return b.ask(classic+"update", fmt.Sprintf(`{"state":{%q:{"a":"%s"}}}`, section, text))
	}
	for _, step := range []struct {
		section string
		bytes   int
		want    string
	}{
		{"desired", 4096, "update/accepted"}, {"reported", 4098, "update/rejected"}, {"reported", 4096, "update/accepted"},
	} {
		got := set(step.section, step.bytes)
		equal(t, fmt.Sprintf("%s of %d: %.100s", step.section, step.bytes, got), strings.HasPrefix(got, step.want), true)
	}
	equal(t, "version", b.version(), 2)
	// Two-byte elements have the most metadata. What AWS could not carry is left out, the rest arrives.
	got := b.ask(classic+"update", `{"state":{"reported":null,"desired":{"a":[`+strings.Repeat("1,", 4070)+`1]}}}`)
	equal(t, "accepted", strings.HasPrefix(got, "update/accepted "), true)
	got = b.ask(classic+"update", `{"state":{"desired":{"b":1}}}`)
	equal(t, "documents sent", strings.Contains(got, "update/documents"), false)
	equal(t, "delta sent", strings.Contains(got, "update/delta"), true)
	for _, m := range b.sent {
		equal(t, m.Topic+" fits", len(m.Payload) <= maxMessage, true)
	}
	b.open()
	equal(t, "version after a restart", b.version(), 4)
}

func TestTopics(t *testing.T) {
	b := newBench(t)
	long := strings.Repeat("n", maxThing)
	for topic, want := range map[string]bool{
		classic + "get": true, classic + "update": true, classic + "delete": true,
		classic + "name/a:b_C-1/get":                                 true,
		"$aws/things/" + long + "/shadow/name/" + long[:64] + "/get": true,
		"$aws/things/" + long + "n/shadow/get":                       false,
		classic + "name/" + long[:65] + "/get":                       false,
		classic + "get/accepted":                                     false,
		classic + "name/get":                                         false,
		classic + "name//get":                                        false,
		classic + "name/$x/get":                                      false,
		classic + "list":                                             false,
		classic:                                                      false,
		"$aws/things//shadow/get":                                    false,
		"$aws/things/a+/shadow/get":                                  false,
		"$aws/things/a/jobs/get":                                     false,
		"aws/things/a/shadow/get":                                    false,
		"":                                                           false,
	} {
		b.sent = nil
		equal(t, topic, b.Request(topic, nil), want)
		equal(t, "answers to "+topic, len(b.sent) == 1, want)
	}
}

func TestSameNumber(t *testing.T) {
	for pair, want := range map[[2]string]bool{
		{"1", "1.0"}: true, {"1", "10e-1"}: true, {"0", "-0.0e9"}: true, {"1e2", "100"}: true, {"0.10", "1E-1"}: true,
		{"1", "-1"}: false, {"1", "10"}: false, {"1e400", "1e401"}: false, {"0.1", "0.10000000000000001"}: false,
		{"1e99999999999999999999", "1e99999999999999999999"}: true, {"1e99999999999999999999", "1e99999999999999999998"}: false,
	} {
		equal(t, fmt.Sprint(pair), sameNumber(pair[0], pair[1]), want)
	}
}
