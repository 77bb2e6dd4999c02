package supervise

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// Set for a child of a test: where its record is, how it dies, and for some at which step.
const (
	envDir  = "SUPERVISE_TEST_DIR"
	envDie  = "SUPERVISE_TEST_DIE"
	envStep = "SUPERVISE_TEST_STEP"
)

func TestMain(m *testing.M) {
	if how := os.Getenv(envDie); how != "" {
		os.Exit(die(how, os.Getenv(envDir)))
	}
	goleak.VerifyTestMain(m)
}

// die starts as an agent does, and dies in one of many ways. It returns only if that did not happen.
func die(how, dir string) int {
	o := Options{Version: "1.2.3"}
	if last, err := strconv.Atoi(os.Getenv(envStep)); err == nil {
		step := 0
		o.step = func(string) error {
			if step++; step == last {
				kill(syscall.SIGKILL)
			}
			return nil
		}
	}
	s, err := Open(dir, o)
	if _, beginErr := s.Begin(); errors.Join(err, beginErr) != nil {
		fmt.Fprintln(os.Stderr, err, beginErr)
		return 2
	}
	if err := s.CatchCrashes(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	switch how {
	case "step":
		if err := s.End("all steps are done", true); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
	case "panic":
		lookAtCamera(dir[:0])
	case "segfault":
		rename(nil)
	case "abort":
		kill(syscall.SIGABRT)
	case "kill":
		kill(syscall.SIGKILL)
	case "end":
		if err := s.End("out of readers; token=Pl4ntedSecretValue01", false); err != nil {
			return 2
		}
	}
	return 1
}

func lookAtCamera(s string) {
	panic("rtsp://admin:Pl4ntedPassword01@camera/1: " + strconv.Itoa(len(s)))
}

func rename(o *Options) { o.Version = "of nobody" }

func kill(with syscall.Signal) {
	_ = syscall.Kill(os.Getpid(), with) // the parent notices
	select {}
}
