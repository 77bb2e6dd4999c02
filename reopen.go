package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"gnomon/camera"
	"gnomon/camera/reach"
)

// Waiting times between attempts to open a live source again.
const (
	// The first attempt comes soon, as most troubles are over soon; a camera that reboots is back within a minute.
	reopenFirst = 500 * time.Millisecond
	reopenMax   = 30 * time.Second
	// reopenSlow is the least time after what only somebody can mend: a wrong password, where many cameras lock an account
	// that is tried too often, or a format that cannot be read.
	reopenSlow = time.Minute
	// reopenSoon is how long a source has to run to be opened again at once when its picture changes its size.
	reopenSoon = time.Second
	// steady is how long a source has to run for the waiting times to begin anew.
	steady = 30 * time.Second
	// sameTrouble is how often the same trouble of a source is logged again.
	sameTrouble = 5 * time.Minute
	// jitter is the share by which waiting times vary: cameras that went away together do not come back together.
	jitter = 0.25
)

// reopening decides when a live source is opened again. One goroutine.
type reopening struct {
	wait   time.Duration
	said   string // the trouble that was logged last
	saidAt time.Time
}

// failed is how long to wait after an attempt that had run for a while and ended with err.
func (r *reopening) failed(err error, ran time.Duration) time.Duration {
	switch {
	case r.wait == 0 || ran >= steady:
		r.wait = reopenFirst
	default:
		r.wait = min(2*r.wait, reopenMax)
	}
	wait := r.wait
	switch {
	case errors.Is(err, camera.ErrChanged) && ran >= reopenSoon: // it has another size, and is there
		return 0
	case errors.Is(err, camera.ErrAuth), errors.Is(err, camera.ErrUnsupported):
		wait = max(wait, reopenSlow)
	}
	return time.Duration(float64(wait) * (1 - jitter + 2*jitter*rand.Float64())) //nolint:gosec // not for secrets
}

// news reports whether a trouble is worth a line in the log: it is another one, or has lasted for long.
func (r *reopening) news(err error, now time.Time) bool {
	if err.Error() == r.said && now.Sub(r.saidAt) < sameTrouble {
		return false
	}
	r.said, r.saidAt = err.Error(), now
	return true
}

// pause waits, but no longer than until the camera is back that was away.
func pause(ctx context.Context, uri string, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if !reach.Back(ctx, uri) {
		<-ctx.Done()
	}
}
