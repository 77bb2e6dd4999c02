package main

import (
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"gnomon/engine"
)

// quietNice is by how much work is nicer that must not disturb the cameras: it gets a third of a core when the others want
// all of it, so that a model is still loaded within seconds on a busy box (docs/performance.md).
const quietNice = 5

// maxNice is the lowest priority there is.
const maxNice = 19

// bePolite lowers the priority of the calling thread for good: an unprivileged process can never raise it again. Threads
// and processes that it makes inherit the priority. Where it is not allowed, the work is merely not quiet.
func bePolite() {
	if raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		const offset = 20 // the system call answers 20 - nice, to be never negative
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, min(offset-raw+quietNice, maxNice))
	}
}

// quietly runs f on a thread of its own at low priority and waits. The thread ends with it.
func quietly(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, which ends the thread with the goroutine
		bePolite()
		done <- f()
	}()
	return <-done
}

// loader is the one thread on which models are loaded and warmed up. malloc keeps a heap for each thread: with a thread for
// every load what one model leaves behind would not be used again by the next, and giving it back to the system instead
// holds up frames that need memory meanwhile, for 30 to 60 ms. Any goroutine may call its methods.
type loader struct {
	quiet  bool // at low priority
	wander bool // from core to core; see keepMoving

	start sync.Once
	jobs  chan func()
	quit  chan struct{} // closed by close
	end   sync.Once
}

// newLoader makes the loader for models that run in l. The threads that a session of several makes for itself inherit the
// loader's priority and cores, and would keep them in the model's life: those are loaded as everybody else works.
func newLoader(l lanes) *loader {
	quiet := l.Threads == 1
	return &loader{
		quiet: quiet, wander: quiet && l.Sessions >= runtime.NumCPU(),
		jobs: make(chan func()), quit: make(chan struct{}),
	}
}

// do runs f on the loader's thread, after the loads that were asked for before, and waits.
func (l *loader) do(f func() error) error {
	l.start.Do(func() { go l.run() })
	var err error
	done := make(chan struct{})
	job := func() {
		defer close(done)
		err = f()
	}
	select {
	case l.jobs <- job:
		<-done
		return err
	case <-l.quit:
		return engine.ErrClosed
	}
}

func (l *loader) run() {
	runtime.LockOSThread()
	if l.quiet {
		bePolite()
	}
	for {
		select {
		case job := <-l.jobs:
			stop := func() {}
			if l.wander {
				stop = keepMoving(unix.Gettid())
			}
			job()
			stop()
		case <-l.quit:
			return
		}
	}
}

// beside is what to do things in that are part of a load but not on its thread.
func (l *loader) beside() func(func() error) error {
	if l.quiet {
		return quietly
	}
	return nil
}

// close ends the thread, once a load in progress is over; it does not wait for that. It is idempotent.
func (l *loader) close() { l.end.Do(func() { close(l.quit) }) }

// moveEvery is how long the loader stays on one core: less than a frame takes.
const moveEvery = 5 * time.Millisecond

// keepMoving sends a thread from core to core until stop is called. Where every core has a frame in work, the kernel leaves
// two of them on one core for 30 to 50 ms while the thread has another for itself, whatever its priority: three threads
// on two cores are to it as balanced as they get. Moving the thread makes them share what it takes.
func keepMoving(tid int) (stop func()) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(tid, &all); err != nil {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(moveEvery)
		defer tick.Stop()
		for core := 0; ; core++ {
			select {
			case <-tick.C:
			case <-end:
				_ = unix.SchedSetaffinity(tid, &all)
				return
			}
			var one unix.CPUSet
			core = nextCore(&all, core)
			one.Set(core)
			_ = unix.SchedSetaffinity(tid, &one) // where it is not allowed the thread stays
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// nextCore is the first core of the set from a number on, beginning again at its end.
func nextCore(set *unix.CPUSet, from int) int {
	const most = 8 * int(unsafe.Sizeof(unix.CPUSet{}))
	for i := range most {
		if c := (from + i) % most; set.IsSet(c) {
			return c
		}
	}
	return 0
}
