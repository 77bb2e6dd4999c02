package main

import (
	"errors"
	"sync/atomic"
	"time"

	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/telemetry"
	"gnomon/telemetry/metrics"
)

// sourceMeter counts the frames of one source. Observe is for the one goroutine that handles them; the rest is for any.
type sourceMeter struct {
	counts *metrics.Source
	o      metrics.Observation // kept, so that no frame allocates one

	last   atomic.Int64 // when the latest frame was handled, or the source opened, in nanoseconds since 1970; 0: never
	opened atomic.Uint64
	state  *atomic.Int32 // of the clock
}

// source is the meter of a source, made at the first call with its name. A nil meter gives a nil one, which counts
// nothing.
func (m *meter) source(name string) *sourceMeter {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sources[name]
	if s == nil {
		s = &sourceMeter{counts: m.registry.Source(name), state: &m.clock}
		m.sources[name] = s
	}
	return s
}

// forget drops what was counted of a source that is watched no more. A nil meter has nothing.
func (m *meter) forget(name string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sources, name)
	m.registry.Forget(name)
}

// open notes that the source was opened.
func (s *sourceMeter) open() {
	if s == nil {
		return
	}
	s.opened.Add(1)
	s.last.Store(time.Now().UnixNano())
}

// clock is what is known of the clock.
func (s *sourceMeter) clock() telemetry.ClockState {
	if s == nil {
		return telemetry.ClockUnknown
	}
	return telemetry.ClockState(s.state.Load()) //nolint:gosec // it was one
}

func (s *sourceMeter) restarts() uint64 {
	n := s.opened.Load()
	return n - min(n, 1)
}

// seen is when something last came from the source; zero: never.
func (s *sourceMeter) seen() time.Time {
	if n := s.last.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// observe counts a frame that was handled. Score is the source's own threshold, nil for the model's. Published tells
// whether there was something to publish, and err why it was not taken.
func (s *sourceMeter) observe(r *engine.Result, score *float32, published bool, err error) {
	if s == nil {
		return
	}
	now := time.Now()
	s.last.Store(now.UnixNano())
	o := &s.o
	*o = metrics.Observation{
		At: now, Detections: r.Detections, Failure: failureOf(r.Err), Unsent: err != nil,
		Model:  metrics.ModelRef{Name: r.Model.Name, Version: r.Model.Version, SHA256: r.Model.SHA256},
		Labels: r.Model.Labels, Threshold: r.Model.ScoreThreshold,
	}
	if score != nil {
		o.Threshold = *score
	}
	t := r.Timing
	o.Stages[metrics.Preprocess], o.Stages[metrics.Infer], o.Stages[metrics.Postprocess] = t.Preprocess, t.Infer, t.Postprocess
	if t.Latency > 0 {
		o.Stages[metrics.Capture] = t.Latency - t.Preprocess - t.Infer - t.Postprocess
	}
	if published && err == nil && !r.Frame.CapturedAt.IsZero() {
		o.Stages[metrics.Publish] = now.Sub(r.Frame.CapturedAt)
	}
	s.counts.Observe(o)
	o.Detections = nil // theirs
}

// failureOf sorts the errors of frames.
func failureOf(err error) metrics.Failure {
	switch {
	case err == nil:
		return metrics.OK
	case errors.Is(err, engine.ErrDeadline):
		return metrics.Deadline
	case errors.Is(err, detect.ErrNotFinite):
		return metrics.NotFinite
	default:
		return metrics.Other
	}
}
