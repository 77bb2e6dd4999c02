package main

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"gnomon/config"
	"gnomon/telemetry"
)

// newTestWatcher is one of a source that does nothing: it is disabled, and rests until it is changed.
func newTestWatcher(name string, stays bool) *watcher {
	e := newEvents(identity{}, zap.NewNop(), nil, func([]byte) error { return nil })
	return &watcher{name: name, stays: stays, want: config.Source{URI: "none"}, log: zap.NewNop(), events: e, changed: make(chan struct{}, 1)}
}

// The crew ends when all that there is has ended by itself; disabled sources alone do not end it, nor does an exchange of
// sources in which nothing is left for a moment.
func TestCrewEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(zap.NewNop())
		c.add(newTestWatcher("disabled", false))
		ended := newTestWatcher("ended", false)
		c.add(ended)
		live := newTestWatcher("live", true)
		c.add(live)
		ctx, cancel := context.WithCancel(t.Context())
		var over sync.WaitGroup
		over.Go(func() { _ = c.run(ctx) })
		synctest.Wait()
		ended.mu.Lock()
		ended.state = stateEnded
		ended.mu.Unlock()
		done := c.changes()
		c.remove("live")
		synctest.Wait()
		if c.finished() {
			t.Error("finished in the middle of an exchange")
		}
		c.add(newTestWatcher("other", true))
		done()
		synctest.Wait()
		if c.finished() || c.find("other") == nil || c.find("live") != nil {
			t.Error("after the exchange")
		}
		c.remove("other")
		c.look()
		over.Wait() // all that is left has ended
		cancel()
	})
}

// A change that comes when a source has just ended begins with it anew.
func TestCrewAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(zap.NewNop())
		w := newTestWatcher("clip", false)
		c.add(w)
		ctx, cancel := context.WithCancel(t.Context())
		var over sync.WaitGroup
		over.Go(func() { _ = c.run(ctx) })
		synctest.Wait()
		first := c.shifts[w]
		c.again(w)
		synctest.Wait()
		if c.shifts[w] == first {
			t.Error("it was not begun again")
		}
		cancel()
		over.Wait()
		c.again(w) // nobody works any more
		if s := c.shifts[w]; s != nil {
			<-s.done
		}
	})
}

// How long a source may be silent depends on it.
func TestSilence(t *testing.T) {
	for want, src := range map[time.Duration]config.Source{
		-1: {URI: "folder", Watch: true}, 0: {URI: "rtsp://h/x"}, 20 * time.Minute: {URI: "rtsp://h/x", Stall: config.Duration(10 * time.Minute)},
		50 * time.Second: {URI: "test:", FPS: 0.1}, 500 * time.Second: {URI: "test:", FPS: 25, DetectFPS: 0.01},
	} {
		if got := (&watcher{want: src}).silence(); got != want {
			t.Errorf("%+v may be silent for %v, want %v", src, got, want)
		}
	}
	if (&sourceMeter{}).restarts() != 0 || (*sourceMeter)(nil).clock() != telemetry.ClockUnknown {
		t.Error("an empty meter")
	}
}
