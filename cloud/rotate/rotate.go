// Package rotate exchanges a device's certificate for a new one, with a new key, without ever losing the old one: the
// new pair is ordered, tried on a connection of its own, put in the old one's place, and the old one is kept until the
// new one has lived. Killed at any moment, the next start finds a pair that works.
//
// The order is a text in the shadow: desired {"certificate":{"rotate":"2026-11-24"}}. When it is decided, the same text
// is reported, with the outcome. See ParseDesired and Status.
package rotate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"gnomon/cloud/keypair"
)

const (
	// The pauses between attempts double from the first to the last, with jitter: a whole fleet is given the order at
	// once.
	firstPause = 5 * time.Second
	lastPause  = 10 * time.Minute
	// maxOrders is how often an answer may get lost: each may leave a certificate in the account that nobody has.
	maxOrders = 5
	// settleTime is how long a new certificate may be refused: what is attached to it takes some seconds to get around.
	settleTime = time.Minute
	// lifeTime is how long the agent's own connection must have lived with the new pair.
	lifeTime = time.Minute
	// patience is how long the agent may be without a connection on probation before both pairs are tried.
	patience = 10 * time.Minute
)

// ErrOffline is what Order and Try return while there is no connection: it costs nothing to ask again.
var ErrOffline = errors.New("there is no connection now")

// Options configures New.
type Options struct {
	// Files are the pair in use; their folders must be writable.
	Files keypair.Files
	// Thing is the subject of the new certificate.
	Thing string
	// Order has a certificate made for a request and attached to the thing, over the agent's connection; see
	// provision.Order.
	Order func(ctx context.Context, csrPEM []byte) (certPEM []byte, err error)
	// Try connects with a pair and disconnects. A thing's policy wants the thing's name as the client id, and of two
	// connections with one id the broker ends the first: so the agent's own connection must rest meanwhile. An error that
	// has a method Temporary, and says true, may pass by itself; any other means that the pair is refused.
	Try func(ctx context.Context, f keypair.Files) error
	// Switched is called when other files are in use: the agent must connect anew, and whoever has read them read them
	// again.
	Switched func()
	// Report gets each new status. It must not wait.
	Report func(Status)
	Log    *zap.Logger // nil: no logging

	timing timing
}

// timing is what tests make shorter.
type timing struct {
	first, last, settle, life, patience time.Duration
	done                                func(string) error // called after each step on disk; an error ends Run as a crash would
}

// Rotation exchanges certificates. Create it with New; Want, Online and Status may be called from any goroutine.
type Rotation struct {
	opts  Options
	files pair
	log   *zap.Logger
	wake  chan struct{} // capacity 1

	mu     sync.Mutex
	rec    record
	want   string
	online bool
	since  time.Time // of online, whichever it is
}

// New recovers the files, as Recover does, and reads how far an earlier rotation has come; Run goes on with it.
func New(o Options) (*Rotation, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{
		{&o.timing.first, firstPause},
		{&o.timing.last, lastPause},
		{&o.timing.settle, settleTime},
		{&o.timing.life, lifeTime},
		{&o.timing.patience, patience},
	} {
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	if o.timing.done == nil {
		o.timing.done = func(string) error { return nil }
	}
	for _, path := range []*string{&o.Files.CertFile, &o.Files.KeyFile} { // a rename would replace the link
		if real, err := filepath.EvalSymlinks(*path); err == nil {
			*path = real
		}
	}
	if err := Recover(o.Files); err != nil {
		return nil, err
	}
	r := &Rotation{opts: o, files: pair{o.Files}, log: o.Log, wake: make(chan struct{}, 1), since: time.Now()}
	var err error
	if r.rec, err = r.files.read(); err != nil {
		o.Log.Warn("what became of an earlier rotation of the certificate is forgotten", zap.Error(err))
	}
	switch r.rec.Step { // Recover has finished these
	case switching:
		r.rec.Step, r.rec.State = probation, Probation
	case restoring:
		r.rec.Step, r.rec.State = idle, Failed
	}
	if r.rec.Step == idle && r.rec.State == Done { // the end may have come before they were deleted
		if err := discard(r.files.previous()); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Want orders a new certificate, unless it is the order that was carried out last; empty: none is wanted. The latest
// one counts.
func (r *Rotation) Want(id string) {
	r.mu.Lock()
	r.want = id
	r.mu.Unlock()
	r.signal()
}

// Online tells whether the agent's own connection is there. A new certificate has lived when it was for a minute.
func (r *Rotation) Online(is bool) {
	r.mu.Lock()
	if r.online != is {
		r.online, r.since = is, time.Now()
	}
	r.mu.Unlock()
	r.signal()
}

// Status is how it stands.
func (r *Rotation) Status() Status {
	r.mu.Lock()
	rec := r.rec
	r.mu.Unlock()
	s := Status{State: rec.State, Reason: rec.Reason, Previous: rec.Previous}
	if rec.State == Done || rec.State == Failed {
		s.Rotate = rec.ID
	}
	if leaf, err := keypair.Leaf(r.files.CertFile); err == nil {
		s.ID, s.NotAfter = keypair.ID(leaf), &leaf.NotAfter
	}
	return s
}

func (r *Rotation) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run carries orders out until ctx ends, which is no error. Failures of a rotation are reported, and end that one; the
// error is about a disk that can't be written.
func (r *Rotation) Run(ctx context.Context) error {
	if err := r.files.write(r.rec); err != nil { // also a trial of whether the folder can be written
		return fmt.Errorf("rotation of the certificate: %w; let gnomon write to the folder that the certificate is in", err)
	}
	r.report()
	for ctx.Err() == nil {
		if err := r.advance(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("rotation of the certificate: %w", err)
		}
	}
	return nil
}

// advance does the next step, or waits for something to do.
func (r *Rotation) advance(ctx context.Context) error {
	r.mu.Lock()
	rec, want := r.rec, r.want
	r.mu.Unlock()
	switch rec.Step {
	case ordering:
		return r.order(ctx)
	case trying:
		return r.try(ctx)
	case probation:
		return r.watch(ctx)
	}
	if want == "" || want == rec.ID {
		r.wait(ctx, 0)
		return nil
	}
	if err := discard(r.files.next()); err != nil {
		return err
	}
	return r.enter(record{ID: want, Step: ordering, State: Ordered})
}

// enter puts a step on disk, reports it, and makes it the present one.
func (r *Rotation) enter(rec record) error {
	rec.Since = time.Now().UTC()
	if err := r.files.write(rec); err != nil {
		return err
	}
	r.mu.Lock()
	r.rec = rec
	r.mu.Unlock()
	r.report()
	return r.opts.timing.done(string(rec.Step) + " " + string(rec.State))
}

func (r *Rotation) report() {
	if r.opts.Report != nil {
		r.opts.Report(r.Status())
	}
}

// wait is for something to change, or for a time; 0: as long as it takes.
func (r *Rotation) wait(ctx context.Context, d time.Duration) {
	var due <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-r.wake:
	case <-due:
	case <-ctx.Done():
	}
}
