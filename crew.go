package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// crew is the watchers of all sources, which come and go while the agent runs. Any goroutine may call its methods.
type crew struct {
	log *zap.Logger

	change sync.Mutex // held by who adds or removes watchers, also while one is waited for

	mu       sync.Mutex
	watchers []*watcher // by name; replaced as a whole, so that who has got them may keep them
	shifts   map[*watcher]*shift
	ctx      context.Context // of run; nil before it
	view     *thumbnail      // of the first watcher, for the screen; nil: nobody looks
	changing int             // who is about to add some; meanwhile the crew is not finished
	ended    chan struct{}   // one slot: a shift may have ended
}

// shift is a watcher at work.
type shift struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

func newCrew(log *zap.Logger) *crew {
	return &crew{log: log, shifts: map[*watcher]*shift{}, ended: make(chan struct{}, 1)}
}

// all are the watchers by name; nobody changes the list.
func (c *crew) all() []*watcher {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watchers
}

// find is the watcher of a source; nil: there is none.
func (c *crew) find(name string) *watcher {
	for _, w := range c.all() {
		if w.name == name {
			return w
		}
	}
	return nil
}

// add takes a watcher in. Once the crew runs it begins at once.
func (c *crew) add(w *watcher) {
	c.change.Lock()
	defer c.change.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers = append(slices.Clone(c.watchers), w)
	slices.SortFunc(c.watchers, func(a, b *watcher) int { return strings.Compare(a.name, b.name) })
	c.showLocked()
	c.beginLocked(w)
}

// remove ends watchers and takes them out. One that does not come back from its camera is left behind.
func (c *crew) remove(names ...string) {
	c.change.Lock()
	defer c.change.Unlock()
	c.mu.Lock()
	leaving := map[string]*shift{}
	c.watchers = slices.DeleteFunc(slices.Clone(c.watchers), func(w *watcher) bool {
		if !slices.Contains(names, w.name) {
			return false
		}
		if s := c.shifts[w]; s != nil {
			s.cancel()
			leaving[w.name] = s
			delete(c.shifts, w)
		}
		return true
	})
	c.showLocked()
	var ending <-chan struct{}
	if c.ctx != nil {
		ending = c.ctx.Done()
	}
	c.mu.Unlock()
	patience := time.After(abandonAfter)
	for name, s := range leaving {
		select {
		case <-s.done:
		case <-ending: // nobody waits for a change any more
			return
		case <-patience:
			c.log.Warn("a source that was removed does not answer; it is left behind", zap.String("source", name))
			return
		}
	}
}

// changes keeps the crew from being finished until done is called: sources are being exchanged.
func (c *crew) changes() (done func()) {
	c.mu.Lock()
	c.changing++
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		c.changing--
		c.mu.Unlock()
		c.look()
	}
}

// look has run see whether there is something left to do.
func (c *crew) look() {
	select {
	case c.ended <- struct{}{}:
	default:
	}
}

// again begins with a watcher anew that has ended for good.
func (c *crew) again(w *watcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.shifts[w]; s != nil {
		select {
		case <-s.done:
		default:
			return
		}
	}
	c.beginLocked(w)
}

func (c *crew) beginLocked(w *watcher) {
	if c.ctx == nil || c.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(c.ctx)
	s := &shift{cancel: cancel, done: make(chan struct{})}
	c.shifts[w] = s
	go func() {
		defer cancel()
		s.err = w.run(ctx)
		c.mu.Lock()
		close(s.done)
		if c.shifts[w] == s && len(w.changed) > 0 { // a change came when it had ended already
			c.beginLocked(w)
		}
		c.mu.Unlock()
		c.look()
	}()
}

// show makes the first watcher fill a view.
func (c *crew) show(view *thumbnail) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view = view
	c.showLocked()
}

func (c *crew) showLocked() {
	for i, w := range c.watchers {
		if i == 0 {
			w.view.Store(c.view)
		} else {
			w.view.Store(nil)
		}
	}
}

// run lets all watchers work until ctx is cancelled or all sources have ended by themselves. A source that does not come
// back then is left behind.
func (c *crew) run(ctx context.Context) error {
	c.mu.Lock()
	c.ctx = ctx
	for _, w := range c.watchers {
		c.beginLocked(w)
	}
	c.mu.Unlock()
	for ctx.Err() == nil && !c.finished() {
		select {
		case <-c.ended:
		case <-ctx.Done():
		}
	}
	return c.gather(time.After(abandonAfter))
}

// finished reports whether there is nothing left to do: every source has ended by itself, or is disabled, and at least one
// has ended.
func (c *crew) finished() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changing > 0 {
		return false
	}
	over := false
	for _, w := range c.watchers {
		s := c.shifts[w]
		if s == nil {
			return false
		}
		select {
		case <-s.done:
			over = over || w.status().State != stateDisabled
		default:
			return false
		}
	}
	return over
}

// gather waits for all, and returns what went wrong.
func (c *crew) gather(patience <-chan time.Time) error {
	c.mu.Lock()
	var shifts []*shift
	for _, w := range c.watchers {
		if s := c.shifts[w]; s != nil {
			shifts = append(shifts, s)
		}
	}
	c.mu.Unlock()
	var errs []error
	for _, s := range shifts {
		select {
		case <-s.done:
			errs = append(errs, s.err)
		case <-patience:
			c.log.Warn("a source does not answer; leaving without it")
			return errors.Join(errs...)
		}
	}
	return errors.Join(errs...)
}
