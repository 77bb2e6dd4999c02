package yamldoc_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gnomon/config/yamldoc"
)

type file struct {
	Name  string           `yaml:"name"`
	On    bool             `yaml:"on"`
	Count int              `yaml:"count"`
	Small uint8            `yaml:"small"`
	Ratio float32          `yaml:"ratio"`
	Limit *float64         `yaml:"limit"`
	MQTT  mqtt             `yaml:"mqtt"`
	Cams  map[string]cam   `yaml:"cams"`
	Mean  []float32        `yaml:"mean"`
	Shape side             `yaml:"shape"`
	Rows  []map[string]int `yaml:"rows"`

	Ignored string `yaml:"-"`
	NoTag   string
	hidden  string `yaml:"hidden"`
}

type mqtt struct {
	Broker    string `yaml:"broker"`
	KeepAlive int    `yaml:"keep_alive"`
	Username  string `yaml:"username"`
}

type cam struct {
	URI     string `yaml:"uri"`
	Enabled bool   `yaml:"enabled"`
}

func (c *cam) SetDefaults() { c.Enabled = true }

// side is one number or a list of two.
type side [2]int

func (s *side) UnmarshalNode(n yamldoc.Node) error {
	switch n.Kind() {
	case yamldoc.Number:
		if n.Decode(&s[0]) {
			s[1] = s[0]
		}
		return nil
	case yamldoc.List:
		var both []int
		if !n.Decode(&both) {
			return nil
		}
		if len(both) != 2 {
			return fmt.Errorf("must have 2 entries, not %d", len(both))
		}
		copy(s[:], both)
		return nil
	default:
		return fmt.Errorf("must be a number or a list of two, not %s", n.Describe())
	}
}

func TestDecode(t *testing.T) {
	const text = "\uFEFF# a comment\r\n" + `
name: "x\ty"   # quoted
on: True
count: -3
small: 255
ratio: 1e-3
limit: 2
mqtt:
cams:
  front: {uri: 'rtsp://h/1#a'}
  "cam.2":
    uri: |
      two
      lines
    enabled: false
  3: {uri: plain text, with a comma}
mean: [1, 2.5, -3]
shape: [4, 5]
rows:
- a: 1
  b: 2
- {}
`
	two := 2.0
	want := file{
		Name: "x\ty", On: true, Count: -3, Small: 255, Ratio: 0.001, Limit: &two,
		MQTT: mqtt{Broker: "kept", KeepAlive: 60},
		Cams: map[string]cam{
			"front": {URI: "rtsp://h/1#a", Enabled: true},
			"cam.2": {URI: "two\nlines\n"},
			"3":     {URI: "plain text", Enabled: true},
		},
		Mean: []float32{1, 2.5, -3}, Shape: side{4, 5},
		Rows: []map[string]int{{"a": 1, "b": 2}, {}}, Ignored: "kept", hidden: "kept",
	}
	got := file{
		Ignored: "kept", hidden: "kept",
		MQTT: mqtt{Broker: "kept", KeepAlive: 60},
		Cams: map[string]cam{"gone": {URI: "replaced"}},
		Mean: []float32{9, 9, 9, 9},
	}
	if _, err := yamldoc.Decode("f.yaml", []byte(text), &got); err == nil {
		t.Fatal("a comma inside a flow mapping ends the value, so what follows is an unknown key")
	}
	clean := strings.Replace(text, "{uri: plain text, with a comma}", "{uri: plain text}", 1)
	if _, err := yamldoc.Decode("f.yaml", []byte(clean), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(file{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestDecodeNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "~", "null\n...\n"} {
		got := file{Name: "kept"}
		doc, err := yamldoc.Decode("f.yaml", []byte(text), &got)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(file{Name: "kept"}, got, cmp.AllowUnexported(file{})); diff != "" {
			t.Errorf("%q: -want +got\n%s", text, diff)
		}
		if line, col := doc.Pos("mqtt.broker"); line != 1 || col != 1 {
			t.Errorf("%q: position %d:%d, want 1:1", text, line, col)
		}
	}
}

func TestPosAndLocate(t *testing.T) {
	const text = `name: a
mqtt:
  broker: x
cams:
  "c.1": {uri: x}
  d:
    uri: y
mean:
- 1
-  2
shape: [3, 4]
`
	doc, err := yamldoc.Decode("f.yaml", []byte(text), &file{})
	if err != nil {
		t.Fatal(err)
	}
	dotted := yamldoc.Key(yamldoc.Key("", "cams"), "c.1")
	for path, want := range map[string][2]int{
		"":                         {1, 1},
		"name":                     {1, 7},
		"count":                    {1, 1},
		"mqtt":                     {2, 1},
		"mqtt.broker":              {3, 11},
		"mqtt.username":            {2, 1},
		dotted:                     {5, 10},
		yamldoc.Key(dotted, "uri"): {5, 16},
		dotted + ".enabled":        {5, 3},
		"cams.d":                   {6, 3},
		"cams.d.enabled":           {6, 3},
		yamldoc.Index("mean", 1):   {10, 4},
		yamldoc.Index("mean", 7):   {8, 1},
		"shape":                    {11, 8},
	} {
		if line, col := doc.Pos(path); line != want[0] || col != want[1] {
			t.Errorf("Pos(%s) = %d:%d, want %d:%d", path, line, col, want[0], want[1])
		}
	}
	for path, want := range map[string]bool{"mqtt": true, "mqtt.broker": true, "mqtt.username": false, dotted: true, "": false} {
		if got := doc.Has(path); got != want {
			t.Errorf("Has(%s) = %t", path, got)
		}
	}
	if err := doc.Locate(nil); err != nil {
		t.Errorf("no problems, but %v", err)
	}
	given := []yamldoc.Problem{
		{Path: yamldoc.Key(dotted, "uri"), Message: "b"},
		{Path: "count", Message: "first"},
		{Path: "mqtt.broker", Message: "a"},
		{Path: "count", Message: "second"},
	}
	kept := slices.Clone(given)
	const want = "f.yaml:1:1: first\nf.yaml:1:1: second\nf.yaml:3:11: a\nf.yaml:5:16: b"
	if err := doc.Locate(given); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if !slices.Equal(given, kept) {
		t.Error("Locate changed what it was given")
	}
	if got := (&yamldoc.Error{Name: "x", Problems: []yamldoc.Problem{{Message: "m"}}}).Error(); got != "x: m" {
		t.Errorf("without a position: %q", got)
	}
}
