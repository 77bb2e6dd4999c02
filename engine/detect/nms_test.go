package detect

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// crowd is n random boxes in a 640x640 picture. With few score levels there are many ties.
func crowd(rng *rand.Rand, n, classes, levels int) []Detection {
	out := make([]Detection, n)
	for i := range out {
		x, y := rng.Float32()*600, rng.Float32()*600
		score := rng.Float32()
		if levels > 0 {
			score = float32(1+rng.IntN(levels)) / float32(levels)
		}
		out[i] = Detection{
			Box:   Box{x, y, x + 5 + rng.Float32()*120, y + 5 + rng.Float32()*120},
			Score: score, ClassID: rng.IntN(classes),
		}
	}
	return out
}

func suppressed(in []Detection, classes int, iou float32, limit int) []Detection {
	c := newCandidates(len(in), classes, limit)
	for _, d := range in {
		c.add(d.Box, d.Score, d.ClassID)
	}
	return c.suppress(nil, iou, limit)
}

// slowNMS is the definition: all pairs, the whole result, then the cut.
func slowNMS(in []Detection, iou float32, limit int) []Detection {
	in = slices.Clone(in)
	slices.SortStableFunc(in, func(a, b Detection) int { return cmp.Compare(b.Score, a.Score) })
	var kept []Detection
	for _, d := range in {
		if !slices.ContainsFunc(kept, func(k Detection) bool { return k.ClassID == d.ClassID && k.Box.IoU(d.Box) > iou }) {
			kept = append(kept, d)
		}
	}
	return kept[:min(limit, len(kept))]
}

func TestNMSAgreesWithItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, levels := range []int{0, 1, 7} {
		for round := range 60 {
			classes := 1 + rng.IntN(5)
			in := crowd(rng, rng.IntN(300), classes, levels)
			iou := rng.Float32()
			limit := 1 + rng.IntN(60)
			got, want := suppressed(in, classes, iou, limit), slowNMS(in, iou, limit)
			if !slices.Equal(got, want) {
				t.Fatalf("levels %d, round %d: got %v, want %v", levels, round, got, want)
			}
		}
	}
}

func TestNMSProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for round := range 60 {
		iou := rng.Float32()
		in := crowd(rng, 250, 4, 0)
		got := suppressed(in, 4, iou, len(in))
		for i, a := range got {
			for _, b := range got[:i] {
				if b.Score < a.Score {
					t.Fatalf("round %d: %v comes before %v", round, b, a)
				}
				if a.ClassID == b.ClassID && a.Box.IoU(b.Box) > iou {
					t.Fatalf("round %d: kept both %v and %v, which overlap by %v > %v", round, a, b, a.Box.IoU(b.Box), iou)
				}
			}
		}
		if again := suppressed(got, 4, iou, len(in)); !slices.Equal(again, got) {
			t.Fatalf("round %d: suppressing again changes %v to %v", round, got, again)
		}
		rng.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		if shuffled := suppressed(in, 4, iou, len(in)); !slices.Equal(shuffled, got) {
			t.Fatalf("round %d: another order of the rows gives %v, not %v", round, shuffled, got)
		}
		limit := 1 + rng.IntN(30)
		if cut := suppressed(in, 4, iou, limit); !slices.Equal(cut, got[:min(limit, len(got))]) {
			t.Fatalf("round %d: a limit of %d gives %v, not the best of %v", round, limit, cut, got)
		}
	}
}

func TestNMSTies(t *testing.T) {
	apart := func(i int) Box { return Box{float32(i) * 10, 0, float32(i)*10 + 5, 5} }
	in := []Detection{
		{apart(0), 0.5, 1},
		{apart(1), 0.75, 0},
		{apart(2), 0.5, 0},
		{apart(2), 0.5, 0}, // equal to the one before: the earlier row stays
		{apart(3), 0.5, 2},
	}
	want := []Detection{in[1], in[0], in[2], in[4]}
	if got := suppressed(in, 3, 0.5, 10); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c := newCandidates(0, 3, 10)
	for _, d := range in {
		c.add(d.Box, d.Score, d.ClassID)
	}
	want = []Detection{in[1], in[0], in[2], in[3]}
	if got := c.best(nil, 4); !slices.Equal(got, want) {
		t.Errorf("best gives %v, want %v", got, want)
	}
}

// Just above and just below the threshold, and exactly on it, where the box stays.
func TestNMSThreshold(t *testing.T) {
	a := Detection{Box{0, 0, 10, 10}, 0.9, 0}
	b := Detection{Box{0, 0, 10, 5}, 0.8, 0} // IoU 0.5
	for _, c := range []struct {
		iou  float32
		kept int
	}{{0.49, 1}, {0.5, 2}, {0.51, 2}, {0, 1}, {1, 2}} {
		if got := suppressed([]Detection{a, b}, 1, c.iou, 10); len(got) != c.kept {
			t.Errorf("IoU threshold %v keeps %v, want %d", c.iou, got, c.kept)
		}
	}
	b.ClassID = 1
	if got := suppressed([]Detection{a, b}, 2, 0, 10); len(got) != 2 {
		t.Errorf("boxes of two classes suppress each other: %v", got)
	}
}

// Beyond maxCandidates the best scores are the ones that are looked at: the rest would all be kept otherwise.
func TestNMSCandidateCap(t *testing.T) {
	const extra = 50
	c := newCandidates(0, 1, DetectionsLimit)
	same := Box{0, 0, 10, 10}
	for i := range maxCandidates + extra {
		box := same
		score := float32(0.5)
		if i < extra { // the worst, and the first in order: the only ones apart from the others
			box, score = Box{float32(i+1) * 20, 0, float32(i+1)*20 + 10, 10}, 0.25
		}
		c.add(box, score, 0)
	}
	if got := c.suppress(nil, 0.5, DetectionsLimit); len(got) != 1 || got[0].Box != same {
		t.Errorf("got %v, want only the box of the best scores", got)
	}
	c.reset()
	c.add(same, 0.5, 0)
	for i := range extra {
		c.add(Box{float32(i+1) * 20, 0, float32(i+1)*20 + 10, 10}, 0.25, 0)
	}
	if got := c.suppress(nil, 0.5, DetectionsLimit); len(got) != 1+extra {
		t.Errorf("got %d detections below the cap, want %d", len(got), 1+extra)
	}
}

func TestBox(t *testing.T) {
	b := Box{1, 2, 4, 6}
	if b.Width() != 3 || b.Height() != 4 || b.Area() != 12 {
		t.Errorf("%v is %v by %v, area %v", b, b.Width(), b.Height(), b.Area())
	}
	for _, c := range []struct {
		a, b Box
		want float32
	}{
		{b, b, 1},
		{b, Box{1, 2, 4, 4}, 0.5},
		{b, Box{4, 2, 5, 6}, 0},        // they touch
		{b, Box{9, 9, 10, 10}, 0},      // apart
		{b, Box{2, 3, 2, 5}, 0},        // a line inside
		{b, Box{3, 5, 2, 3}, 0},        // inside out
		{Box{}, Box{}, 0},              // points
		{b, Box{3, 2, 6, 6}, 4. / 20.}, // 1x4 of 12 + 12 - 4
	} {
		if got := c.a.IoU(c.b); got != c.want {
			t.Errorf("IoU(%v, %v) = %v, want %v", c.a, c.b, got, c.want)
		}
		if got, back := c.a.IoU(c.b), c.b.IoU(c.a); got != back {
			t.Errorf("IoU(%v, %v) = %v, the other way %v", c.a, c.b, got, back)
		}
	}
	if inside := (Box{4, 4, 1, 1}); inside.Area() != 0 {
		t.Errorf("the area of %v is %v, want 0", inside, inside.Area())
	}
}

// However many are added, the maxCandidates best of them remain, and nothing of one run reaches the next.
func TestNMSPrunes(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	byScore := func(a, b Detection) int { return cmp.Compare(b.Score, a.Score) }
	falling := crowd(rng, 2*maxCandidates+1, 200, 0)
	slices.SortStableFunc(falling, byScore)
	c := newCandidates(0, 200, 300)
	for _, in := range [][]Detection{falling, crowd(rng, 5*maxCandidates+17, 200, 50)} {
		want := slices.Clone(in)
		slices.SortStableFunc(want, byScore)
		want = want[:maxCandidates]
		c.reset()
		for _, d := range in {
			c.add(d.Box, d.Score, d.ClassID)
		}
		if cap(c.found) > 3*maxCandidates {
			t.Errorf("room for %d candidates was taken", cap(c.found))
		}
		if got := c.best(nil, maxCandidates); !slices.Equal(got, want) {
			t.Errorf("got %d, which are not the %d best", len(got), len(want))
		}
	}
	c.reset()
	poor := Detection{Box{1, 2, 3, 4}, 0.001, 7}
	c.add(poor.Box, poor.Score, poor.ClassID)
	if got := c.best(nil, 10); !slices.Equal(got, []Detection{poor}) {
		t.Errorf("the next run gives %v, want %v", got, poor)
	}
}
