package main

import (
	"context"
	"time"
)

// background is a long-lived part that runs beside the others. The zero value runs nothing.
type background struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // set before done is closed

	stopped bool // stop has been called: by its owner, while anybody may call end
}

// inBackground starts run, whose context is independent of everyone else's: parts stop in the order in which they
// are told to, not all at once.
func inBackground(run func(context.Context) error) *background {
	ctx, cancel := context.WithCancel(context.Background())
	b := &background{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		b.err = run(ctx)
	}()
	return b
}

// end tells it to end, without waiting.
func (b *background) end() {
	if b != nil && b.cancel != nil {
		b.cancel()
	}
}

// stopWithin is stop, but waits no longer than a while; false: it has not ended.
func (b *background) stopWithin(patience time.Duration) (bool, error) {
	b.end()
	select {
	case <-b.done:
		return true, b.stop()
	case <-time.After(patience):
		return false, nil
	}
}

// stop ends it, waits and returns its error, the first time.
func (b *background) stop() error {
	if b == nil || b.cancel == nil || b.stopped {
		return nil
	}
	b.stopped = true
	b.cancel()
	<-b.done
	return b.err
}
