package supervise

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

type report struct {
	part, what string
	silent     time.Duration
}

// watched runs a Dog in a bubble of synctest while play is played, and returns what it says is stuck.
func watched(t *testing.T, play func(d *Dog)) (found []report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, err := NewDog(DogOptions{Stuck: func(part, what string, silent time.Duration) { found = append(found, report{part, what, silent}) }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		play(d)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return found
}

// at work for a while, with a sign of life each second.
func beats(p *Part, d time.Duration) {
	for range int(d / time.Second) {
		time.Sleep(time.Second)
		p.Beat()
	}
}

func TestDog(t *testing.T) {
	const patience = 20 * time.Second
	for name, c := range map[string]struct {
		play func(d *Dog)
		part string // that is stuck; empty: none is
		what string
	}{
		"nothing to watch": {play: func(*Dog) { time.Sleep(time.Hour) }},
		"at work":          {play: func(d *Dog) { beats(d.Part("front", patience), time.Hour) }},
		"slow, but alive": {play: func(d *Dog) {
			p := d.Part("front", patience)
			time.Sleep(patience - time.Second)
			p.Beat()
			time.Sleep(patience)
		}},
		"stuck from the start": {
			play: func(d *Dog) { d.Part("front", patience); time.Sleep(patience + ownEvery) }, part: "front",
		},
		"stuck beside one at work": {
			play: func(d *Dog) { d.Part("back", patience); beats(d.Part("front", patience), time.Minute) }, part: "back",
		},
		"a long task": {play: func(d *Dog) {
			d.Part("model", patience).Busy("loading", time.Hour)
			time.Sleep(time.Hour - time.Second)
		}},
		"a task too long": {play: func(d *Dog) { d.Part("model", patience).Busy("loading", time.Hour); time.Sleep(time.Hour + ownEvery) }, part: "model", what: "loading"},
		"stuck after a task": {
			play: func(d *Dog) {
				p := d.Part("model", patience)
				p.Busy("loading", time.Hour)
				p.Beat()
				time.Sleep(time.Minute)
			}, part: "model",
		},
		"at rest": {play: func(d *Dog) { d.Part("front", patience).Idle("disabled"); time.Sleep(time.Hour) }},
		"stuck after a rest": {play: func(d *Dog) {
			p := d.Part("front", patience)
			p.Idle("disabled")
			time.Sleep(time.Hour)
			p.Beat()
			time.Sleep(time.Minute)
		}, part: "front"},
		"taken away": {play: func(d *Dog) { p := d.Part("front", patience); p.Close(); p.Close(); time.Sleep(time.Hour) }},
	} {
		t.Run(name, func(t *testing.T) {
			found := watched(t, c.play)
			switch {
			case c.part == "" && len(found) > 0, c.part != "" && len(found) != 1: // once, however long it goes on
				t.Fatalf("stuck: %v", found)
			case c.part != "":
				if f := found[0]; f.part != c.part || f.what != c.what || f.silent <= patience {
					t.Errorf("stuck: %+v", f)
				}
			}
		})
	}
}

func TestNoDog(t *testing.T) {
	var d *Dog
	p := d.Part("front", time.Second)
	p.Beat()
	p.Busy("x", 0)
	p.Idle("x")
	p.Close()
	if err := d.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := NewDog(DogOptions{}); err == nil {
		t.Error("a dog that calls nobody")
	}
}

// TestForgive: nobody is stuck because the process was stopped for a while, as in a debugger or on a machine that pages.
func TestForgive(t *testing.T) {
	d, err := NewDog(DogOptions{Stuck: func(string, string, time.Duration) {}})
	if err != nil {
		t.Fatal(err)
	}
	d.Part("front", time.Minute)
	for _, c := range []struct {
		at    time.Duration
		stuck bool
	}{
		{time.Hour, false},                    // it stood still
		{time.Hour + 2*ownEvery, false},       // late, as looks are on a busy machine
		{time.Hour + time.Minute, false},      // stood still again
		{2*time.Hour - ownEvery, false},       // and again
		{2 * time.Hour, false},                // within the patience
		{2*time.Hour + time.Minute, false},    // stood still
		{2*time.Hour + 70*time.Second, false}, // late, but for the last time
	} {
		if p, _, _ := d.look(c.at); (p != nil) != c.stuck {
			t.Errorf("after %v: stuck %v", c.at, p != nil)
		}
	}
	for at := 2*time.Hour + 75*time.Second; ; at += ownEvery { // and now each look in time
		if p, _, silent := d.look(at); p != nil {
			if silent <= time.Minute || silent > time.Minute+2*ownEvery {
				t.Errorf("stuck after %v", silent)
			}
			return
		}
	}
}

// TestWatchdog: systemd hears of life while all is well, and nothing more after something is stuck.
func TestWatchdog(t *testing.T) {
	address := filepath.Join(t.TempDir(), "notify")
	other := listen(t, address)
	n, err := newNotifier(func(key string) string { return map[string]string{envSocket: address, envWatchdog: "60000"}[key] })
	if err != nil {
		t.Fatal(err)
	}
	stuck := make(chan string, 2)
	d, err := NewDog(DogOptions{Notifier: n, Stuck: func(part, _ string, _ time.Duration) { stuck <- part }})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(); err != nil || other.next(longWait) != "READY=1" {
		t.Fatal("not ready: ", err)
	}
	p := d.Part("front", time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	for range 5 {
		if got := other.next(longWait); got != "WATCHDOG=1" {
			t.Fatalf("%q instead of a sign of life", got)
		}
	}
	p.Busy("nothing", 1)
	select {
	case <-stuck:
	case <-time.After(longWait):
		t.Fatal("nobody is called")
	}
	for other.next(time.Millisecond) != "" { // what was sent before
	}
	if got := other.next(300 * time.Millisecond); got != "" {
		t.Errorf("%q after a part was stuck", got)
	}
	cancel()
	if err := <-done; err != nil || len(stuck) > 0 {
		t.Errorf("%v, called %d more times", err, len(stuck))
	}
}
