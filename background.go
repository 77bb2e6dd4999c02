package main

import "context"

// background is a long-lived part that runs beside the others. The zero value runs nothing.
type background struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // set before done is closed
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

// stop ends it, waits and returns its error, the first time.
func (b *background) stop() error {
	if b == nil || b.cancel == nil {
		return nil
	}
	b.cancel()
	b.cancel = nil
	<-b.done
	return b.err
}
