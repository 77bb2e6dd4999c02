package bench

import (
	"math"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		before := append([]float64(nil), c.in...)
		if got := Median(c.in); got != c.want {
			t.Errorf("%v: %v, want %v", c.in, got, c.want)
		}
		for i := range before {
			if c.in[i] != before[i] {
				t.Errorf("the values are %v now, were %v", c.in, before)
			}
		}
	}
}

func TestJain(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{0, 0}, 0}, {[]float64{5}, 1}, {[]float64{5, 5, 5, 5}, 1}, {[]float64{8, 0, 0, 0}, 0.25}, {[]float64{1, 2, 3}, 36.0 / 42}} {
		if got := Jain(c.in); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v: %v, want %v", c.in, got, c.want)
		}
	}
}

// However many there are, memory is bounded and the percentiles stay those of the whole.
func TestSamplesAreBounded(t *testing.T) {
	var s, merged Samples
	const n = 5 * maxSamples
	for i := range n {
		s.Add(time.Duration(i+1) * time.Microsecond)
	}
	if len(s.kept) > maxSamples || len(s.kept) < maxSamples/2 {
		t.Fatalf("%d are kept", len(s.kept))
	}
	merged.Merge(&s)
	for _, q := range []Quantiles{s.Quantiles(), merged.Quantiles()} {
		for _, c := range []struct{ got, part float64 }{{q.P50, 0.5}, {q.P90, 0.9}, {q.P99, 0.99}} {
			if want := c.part * n / 1000; math.Abs(c.got/want-1) > 0.001 {
				t.Errorf("p%.0f is %v ms, want %v", 100*c.part, c.got, want)
			}
		}
	}
	s.Reset()
	if s.Quantiles() != (Quantiles{}) {
		t.Error("not empty after Reset")
	}
	s.Add(time.Second)
	if s.Quantiles().P50 != 1000 {
		t.Error("the first after Reset is passed over")
	}
}

func TestDoubling(t *testing.T) {
	for _, c := range []struct {
		from, to int
		want     []int
	}{{1, 16, []int{1, 2, 4, 8, 16}}, {3, 10, []int{3, 6, 10}}, {2, 2, []int{2}}} {
		got := Doubling(c.from, c.to)
		if len(got) != len(c.want) {
			t.Fatalf("%v, want %v", got, c.want)
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%v, want %v", got, c.want)
			}
		}
	}
}
