package child

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A program that is stopped is stalled, and gone after Close although it cannot hear SIGTERM.
func TestStopped(t *testing.T) {
	s := shell(t, y4mOne+`; while :; do `+y4mPicture+`; sleep 0.02; done`, 300*time.Millisecond)
	next(t, s)
	if err := syscall.Kill(s.process.id(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := fails(t, s); !errors.Is(err, ErrStalled) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	gone(t, s.process.id())
}

// Everything that the program started goes with it, deaf to SIGTERM or not.
func TestGrandchildren(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	const deaf = `trap "" TERM; `
	for _, script := range []string{
		deaf + `(trap "" TERM; sleep 1000 & echo $! >>@; wait) & echo $! >>@; ` + y4mOne + `; while :; do sleep 1; done`,
		`sleep 1000 & echo $! >>@; sh -c "sleep 1000" & echo $! >>@; ` + y4mOne, // dies before them
	} {
		t.Run("", func(t *testing.T) {
			s := shell(t, strings.ReplaceAll(script, "@", file), 0)
			next(t, s)
			pids := pidsIn(t, file, 2)
			begun := time.Now()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if d := time.Since(begun); d > 5*time.Second {
				t.Errorf("Close took %v", d)
			}
			for _, pid := range append(pids, s.process.id()) {
				gone(t, pid)
			}
			if err := os.Remove(file); err != nil {
				t.Error(err)
			}
		})
	}
}

func pidsIn(t *testing.T, file string, n int) []int {
	t.Helper()
	var pids []int
	for range 500 {
		text, _ := os.ReadFile(file)
		if words := strings.Fields(string(text)); len(words) == n && strings.HasSuffix(string(text), "\n") {
			for _, w := range words {
				pid, err := strconv.Atoi(w)
				if err != nil {
					t.Fatal(err)
				}
				pids = append(pids, pid)
			}
			return pids
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s has not %d numbers", file, n)
	return nil
}

// Whoever kills us kills the program: the kernel sees to it.
func TestOrphan(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphan+"=trap \"\" TERM PIPE HUP; while :; do sleep 1; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("it does not run: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	gone(t, pid)
}

// The program inherits our variables but those of the service manager, and no file of ours, not even one that a library
// opened for everybody.
func TestInherited(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/x")
	t.Setenv("GNOMON_TEST_KEPT", "kept")
	fd, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	s := shell(t, `ls -l /proc/$$/fd | grep -c null >&2; echo $GNOMON_TEST_KEPT.$NOTIFY_SOCKET.>&2; readlink /proc/$$/fd/0 >&2; ulimit -n >/dev/null`, 0)
	if err := fails(t, s); !strings.Contains(err.Error(), "it said: 1 | kept.. | /dev/null") {
		t.Error(err)
	}
}
