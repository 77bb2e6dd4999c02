// Package scene takes a cheap look at pictures: whether something moved, for a gate that spares the model idle scenes,
// and whether a camera shows the same picture for ever or a black one, for its health. Pure Go, imports nothing of
// gnomon.
//
// It sees 64x36 cells of the picture, each the mean of a few of its pixels, and compares them with a background that
// adapts within seconds. What it cannot see: an object smaller than a cell in a large picture, and one that differs from
// its background by less than the noise. The gate therefore lets a picture pass every few seconds in any case.
package scene

import (
	"sync"
	"time"
)

const (
	// holdTime is how long the gate stays open after something moved: what comes to rest is looked at a few times more.
	holdTime = 2 * time.Second

	// passEvery is how often a picture passes although nothing moved, so that the gate never blinds the agent.
	passEvery = 10 * time.Second

	// healthEvery is how often a picture is looked at for the camera's health, which is half of the cost: faults that
	// last for minutes need no more.
	healthEvery = 100 * time.Millisecond
)

// Options says what to look for.
type Options struct {
	Motion      float64       // share of the picture, 0..1, that must differ from the background; 0: every picture passes
	FrozenAfter time.Duration // the same picture for so long is frozen; 0: never
	BlackAfter  time.Duration // black pictures for so long; 0: never
}

// State is what a Watch thinks of the last picture.
type State struct {
	Frozen bool
	Black  bool
	Since  time.Time // since when it has been frozen or black, the earlier of both; zero: it is neither
	Change float64   // share of the picture that differs from the background, 0..1; always 0 without Options.Motion
}

// Watch looks at the pictures of one source. Look is for one goroutine at a time, State for any.
type Watch struct {
	o    Options
	grid grid
	back background
	same stillness

	last      time.Time     // of the picture before
	now       time.Duration // of the last picture, since the first: a clock that never runs back
	openUntil time.Duration // the gate is held open
	passed    time.Duration // the last picture that passed
	looked    time.Duration // the last picture that was looked at for its health
	changed   event         // the last picture that was another than the one before it
	light     event         // the last picture that was not black

	mu    sync.Mutex
	state State
}

// event is a moment on both clocks.
type event struct {
	at    time.Time
	since time.Duration
}

// New returns a Watch that has seen nothing.
func New(o Options) *Watch {
	w := &Watch{o: o}
	w.same.init()
	return w
}

// State is what there is to say of the last picture.
func (w *Watch) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// Look takes a picture of width x height pixels in BGR, rows stride bytes apart, that was captured at the moment at. It
// tells whether the picture is worth the model's time: something moved a moment ago, or it is due in any case. A picture
// of another size than the one before begins anew, and one whose bytes do not suffice passes unseen. It allocates
// nothing and keeps nothing of pix.
func (w *Watch) Look(pix []byte, width, height, stride int, at time.Time) (moved bool) {
	if w.o == (Options{}) || width <= 0 || height <= 0 || stride < 3*width || len(pix) < (height-1)*stride+3*width {
		return true
	}
	fresh := w.grid.fit(width, height)
	step := w.tick(at)
	if fresh {
		w.begin(at)
	}
	due := fresh || w.now-w.looked >= healthEvery
	if !due && w.o.Motion == 0 {
		return true
	}
	w.grid.sample(pix, stride)
	if due {
		w.looked = w.now
		w.health(pix, width, height, stride, event{at, w.now})
	}
	change := 0.0
	if w.o.Motion > 0 {
		change = w.back.change(&w.grid.luma, step, fresh)
	}
	w.judge(change)
	return w.pass(change, fresh)
}

// health notes what says that the camera works.
func (w *Watch) health(pix []byte, width, height, stride int, now event) {
	if w.o.BlackAfter > 0 && !w.grid.black() {
		w.light = now
	}
	if w.o.FrozenAfter > 0 && w.same.changed(pix, width, height, stride) {
		w.changed = now
	}
}

// judge sets the state after a picture.
func (w *Watch) judge(change float64) {
	s := State{Change: change}
	if w.o.BlackAfter > 0 && w.now-w.light.since >= w.o.BlackAfter {
		s.Black, s.Since = true, w.light.at
	}
	if w.o.FrozenAfter > 0 && w.now-w.changed.since >= w.o.FrozenAfter && w.same.complete() {
		s.Frozen = true
		if !s.Black || w.changed.at.Before(s.Since) {
			s.Since = w.changed.at
		}
	}
	w.mu.Lock()
	w.state = s
	w.mu.Unlock()
}

// tick moves the clock on, and tells how far. A wall clock that was set back stands still for one picture.
func (w *Watch) tick(at time.Time) (step time.Duration) {
	if !w.last.IsZero() {
		step = max(at.Sub(w.last), 0)
	}
	w.now += step
	w.last = at
	return step
}

// begin forgets what the pictures before were like.
func (w *Watch) begin(at time.Time) {
	now := event{at, w.now}
	w.changed, w.light = now, now
	w.openUntil, w.looked = 0, w.now
	w.same.reset(w.grid.height)
}

// pass is the gate.
func (w *Watch) pass(change float64, fresh bool) bool {
	if w.o.Motion == 0 {
		return true
	}
	if change >= w.o.Motion {
		w.openUntil = w.now + holdTime
	}
	if fresh || w.now < w.openUntil || w.now-w.passed >= passEvery {
		w.passed = w.now
		return true
	}
	return false
}
