package bench

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestEvaluateCategoriesAndCounts(t *testing.T) {
	t.Parallel()
	a := annotated(
		Object{ImageID: 5, CategoryID: 7, BBox: [4]float64{0, 0, 50, 50}, Area: 2500},
		object(0, 0, 100, 100), object(200, 200, 100, 100), crowdOf(0, 0, 300, 300),
	)
	got, err := Evaluate(a, []Result{found(0.5, 0, 0, 100, 100), found(0.4, 400, 400, 10, 10)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Images != 2 || got.Objects != 3 || got.Results != 2 {
		t.Errorf("images, objects, results = %d, %d, %d, want 2, 3, 2", got.Images, got.Objects, got.Results)
	}
	want := []CategoryAP{
		{ID: 3, Name: "cat", Objects: 2, AP: 51.0 / 101, AP50: 51.0 / 101},
		{ID: 7, Name: "cup", Objects: 1},
	}
	if len(got.Categories) != len(want) {
		t.Fatalf("categories = %+v, want %+v", got.Categories, want)
	}
	for i, w := range want {
		g := got.Categories[i]
		if g.ID != w.ID || g.Name != w.Name || g.Objects != w.Objects || math.Abs(g.AP-w.AP) > 1e-12 || math.Abs(g.AP50-w.AP50) > 1e-12 {
			t.Errorf("category %d = %+v, want %+v", i, g, w)
		}
	}
}

func TestThresholds(t *testing.T) {
	t.Parallel()
	// What NumPy 1.24 prints for arange(.5, .96, .05).
	want := [...]float64{
		0.5, 0.55, 0.6000000000000001, 0.6500000000000001, 0.7000000000000002,
		0.7500000000000002, 0.8000000000000003, 0.8500000000000003, 0.9000000000000004, 0.9500000000000004,
	}
	if got := thresholds(); got != want {
		t.Errorf("thresholds = %v, want %v", got, want)
	}
}

func TestEvaluateRefuses(t *testing.T) {
	t.Parallel()
	sound := object(0, 0, 10, 10)
	tests := []struct {
		name    string
		spoil   func(a *Annotations)
		results []Result
		want    string
	}{
		{"unknown image", nil, []Result{found(0.5, 0, 0, 1, 1), in(99, found(0.5, 0, 0, 1, 1))}, "evaluate: results[1]: image_id 99 is not the id of any of the 2 images"},
		{"unknown category", nil, []Result{{ImageID: 10, CategoryID: 4, Score: 0.5}}, "evaluate: results[0]: category_id 4 is not the id of any of the 2 categories"},
		{"score too high", nil, []Result{found(87, 0, 0, 1, 1)}, "evaluate: results[0]: score is 87; it must be within 0..1"},
		{"score NaN", nil, []Result{found(math.NaN(), 0, 0, 1, 1)}, "evaluate: results[0]: score is NaN; it must be within 0..1"},
		{"box NaN", nil, []Result{found(0.5, math.NaN(), 0, 1, 1)}, "evaluate: results[0]: bbox x must be a number of pixels within ±100000, not NaN"},
		{"box infinite", nil, []Result{found(0.5, 0, math.Inf(-1), 1, 1)}, "evaluate: results[0]: bbox y must be a number of pixels within ±100000, not -Inf"},
		{"box of corners", nil, []Result{found(0.5, 50, 50, 10, -40)}, "evaluate: results[0]: bbox height is -40; bbox is [x, y, width, height] with sizes of 0 or more (not corners)"},
		{"image twice", func(a *Annotations) { a.Images[1].ID = 10 }, nil, "evaluate: images[0] and images[1] share the id 10; ids must differ"},
		{"category twice", func(a *Annotations) { a.Categories[1].ID = 7 }, nil, "evaluate: categories[0] and categories[1] share the id 7; ids must differ"},
		{"area NaN", func(a *Annotations) { a.Objects[0].Area = math.NaN() }, nil, "evaluate: annotations[0]: area is NaN; it must be within 0..1e+10 square pixels"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := annotated(sound)
			if tt.spoil != nil {
				tt.spoil(a)
			}
			_, err := Evaluate(a, tt.results)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error = %v\nwant    %s", err, tt.want)
			}
		})
	}
}

// The order of results means nothing as long as no two scores are equal.
func TestEvaluateIgnoresTheOrderOfResults(t *testing.T) {
	t.Parallel()
	a, results := randomCase(rand.NewPCG(3, 4))
	for i := range results {
		results[i].Score = float64(i) / float64(len(results))
	}
	want, err := Evaluate(a, results)
	if err != nil {
		t.Fatal(err)
	}
	if want.AP <= 0 || want.AP >= 1 {
		t.Fatalf("AP = %v shows nothing", want.AP)
	}
	r := rand.New(rand.NewPCG(5, 6))
	r.Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
	got, err := Evaluate(a, results)
	if err != nil {
		t.Fatal(err)
	}
	compareAP(t, got, want, 0)
}

// BenchmarkEvaluate scores a set as large as COCO's val2017 with as many detections as detectors are allowed.
func BenchmarkEvaluate(b *testing.B) {
	const images, categories, objectsEach, resultsEach = 5000, 80, 7, 300
	r := rand.New(rand.NewPCG(7, 8))
	a := &Annotations{}
	for id := range categories {
		a.Categories = append(a.Categories, Category{ID: id, Name: strings.Repeat("x", id+1)})
	}
	box := func() [4]float64 {
		return [4]float64{r.Float64() * 500, r.Float64() * 400, r.Float64() * 140, r.Float64() * 140}
	}
	var results []Result
	for id := range int64(images) {
		a.Images = append(a.Images, Image{ID: id, FileName: "x", Width: 640, Height: 480})
		for range objectsEach {
			v := box()
			a.Objects = append(a.Objects, Object{ImageID: id, CategoryID: r.IntN(categories), BBox: v, Area: v[2] * v[3]})
		}
		for range resultsEach {
			results = append(results, Result{ImageID: id, CategoryID: r.IntN(categories), BBox: box(), Score: r.Float64()})
		}
	}
	for b.Loop() {
		if _, err := Evaluate(a, results); err != nil {
			b.Fatal(err)
		}
	}
}
