package ort

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Go's own threads, made before any code of ours ran, may be late too.
func TestTimerSlack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || time.Duration(slack) != timerSlack {
		t.Errorf("this thread has %d ns, %v; want %v", slack, err, timerSlack)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%s/timerslack_ns", thread.Name()))
		if os.IsPermission(err) {
			t.Skip("needs leave to look at its threads: ", err)
		}
		if err != nil {
			continue // it has ended
		}
		if ns, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err != nil || time.Duration(ns) != timerSlack {
			t.Errorf("thread %s has %s ns, %v", thread.Name(), strings.TrimSpace(string(text)), err)
		}
	}
}
