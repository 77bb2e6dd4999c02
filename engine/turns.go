package engine

import (
	"context"
	"slices"
	"time"
)

// A free lane goes to the source, of those that have a frame for it, whose last turn is longest ago, and takes the frame
// that is the newest at that moment. So a source gets no more than its turn however fast it is, and none waits for one
// that has nothing to give or no hands free. What is below is called with the slot's mutex held, but for Use and finish.

// guest is somebody who asked for a lane with Use.
type guest struct {
	since uint64        // the turn in which it asked
	wake  chan struct{} // one slot
	lane  *Lane         // set before wake; nil: the slot was closed
	pool  *lanePool
}

// Use waits for a lane of the model in use and calls fn with it. Who asks waits like a source: its turn comes after those
// whose last turn was before it asked.
func (s *Slot) Use(ctx context.Context, fn func(*Lane, *ModelInfo)) error {
	g := &guest{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	if s.cur == nil {
		s.mu.Unlock()
		return ErrClosed
	}
	g.since = s.turn
	s.guests = append(s.guests, g)
	s.dispatch()
	s.mu.Unlock()
	select {
	case <-g.wake:
	case <-ctx.Done():
		if s.forget(g) {
			return ctx.Err()
		}
		<-g.wake // its turn came at the same time
	}
	if g.lane == nil {
		return ErrClosed
	}
	fn(g.lane, &g.pool.model.Info)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.comeBack(g.pool, g.lane)
	return nil
}

// forget strikes g off; false: it is not waiting any more.
func (s *Slot) forget(g *guest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.guests, g)
	if i < 0 {
		return false
	}
	s.guests = slices.Delete(s.guests, i, i+1)
	return true
}

// comeBack takes a lane back and shares it out again.
func (s *Slot) comeBack(p *lanePool, l *Lane) {
	p.idle = append(p.idle, l)
	if p.held || p.over {
		p.tell()
	}
	s.dispatch()
}

// dispatch gives the idle lanes to those whose turn it is. It is called whenever a lane or a frame has come.
func (s *Slot) dispatch() {
	for {
		p := s.cur
		if p == nil || p.held || len(p.idle) == 0 {
			return
		}
		lane := p.idle[len(p.idle)-1]
		next := s.longestWaiting()
		if len(s.guests) > 0 && (next == nil || s.guests[0].since < next.served) {
			p.idle = p.idle[:len(p.idle)-1]
			s.serveGuest(p, lane)
			continue
		}
		if next == nil || s.worthWaiting(lane.Batch()) {
			return
		}
		if w := s.take(); w != nil {
			p.idle = p.idle[:len(p.idle)-1]
			s.serve(w, p, lane)
		}
	}
}

func (s *Slot) serveGuest(p *lanePool, l *Lane) {
	g := s.guests[0]
	s.guests = slices.Delete(s.guests, 0, 1)
	g.lane, g.pool = l, p
	g.wake <- struct{}{}
}

// serve gives w the lane, and as many frames of others as go through it at once.
func (s *Slot) serve(w *worker, p *lanePool, l *Lane) {
	w.lane, w.pool, w.mates = l, p, w.mates[:0]
	for b := l.Batch(); len(w.mates)+1 < b; {
		mate := s.take()
		if mate == nil {
			break
		}
		w.mates = append(w.mates, mate)
	}
	w.wake <- struct{}{}
}

// longestWaiting is the source whose turn it is; nil: none has a frame.
func (s *Slot) longestWaiting() *seat {
	var next *seat
	for _, st := range s.seats {
		if st.ready() && (next == nil || st.served < next.served) {
			next = st
		}
	}
	return next
}

// take takes the next frame from the source whose turn it is; nil: there is none. Frames that are too old are dropped.
func (s *Slot) take() *worker {
	for {
		st := s.longestWaiting()
		if st == nil {
			return nil
		}
		f := st.pop()
		if st.tooOld(f) {
			st.stale.Add(1)
			s.spare.put(f)
			continue
		}
		s.turn++
		st.served = s.turn
		return st.begin(f)
	}
}

// finish ends the run of w and those whose frames were in it.
func (s *Slot) finish(w *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.seat.inModel--
	for _, mate := range w.mates {
		mate.seat.inModel--
		mate.wake <- struct{}{}
	}
	l := w.lane
	w.lane = nil
	s.comeBack(w.pool, l)
}

// join lets a source take part.
func (s *Slot) join(st *seat) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur == nil {
		return ErrClosed
	}
	st.served = s.turn
	s.seats = append(s.seats, st)
	s.spare.expect(st.depth + 1)
	return nil
}

// leave ends that. The frames that nobody holds are freed: those who stay make new ones as they need them, and nobody
// has to know whose was which.
func (s *Slot) leave(st *seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seats = slices.DeleteFunc(s.seats, func(o *seat) bool { return o == st })
	s.spare.expect(-st.depth - 1)
	s.spare.empty()
}

// dismiss tells everybody who waits that the slot is closed.
func (s *Slot) dismiss() {
	for _, g := range s.guests {
		g.wake <- struct{}{}
	}
	s.guests = nil
	for _, st := range s.seats {
		st.closed = true
		st.sendHome()
	}
	if s.bell != nil {
		s.bell.Stop()
	}
}

// maxGather bounds how long a lane waits for more frames to take at once: no camera's frames get older than that for
// the sake of another's.
const maxGather = 20 * time.Millisecond

// worthWaiting tells whether a lane that takes so many frames at once had better wait for more than there are. It waits
// at most half a frame interval of the fastest camera, and only while some camera is about to have a frame. Files are not
// waited for: they are as fast as they can be anyway.
func (s *Slot) worthWaiting(batch int) bool {
	if batch < 2 {
		return false
	}
	now, ready, patience := time.Now(), 0, maxGather
	for _, st := range s.seats {
		ready += st.offers()
		if st.live && st.every > 0 {
			patience = min(patience, st.every/2)
		}
	}
	began := !s.until.IsZero()
	if ready < batch && !began {
		s.until = now.Add(patience)
	}
	if ready < batch && now.Before(s.until) && s.moreComes(now) {
		if !began {
			s.ringIn(patience)
		}
		return true
	}
	s.until = time.Time{}
	return false
}

// moreComes tells whether some camera is about to have a frame while lanes wait.
func (s *Slot) moreComes(now time.Time) bool {
	for _, st := range s.seats {
		if due, ok := st.due(now); ok && !due.After(s.until) {
			return true
		}
	}
	return false
}

// ringIn makes sure that the lanes do not wait for longer.
func (s *Slot) ringIn(d time.Duration) {
	if s.bell == nil {
		s.bell = time.AfterFunc(d, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.dispatch()
		})
		return
	}
	s.bell.Reset(d)
}
