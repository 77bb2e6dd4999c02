package bench

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriteResults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		results []Result
		want    string
	}{
		{"none", nil, "[\n]\n"},
		{
			"rounded, trailing zeros dropped",
			[]Result{
				{ImageID: 397133, CategoryID: 1, BBox: [4]float64{382.014, 68.605001, 127.8, 281.999}, Score: 0.629194},
				{ImageID: -5, CategoryID: 90, BBox: [4]float64{-0.001, -12.345, 0, 100000}, Score: 1},
				{ImageID: 908400255165, CategoryID: 0, BBox: [4]float64{0.1, 0.01, 0.001, 100}, Score: 0.000004},
			},
			`[
{"image_id":397133,"category_id":1,"bbox":[382.01,68.61,127.8,282],"score":0.62919},
{"image_id":-5,"category_id":90,"bbox":[0,-12.35,0,100000],"score":1},
{"image_id":908400255165,"category_id":0,"bbox":[0.1,0.01,0,100],"score":0}
]
`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := WriteResults(&b, tt.results); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// brokenWriter takes a number of bytes and then fails.
type brokenWriter struct{ room int }

var errFull = errors.New("disk full")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if len(p) > w.room {
		return 0, errFull
	}
	w.room -= len(p)
	return len(p), nil
}

func TestWriteResultsFails(t *testing.T) {
	t.Parallel()
	many := make([]Result, 3000) // more than flushBytes of text
	if err := WriteResults(&brokenWriter{}, many); !errors.Is(err, errFull) {
		t.Errorf("first write fails: %v", err)
	}
	if err := WriteResults(&brokenWriter{room: flushBytes + 1000}, many); !errors.Is(err, errFull) {
		t.Errorf("last write fails: %v", err)
	}
	var b bytes.Buffer
	err := WriteResults(&b, append(many, Result{Score: math.Inf(1)}))
	if want := "write results: results[3000]: score is +Inf; it must be within 0..1"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	if b.Len() != 0 {
		t.Errorf("%d bytes written before the refusal", b.Len())
	}
}

func TestReadResultsRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"empty", "", "read results: line 1, column 1: not JSON: unexpected end of JSON input"},
		{"instances instead", `{"images": []}`, "read results: results: line 1, column 1: there must be a list […] here"},
		{"truncated", "[\n{\"image_id\":1", "read results: line 2, column 13: not JSON: unexpected end of JSON input"},
		{"no object", "[1]", "read results: results[0] (line 1, column 2): is a number; it must be an object"},
		{"no image", "[{}]", "read results: results[0] (line 1, column 2): has no image_id (the id of one of the images)"},
		{"no category", `[{"image_id": 1}]`, "read results: results[0] (line 1, column 2): has no category_id (the id of one of the categories)"},
		{"no box", `[{"image_id": 1, "category_id": 1}]`, "read results: results[0] (line 1, column 2): has no bbox ([x, y, width, height] in pixels)"},
		{"no score", `[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}]`, "read results: results[0] (line 1, column 2): has no score (confidence in 0..1)"},
		{"mask only", `[{"image_id": 1, "category_id": 1, "bbox": null, "score": 1}]`, "read results: results[0] (line 1, column 2): has no bbox ([x, y, width, height] in pixels)"},
		{"bad box", "[\n{\"image_id\": 1, \"category_id\": 1, \"bbox\": [0], \"score\": 1}]", "read results: results[0] (line 2, column 1): bbox has 1 numbers; it must be [x, y, width, height]"},
		{"percent", `[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 55}]`, "read results: results[0] (line 1, column 2): score is 55; it must be within 0..1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := ReadResults(strings.NewReader(tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error = %v\nwant    %s", err, tt.want)
			}
		})
	}
}

func FuzzReadResults(f *testing.F) {
	f.Add([]byte(`[{"image_id":397133,"category_id":1,"bbox":[382.01,68.61,127.8,281.96],"score":0.62919}]`))
	f.Add([]byte("[\n]\n"))
	f.Add([]byte(`[{"image_id":1,"category_id":1,"bbox":[-0.004,99999.999,1e-9,0],"score":1e-9,"segmentation":{}}]`))
	f.Add([]byte(`[null,{"bbox":[null]},[],{"score":"1"}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		results, err := ReadResults(bytes.NewReader(text))
		if err != nil {
			return
		}
		// What was accepted can be written and read again, unchanged but for the rounding; and once rounded it
		// stays as it is.
		var first, second bytes.Buffer
		if err := WriteResults(&first, results); err != nil {
			t.Fatal(err)
		}
		again, err := ReadResults(bytes.NewReader(first.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if len(again) != len(results) {
			t.Fatalf("%d results became %d", len(results), len(again))
		}
		for i, r := range results {
			g := again[i]
			same := g.ImageID == r.ImageID && g.CategoryID == r.CategoryID && math.Abs(g.Score-r.Score) <= 0.0000051
			for k := range r.BBox {
				same = same && math.Abs(g.BBox[k]-r.BBox[k]) <= 0.0051
			}
			if !same {
				t.Fatalf("%+v became %+v", r, g)
			}
		}
		if err := WriteResults(&second, again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Fatalf("written twice:\n%s\n%s", first.Bytes(), second.Bytes())
		}
	})
}
