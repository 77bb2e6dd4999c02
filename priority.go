package main

import (
	"context"
	"runtime"

	"golang.org/x/sys/unix"
)

// quietNice is by how much work is nicer that must not disturb the cameras: it gets a third of a core when the others want
// all of it, so that a model is still loaded within seconds on a busy box (docs/performance.md).
const quietNice = 5

// maxNice is the lowest priority there is.
const maxNice = 19

// quietly runs f on a thread of its own at low priority and waits. The thread ends with it: an unprivileged process can
// lower a thread's priority but never raise it again. Threads and processes that f makes inherit the priority.
func quietly(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, which ends the thread with the goroutine
		// Where it is not allowed the work is merely not quiet.
		if raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
			const offset = 20 // the system call answers 20 - nice, to be never negative
			_ = unix.Setpriority(unix.PRIO_PROCESS, 0, min(offset-raw+quietNice, maxNice))
		}
		done <- f()
	}()
	return <-done
}

// loadQuietly loads a model and warms it up, at low priority where that is possible: the threads that a session of
// several makes for itself would keep it for good, and be slow in the model's life.
func loadQuietly(ctx context.Context, threads int, load func(context.Context) error) error {
	if threads > 1 {
		return load(ctx)
	}
	return quietly(func() error { return load(ctx) })
}
