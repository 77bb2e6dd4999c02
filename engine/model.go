package engine

import (
	"context"
	"errors"
	"fmt"
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

func (l *Lane) warmUp(ctx context.Context, f *Frame) error {
	if _, _, err := l.detect(ctx, f, nil); err != nil && !errors.Is(err, detect.ErrNotFinite) {
		return fmt.Errorf("warm up: %w", err)
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

// Slot holds the model in use and lets it be exchanged between two frames. A lane in use belongs to the one
// goroutine that acquired it; a model is closed only after all its lanes have come back. Any goroutine may call
// any method.
type Slot struct {
	mu  sync.Mutex
	cur *lanePool // nil once closed

	each sync.Mutex // held by Each: two that collect lanes would wait for each other
}

// lanePool hands out the lanes of one model. The channel is the owner of the idle ones.
type lanePool struct {
	model   *Model
	health  health
	idle    chan *Lane
	retired chan struct{} // closed when another model has taken over

	mu     sync.Mutex // guards the lanes' Interrupt against their Close
	closed bool
}

func newLanePool(m *Model) *lanePool {
	p := &lanePool{model: m, idle: make(chan *Lane, len(m.Lanes)), retired: make(chan struct{})}
	p.health.least = m.Info.ScoreThreshold
	for _, l := range m.Lanes {
		l.health = &p.health
		p.idle <- l
	}
	return p
}

// NewSlot makes a slot that owns m, which must have at least one lane.
func NewSlot(m *Model) *Slot { return &Slot{cur: newLanePool(m)} }

func (s *Slot) pool() *lanePool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cur
}

// Info is the model in use now; nil once the slot is closed.
func (s *Slot) Info() *ModelInfo {
	if p := s.pool(); p != nil {
		return &p.model.Info
	}
	return nil
}

// Parallel is the number of lanes of the model in use.
func (s *Slot) Parallel() int {
	if p := s.pool(); p != nil {
		return cap(p.idle)
	}
	return 0
}

// Use waits for a lane of the model in use and calls fn with it. Lanes go to those who wait in the order in which
// they asked.
func (s *Slot) Use(ctx context.Context, fn func(*Lane, *ModelInfo)) error {
	for {
		p := s.pool()
		if p == nil {
			return ErrClosed
		}
		select {
		case l := <-p.idle:
			fn(l, &p.model.Info)
			p.idle <- l
			return nil
		case <-p.retired: // exchanged while waiting: ask the new one
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Health tells how the model in use has done since it came; zero once the slot is closed.
func (s *Slot) Health() Health {
	if p := s.pool(); p != nil {
		return p.health.read()
	}
	return Health{}
}

// Recent is Health over the last minutes, healthWindow and up to twice that; its Begun is its Frames. It is zero when
// nothing came for as long.
func (s *Slot) Recent() Health {
	if p := s.pool(); p != nil {
		return p.health.recent()
	}
	return Health{}
}

// Each calls fn with every lane of the model in use while no frame is in any of them. Frames wait meanwhile, so fn must
// be quick. A model that takes over during that is not visited unless fn had not been called yet.
func (s *Slot) Each(ctx context.Context, fn func(*Lane) error) error {
	s.each.Lock()
	defer s.each.Unlock()
	for {
		p := s.pool()
		if p == nil {
			return ErrClosed
		}
		again, err := p.each(ctx, fn)
		if !again {
			return err
		}
	}
}

// each collects the lanes and visits them; again: the model was exchanged before all were there.
func (p *lanePool) each(ctx context.Context, fn func(*Lane) error) (again bool, err error) {
	held := make([]*Lane, 0, cap(p.idle))
	defer func() {
		for _, l := range held {
			p.idle <- l
		}
	}()
	for len(held) < cap(p.idle) {
		select {
		case l := <-p.idle:
			held = append(held, l)
		case <-p.retired: // its lanes are being collected to be closed
			return true, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	for _, l := range held {
		err = errors.Join(err, fn(l))
	}
	return false, err
}

// Swap puts next in place of the model in use, waits until the lanes of the old one have come back and closes it.
// Frames that ask from now on get next. When ctx ends while waiting, runs in progress are interrupted.
func (s *Slot) Swap(ctx context.Context, next *Model) error {
	p := newLanePool(next)
	s.mu.Lock()
	old := s.cur
	if old == nil {
		s.mu.Unlock()
		return errors.Join(ErrClosed, next.Close())
	}
	s.cur = p
	s.mu.Unlock()
	return old.drain(ctx)
}

// Interrupt makes the runs in progress of the model in use end soon, with an error; the model is of no use afterwards.
func (s *Slot) Interrupt() {
	if p := s.pool(); p != nil {
		p.interrupt()
	}
}

// Close drains and closes the model in use. It is idempotent. When ctx ends first, runs in progress are
// interrupted.
func (s *Slot) Close(ctx context.Context) error {
	s.mu.Lock()
	old := s.cur
	s.cur = nil
	s.mu.Unlock()
	if old == nil {
		return nil
	}
	return old.drain(ctx)
}

func (p *lanePool) drain(ctx context.Context) error {
	close(p.retired)
	done := ctx.Done()
	for range cap(p.idle) {
		select {
		case <-p.idle:
			continue
		case <-done:
			done = nil
			p.interrupt()
		}
		<-p.idle
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.model.Close()
}

func (p *lanePool) interrupt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	for _, l := range p.model.Lanes {
		l.sess.Interrupt()
	}
}
