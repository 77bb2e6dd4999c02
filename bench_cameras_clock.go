package main

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"gnomon/engine"
	"gnomon/engine/detect"
)

// runClock adds up the processor time of the threads that run a model. What other threads do for it is not in it.
type runClock struct{ spent atomic.Int64 }

func (c *runClock) read() time.Duration { return time.Duration(c.spent.Load()) }

// wrap makes a session whose runs are counted. It is for engine.Model.Wrap.
func (c *runClock) wrap(s engine.Session) engine.Session {
	out := &clockedSession{Session: s, clock: c}
	out.batcher, _ = s.(engine.Batcher)
	return out
}

// clockedSession is a session, and a Batcher if that is one.
type clockedSession struct {
	engine.Session
	batcher engine.Batcher // nil: takes one picture at a time
	clock   *runClock
}

func (s *clockedSession) Run(ctx context.Context) ([]detect.Tensor, error) {
	defer s.clock.start()()
	return s.Session.Run(ctx)
}

func (s *clockedSession) Batch() int {
	if s.batcher == nil {
		return 1
	}
	return s.batcher.Batch()
}

func (s *clockedSession) InputAt(i int) engine.Input { return s.batcher.InputAt(i) }

func (s *clockedSession) RunBatch(ctx context.Context, n int) ([][]detect.Tensor, error) {
	defer s.clock.start()()
	return s.batcher.RunBatch(ctx, n)
}

// start begins a run on the calling thread; what it returns ends it.
func (c *runClock) start() (stop func()) {
	runtime.LockOSThread() // whose processor time is read
	before := threadCPU()
	return func() {
		c.spent.Add(int64(threadCPU() - before))
		runtime.UnlockOSThread()
	}
}
