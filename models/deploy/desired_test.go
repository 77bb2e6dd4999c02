package deploy

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gnomon/models/artifact"
)

func TestParseOrder(t *testing.T) {
	sha := digest("x")
	good := `"uri":"s3://bucket/x.tar","sha256":"` + sha + `"`
	for text, expected := range map[string]any{
		`null`:           want{},
		`{` + good + `}`: want{URI: "s3://bucket/x.tar", SHA256: sha},
		`{` + good + `,"version":"1.0","release":7,"signature":"MEU=","allow_downgrade":true,"probation_s":90}`: want{
			URI: "s3://bucket/x.tar", SHA256: sha, Version: "1.0", Release: 7, Signature: "MEU=", AllowDowngrade: true, Probation: 90 * time.Second,
		},
		`{"uri":"oci://host/repo:tag"}`:                        want{URI: "oci://host/repo:tag"},
		`{"uri":"oci://host/repo@sha256:` + sha + `"}`:         want{URI: "oci://host/repo@sha256:" + sha, SHA256: sha},
		`{"uri":"oci://host/repo:tag","sha256":"` + sha + `"}`: want{URI: "oci://host/repo:tag", SHA256: sha},
		`{"uri":"builtin"}`:                                    want{URI: Builtin},
		`{"uri":"builtin","probation_s":5}`:                    want{URI: Builtin, Probation: 5 * time.Second},
		`{}`:                                                   "uri is missing",
		`[]`:                                                   "must be an object",
		`"s3://bucket/x"`:                                      "must be an object",
		`{"uri":"s3://bucket/x.tar"}`:                          "sha256 is missing",
		`{"uri":"s3://bucket/x.tar","sha256":"` + sha[1:] + `"}`:                      "64 hexadecimal digits",
		`{"uri":"s3://bucket/x.tar","sha256":"` + strings.ToUpper(sha) + `"}`:         "lower case",
		`{"uri":"oci://host/repo@sha256:` + sha + `","sha256":"` + digest("y") + `"}`: "leave one of them out",
		`{"uri":7}`:                                                      "uri must be text",
		`{` + good + `,"URI":"s3://b/c"}`:                                `"URI" is not a member`,
		`{` + good + `,"colour":1}`:                                      `"colour" is not a member`,
		`{` + good + `,"release":"7"}`:                                   "release must be a whole number",
		`{` + good + `,"release":7.5}`:                                   "release must be a whole number",
		`{` + good + `,"release":-7}`:                                    "must not be negative",
		`{` + good + `,"version":null}`:                                  "version must be text",
		`{` + good + `,"version":"a\nb"}`:                                "version must be",
		`{` + good + `,"allow_downgrade":1}`:                             "must be true or false",
		`{` + good + `,"probation_s":0}`:                                 "1 to 86400",
		`{` + good + `,"probation_s":1e99}`:                              "a whole number of seconds",
		`{` + good + `,"signature":"` + strings.Repeat("A", 2000) + `"}`: "at most 1024",
		`{"uri":"builtin","sha256":"` + sha + `"}`:                       "leave the others out",
		`{"uri":"ftp://host/x","sha256":"` + sha + `"}`:                  "write s3, oci, https or file",
	} {
		o := parseOrder(json.RawMessage(text))
		if w, ok := expected.(want); ok {
			w.Public = w.URI
			if o.bad.Code != "" || o.want != w {
				t.Errorf("%s: %+v", text, o)
			}
			continue
		}
		code := string(CodeBadDesired)
		if strings.Contains(text, "ftp") {
			code = string(artifact.CodeBadReference)
		}
		if words := expected.(string); o.want != (want{}) || o.bad.Code != code || !strings.Contains(o.bad.Message, words) {
			t.Errorf("%s: %+v; want %q", text, o, words)
		}
	}
}

func TestParseDocument(t *testing.T) {
	slots := []string{"a", "b"}
	good := one(model{name: "m"})
	for text, want := range map[string]string{ // slot=code for those in trouble
		`{}`: "", `{"models":null}`: "", `{"models":{}}`: "", string(good): "default=unknown_slot",
		``: "a=bad_desired b=bad_desired", `[]`: "a=bad_desired b=bad_desired", `{"models":[]}`: "a=bad_desired b=bad_desired",
		`{"models":1}`: "a=bad_desired b=bad_desired",
		`{"models":{"a":1,"b":{"uri":"builtin"}}}`:         "a=bad_desired",
		`{"models":{"c":null}}`:                            "",
		`{"models":{"z":1,"y":1,"x":1}}`:                   "x=unknown_slot y=unknown_slot",
		`{"x":"` + strings.Repeat("x", maxDocument) + `"}`: "a=bad_desired b=bad_desired",
	} {
		doc := parseDocument(json.RawMessage(text), slots)
		var got []string
		for _, name := range slots {
			if code := doc.orders[name].bad.Code; code != "" {
				got = append(got, name+"="+code)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(doc.unknown)) {
			got = append(got, name+"="+doc.unknown[name].Code)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%.60s: %q, want %q", text, got, want)
		}
	}
}

func FuzzDesire(f *testing.F) {
	for _, text := range []string{
		string(one(model{name: "m"})), `{"models":{"a":{"uri":"builtin"},"b":null,"c":{}}}`, `{"models":[]}`, `{`, "",
		`{"models":{"a":{"uri":"oci://host/repo:tag","release":1,"version":"x","probation_s":3,"allow_downgrade":true,"signature":"s"}}}`,
		`{"models":{"a":{"uri":"https://host/x?y=z","sha256":"` + digest("x") + `"}}}`,
	} {
		f.Add([]byte(text))
	}
	slots := []string{"a", "b"}
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc := parseDocument(raw, slots)
		if len(doc.orders) != len(slots) || len(doc.unknown) > maxUnknown {
			t.Fatalf("%+v", doc)
		}
		for _, o := range doc.orders {
			switch w := o.want; {
			case o.bad.Code != "" && w != (want{}):
				t.Fatalf("refused and wanted: %+v", o)
			case w.nothing() || w.builtin():
			case w.SHA256 != "" && !isDigest(w.SHA256), w.Release < 0, strings.Contains(w.Public, "?") && strings.HasPrefix(w.URI, "https"):
				t.Fatalf("%+v", w)
			}
		}
		if doc.models == nil {
			return
		}
		// What the store keeps says the same at the next start.
		kept, err := json.Marshal(kept{Models: doc.models})
		if err != nil {
			t.Fatal(err)
		}
		again := parseDocument(kept, slots)
		if len(kept) <= maxDocument && !cmp.Equal(doc.orders, again.orders, cmp.AllowUnexported(order{})) {
			t.Fatalf("%+v\n%+v", doc.orders, again.orders)
		}
	})
}

func TestCodes(t *testing.T) {
	seen := map[Code]bool{}
	for _, info := range Codes() {
		if seen[info.Code] || info.Meaning == "" || info.Handling == "" {
			t.Errorf("%+v", info)
		}
		seen[info.Code] = true
	}
}

func TestNewRefuses(t *testing.T) {
	within(t, "", func(t *testing.T, dir string) {
		dev := boot(t, newWorld(), dir, nil)
		fine := Options{Store: dev.store, Source: dev.w, Host: dev.w, Slots: []string{"a"}}
		for name, change := range map[string]func(*Options){
			"no store":  func(o *Options) { o.Store = nil },
			"no slots":  func(o *Options) { o.Slots = nil },
			"twice":     func(o *Options) { o.Slots = []string{"a", "a"} },
			"bad name":  func(o *Options) { o.Slots = []string{"A"} },
			"probation": func(o *Options) { o.Probation = Probation{MinFrames: 1} },
		} {
			o := fine
			change(&o)
			if _, err := New(o); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		dev.after(time.Second)
		if err := dev.Run(t.Context()); err == nil {
			t.Error("Run twice: no error")
		}
	})
}
