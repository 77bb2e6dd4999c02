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
	Detections uint64        // objects found, before any source's own threshold
	Median     time.Duration // of the runs of the session, to within 5 %; 0: none has ended well
	Runs       uint64        // runs that Median is of
}

// The buckets of run times: each is 5 % wider than the one before, from a microsecond to more than three minutes,
// which is as near as any decision about a model needs and costs one atomic addition a run.
const (
	bucketGrowth = 1.05
	bucketCount  = 400
)

// health collects a Health without locks. Lanes of one model share it.
type health struct {
	begun, frames, errors, notFinite, detections atomic.Uint64
	buckets                                      [bucketCount]atomic.Uint64
}

// begin counts a frame in; record or forget counts it out.
func (h *health) begin() {
	if h != nil {
		h.begun.Add(1)
	}
}

// forget is for a frame that was given up: it says nothing about the model.
func (h *health) forget() {
	if h != nil {
		h.begun.Add(^uint64(0))
	}
}

// record takes the outcome of one frame.
func (h *health) record(found int, infer time.Duration, err error) {
	if h == nil { // a lane that is in no slot
		return
	}
	h.frames.Add(1)
	h.detections.Add(uint64(found))
	if err != nil {
		h.errors.Add(1)
		if errors.Is(err, detect.ErrNotFinite) {
			h.notFinite.Add(1)
		}
	}
	if infer > 0 {
		h.buckets[bucketOf(infer)].Add(1)
	}
}

// bucketOf is the bucket of a run time.
func bucketOf(d time.Duration) int {
	us := float64(d) / float64(time.Microsecond)
	return min(max(int(math.Log(max(us, 1))/math.Log(bucketGrowth)), 0), bucketCount-1)
}

// read sums up. Counts of frames that end meanwhile may be in some numbers and not yet in others.
func (h *health) read() Health {
	out := Health{Begun: h.begun.Load(), Frames: h.frames.Load(), Errors: h.errors.Load(), NotFinite: h.notFinite.Load(), Detections: h.detections.Load()}
	var counts [bucketCount]uint64
	for i := range h.buckets {
		counts[i] = h.buckets[i].Load()
		out.Runs += counts[i]
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
