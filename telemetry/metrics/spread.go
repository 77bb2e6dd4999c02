package metrics

import (
	"fmt"
	"math"
	"slices"
)

// Bins of the two spreads that are watched.
const (
	confidenceBins = 20 // of 0.05 each, from 0 to 1
	perFrameBins   = 33 // 0 to 31 detections in a frame, and more
)

// spread is how values are spread: their number, sum and sum of squares, and a histogram. Its fields are what is kept on
// the disk.
type spread struct {
	N       uint64   `json:"n"`
	Sum     float64  `json:"sum"`
	Squares float64  `json:"squares"`
	Bins    []uint64 `json:"bins"`
}

func newSpread(bins int) spread { return spread{Bins: make([]uint64, bins)} }

// addShare takes a value between 0 and 1, into bins of equal width.
func (s *spread) addShare(v float64) {
	v = min(max(v, 0), 1)
	s.add(v, int(v*float64(len(s.Bins))))
}

// addCount takes a count, into a bin of its own.
func (s *spread) addCount(n int) { s.add(float64(n), n) }

func (s *spread) add(v float64, bin int) {
	s.N++
	s.Sum += v
	s.Squares += v * v
	s.Bins[min(bin, len(s.Bins)-1)]++
}

func (s *spread) reset() {
	s.N, s.Sum, s.Squares = 0, 0, 0
	clear(s.Bins)
}

func (s *spread) clone() spread {
	out := *s
	out.Bins = slices.Clone(s.Bins)
	return out
}

// less is what was counted since before, which may be empty.
func (s *spread) less(before *spread) spread {
	out := s.clone()
	out.N -= before.N
	out.Sum -= before.Sum
	out.Squares -= before.Squares
	for i := range before.Bins {
		out.Bins[i] -= before.Bins[i]
	}
	return out
}

func (s *spread) plus(o *spread) {
	s.N += o.N
	s.Sum += o.Sum
	s.Squares += o.Squares
	for i := range o.Bins {
		s.Bins[i] += o.Bins[i]
	}
}

func (s *spread) mean() float64 {
	if s.N == 0 {
		return 0
	}
	return s.Sum / float64(s.N)
}

// deviation is the standard deviation of the values.
func (s *spread) deviation() float64 {
	if s.N == 0 {
		return 0
	}
	m := s.mean()
	return math.Sqrt(max(0, s.Squares/float64(s.N)-m*m))
}

// bin is the number of the bin with a quantile, and how far into it the quantile lies, as a share of 1.
func (s *spread) bin(q float64) (int, float64) {
	rank, seen := rankOf(q, s.N), uint64(0)
	for i, n := range s.Bins {
		if n > 0 && seen+n >= rank {
			return i, (float64(rank-seen) - 0.5) / float64(n)
		}
		seen += n
	}
	return 0, 0
}

// shareQuantile is for addShare: to within a bin, in which values are taken to lie evenly.
func (s *spread) shareQuantile(q float64) float64 {
	i, into := s.bin(q)
	return (float64(i) + into) / float64(len(s.Bins))
}

// countQuantile is for addCount; the last bin stands for itself and more.
func (s *spread) countQuantile(q float64) float64 {
	i, _ := s.bin(q)
	return float64(i)
}

// check tells what is wrong with a spread that was read from the disk.
func (s *spread) check(bins int) error {
	if len(s.Bins) != bins {
		return fmt.Errorf("has %d bins, not %d", len(s.Bins), bins)
	}
	var n uint64
	for _, b := range s.Bins {
		if b > math.MaxUint64/uint64(bins) {
			return fmt.Errorf("a bin counts %d", b)
		}
		n += b
	}
	if n != s.N || s.Sum < 0 || s.Squares < 0 {
		return fmt.Errorf("its sums contradict each other")
	}
	return nil
}
