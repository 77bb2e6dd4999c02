package trend_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"gnomon/bench/soak/trend"
)

func TestOf(t *testing.T) {
	t.Parallel()
	noise := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same numbers every time
	series := func(n int, f func(x float64) float64) (x, y []float64) {
		for i := range n {
			at := float64(i) / 3600
			x, y = append(x, at), append(y, f(at))
		}
		return x, y
	}
	rows := []struct {
		name        string
		n           int
		f           func(float64) float64
		value, near float64
		grows       bool // beyond 2
	}{
		{"constant", 600, func(float64) float64 { return 7 }, 0, 0, false},
		{"noise", 600, func(float64) float64 { return 100 + noise.Float64() }, 0, 2, false},
		{"a leak in noise", 3600, func(x float64) float64 { return 100 + 5*x + noise.Float64() }, 5, 0.3, true},
		{"a slow one", 3600, func(x float64) float64 { return 100 + x + noise.Float64()/10 }, 1, 0.1, false},
		{"steps", 3600, func(x float64) float64 { return math.Floor(x*10) / 2 }, 5, 0.5, true},
		{"outliers", 600, func(x float64) float64 {
			if int(x*3600)%10 == 3 {
				return 1e6
			}
			return 50
		}, 0, 0, false},
	}
	for _, row := range rows {
		x, y := series(row.n, row.f)
		s, err := trend.Of(x, y)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(s.Value-row.value) > row.near || s.Low > s.Value || s.High < s.Value || s.Grows(2) != row.grows {
			t.Errorf("%s: %+v, wanted %v", row.name, s, row.value)
		}
	}
	if _, err := trend.Of(series(7, func(x float64) float64 { return x })); err == nil {
		t.Error("a slope of seven points")
	}
	if !math.IsNaN(trend.Median(nil)) || trend.Median([]float64{3, 1, 2, 10}) != 2.5 {
		t.Error("medians")
	}
}
