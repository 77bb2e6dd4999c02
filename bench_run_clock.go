package main

import (
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"
)

// processCPU is the processor time that this process has used, in all its threads.
func processCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0 // not on Linux
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// threadCPU is that of the calling thread.
func threadCPU() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0 // not on Linux
	}
	return time.Duration(t.Nano())
}

// heapAllocs is how many objects have been put on Go's heap so far.
func heapAllocs() uint64 {
	s := [...]metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(s[:])
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}
