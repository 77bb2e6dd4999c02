package camera

import (
	"math"
	"time"
)

const (
	// minStall is how long a live source may be silent at least: shorter, and a camera that adjusts its exposure is
	// taken for dead.
	minStall = 2 * time.Second

	// stallIntervals is how many pictures in a row may be missing.
	stallIntervals = 3

	// maxRate bounds a frame rate that a camera or file claims; nonsense in a header must not stop the pacing.
	maxRate = 1000

	// maxJump bounds what a stream's clock may leap ahead: the longest time between two pictures of a slow camera, and
	// shorter than the leaps of clocks that are set.
	maxJump = 10 * time.Second
)

// step is how far the stream went from one picture to the next by the camera's clock. Where that stands still, runs back or
// leaps, it is the time between the grabs: stream time never goes back.
func step(before, now, gap time.Duration) time.Duration {
	if d := now - before; before >= 0 && d > 0 && d <= maxJump {
		return d
	}
	return max(gap, 0)
}

// patience is how long the next picture may take.
func (l *live) patience() time.Duration {
	interval := l.interval
	if rate := l.Rate(); rate > 0 {
		interval = max(interval, time.Duration(float64(time.Second)/rate))
	}
	limit := max(minStall, stallIntervals*interval)
	if l.o.Stall > 0 {
		limit = l.o.Stall
	}
	if l.seq == 0 {
		limit = max(limit, openLimit)
	}
	return limit
}

// saneRate makes nonsense 0.
func saneRate(rate float64) float64 {
	if !(rate > 0 && rate <= maxRate) || math.IsInf(rate, 0) {
		return 0
	}
	return rate
}
