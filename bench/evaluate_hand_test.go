package bench

import (
	"math"
	"testing"
)

// Hand-made cases live in pictures of 640x480 with one or two categories.
func annotated(objects ...Object) *Annotations {
	return &Annotations{
		Images: []Image{
			{ID: 10, FileName: "a.jpg", Width: 640, Height: 480},
			{ID: 5, FileName: "b.jpg", Width: 640, Height: 480},
		},
		Objects:    objects,
		Categories: []Category{{ID: 7, Name: "cup"}, {ID: 3, Name: "cat"}},
	}
}

// object is one of category 3 in picture 10, its area that of its box.
func object(x, y, w, h float64) Object {
	return Object{ImageID: 10, CategoryID: 3, BBox: [4]float64{x, y, w, h}, Area: w * h}
}

func crowdOf(x, y, w, h float64) Object {
	o := object(x, y, w, h)
	o.Crowd = true
	return o
}

// found is a result of category 3 in picture 10.
func found(score, x, y, w, h float64) Result {
	return Result{ImageID: 10, CategoryID: 3, BBox: [4]float64{x, y, w, h}, Score: score}
}

func in(image int64, r Result) Result {
	r.ImageID = image
	return r
}

func falseAlarms(n int, score float64) []Result {
	out := make([]Result, n)
	for i := range out {
		out[i] = found(score, 400, 400, 50, 50)
	}
	return out
}

func TestEvaluateByHand(t *testing.T) {
	t.Parallel()
	const none = NoObjects
	tests := []struct {
		name    string
		objects []Object
		results []Result
		want    Summary // AP, AP50, AP75, APs, APm, APl
	}{
		{
			// 100x100 is large.
			"perfect",
			[]Object{object(0, 0, 100, 100)},
			[]Result{found(0.5, 0, 0, 100, 100)},
			Summary{1, 1, 1, none, none, 1, 0, 0, 0, nil},
		},
		{
			"nothing found",
			[]Object{object(0, 0, 100, 100)},
			nil,
			Summary{0, 0, 0, none, none, 0, 0, 0, 0, nil},
		},
		{
			// 50/100 reaches the first of ten thresholds only.
			"IoU exactly 0.5",
			[]Object{object(0, 0, 10, 10)},
			[]Result{found(0.5, 0, 0, 10, 5)},
			Summary{0.1, 1, 0, 0.1, none, none, 0, 0, 0, nil},
		},
		{
			// The threshold called 0.60 is 0.6000000000000001: see thresholds.
			"IoU exactly 0.6",
			[]Object{object(0, 0, 10, 10)},
			[]Result{found(0.5, 0, 0, 10, 6)},
			Summary{0.2, 1, 0, 0.2, none, none, 0, 0, 0, nil},
		},
		{
			// Found first, wrong second: precision is 1 up to recall 1/2, which 51 of 101 recall points do not
			// exceed; the other object is never found.
			"half found",
			[]Object{object(0, 0, 100, 100), object(200, 200, 100, 100)},
			[]Result{found(0.9, 0, 0, 100, 100), found(0.8, 400, 400, 50, 50)},
			Summary{51.0 / 101, 51.0 / 101, 51.0 / 101, none, none, 51.0 / 101, 0, 0, 0, nil},
		},
		{
			// Right, wrong, right: precision 1 up to recall 1/2, then 2/3. Of large objects the wrong one, 50x50,
			// does not count, so precision stays 1.
			"false alarm between",
			[]Object{object(0, 0, 100, 100), object(200, 200, 100, 100)},
			[]Result{found(0.9, 0, 0, 100, 100), found(0.8, 400, 400, 50, 50), found(0.7, 200, 200, 100, 100)},
			Summary{(51 + 50*2.0/3) / 101, (51 + 50*2.0/3) / 101, (51 + 50*2.0/3) / 101, none, none, 1, 0, 0, 0, nil},
		},
		{
			// Wrong, right, right: precisions 0, 1/2, 2/3; a recall may use the best precision at a higher one, so
			// all 101 points have 2/3.
			"precision falls with recall",
			[]Object{object(0, 0, 100, 100), object(200, 200, 100, 100)},
			[]Result{found(0.9, 400, 300, 100, 100), found(0.8, 0, 0, 100, 100), found(0.7, 200, 200, 100, 100)},
			Summary{2.0 / 3, 2.0 / 3, 2.0 / 3, none, none, 2.0 / 3, 0, 0, 0, nil},
		},
		{
			// The second detection of one object is wrong, though it fits better: wrong before the next right one.
			"an object is found once",
			[]Object{object(0, 0, 100, 100), object(200, 200, 100, 100)},
			[]Result{found(0.9, 0, 0, 100, 100), found(0.8, 0, 0, 100, 100), found(0.7, 200, 200, 100, 100)},
			Summary{
				(51 + 50*2.0/3) / 101, (51 + 50*2.0/3) / 101, (51 + 50*2.0/3) / 101,
				none, none, (51 + 50*2.0/3) / 101, 0, 0, 0, nil,
			},
		},
		{
			// The best detection overlaps both objects and takes the one it overlaps more (the second, 0.9 to 0.6);
			// the other detection then has the first, with IoU 1.
			"the greater overlap is taken",
			[]Object{object(0, 0, 10, 6), object(0, 0, 10, 9)},
			[]Result{found(0.9, 0, 0, 10, 10), found(0.8, 0, 0, 10, 6)},
			// The first reaches 0.9 at eight thresholds (0.50 to 0.85; 0.90 is 0.9000000000000004). There both are
			// found: 1. At the other two: wrong, then right with recall 1/2 and precision 1/2.
			Summary{
				(8 + 2*51*0.5/101) / 10, 1, 1,
				(8 + 2*51*0.5/101) / 10, none, none, 0, 0, 0, nil,
			},
		},
		{
			// Three detections lie wholly inside the crowd: overlap by their own area is 1, none counts.
			"crowds swallow false alarms",
			[]Object{object(0, 0, 100, 100), crowdOf(300, 300, 300, 100)},
			[]Result{
				found(0.9, 310, 310, 60, 60), found(0.9, 400, 310, 60, 60), found(0.9, 310, 310, 60, 60),
				found(0.5, 0, 0, 100, 100),
			},
			Summary{1, 1, 1, none, none, 1, 0, 0, 0, nil},
		},
		{
			// The same region as one object: its best detection has IoU 3600/30000, so three wrong and then one
			// right for two objects. Of large objects, the three medium detections do not count.
			"one large object swallows nothing",
			[]Object{object(0, 0, 100, 100), object(300, 300, 300, 100)},
			[]Result{
				found(0.9, 310, 310, 60, 60), found(0.9, 400, 310, 60, 60), found(0.9, 310, 310, 60, 60),
				found(0.5, 0, 0, 100, 100),
			},
			Summary{51 * 0.25 / 101, 51 * 0.25 / 101, 51 * 0.25 / 101, none, none, 51.0 / 101, 0, 0, 0, nil},
		},
		{
			// IoU with the object is 0.64, with the crowd around it 1: while the object is free and overlaps enough
			// (0.50, 0.55, 0.60) it is taken, else the crowd swallows the detection.
			"an object comes before a crowd",
			[]Object{crowdOf(0, 0, 300, 300), object(0, 0, 80, 80)},
			[]Result{found(0.9, 0, 0, 100, 100)},
			Summary{0.3, 1, 0, none, 0.3, none, 0, 0, 0, nil},
		},
		{
			"a crowd alone is nothing to find",
			[]Object{crowdOf(0, 0, 300, 300)},
			[]Result{found(0.9, 0, 0, 100, 100)},
			Summary{none, none, none, none, none, none, 0, 0, 0, nil},
		},
		{
			// 32x32 is both small and medium.
			"the bounds of sizes belong to both",
			[]Object{object(0, 0, 32, 32)},
			[]Result{found(0.5, 0, 0, 32, 32)},
			Summary{1, 1, 1, 1, 1, none, 0, 0, 0, nil},
		},
		{
			// The size of an object is its area, not its box: a thin mask in a large box is small, and the
			// detection that finds it counts there although its own area is large.
			"size by area",
			[]Object{{ImageID: 10, CategoryID: 3, BBox: [4]float64{0, 0, 100, 100}, Area: 500}},
			[]Result{found(0.5, 0, 0, 100, 100)},
			Summary{1, 1, 1, 1, none, none, 0, 0, 0, nil},
		},
		{
			// Among small objects a large false alarm does not count; a small one would.
			"false alarms of another size",
			[]Object{object(0, 0, 10, 10)},
			[]Result{found(0.9, 200, 200, 100, 100), found(0.5, 0, 0, 10, 10)},
			Summary{0.5, 0.5, 0.5, 1, none, none, 0, 0, 0, nil},
		},
		{
			// Every overlap is horizontal. Objects: A 0..40, medium; B 15..45, small; C far away, small. The first
			// detection, 2..42, overlaps A by 38/42 and B by 27/43; the second, 25..50, B by 20/35 and A by 15/50; the
			// third is C.
			// Any size: up to 0.55 the first takes A and the second B. Up to 0.90 the second is wrong: 34 recall points
			// with precision 1, then 33 with 2/3. At 0.95 only the third is right.
			// Small: up to 0.60 the first takes B, because A does not count, and the second, which had B before, is
			// wrong. Above, the first has A or is itself not small: it does not count; the second is wrong.
			// Medium: the first takes A up to 0.90.
			"sizes are matched apart",
			[]Object{object(0, 0, 40, 30), object(15, 0, 30, 30), object(300, 300, 30, 30)},
			[]Result{found(0.9, 2, 0, 40, 30), found(0.8, 25, 0, 25, 30), found(0.7, 300, 300, 30, 30)},
			Summary{
				(2 + 7*56.0/101 + 34.0/303) / 10, 1, 56.0 / 101,
				(3*(51+50*2.0/3) + 7*25.5) / 1010, 0.9, none, 0, 0, 0, nil,
			},
		},
		{
			// 99 wrong ones leave room for the right one: precision 1/100 at every recall.
			"the hundredth counts",
			[]Object{object(0, 0, 100, 100)},
			append(falseAlarms(99, 0.9), found(0.5, 0, 0, 100, 100)),
			Summary{0.01, 0.01, 0.01, none, none, 1, 0, 0, 0, nil},
		},
		{
			"the hundred and first does not",
			[]Object{object(0, 0, 100, 100)},
			append(falseAlarms(100, 0.9), found(0.5, 0, 0, 100, 100)),
			Summary{0, 0, 0, none, none, 0, 0, 0, 0, nil},
		},
		{
			// The right one is given first and comes first.
			"equal scores keep their order",
			[]Object{object(0, 0, 100, 100)},
			[]Result{found(0.5, 0, 0, 100, 100), found(0.5, 200, 200, 100, 100)},
			Summary{1, 1, 1, none, none, 1, 0, 0, 0, nil},
		},
		{
			"equal scores keep their order, other way round",
			[]Object{object(0, 0, 100, 100)},
			[]Result{found(0.5, 200, 200, 100, 100), found(0.5, 0, 0, 100, 100)},
			Summary{0.5, 0.5, 0.5, none, none, 0.5, 0, 0, 0, nil},
		},
		{
			// Between pictures the order is that of the annotations' images (10, then 5), not that of the results
			// or of the ids: the right one, in picture 10, comes first.
			"equal scores go by picture",
			[]Object{object(0, 0, 100, 100)},
			[]Result{in(5, found(0.5, 0, 0, 100, 100)), found(0.5, 0, 0, 100, 100)},
			Summary{1, 1, 1, none, none, 1, 0, 0, 0, nil},
		},
		{
			// Category 3 is found, category 7 is not: the mean of 1 and 0. Category 7's object is medium.
			"mean over categories",
			[]Object{object(0, 0, 100, 100), {ImageID: 5, CategoryID: 7, BBox: [4]float64{0, 0, 50, 50}, Area: 2500}},
			[]Result{found(0.5, 0, 0, 100, 100)},
			Summary{0.5, 0.5, 0.5, none, 0, 1, 0, 0, 0, nil},
		},
		{
			// Category 7 has no object, so its false alarm harms nobody.
			"categories without objects",
			[]Object{object(0, 0, 100, 100)},
			[]Result{found(0.5, 0, 0, 100, 100), {ImageID: 10, CategoryID: 7, BBox: [4]float64{0, 0, 50, 50}, Score: 0.9}},
			Summary{1, 1, 1, none, none, 1, 0, 0, 0, nil},
		},
		{
			// A box without area overlaps nothing, itself included.
			"empty boxes",
			[]Object{object(0, 0, 0, 0)},
			[]Result{found(0.5, 0, 0, 0, 0)},
			Summary{0, 0, 0, 0, none, none, 0, 0, 0, nil},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Evaluate(annotated(tt.objects...), tt.results)
			if err != nil {
				t.Fatal(err)
			}
			compareAP(t, got, tt.want, 1e-12)
		})
	}
}

// compareAP compares the six precisions of two summaries.
func compareAP(t *testing.T, got, want Summary, tolerance float64) {
	t.Helper()
	for _, v := range []struct {
		name      string
		got, want float64
	}{
		{"AP", got.AP, want.AP},
		{"AP50", got.AP50, want.AP50},
		{"AP75", got.AP75, want.AP75},
		{"APs", got.APs, want.APs},
		{"APm", got.APm, want.APm},
		{"APl", got.APl, want.APl},
	} {
		if !(math.Abs(v.got-v.want) <= tolerance) {
			t.Errorf("%s = %.6f, want %.6f", v.name, v.got, v.want)
		}
	}
}
