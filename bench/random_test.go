package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// randomCase draws a data set that meets every rule of the protocol: objects of all sizes and some crowds, a
// category with no object and one with nothing but a crowd, detections around objects and astray, scores of two
// decimals so that many are equal, whole-numbered boxes whose overlaps lie on thresholds, and one picture with more
// than 100 detections of one category. It draws only with Uint64, whose values are fixed for a given seed.
func randomCase(source *rand.PCG) (*Annotations, []Result) {
	below := func(n int) int { return int(source.Uint64() % uint64(n)) }
	tenths := func(low, high int) float64 { return float64(low*10+below((high-low)*10)) / 10 }
	a := &Annotations{Categories: []Category{{1, "ant"}, {2, "bee"}, {4, "cow"}, {8, "dog"}, {9, "eel"}, {11, "fox"}}}
	var results []Result
	score := func() float64 { return float64(1+below(99)) / 100 }
	find := func(o Object, shift int) {
		box := o.BBox
		for i := range box {
			box[i] = math.Round((box[i]+tenths(-shift, shift+1))*10) / 10
		}
		box[2], box[3] = max(box[2], 0), max(box[3], 0)
		results = append(results, Result{ImageID: o.ImageID, CategoryID: o.CategoryID, BBox: box, Score: score()})
	}
	for i := range 14 {
		id := int64(900 - 37*i) // falling, so that the order of images is not that of their ids
		a.Images = append(a.Images, Image{ID: id, FileName: string(rune('a'+i)) + ".png", Width: 640, Height: 480})
		for range 7 {
			side := [...]int{24, 90, 260}[below(3)]
			o := Object{ImageID: id, CategoryID: [...]int{1, 2, 4, 8}[below(4)]}
			o.BBox = [4]float64{tenths(0, 400), tenths(0, 300), tenths(8, side), tenths(8, side)}
			if below(3) == 0 {
				for k, v := range o.BBox {
					o.BBox[k] = math.Round(v/10)*10 + 10
				}
			}
			o.Area = math.Round(o.BBox[2]*o.BBox[3]*float64(50+below(51))) / 100
			o.Crowd = below(9) == 0
			a.Objects = append(a.Objects, o)
			for range below(4) {
				find(o, 1+below(12))
			}
			if below(3) == 0 { // a whole number of tenths of the object's height
				cut := o
				cut.BBox[3] = math.Round(cut.BBox[3]*float64(5+below(5))) / 10
				results = append(results, Result{ImageID: id, CategoryID: o.CategoryID, BBox: cut.BBox, Score: score()})
			}
			o.CategoryID = [...]int{1, 2, 4, 8, 9}[below(5)]
			find(o, 60)
		}
	}
	a.Objects = append(a.Objects, Object{ImageID: 900, CategoryID: 11, BBox: [4]float64{0, 0, 200, 200}, Area: 30000, Crowd: true})
	for range 130 {
		find(a.Objects[below(7)], 30)
		results[len(results)-1].CategoryID = 1
	}
	return a, results
}

// expected is what the README in testdata says the reference evaluation makes of the files.
type expected struct {
	AP, AP50, AP75, APs, APm, APl float64
	Categories                    map[int]float64 `json:"categories"`
}

const writeRandom = "GNOMON_WRITE_TESTDATA"

// The data in testdata are what randomCase draws, and score what an independent evaluation of these files says.
func TestEvaluateRandom(t *testing.T) {
	t.Parallel()
	a, results := randomCase(rand.NewPCG(1, 2))
	var resultsText bytes.Buffer
	if err := WriteResults(&resultsText, results); err != nil {
		t.Fatal(err)
	}
	instances, resultsFile := filepath.Join("testdata", "random_instances.json"), filepath.Join("testdata", "random_results.json")
	for path, text := range map[string][]byte{instances: instancesText(t, a), resultsFile: resultsText.Bytes()} {
		if os.Getenv(writeRandom) != "" {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if held, err := os.ReadFile(path); err != nil || !bytes.Equal(held, text) {
			t.Fatalf("%s is not what randomCase draws (%v): run the test with %s=1 and score the files anew", path, err, writeRandom)
		}
	}
	loaded, err := LoadAnnotations(instances)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, loaded); diff != "" {
		t.Errorf("annotations read differ from those drawn (-drawn +read):\n%s", diff)
	}
	read, err := ReadResults(&resultsText)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(results, read); diff != "" {
		t.Errorf("results read differ from those drawn (-drawn +read):\n%s", diff)
	}
	compareExpected(t, filepath.Join("testdata", "random_expected.json"), loaded, read)
}

// compareExpected evaluates and compares with a file of numbers rounded to four decimals.
func compareExpected(t *testing.T, path string, a *Annotations, results []Result) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want expected
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	got, err := Evaluate(a, results)
	if err != nil {
		t.Fatal(err)
	}
	const tolerance = 0.00005 + 1e-12
	compareAP(t, got, Summary{AP: want.AP, AP50: want.AP50, AP75: want.AP75, APs: want.APs, APm: want.APm, APl: want.APl}, tolerance)
	if len(got.Categories) != len(want.Categories) {
		t.Errorf("%d categories, want %d", len(got.Categories), len(want.Categories))
	}
	for _, c := range got.Categories {
		if ap, known := want.Categories[c.ID]; !known || math.Abs(ap-c.AP) > tolerance {
			t.Errorf("category %d has AP %.6f, want %.4f (known: %t)", c.ID, c.AP, ap, known)
		}
	}
}

// instancesText writes annotations as an instances file with one element a line.
func instancesText(t *testing.T, a *Annotations) []byte {
	t.Helper()
	var b bytes.Buffer
	list := func(name string, n int, element func(i int) map[string]any) {
		b.WriteString(`"` + name + `": [`)
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			text, err := json.Marshal(element(i))
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString("\n")
			b.Write(text)
		}
		b.WriteString("\n]")
	}
	b.WriteString("{")
	list("images", len(a.Images), func(i int) map[string]any {
		m := a.Images[i]
		return map[string]any{"id": m.ID, "file_name": m.FileName, "width": m.Width, "height": m.Height}
	})
	b.WriteString(",\n")
	list("annotations", len(a.Objects), func(i int) map[string]any {
		o := a.Objects[i]
		crowd := 0
		if o.Crowd {
			crowd = 1
		}
		return map[string]any{"id": i + 1, "image_id": o.ImageID, "category_id": o.CategoryID, "bbox": o.BBox, "area": o.Area, "iscrowd": crowd}
	})
	b.WriteString(",\n")
	list("categories", len(a.Categories), func(i int) map[string]any {
		return map[string]any{"id": a.Categories[i].ID, "name": a.Categories[i].Name}
	})
	b.WriteString("}\n")
	return b.Bytes()
}
