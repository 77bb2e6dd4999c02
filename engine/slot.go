package engine

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Slot holds the model in use, shares its lanes out among the sources, and lets it be exchanged between two frames. A
// lane in use belongs to the one goroutine that was given it; a model is closed only after all its lanes have come back.
// Any goroutine may call any method.
type Slot struct {
	mu     sync.Mutex
	cur    *lanePool   // nil once closed
	seats  []*seat     // of the pipelines that run
	guests []*guest    // who asked with Use, in the order in which they did
	turn   uint64      // counts the turns that sources had
	until  time.Time   // up to here lanes wait for more frames to take at once; zero: none waits
	bell   *time.Timer // rings then; nil until it is needed

	spare spare // has a mutex of its own, which is taken after mu

	each sync.Mutex // held by Each: two that want all lanes would wait for each other
}

// lanePool is the lanes of one model. What is not marked otherwise belongs to the slot's mutex.
type lanePool struct {
	model  *Model
	lanes  int
	health health
	idle   []*Lane       // last in, first out: what it holds is in the caches still
	held   bool          // Each has the lanes, or waits for the last of them
	over   bool          // retired is closed
	back   chan struct{} // one slot: all lanes are idle, and somebody may be waiting for that

	retired chan struct{} // closed when another model has taken over

	mu     sync.Mutex // guards the lanes' Interrupt against their Close
	closed bool
}

func newLanePool(m *Model) *lanePool {
	p := &lanePool{model: m, lanes: len(m.Lanes), back: make(chan struct{}, 1), retired: make(chan struct{})}
	p.health.least = m.Info.ScoreThreshold
	for _, l := range m.Lanes {
		l.health = &p.health
		p.idle = append(p.idle, l)
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
		return p.lanes
	}
	return 0
}

// Batch is how many frames a lane of the model in use takes at once; 0 once the slot is closed.
func (s *Slot) Batch() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur == nil || s.cur.lanes == 0 {
		return 0
	}
	return s.cur.model.Lanes[0].Batch()
}

// Health tells how the model in use has done since it came; zero once the slot is closed.
func (s *Slot) Health() Health {
	if p := s.pool(); p != nil {
		return p.health.read()
	}
	return Health{}
}

// Recent is Health for the last minutes, five to ten of them, without what has begun and not ended. It is zero when
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
		p := s.hold()
		if p == nil {
			return ErrClosed
		}
		again, err := s.visit(ctx, p, fn)
		s.release(p)
		if !again {
			return err
		}
	}
}

// hold keeps the lanes of the model in use from sources, those in work from when they come back.
func (s *Slot) hold() *lanePool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur != nil {
		s.cur.held = true
	}
	return s.cur
}

func (s *Slot) release(p *lanePool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.held = false
	p.tell()
	s.dispatch()
}

// visit waits until all lanes are there and visits them; again: the model was exchanged before.
func (s *Slot) visit(ctx context.Context, p *lanePool, fn func(*Lane) error) (again bool, err error) {
	for {
		s.mu.Lock()
		all, over := len(p.idle) == p.lanes, p.over
		s.mu.Unlock()
		if over { // its lanes are waited for in order to close them
			return true, nil
		}
		if all {
			break
		}
		select {
		case <-p.back:
		case <-p.retired:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	for _, l := range p.model.Lanes { // a drain waits for release
		err = errors.Join(err, fn(l))
	}
	return false, err
}

// tell wakes who waits for all lanes. The caller holds the slot's mutex.
func (p *lanePool) tell() {
	if len(p.idle) < p.lanes {
		return
	}
	select {
	case p.back <- struct{}{}:
	default:
	}
}

// Swap puts next in place of the model in use, waits until the lanes of the old one have come back and closes it.
// Frames whose turn comes from now on get next. When ctx ends while waiting, runs in progress are interrupted.
func (s *Slot) Swap(ctx context.Context, next *Model) error {
	p := newLanePool(next)
	s.mu.Lock()
	old := s.cur
	if old == nil {
		s.mu.Unlock()
		return errors.Join(ErrClosed, next.Close())
	}
	s.cur = p
	s.until = time.Time{} // what is worth waiting for depends on the model
	old.retire()
	s.dispatch()
	s.mu.Unlock()
	return s.drain(ctx, old)
}

// Interrupt makes the runs in progress of the model in use end soon, with an error; the model is of no use afterwards.
func (s *Slot) Interrupt() {
	if p := s.pool(); p != nil {
		p.interrupt()
	}
}

// Close drains and closes the model in use. It is idempotent. When ctx ends first, runs in progress are
// interrupted. Pipelines that still run end with ErrClosed.
func (s *Slot) Close(ctx context.Context) error {
	s.mu.Lock()
	old := s.cur
	if old == nil {
		s.mu.Unlock()
		return nil
	}
	s.cur = nil
	old.retire()
	s.dismiss()
	s.mu.Unlock()
	return s.drain(ctx, old)
}

func (p *lanePool) retire() {
	p.over = true
	close(p.retired)
}

// drain waits until all lanes are there and nobody visits them, and closes the model.
func (s *Slot) drain(ctx context.Context, p *lanePool) error {
	for done := ctx.Done(); ; {
		s.mu.Lock()
		free := len(p.idle) == p.lanes && !p.held
		s.mu.Unlock()
		if free {
			break
		}
		select {
		case <-p.back:
		case <-done:
			done = nil
			p.interrupt()
		}
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
