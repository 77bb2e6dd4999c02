package store

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// Set for a child of TestKilledAtEveryStep: what to play, where, and at which step to die.
const (
	envStory = "STORE_TEST_STORY"
	envDir   = "STORE_TEST_DIR"
	envStep  = "STORE_TEST_STEP"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(envStory); name != "" {
		os.Exit(dieOnTheWay(name, os.Getenv(envDir), os.Getenv(envStep)))
	}
	goleak.VerifyTestMain(m)
}

// dieOnTheWay plays a story and kills the process, as the kernel would, before the given step. It returns only if that
// did not happen.
func dieOnTheWay(name, dir, at string) int {
	last, err := strconv.Atoi(at)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	step := 0
	hook := func(string) error {
		if step == last {
			syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // the parent notices
			select {}
		}
		step++
		return nil
	}
	for _, st := range stories() {
		if st.name == name {
			err = st.run(dir, hook)
		}
	}
	fmt.Fprintf(os.Stderr, "the story ended after %d steps: %v\n", step, err)
	return 1
}
