package golden

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gnomon/engine/detect"
)

const example = `{"format":1,"iou":0.9,"score":0.05,"pictures":[
	{"file":"street.jpg","detections":[{"class_id":0,"score":0.87,"box":[12.5,40,88.1,210.4]}]},
	{"file":"more/empty.jpg","detections":[]}]}`

// folder is a model's folder with golden pictures and a file outside.
func folder(t testing.TB, description string) *os.Root {
	t.Helper()
	dir := t.TempDir()
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "m/golden/more"), 0o700),
		os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600),
		os.WriteFile(filepath.Join(dir, "m/golden/golden.json"), []byte(description), 0o600),
		os.WriteFile(filepath.Join(dir, "m/golden/street.jpg"), nil, 0o600),
		os.WriteFile(filepath.Join(dir, "m/golden/more/empty.jpg"), nil, 0o600),
		os.Symlink("../../secret", filepath.Join(dir, "m/golden/link.jpg")),
	)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "m"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() }) //nolint:errcheck // it was only read
	return root
}

func TestRead(t *testing.T) {
	got, err := Read(folder(t, example), "golden/golden.json")
	want := &Golden{IoU: 0.9, Score: 0.05, Pictures: []Picture{
		{"street.jpg", "golden/street.jpg", []detect.Detection{{Box: detect.Box{X1: 12.5, Y1: 40, X2: 88.1, Y2: 210.4}, Score: 0.87}}},
		{"more/empty.jpg", "golden/more/empty.jpg", []detect.Detection{}},
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestReadErrors(t *testing.T) {
	picture := func(file, detections string) string {
		return `{"format":1,"iou":0.9,"score":0.05,"pictures":[{"file":"` + file + `","detections":[` + detections + `]}]}`
	}
	one := func(detection string) string { return picture("street.jpg", detection) }
	many := strings.TrimSuffix(strings.Repeat(`{"file":"street.jpg","detections":[]},`, 65), ",")
	for _, tt := range []struct{ text, want string }{
		{"", "not the JSON"},
		{"[]", "not the JSON"},
		{example + "x", "something after its end"},
		{strings.Replace(example, `"iou"`, `"IuO"`, 1), `unknown field "IuO"`},
		{strings.Replace(example, `1`, `2`, 1), "format must be 1"},
		{strings.Replace(example, `"format":1,`, ``, 1), "format must be 1"},
		{strings.Replace(example, `"iou":0.9,`, ``, 1), "iou must be a number above 0"},
		{strings.Replace(example, `0.9`, `0`, 1), "iou must be a number above 0"},
		{strings.Replace(example, `0.9`, `1.01`, 1), "iou must be a number above 0"},
		{strings.Replace(example, `0.9`, `null`, 1), "iou must be a number above 0"},
		{strings.Replace(example, `0.05`, `-1`, 1), "score must be a number from 0 to 1"},
		{strings.Replace(example, `"score":0.05,`, ``, 1), "score must be a number from 0 to 1"},
		{`{"format":1,"iou":0.9,"score":0.05,"pictures":[]}`, "pictures must have 1 to 64 entries, not 0"},
		{`{"format":1,"iou":0.9,"score":0.05,"pictures":[` + many + `]}`, "pictures must have 1 to 64 entries, not 65"},
		{strings.Replace(example, "more/empty.jpg", "street.jpg", 1), `pictures[1]: file "street.jpg" is there twice`},
		{picture("", ""), "must have 1 to 255 bytes"},
		{picture("../secret", ""), "must lie in the folder"},
		{picture("/secret", ""), "must lie in the folder"},
		{picture("more/../street.jpg", ""), "must lie in the folder"},
		{picture(".", ""), "must lie in the folder"},
		{picture(`a\\b`, ""), "has a backslash"},
		{picture("c:x", ""), "has a backslash"},
		{picture(`x\n`, ""), "cannot be printed"},
		{picture("x\xff", ""), "cannot be printed"},
		{picture("none.jpg", ""), "no such file"},
		{picture("more", ""), "not a regular file"},
		{picture("link.jpg", ""), "not a regular file"},
		{`{"format":1,"iou":0.9,"score":0.05,"pictures":[{"file":"street.jpg"}]}`, "detections is missing"},
		{one(strings.TrimSuffix(strings.Repeat(`{},`, 1001), ",")), "detections has 1001 entries"},
		{one(strings.TrimSuffix(strings.Repeat(`{},`, 70000), ",")), "more than 64 pictures"},
		{one(`{"score":0.5,"box":[0,0,1,1]}`), "class_id must be a whole number"},
		{one(`{"class_id":-1,"score":0.5,"box":[0,0,1,1]}`), "class_id must be a whole number"},
		{one(`{"class_id":65535,"score":0.5,"box":[0,0,1,1]}`), "class_id must be a whole number"},
		{one(`{"class_id":0.5,"score":0.5,"box":[0,0,1,1]}`), "not the JSON"},
		{one(`{"class_id":0,"box":[0,0,1,1]}`), "detections[0]: score must be"},
		{one(`{"class_id":0,"score":1.1,"box":[0,0,1,1]}`), "detections[0]: score must be"},
		{one(`{"class_id":0,"score":1}`), "box must have 4 numbers"},
		{one(`{"class_id":0,"score":1,"box":[0,0,1]}`), "box must have 4 numbers"},
		{one(`{"class_id":0,"score":1,"box":[0,0,1,1,1]}`), "box must have 4 numbers"},
		{one(`{"class_id":0,"score":1,"box":[10,0,1,1]}`), "has no area"},
		{one(`{"class_id":0,"score":1,"box":[0,0,1,2e6]}`), "has the corner 2e+06"},
		{one(`{"class_id":0,"score":1,"box":[0,0,1,1e99]}`), "not the JSON"},
		{example + strings.Repeat(" ", maxFile), "more than the"},
	} {
		g, err := Read(folder(t, tt.text), "golden/golden.json")
		if g != nil || !strings.Contains(fmt.Sprint(err), tt.want) || !strings.HasPrefix(fmt.Sprint(err), "golden pictures golden/golden.json: ") {
			t.Errorf("%.200s: %.300v, want %q", tt.text, err, tt.want)
		}
	}
	for _, name := range []string{"../secret", "golden", "golden/link.jpg", "none.json"} {
		if g, err := Read(folder(t, example), name); g != nil || err == nil {
			t.Errorf("%s: %v", name, g)
		}
	}
}

func at(class int, score, x float32) detect.Detection {
	return detect.Detection{Box: detect.Box{X1: x, Y1: 0, X2: x + 100, Y2: 100}, Score: score, ClassID: class}
}

func TestCompare(t *testing.T) {
	nan := float32(math.NaN())
	for _, tt := range []struct {
		name      string
		want, got []detect.Detection
		text      string // what the error says; empty for none
	}{
		{"the same", []detect.Detection{at(0, 0.9, 0), at(1, 0.5, 300)}, []detect.Detection{at(1, 0.5, 300), at(0, 0.9, 0)}, ""},
		{"within the tolerances", []detect.Detection{at(0, 0.9, 0)}, []detect.Detection{at(0, 0.85, 5)}, ""},
		{"nothing and nothing", nil, nil, ""},
		{"two that overlap", []detect.Detection{at(0, 0.9, 0), at(0, 0.88, 3)}, []detect.Detection{at(0, 0.88, 3), at(0, 0.9, 0)}, ""},
		{"surplus of a low score", []detect.Detection{at(0, 0.9, 0)}, []detect.Detection{at(0, 0.9, 0), at(0, 0.35, 500)}, ""},
		{"missing", []detect.Detection{at(3, 0.9, 0)}, nil, "golden picture p0: class 3 at [0.0 0.0 100.0 100.0] with score 0.900 is missing, and nothing found there"},
		{"too far", []detect.Detection{at(0, 0.9, 0)}, []detect.Detection{at(0, 0.9, 6)}, "score 0.900 is missing, nearest found is class 0 at [6.0 0.0 106.0 100.0] with score 0.900, IoU 0.887; class 0 at [6.0 0.0 106.0 100.0] with score 0.900 is surplus, nearest expected is class 0 at [0.0 0.0 100.0 100.0] with score 0.900, IoU 0.887"},
		{"other class", []detect.Detection{at(0, 0.9, 0)}, []detect.Detection{at(1, 0.9, 0)}, "is missing, nearest found is class 1"},
		{"score too low", []detect.Detection{at(0, 0.9, 0)}, []detect.Detection{at(0, 0.84, 0)}, "with score 0.840, IoU 1.000"},
		{"score too high", []detect.Detection{at(0, 0.5, 0)}, []detect.Detection{at(0, 0.56, 0)}, "with score 0.560, IoU 1.000"},
		{"surplus", []detect.Detection{at(0, 0.9, 0)}, []detect.Detection{at(0, 0.9, 0), at(0, 0.4, 500)}, "class 0 at [500.0 0.0 600.0 100.0] with score 0.400 is surplus, and nothing expected there"},
		{"surplus where nothing is", nil, []detect.Detection{at(0, 0.4, 500)}, "is surplus"},
		{"one twice", []detect.Detection{at(0, 0.9, 0)}, []detect.Detection{at(0, 0.9, 0), at(0, 0.9, 1)}, "is surplus"},
		{"two for one", []detect.Detection{at(0, 0.9, 0), at(0, 0.9, 1)}, []detect.Detection{at(0, 0.9, 0)}, "class 0 at [1.0"},
		{"no number as a score", []detect.Detection{at(0, 0.9, 0)}, []detect.Detection{at(0, 0.9, 0), at(0, nan, 500)}, "no numbers"},
		{"no number as a corner", []detect.Detection{at(0, 0.9, 0)}, []detect.Detection{at(0, 0.9, nan)}, "no numbers"},
		{"many", []detect.Detection{at(0, 0.9, 0), at(1, 0.9, 0), at(2, 0.9, 0), at(3, 0.9, 0), at(4, 0.9, 0)}, nil, "; and 2 more"},
	} {
		// The lowest score of all is in another picture.
		g := &Golden{IoU: 0.9, Score: 0.05, Pictures: []Picture{{File: "p0", Detections: tt.want}, {File: "p1", Detections: []detect.Detection{at(0, 0.3, 0)}}}}
		err := g.Compare(0, tt.got)
		if (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v\nwant %q", tt.name, err, tt.text)
		}
	}
	empty := &Golden{IoU: 0.9, Score: 0.05, Pictures: []Picture{{File: "p"}}}
	if err := empty.Compare(0, []detect.Detection{at(0, 0.04, 0)}); err != nil {
		t.Errorf("a score of next to nothing where nothing is expected at all: %v", err)
	}
	if err := empty.Compare(0, []detect.Detection{at(0, 0.06, 0)}); err == nil {
		t.Error("found where nothing is expected at all")
	}
	for _, i := range []int{-1, 1} {
		if err := empty.Compare(i, nil); err == nil {
			t.Errorf("picture %d was compared", i)
		}
	}
}

// FuzzParse: whatever the bytes, an error or a description within the limits, which finds in itself no difference.
func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(`{"format":1,"iou":1,"score":0,"pictures":[{"file":"a","detections":[{"class_id":1,"score":0,"box":[-1,-1,1e-3,1]},{"class_id":1,"score":1,"box":[0,0,1,1]}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := parse(data)
		if err != nil {
			if g != nil {
				t.Fatal(err)
			}
			return
		}
		if len(g.Pictures) < 1 || len(g.Pictures) > maxPictures || !(g.IoU > 0 && g.IoU <= 1) || !(g.Score >= 0 && g.Score <= 1) {
			t.Fatalf("%+v", g)
		}
		for i, p := range g.Pictures {
			if !filepath.IsLocal(p.File) || len(p.Detections) > maxDetections {
				t.Fatalf("%+v", p)
			}
			for _, d := range p.Detections {
				if !finite(d) || d.Box.Area() <= 0 {
					t.Fatalf("%+v", d)
				}
			}
			if err := g.Compare(i, p.Detections); err != nil && len(p.Detections) < 2 {
				t.Fatal(err)
			}
		}
	})
}
