package engine

import (
	"context"
	"sync/atomic"
	"time"
)

// seat is a source's place at a slot: the frames that wait for their turn and the workers that take them. What is not
// marked otherwise belongs to the slot's mutex.
type seat struct {
	slot   *Slot         // never changes
	live   bool          // never changes
	depth  int           // frames that may wait; never changes
	limit  int           // frames that may be in the model at once; never changes
	maxAge time.Duration // of a frame whose turn comes; never changes; below 0: none is too old

	waiting []*Frame // oldest first
	idle    []*worker
	inModel int
	served  uint64 // the turn that was the source's last
	ticket  uint64 // of the next frame
	ended   bool   // no frame comes any more
	closed  bool   // the slot is

	arrived time.Time     // the last frame
	every   time.Duration // usually between two frames; 0: not known yet
	spared  bool          // the frame before was dropped for its age: the next is not

	room        chan struct{} // one slot: a frame has been taken
	busy, stale atomic.Uint64 // frames that were dropped
}

// ready tells whether the source has a frame and somebody who can take it.
func (st *seat) ready() bool {
	return len(st.waiting) > 0 && len(st.idle) > 0 && st.inModel < st.limit && !st.closed
}

// offers is how many frames the source has that could be taken now.
func (st *seat) offers() int {
	if st.closed {
		return 0
	}
	return min(len(st.waiting), len(st.idle), st.limit-st.inModel)
}

// due is when a camera that has no frame now is likely to have one; false: nobody knows, or it is late already.
func (st *seat) due(now time.Time) (time.Time, bool) {
	if !st.live || st.ended || st.closed || st.every == 0 || len(st.waiting) > 0 || len(st.idle) == 0 || st.inModel >= st.limit {
		return time.Time{}, false
	}
	at := st.arrived.Add(st.every)
	return at, now.Before(at.Add(st.every / 2))
}

// pop takes the oldest frame that waits, of which a live source has one.
func (st *seat) pop() *Frame {
	f := st.waiting[0]
	copy(st.waiting, st.waiting[1:])
	st.waiting = st.waiting[:len(st.waiting)-1]
	return f
}

// hasRoom tells the source that a frame has been taken.
func (st *seat) hasRoom() {
	select {
	case st.room <- struct{}{}:
	default:
	}
}

// tooOld tells whether a frame had better be dropped for its age. A source whose next frame may be long in coming keeps
// what it has, and none loses two in a row: an old result is better than none.
func (st *seat) tooOld(f *Frame) bool {
	old := st.live && st.maxAge >= 0 && !f.CapturedAt.IsZero() && time.Since(f.CapturedAt) > st.maxAge
	st.spared = old && !st.spared && !st.ended && st.every > 0 && st.every <= st.maxAge
	return st.spared
}

// begin gives f to a worker.
func (st *seat) begin(f *Frame) *worker {
	w := st.idle[len(st.idle)-1]
	st.idle = st.idle[:len(st.idle)-1]
	w.frame, w.ticket = f, st.ticket
	st.ticket++
	st.inModel++
	if st.ended && len(st.waiting) == 0 {
		st.sendHome()
	}
	return w
}

// sendHome wakes the workers that wait: there is nothing more for them.
func (st *seat) sendHome() {
	for _, w := range st.idle {
		w.wake <- struct{}{}
	}
	st.idle = st.idle[:0]
}

// over tells whether no frame will be there for a worker.
func (st *seat) over() bool { return st.closed || st.ended && len(st.waiting) == 0 }

// rest waits for the next frame of w, which the slot puts there; false: there is none any more.
func (st *seat) rest(w *worker) bool {
	w.frame = nil
	st.slot.mu.Lock()
	if st.over() {
		st.slot.mu.Unlock()
		return false
	}
	st.idle = append(st.idle, w)
	st.slot.dispatch()
	st.slot.mu.Unlock()
	<-w.wake
	return w.frame != nil
}

// offer gives the newest frame of a live source, in place of the one that nobody has taken.
func (st *seat) offer(f *Frame) {
	st.slot.mu.Lock()
	defer st.slot.mu.Unlock()
	if st.ended {
		st.slot.spare.put(f)
		return
	}
	for _, old := range st.waiting {
		st.busy.Add(1)
		st.slot.spare.put(old)
	}
	st.waiting = append(st.waiting[:0], f)
	st.note(time.Now())
	st.slot.dispatch()
}

// note learns how often frames come. One that comes late says little about that: it counts as two intervals at most.
func (st *seat) note(at time.Time) {
	if !st.arrived.IsZero() {
		st.every = smooth(st.every, at.Sub(st.arrived))
	}
	st.arrived = at
}

// smooth moves a usual interval an eighth of the way to the one that was seen last; 0 is not known yet.
func smooth(usual, seen time.Duration) time.Duration {
	if usual == 0 {
		return seen
	}
	return usual + (min(seen, 2*usual)-usual)/8
}

// takeBack takes the frame of a live source back that nobody has taken, as a newer one has come; nil: there is none.
func (st *seat) takeBack() *Frame {
	st.slot.mu.Lock()
	defer st.slot.mu.Unlock()
	if len(st.waiting) == 0 {
		return nil
	}
	st.busy.Add(1)
	return st.pop()
}

// put gives a frame that must not be lost, and waits until there is room for it. After an error it is still the caller's.
func (st *seat) put(ctx context.Context, f *Frame) error {
	for {
		st.slot.mu.Lock()
		if !st.ended && len(st.waiting) < st.depth {
			st.waiting = append(st.waiting, f)
			st.slot.dispatch()
			st.slot.mu.Unlock()
			return nil
		}
		st.slot.mu.Unlock()
		select {
		case <-st.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end says that no frame comes any more. Those that wait have their turn yet.
func (st *seat) end() {
	st.slot.mu.Lock()
	defer st.slot.mu.Unlock()
	st.ended = true
	if st.over() {
		st.sendHome()
	}
}

// abandon is end, and gives up the frames that wait.
func (st *seat) abandon() {
	st.slot.mu.Lock()
	defer st.slot.mu.Unlock()
	st.ended = true
	for _, f := range st.waiting {
		st.slot.spare.put(f)
	}
	st.waiting = st.waiting[:0]
	st.sendHome()
}

// isClosed tells whether the slot has been closed.
func (st *seat) isClosed() bool {
	st.slot.mu.Lock()
	defer st.slot.mu.Unlock()
	return st.closed
}
