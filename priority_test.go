package main

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/engine"
)

// All loads run on one thread, at low priority and on all cores again afterwards.
func TestLoader(t *testing.T) {
	l := newLoader(lanes{Sessions: runtime.NumCPU(), Threads: 1})
	var before, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	if !l.wander && runtime.NumCPU() == before.Count() {
		t.Error("with a frame on every core the loader stays where it is")
	}
	var threads [2]int
	for i := range threads {
		if err := l.do(func() error {
			threads[i] = unix.Gettid()
			if err := unix.SchedGetaffinity(0, &after); err != nil || after != before {
				t.Errorf("load %d begins on cores %v, %v", i, after, err)
			}
			nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
			if err != nil || 20-nice < quietNice { // the system call answers 20 - nice
				t.Errorf("load %d has nice %d, %v", i, 20-nice, err)
			}
			time.Sleep(2 * moveEvery)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if threads[0] != threads[1] {
		t.Errorf("two loads ran on threads %d and %d", threads[0], threads[1])
	}
	failed := errors.New("failed")
	if err := l.do(func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("a load that fails returns %v", err)
	}
	l.close()
	l.close()
	if err := l.do(func() error { return nil }); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

func TestNextCore(t *testing.T) {
	var set unix.CPUSet
	set.Set(1)
	set.Set(5)
	for from, want := range map[int]int{0: 1, 1: 1, 2: 5, 5: 5, 6: 1} {
		if got := nextCore(&set, from); got != want {
			t.Errorf("from %d: core %d, want %d", from, got, want)
		}
	}
}
