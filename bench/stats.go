package bench

import (
	"slices"
	"time"
)

// Median is the middle of the values, or the mean of the two in the middle; 0 for none. It leaves them as they are.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	mid := len(s) / 2
	if len(s)%2 == 1 {
		return s[mid]
	}
	return (s[mid-1] + s[mid]) / 2
}

// Jain is the fairness index of Jain, Chiu and Hawe (DEC-TR-301, 1984): (Σx)² ÷ (n·Σx²). It is 1 when all have the same
// and 1/n when one has everything; 0 when nobody has anything.
func Jain(shares []float64) float64 {
	var sum, squares float64
	for _, x := range shares {
		sum += x
		squares += x * x
	}
	return over(sum*sum, float64(len(shares))*squares)
}

// maxSamples bounds the memory of Samples, 8 bytes each. Half of it is still enough for a 99th percentile of 1 % of a
// hundred thousand.
const maxSamples = 1 << 18

// Samples are times of which percentiles are wanted. When there are maxSamples, every second is forgotten and only every
// second is taken from then on, so that they stay spread evenly over the whole. The zero value is empty.
type Samples struct {
	kept []time.Duration
	step int // one of so many is taken, less 1
	skip int // so many are passed over before the next one is
}

// Add takes one more.
func (s *Samples) Add(d time.Duration) {
	if s.skip > 0 {
		s.skip--
		return
	}
	s.skip = s.step
	if len(s.kept) >= maxSamples {
		for i := range len(s.kept) / 2 {
			s.kept[i] = s.kept[2*i]
		}
		s.kept = s.kept[:len(s.kept)/2]
		s.step = 2*s.step + 1
		s.skip = s.step
	}
	s.kept = append(s.kept, d)
}

// Merge adds what o holds.
func (s *Samples) Merge(o *Samples) {
	for _, d := range o.kept {
		s.Add(d)
	}
}

// Reset forgets them and keeps the memory.
func (s *Samples) Reset() { *s = Samples{kept: s.kept[:0]} }

// Quantiles are percentiles in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
}

// Quantiles are those of the samples; zero for none.
func (s *Samples) Quantiles() Quantiles {
	sorted := slices.Clone(s.kept)
	return Quantiles{Percentile(sorted, 0.5), Percentile(sorted, 0.9), Percentile(sorted, 0.99)}
}
