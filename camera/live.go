package camera

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"gnomon/engine"
)

const (
	// openLimit bounds opening, and waiting for the first picture, which may have to wait for the next key frame.
	openLimit = 10 * time.Second

	// openGrace is what a decoder gets on top to give up by itself: it knows why it failed.
	openGrace = time.Second

	// closeLimit is how long Close waits for a native call to come back.
	closeLimit = time.Second
)

// capture is a camera or stream as its driver or decoder sees it: it has no patience of its own. One goroutine at a time
// but for stop, which any may call until close. Calls may take as long as they like.
type capture interface {
	open() error
	grab() (position time.Duration, err error) // position is of the camera's own clock; negative: it has none
	retrieve(dst *engine.Frame) error          // of the picture that was grabbed last
	stop()                                     // makes open and grab give up, if they can
	close()
	rate() float64 // as claimed, once open; 0: unknown
	negotiated() string
}

// live gives a capture patience. The capture lives in a goroutine of its own, which hangs in native code when that hangs,
// and then closes the capture when it comes back, if it does. Everybody else only waits as long as they want to.
//
// A source that stalls is finished: Close it and open another.
type live struct {
	o     Options
	kind  Kind
	label string
	c     capture

	want   chan struct{} // one slot: grab a picture
	got    chan grabbed  // one slot: there it is
	opened chan error    // one slot
	quit   chan struct{} // closed when nobody wants more pictures
	ended  chan struct{} // closed when the capture is closed

	mu        sync.Mutex // of what follows; also held while the capture retrieves, so that it is not closed meanwhile
	stopped   bool
	closing   bool // the capture is for nobody else any more
	closed    bool
	abandoned bool

	// Of the goroutine that grabs.
	timer    *time.Timer
	pending  bool // the capture was asked for a picture that has not arrived
	failed   error
	seq      uint64
	taken    grabbed       // the last picture
	interval time.Duration // measured, a running mean
	pts      time.Duration
}

// grabbed is what became of one grab.
type grabbed struct {
	at       time.Time
	position time.Duration
	err      error
}

// openLive opens c, which it owns from now on.
func openLive(ctx context.Context, o Options, kind Kind, label string, c capture) (*live, error) {
	l := &live{
		o: o, kind: kind, label: label, c: c,
		want: make(chan struct{}, 1), got: make(chan grabbed, 1), opened: make(chan error, 1),
		quit: make(chan struct{}), ended: make(chan struct{}),
		timer: time.NewTimer(openLimit + openGrace),
	}
	if Abandoned() >= maxAbandoned {
		l.timer.Stop()
		c.close()
		return nil, fmt.Errorf("%s is not opened: %w", label, ErrTooManyAbandoned)
	}
	go l.work()
	var err error
	select {
	case err = <-l.opened:
	case <-ctx.Done():
		err = ctx.Err()
	case <-l.timer.C:
		err = fmt.Errorf("%s: %w: opening it takes longer than %v", label, ErrStalled, openLimit)
	}
	l.timer.Stop()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// work owns the capture: it opens it, grabs when asked, and closes it.
func (l *live) work() {
	defer l.finish()
	err := l.c.open()
	l.opened <- err
	if err != nil {
		return
	}
	for {
		select {
		case <-l.want:
		case <-l.quit:
			return
		}
		position, err := l.c.grab()
		l.got <- grabbed{time.Now(), position, err}
	}
}

// finish closes the capture, however late.
func (l *live) finish() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.c.close()
	l.mu.Lock()
	l.closed = true
	if l.abandoned {
		abandoned.Add(-1)
	}
	l.mu.Unlock()
	close(l.ended)
}

// end makes the capture stop; it does not wait for it.
func (l *live) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.stopped = true
	close(l.quit)
	if !l.closing {
		l.c.stop()
	}
}

// Name is the source's name.
func (l *live) Name() string { return l.o.Name }

// Live is true.
func (l *live) Live() bool { return true }

// Rate is the frame rate that the camera claims, frames a second; 0: unknown.
func (l *live) Rate() float64 { return saneRate(l.c.rate()) }

// Frames is 0: nobody knows how many there will be.
func (l *live) Frames() int { return 0 }

// Negotiated is what the camera and gnomon agreed on, for logs; empty where there was nothing to agree on.
func (l *live) Negotiated() string { return l.c.negotiated() }

// String names the source in logs.
func (l *live) String() string {
	s := l.kind.String() + " " + l.label
	if n := l.c.negotiated(); n != "" {
		s += ", " + n
	}
	return s
}

// Read is Grab and Retrieve.
func (l *live) Read(ctx context.Context, f *engine.Frame) error {
	if err := l.Grab(ctx); err != nil {
		return err
	}
	return l.Retrieve(f)
}

// Grab waits for the next picture and notes the time. It does not wait longer than Options.Stall says; a source that
// stalled or failed stays so. After ctx has ended, the next Grab may return a picture that has waited since.
func (l *live) Grab(ctx context.Context) error {
	if l.failed != nil {
		return l.failed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-l.quit:
		return io.EOF
	default:
	}
	if !l.pending {
		l.want <- struct{}{}
		l.pending = true
	}
	limit := l.patience()
	l.timer.Reset(limit)
	defer l.timer.Stop()
	select {
	case g := <-l.got:
		l.pending = false
		return l.take(g)
	case <-ctx.Done():
		return ctx.Err()
	case <-l.quit:
		return io.EOF
	case <-l.timer.C:
		l.end()
		l.failed = fmt.Errorf("%s: %w: none in %v", l.label, ErrStalled, limit.Round(time.Millisecond))
		return l.failed
	}
}

// take notes the picture that arrived.
func (l *live) take(g grabbed) error {
	if g.err != nil {
		l.failed = g.err
		return g.err
	}
	if l.seq > 0 {
		gap := g.at.Sub(l.taken.at)
		l.pts += step(l.taken.position, g.position, gap)
		if l.interval == 0 {
			l.interval = gap
		}
		const weight = 8 // of the past: a change of rate counts within a few pictures
		l.interval += (gap - l.interval) / weight
	}
	l.taken = g
	l.seq++
	return nil
}

// Retrieve makes a frame of the picture that was grabbed last. PTS is the time in the stream since its first picture, by the
// camera's own clock where that can be followed.
func (l *live) Retrieve(f *engine.Frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing || l.stopped {
		return io.EOF
	}
	if l.seq == 0 || l.pending {
		return fmt.Errorf("%s: no picture was grabbed", l.label)
	}
	if err := l.c.retrieve(f); err != nil {
		return fmt.Errorf("%s: %w", l.label, err)
	}
	f.CapturedAt, f.Seq, f.PTS, f.Origin = l.taken.at, l.seq-1, l.pts, ""
	return nil
}

// Close lets the source go. It waits for a native call that is in progress for a second at most; one that has not returned
// by then is abandoned, and counted until it does.
func (l *live) Close() error {
	l.end()
	timer := time.NewTimer(closeLimit)
	defer timer.Stop()
	select {
	case <-l.ended:
		return nil
	case <-timer.C:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.abandoned && !l.closed {
		l.abandoned = true
		abandoned.Add(1)
	}
	return nil
}
