package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
)

const (
	crashFile     = "crash.txt"          // what Go writes when this process crashes
	lastCrashFile = "crash.previous.txt" // of the last crash, for people
	// maxCrash is what is read of it, in bytes: the reason and the goroutine at fault stand first.
	maxCrash = 64 << 10
	// maxCrashLines is how many lines of a panic's own text are told.
	maxCrashLines = 3
)

// noWords is what is known of a crash without a trace.
const noWords = "it ended without a word: killed from outside, by the kernel for want of memory, or by a fault in a library"

// CatchCrashes has Go write to a file, beside standard error, when a panic or a fatal signal ends this process: the next
// start tells the first lines as the reason. Call it after Begin. What an earlier crash has left is kept for people.
func (s *Starts) CatchCrashes() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root == nil {
		return nil
	}
	if info, err := s.root.Lstat(crashFile); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		if err := s.root.Rename(crashFile, lastCrashFile); err != nil {
			return fmt.Errorf("keep the trace of the last crash: %w", err)
		}
	}
	f, err := s.root.OpenFile(crashFile, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return fmt.Errorf("make room for the trace of a crash: %w", err)
	}
	defer f.Close() // the runtime has a duplicate
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		return fmt.Errorf("have a crash noted: %w", err)
	}
	return nil
}

// lastWords is why the run before has crashed, as far as that is known.
func (s *Starts) lastWords() string {
	if s.root == nil {
		return noWords
	}
	data, err := readSmall(s.root, crashFile, maxCrash)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(data) == 0:
		return noWords
	case err != nil:
		return cleaned("it crashed, and its trace cannot be read: " + err.Error())
	}
	return crashReason(string(data))
}

// crashReason is the gist of a trace: what Go says first, and the function of ours, or of a library, in which it happened.
// What it says of a fatal error is on standard error only; the trace begins with the goroutine then.
//
//	panic: runtime error: index out of range [5] with length 3
//
//	goroutine 1 [running]:
//	main.f(...)
//		/src/main.go:8 +0x1d
func crashReason(trace string) string {
	said, stack, _ := strings.Cut("\n"+trace, "\ngoroutine ")
	head, _, _ := strings.Cut(strings.TrimSpace(said), "\n\n")
	if head == "" {
		head = "a fatal error of Go's runtime, which is in the log of the system"
	}
	lines := strings.Split(head, "\n")
	reason := strings.Join(lines[:min(len(lines), maxCrashLines)], "; ")
	if at := faultyFunction(stack); at != "" {
		reason += " (in " + at + ")"
	}
	return cleaned(reason)
}

// faultyFunction is the first function of a goroutine's stack that is not the runtime's.
func faultyFunction(stack string) string {
	for i, line := range strings.Split(stack, "\n") {
		switch {
		case line == "", strings.HasPrefix(line, "created by "): // the end
			return ""
		case i == 0, strings.HasPrefix(line, "\t"), strings.HasPrefix(line, "runtime."), strings.HasPrefix(line, "panic("):
			continue
		}
		if end := strings.LastIndexByte(line, '('); end > 0 {
			line = line[:end]
		}
		return line
	}
	return ""
}
