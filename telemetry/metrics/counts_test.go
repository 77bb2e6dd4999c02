package metrics

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	for b := range bucketCount - 1 {
		if got := bucketOf(upper(b)); got != b {
			t.Fatalf("the upper bound %v of bucket %d is in %d", upper(b), b, got)
		}
		if got := bucketOf(upper(b) + 1); got != b+1 {
			t.Fatalf("what follows on bucket %d is in %d", b, got)
		}
	}
	for _, d := range []time.Duration{1, time.Hour, math.MaxInt64} {
		if b := bucketOf(d); b < 0 || b >= bucketCount {
			t.Errorf("%v is in bucket %d", d, b)
		}
	}
}

func TestDurations(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h durations
	var all []time.Duration
	for range 10000 {
		d := time.Duration(math.Exp(rng.NormFloat64()+16)) + 1 // about 9 ms
		all = append(all, d)
		h.add(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.5, 0.9, 0.99} {
		want := all[rankOf(q, uint64(len(all)))-1]
		if got := h.quantile(q); math.Abs(float64(got-want)) > 0.032*float64(want) {
			t.Errorf("quantile %g: %v, want %v", q, got, want)
		}
	}
	for exponent := firstBound; exponent <= lastBound; exponent++ {
		want, _ := slices.BinarySearch(all, 1<<exponent*time.Microsecond+1)
		if got := h.upTo(exponent); got != uint64(want) {
			t.Errorf("up to 2^%d µs: %d, want %d", exponent, got, want)
		}
	}
	if (&durations{}).quantile(0.5) != 0 {
		t.Error("nothing has a median")
	}
}

func shares(values ...float64) *spread {
	s := newSpread(confidenceBins)
	for _, v := range values {
		s.addShare(v)
	}
	return &s
}

func TestSpread(t *testing.T) {
	s := shares(0, 0.42, 0.42, 0.42, 1, 7, -1)
	if s.N != 7 || s.Bins[0] != 2 || s.Bins[8] != 3 || s.Bins[19] != 2 {
		t.Errorf("%+v", s)
	}
	if m := s.mean(); math.Abs(m-3.26/7) > 1e-12 {
		t.Errorf("mean %v", m)
	}
	if q := s.shareQuantile(0.5); q < 0.4 || q > 0.45 {
		t.Errorf("median %v", q)
	}
	counts := newSpread(perFrameBins)
	for _, n := range []int{0, 0, 3, 50} {
		counts.addCount(n)
	}
	if got := [...]float64{counts.countQuantile(0.5), counts.countQuantile(0.75), counts.countQuantile(1)}; got != [...]float64{0, 3, 32} {
		t.Errorf("quantiles %v", got)
	}
	if d := counts.deviation(); math.Abs(d-21.2529) > 1e-4 {
		t.Errorf("deviation %v", d)
	}
}

// many repeats values until there are enough to compare.
func many(values ...float64) *spread {
	s := newSpread(confidenceBins)
	for range leastValues {
		for _, v := range values {
			s.addShare(v)
		}
	}
	return &s
}

func TestStability(t *testing.T) {
	half := func(p, q float64) float64 { return (p - q) * math.Log(p/q) }
	for name, c := range map[string]struct {
		ref, now *spread
		want     float64
	}{
		"the same":          {many(0.1, 0.5, 0.9), many(0.1, 0.5, 0.9), 0},
		"by hand":           {many(0.3, 0.3, 0.3, 0.8), many(0.3, 0.8, 0.8, 0.8), half(0.25, 0.75) + half(0.75, 0.25)},
		"neighbours joined": {many(append(slices.Repeat([]float64{0.72}, 98), 0.51, 0.56)...), many(append(slices.Repeat([]float64{0.72}, 98), 0.56, 0.56)...), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := stability(c.ref, c.now); got == nil || math.Abs(*got-c.want) > 1e-4 {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	// What was all in one bin and is all in another is as far apart as can be, wherever the bins are.
	for _, c := range [][2]float64{{0.1, 0.9}, {0.9, 0.1}, {0.02, 0.99}} {
		if got := stability(many(c[0]), many(c[1])); got == nil || *got < 5 {
			t.Errorf("from %v to %v: %v", c[0], c[1], got)
		}
	}
	if got := stability(many(0.5), shares(0.5)); got != nil {
		t.Errorf("a single value gives %v", *got)
	}
}

// TestStabilityByChance: samples of one kind stay below the first mark.
func TestStabilityByChance(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	draw := func(n int) *spread {
		s := newSpread(confidenceBins)
		for range n {
			s.addShare(0.5 + 0.2*rng.NormFloat64())
		}
		return &s
	}
	ref := draw(100000)
	for range 100 {
		if got := stability(ref, draw(leastValues)); *got >= psiModerate {
			t.Fatalf("%v by chance", *got)
		}
	}
}
