package supervise

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// child starts as an agent in a process of its own, which dies.
func child(t *testing.T, how, dir, step string) (killed bool) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), envDie+"="+how, envDir+"="+dir, envStep+"="+step)
	var said bytes.Buffer
	c.Stderr = &said
	err = c.Run()
	if c.ProcessState == nil || c.ProcessState.ExitCode() == 2 && strings.Contains(said.String(), "record of starts") {
		t.Fatalf("%v: %s", err, said.String())
	}
	return c.ProcessState.ExitCode() != 1
}

// TestLastWords: the next start knows why the last one has ended, without the secrets that its words held.
func TestLastWords(t *testing.T) {
	for how, c := range map[string]struct {
		kind Kind
		want []string // parts of the reason
	}{
		"panic":    {Crashed, []string{"panic: rtsp://***@camera/1: 0 (in gnomon/supervise.lookAtCamera)"}},
		"segfault": {Crashed, []string{"nil pointer dereference", "SIGSEGV", "(in gnomon/supervise.rename)"}},
		"abort":    {Crashed, []string{"SIGABRT: abort"}},
		"kill":     {Crashed, []string{noWords}},
		"exit":     {Crashed, []string{noWords}},
		"end":      {Failed, []string{"out of readers; token=***"}},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "supervise")
			child(t, how, dir, "")
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			v, err := s.Begin()
			if err != nil || v.Last.Kind != c.kind || v.Last.Version != "1.2.3" {
				t.Errorf("%+v, %v", v, err)
			}
			for _, part := range c.want {
				if !strings.Contains(v.Last.Reason, part) {
					t.Errorf("%q does not say %q", v.Last.Reason, part)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			// The trace is for people, after another start too, and the words of one crash are not told of another.
			child(t, "kill", dir, "")
			trace := crashFile
			if how == "panic" {
				trace = lastCrashFile
			}
			if data, err := os.ReadFile(filepath.Join(dir, trace)); err != nil || how == "panic" && !bytes.Contains(data, []byte("goroutine 1")) {
				t.Errorf("the trace of before is gone: %v", err)
			}
			if s, err = Open(dir, Options{}); err != nil {
				t.Fatal(err)
			}
			if v, err = s.Begin(); err != nil || v.Last.Reason != noWords {
				t.Errorf("%+v, %v", v, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestKilledAtEveryStep: whenever the process is killed, the record is that of before or that of after.
func TestKilledAtEveryStep(t *testing.T) {
	for step := 1; ; step++ {
		dir := filepath.Join(t.TempDir(), "supervise")
		m := newMachine(t)
		m.dir = dir
		m.boot, m.up = "another", 1 // what was before ended with the machine
		m.start()
		m.end("before", true)
		killed := child(t, "step", dir, fmt.Sprint(step))
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		v, err := s.Begin()
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		switch last := v.Last; {
		case last.Kind == Stopped && last.Reason == "before" && killed: // its start was not noted
		case last.Kind == Crashed && last.Reason == noWords && killed: // its end was not noted
		case last.Kind == Stopped && last.Reason == "all steps are done":
		default:
			t.Errorf("step %d (killed: %v): %+v", step, killed, last)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if !killed {
			if step < 10 {
				t.Errorf("it has only %d steps", step-1)
			}
			return
		}
	}
}

func TestCrashReason(t *testing.T) {
	for name, c := range map[string]struct{ trace, want string }{
		"signal in C": {
			"SIGSEGV: segmentation violation\nPC=0x7f m=5 sigcode=1 addr=0x0\nsignal arrived during cgo execution\nmore\n\ngoroutine 7 gp=0x1 [syscall]:\nruntime.cgocall(0x1, 0x2)\n\t/go/cgocall.go:167 +0x4b\ngnomon/camera._Cfunc_read(0x3)\n\t_cgo_gotypes.go:1 +0x1\n",
			"SIGSEGV: segmentation violation; PC=0x7f m=5 sigcode=1 addr=0x0; signal arrived during cgo execution (in gnomon/camera._Cfunc_read)",
		},
		"out of memory": {"fatal error: runtime: out of memory\n\nruntime stack:\nruntime.throw({0x1, 0x2})\n\t/go/panic.go:1 +0x1\n\ngoroutine 1 [running]:\nruntime.f()\n\t/x.go:1\n\ngoroutine 2 [select]:\nmain.g()\n", "fatal error: runtime: out of memory"},
		"a fatal error": {"goroutine 1 gp=0x1 [running]:\nruntime.throw({0x1})\n\t/x.go:1\nmain.f(0x1)\n\t/x.go:2\n", "a fatal error of Go's runtime, which is in the log of the system (in main.f)"},
		"no trace":      {"panic: x", "panic: x"},
		"terminal":      {"panic: \x1b[31mred\x07", "panic: [31mred"},
		"long":          {"panic: " + strings.Repeat("y", 1000), "panic: " + strings.Repeat("y", maxReason-len("panic: …")) + "…"},
	} {
		if got := crashReason(c.trace); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
