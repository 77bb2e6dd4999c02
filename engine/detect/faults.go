package detect

import (
	"errors"
	"fmt"
	"math"
)

// What can be wrong with the numbers of a run. Decode returns them wrapped, once a run, along with the detections
// that were sound.
var (
	// ErrNotFinite: a score, or a coordinate of a box worth keeping, was NaN or infinite.
	ErrNotFinite = errors.New("the model's output is not finite")
	// ErrClassRange: a row of final boxes named a class that the model does not have.
	ErrClassRange = errors.New("the model's output names a class out of range")
	// ErrScoreRange: a score was well above 1, so the head lacks its sigmoid or the family is wrong.
	ErrScoreRange = errors.New("the model's output has scores above 1")
)

// faults counts what was left out of one run.
type faults struct {
	notFinite int // values
	class     int // rows
	score     int // rows
}

// err is nil for a sound run, otherwise one error that wraps a sentinel for each kind of fault. classes is the
// number of classes, 0 when unknown; the model counts them from first.
func (f faults) err(classes, first int) error {
	var err error
	add := func(e error) {
		if err != nil {
			e = fmt.Errorf("%w; %w", err, e)
		}
		err = e
	}
	if f.notFinite > 0 {
		add(fmt.Errorf("%w: left out %d values that are NaN or infinite; check the model in float32, "+
			"its conversion to float16 or int8 may have overflowed", ErrNotFinite, f.notFinite))
	}
	if f.class > 0 {
		limit := classes
		if limit == 0 {
			limit = ClassesLimit
		}
		add(fmt.Errorf("%w: left out %d rows whose class is not a whole number from %d to %d; "+
			"check that the manifest's `labels` are this model's", ErrClassRange, f.class, first, first+limit-1))
	}
	if f.score > 0 {
		add(fmt.Errorf("%w: left out %d rows; check the manifest's `family`, and export the model with its final "+
			"sigmoid", ErrScoreRange, f.score))
	}
	return err
}

// Scores are compared as the bits of their float32: for numbers that are not negative the order is the same, and
// one unsigned comparison with the best so far also catches NaN, infinity and everything negative, which all lie
// above every sound score.
const (
	infBits  = 0x7f800000
	signBit  = 1 << 31
	scoreMax = 1.05 // quantised heads overshoot 1 by a few steps: up to here a score counts as 1
)

// finite tells whether v is neither NaN nor infinite.
func finite(v float32) bool { return math.Float32bits(v)&infBits != infBits }

// odd counts a score, given by its bits, that is not a number from 0 up. A negative one is merely below every
// threshold.
func (f *faults) odd(bits uint32) {
	if bits&^signBit >= infBits {
		f.notFinite++
	}
}

// thresholdBits is what a score's bits must reach. A score of 0 is no detection, even with a threshold of 0: a row
// in which nothing is a sound score looks the same.
func thresholdBits(threshold float32) uint32 { return max(math.Float32bits(threshold), 1) }

// argmax is the largest of the scores, as bits, and its index, the first on a tie. When none reaches the threshold
// (see thresholdBits) the result is below it and the index means nothing.
func (f *faults) argmax(scores []float32, threshold uint32) (best uint32, index int) {
	best = threshold - 1
	for i, v := range scores {
		b := math.Float32bits(v)
		if b <= best {
			continue
		}
		if b >= infBits {
			f.odd(b)
			continue
		}
		best, index = b, i
	}
	return best, index
}

// score01 makes a score of its bits, which are those of a finite number from 0 up; false when it is beyond what
// rounding explains.
func (f *faults) score01(bits uint32) (float32, bool) {
	v := math.Float32frombits(bits)
	if v > scoreMax {
		f.score++
		return 0, false
	}
	return min(v, 1), true
}
