package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"gnomon/engine/detect"
)

// Model is a loaded model: its name and its lanes, which it owns.
type Model struct {
	Info  ModelInfo
	Lanes []*Lane
}

// warmUpRuns is how often a lane is run before it counts as warm: ONNX Runtime learns in the first run which memory it
// needs, sets it aside in the second and uses it from the third on. With one run alone the first frames after an
// exchange of models took three times as long.
const warmUpRuns = 3

// WarmUp takes f through every lane, so that the first frames afterwards cost no more than later ones: first one after the
// other on the caller's thread, then all at once, as lanes of one loaded model set memory aside for as many runs as they
// have seen together. What is found is nobody's business; outputs that are not finite may be those of a picture that means
// nothing, so they are no error. What happens at once happens in beside, once for each lane and each in a goroutine of
// its own; nil calls it as it is.
func (m *Model) WarmUp(ctx context.Context, f *Frame, beside func(func() error) error) error {
	if beside == nil {
		beside = func(f func() error) error { return f() }
	}
	for _, l := range m.Lanes {
		for range warmUpRuns {
			if err := l.warmUp(ctx, f); err != nil {
				return err
			}
		}
	}
	if len(m.Lanes) < 2 {
		return nil
	}
	errs := make([]error, len(m.Lanes))
	var together sync.WaitGroup
	for i, l := range m.Lanes {
		together.Go(func() { errs[i] = beside(func() error { return l.warmUp(ctx, f) }) })
	}
	together.Wait()
	return errors.Join(errs...)
}

// warmUp takes f through the lane alone, and as often as a run takes frames.
func (l *Lane) warmUp(ctx context.Context, f *Frame) error {
	if _, _, err := l.detect(ctx, f, nil); err != nil && !errors.Is(err, detect.ErrNotFinite) {
		return fmt.Errorf("warm up: %w", err)
	}
	b := l.Batch()
	if b < 2 {
		return nil
	}
	results := make([]Outcome, b)
	l.DetectBatch(ctx, slices.Repeat([]*Frame{f}, b), results)
	for _, r := range results {
		if r.Err != nil && !errors.Is(r.Err, detect.ErrNotFinite) {
			return fmt.Errorf("warm up with %d pictures at once: %w", b, r.Err)
		}
	}
	return nil
}

// Close frees every lane. Nobody may be using one.
func (m *Model) Close() error {
	var errs []error
	for _, l := range m.Lanes {
		errs = append(errs, l.close())
	}
	m.Lanes = nil
	return errors.Join(errs...)
}

// Wrap puts what fn makes of it in place of the session of every lane, for measuring what its runs cost. It must come
// before the model is in use. What fn returned is closed with the lane, and closes what it was given.
func (m *Model) Wrap(fn func(Session) Session) {
	for i, l := range m.Lanes {
		m.Lanes[i] = NewLane(l.pre, fn(l.sess), l.dec, l.mode)
	}
}
