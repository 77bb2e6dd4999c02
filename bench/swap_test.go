package bench

import (
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	ms := func(vs ...int) []time.Duration {
		var out []time.Duration
		for _, v := range vs {
			out = append(out, time.Duration(v)*time.Millisecond)
		}
		return out
	}
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	for _, c := range []struct {
		in   []int
		p    float64
		want float64
	}{{nil, 0.5, 0}, {[]int{7}, 0.99, 7}, {[]int{3, 1, 2}, 0.5, 2}, {[]int{4, 3, 2, 1}, 0.5, 2}, {[]int{1, 2}, 1, 2}, {hundred, 0.99, 99}, {hundred, 0, 1}} {
		if got := Percentile(ms(c.in...), c.p); got != c.want {
			t.Errorf("%v at %v: %v, want %v", c.in, c.p, got, c.want)
		}
	}
}

func TestGaps(t *testing.T) {
	t0 := time.Unix(0, 0)
	got := Gaps([]time.Time{t0, t0.Add(time.Second), t0.Add(3 * time.Second)})
	if len(got) != 2 || got[0] != time.Second || got[1] != 2*time.Second || Gaps(nil) != nil {
		t.Error(got)
	}
}

// Each target decides by itself, and those on memory only when there were enough exchanges.
func TestSwapVerdicts(t *testing.T) {
	good := SwapReport{Swaps: 100, Gap: Gap{Max: 30}, Steady: Steady{P99: 10}, FPS: SwapFPS{100, 60}, RSS: SwapRSS{100, 123, 135}}
	bad := []func(*SwapReport){
		func(r *SwapReport) { r.FramesLost = 1 },
		func(r *SwapReport) { r.Gap.Max = 31 },
		func(r *SwapReport) { r.FPS.Loading = 59 },
		func(r *SwapReport) { r.RSS.After20 = 122 },
		func(r *SwapReport) { r.RSS.After3 = 99 },
	}
	for i, v := range good.Verdicts() {
		if !v.Met {
			t.Errorf("%+v", v)
		}
		r := good
		bad[i](&r)
		for j, v := range r.Verdicts() {
			if v.Met != (i != j) {
				t.Errorf("case %d: %+v", i, v)
			}
		}
	}
	good.Swaps = 5
	if n := len(good.Verdicts()); n != 3 {
		t.Errorf("%d verdicts after 5 exchanges", n)
	}
}
