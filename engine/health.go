package engine

import (
	"errors"
	"math"
	"sync/atomic"
	"time"

	"gnomon/engine/detect"
)

// Health counts how a model has done since it was put into its slot. It is what tells a good new model from a bad one.
type Health struct {
	Begun      uint64        // frames that were given to the model; more than Frames while some are in work
	Frames     uint64        // frames that went through the model
	Errors     uint64        // of these, failed
	NotFinite  uint64        // of the failed ones, with values that were NaN or infinite
	Detections uint64        // objects found that reach the model's own threshold
	Median     time.Duration // of the runs of the session, to within 5 %; 0: none has ended well
	Runs       uint64        // runs that Median is of
}

// The buckets of run times: each is 5 % wider than the one before, from a microsecond to more than three minutes,
// which is as near as any decision about a model needs and costs one atomic addition a run.
const (
	bucketGrowth = 1.05
	bucketCount  = 400
)

// healthWindow is how long a window of the recent health is: Slot.Recent covers one to two of them. It is long enough for
// some hundred frames of a slow camera, and short enough that day and night differ.
const healthWindow = 5 * time.Minute

// health collects a Health without locks. Lanes of one model share it.
type health struct {
	least float32 // the model's own score threshold: what only some source wants is not counted
	total tally
	now   atomic.Pointer[window] // the window that counts at present, with the one before it
}

// window is a tally of some minutes.
type window struct {
	*tally
	until  time.Time
	before *tally // of the window before this one, which itself is let go; nil: there is none, or it was long ago
}

// tally counts frames.
type tally struct {
	begun, frames, errors, notFinite, detections atomic.Uint64
	buckets                                      [bucketCount]atomic.Uint64
}

// begin counts a frame in; record or forget counts it out.
func (h *health) begin() {
	if h != nil {
		h.total.begun.Add(1)
	}
}

// forget is for a frame that was given up: it says nothing about the model.
func (h *health) forget() {
	if h != nil {
		h.total.begun.Add(^uint64(0))
	}
}

// record takes the outcome of one frame: what was found, best first.
func (h *health) record(found []detect.Detection, infer time.Duration, err error) {
	if h == nil { // a lane that is in no slot
		return
	}
	n := 0
	for n < len(found) && found[n].Score >= h.least {
		n++
	}
	h.total.record(n, infer, err)
	h.window(time.Now()).record(n, infer, err)
}

// window is the one that counts at a time. It allocates when a new one begins, and never else.
func (h *health) window(at time.Time) *window {
	for {
		w := h.now.Load()
		if w != nil && at.Before(w.until) {
			return w
		}
		next := &window{tally: &tally{}, until: at.Add(healthWindow)}
		if w != nil && at.Before(w.until.Add(healthWindow)) {
			next.before = w.tally
		}
		if h.now.CompareAndSwap(w, next) {
			return next
		}
	}
}

func (t *tally) record(found int, infer time.Duration, err error) {
	t.frames.Add(1)
	t.detections.Add(uint64(found))
	if err != nil {
		t.errors.Add(1)
		if errors.Is(err, detect.ErrNotFinite) {
			t.notFinite.Add(1)
		}
	}
	if infer > 0 {
		t.buckets[bucketOf(infer)].Add(1)
	}
}

// bucketOf is the bucket of a run time.
func bucketOf(d time.Duration) int {
	us := float64(d) / float64(time.Microsecond)
	return min(max(int(math.Log(max(us, 1))/math.Log(bucketGrowth)), 0), bucketCount-1)
}

// read sums up since the beginning.
func (h *health) read() Health {
	out := sum(&h.total)
	out.Begun = h.total.begun.Load()
	return out
}

// recent sums up the windows of the last minutes.
func (h *health) recent() Health {
	w := h.now.Load()
	if w == nil || time.Now().After(w.until.Add(healthWindow)) {
		return Health{}
	}
	tallies := []*tally{w.tally}
	if w.before != nil {
		tallies = append(tallies, w.before)
	}
	out := sum(tallies...)
	out.Begun = out.Frames
	return out
}

// sum adds tallies up, but for what has begun. Counts of frames that end meanwhile may be in some numbers and not yet in
// others.
func sum(tallies ...*tally) Health {
	var out Health
	var counts [bucketCount]uint64
	for _, t := range tallies {
		out.Frames += t.frames.Load()
		out.Errors += t.errors.Load()
		out.NotFinite += t.notFinite.Load()
		out.Detections += t.detections.Load()
		for i := range t.buckets {
			n := t.buckets[i].Load()
			counts[i] += n
			out.Runs += n
		}
	}
	seen := uint64(0)
	for i, n := range counts {
		seen += n
		if n > 0 && 2*seen >= out.Runs {
			// The middle of the bucket, in the scale in which all are equally wide.
			out.Median = time.Duration(math.Pow(bucketGrowth, float64(i)+0.5) * float64(time.Microsecond))
			break
		}
	}
	return out
}
