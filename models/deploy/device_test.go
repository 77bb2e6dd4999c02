package deploy

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/models/store"
)

// device is one life of the process.
type device struct {
	*Deployer
	t      *testing.T
	w      *world
	store  *store.Store
	states []State // of the slot "default", as OnChange saw them
	stop   func()  // orderly
}

// boot opens the store in dir, loads what Start says and runs. It ends with the test, or with stop.
func boot(t *testing.T, w *world, dir string, change func(*Options)) *device {
	t.Helper()
	s, err := store.Open(dir, store.Options{MaxBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	dev := &device{t: t, w: w, store: s}
	o := Options{Store: s, Source: w, Host: w, Slots: []string{"default", "side"}}
	o.OnChange = func() {
		if state := dev.Report()["default"].State; len(dev.states) == 0 || dev.states[len(dev.states)-1] != state {
			dev.states = append(dev.states, state)
		}
	}
	if change != nil {
		change(&o)
	}
	if dev.Deployer, err = New(o); err != nil {
		t.Fatal(err)
	}
	for _, name := range o.Slots {
		v, err := dev.Start(t.Context(), name)
		for ; err == nil && v != nil && w.unready; v, err = dev.Start(t.Context(), name) {
			dev.Reject(name, v.SHA256)
		}
		if err != nil {
			t.Fatal(err)
		}
		l := &loaded{weight: []int{1}}
		if v != nil {
			l.sha = v.SHA256
			if err := s.Verify(v.SHA256); err != nil {
				t.Errorf("Start returned a model that is not whole: %v", err)
			}
		}
		w.mu.Lock()
		w.loaded, w.current[name] = append(w.loaded, l), l
		w.mu.Unlock()
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- dev.Run(ctx) }()
	var once sync.Once
	dev.stop = func() {
		once.Do(func() {
			cancel()
			if err := errors.Join(<-ended, s.Close()); err != nil {
				t.Error(err)
			}
			w.audit(t)
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, l := range w.current {
				l.Close() //nolint:errcheck // returns nil
			}
			w.loaded, w.current = nil, map[string]*loaded{}
		})
	}
	t.Cleanup(dev.stop)
	return dev
}

// after lets time pass, which costs none, and returns the report of a slot.
func (d *device) after(pass time.Duration) SlotReport {
	time.Sleep(pass)
	synctest.Wait()
	return d.Report()["default"]
}

// bring deploys a model that must become active.
func (d *device) bring(m model) {
	d.t.Helper()
	d.Desire(one(m))
	d.expect(d.after(5*time.Minute), StateActive, "", m.sha())
}

// expect compares the essence of a report, and what really runs.
func (d *device) expect(r SlotReport, state State, code Code, runs string) {
	d.t.Helper()
	got := ""
	if r.Error != nil {
		got = r.Error.Code
	}
	if r.State != state || got != string(code) || d.w.runs("default") != runs || r.SHA256 != runs {
		d.t.Errorf("%s, error %q, reported %.8q, runs %.8q; want %s, %q, %.8q\n%+v %+v",
			r.State, got, r.SHA256, d.w.runs("default"), state, code, runs, r, r.Error)
	}
}

// within runs a test where time passes by itself.
func within(t *testing.T, name string, test func(t *testing.T, dir string)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "store")
		synctest.Test(t, func(t *testing.T) { test(t, dir) })
	})
}
