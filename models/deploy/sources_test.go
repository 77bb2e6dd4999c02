package deploy

import (
	"encoding/json"
	"testing"

	"gnomon/models/store"
)

// What the document says of the sources is kept for the next start, whatever the models in it are, and survives one
// that cannot be read.
func TestSourcesAreKept(t *testing.T) {
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d, err := New(Options{Store: s, Source: idle{}, Host: idle{}, Slots: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ doc, want string }{
		{`{"sources":{"street":{"enabled":false}}}`, `{"street":{"enabled":false}}`},
		{`{"models":{"a":7},"sources":{"street":{"enabled":true}}}`, `{"street":{"enabled":true}}`},
		{`[]`, `{"street":{"enabled":true}}`},
		{`{"models":{}}`, ``},
	} {
		if err := d.adopt(json.RawMessage(c.doc)); err != nil {
			t.Fatal(err)
		}
		var k kept
		if err := json.Unmarshal(s.State().Desired, &k); err != nil || string(k.Sources) != c.want {
			t.Errorf("%s: kept %s (%v), want %s", c.doc, s.State().Desired, err, c.want)
		}
	}
}

// idle is a Source and a Host that nobody calls.
type idle struct {
	Source
	Host
}
