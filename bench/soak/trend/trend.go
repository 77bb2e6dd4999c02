// Package trend says whether a series of samples grows, and how sure that is.
//
// Pure Go; every function may be called from any goroutine.
package trend

import (
	"fmt"
	"math"
	"slices"
)

const (
	// normal95 is the quantile of the normal distribution for an interval of 95 %.
	normal95 = 1.959964
	// maxPoints bounds the work: the slope is the median over all pairs of points, 80 000 of them for 400 points.
	maxPoints = 400
	// minPoints is the least from which a slope is told.
	minPoints = 8
)

// Slope is a rate of change with its interval of 95 %, in units of y for one of x.
type Slope struct {
	Value, Low, High float64
	N                int // points that it is of, after thinning
}

// Of is the slope of y over x by Theil and Sen: the median of the slopes of all pairs of points, which a few outliers do
// not move; the interval is Sen's, from Kendall's statistic without ties (P. K. Sen, "Estimates of the regression
// coefficient based on Kendall's tau", 1968). Longer series are thinned to the medians of equal parts. x must rise.
// Samples of one moment follow each other closely, so the interval is narrower than it would be for independent ones.
func Of(x, y []float64) (Slope, error) {
	x, y = thin(x, y)
	n := len(x)
	if n < minPoints {
		return Slope{N: n}, fmt.Errorf("there are %d samples, and %d are needed for a slope: run longer", n, minPoints)
	}
	slopes := make([]float64, 0, n*(n-1)/2)
	for i := range x {
		for j := i + 1; j < n; j++ {
			if x[j] > x[i] {
				slopes = append(slopes, (y[j]-y[i])/(x[j]-x[i]))
			}
		}
	}
	slices.Sort(slopes)
	spread := normal95 * math.Sqrt(float64(n*(n-1)*(2*n+5))/18)
	at := func(rank float64) float64 { return slopes[min(max(int(math.Round(rank)), 0), len(slopes)-1)] }
	pairs := float64(len(slopes))
	return Slope{
		Value: Median(slopes), Low: at((pairs-spread)/2 - 1), High: at((pairs + spread) / 2), N: n,
	}, nil
}

// Grows reports whether the slope is above a limit and is surely no accident: its interval is above zero.
func (s Slope) Grows(limit float64) bool { return s.Value > limit && s.Low > 0 }

// thin replaces long series by the medians of parts that follow each other.
func thin(x, y []float64) (thinX, thinY []float64) {
	n := min(len(x), len(y))
	if n <= maxPoints {
		return x[:n], y[:n]
	}
	for i := range maxPoints {
		from, to := i*n/maxPoints, (i+1)*n/maxPoints
		thinX = append(thinX, Median(x[from:to]))
		thinY = append(thinY, Median(y[from:to]))
	}
	return thinX, thinY
}

// Median is the middle of the values, NaN of none. They stay in their order.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
