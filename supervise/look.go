package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// State is what others see of an agent.
type State struct {
	Running bool
	PID     int  // of the one that runs; 0: not known
	Safe    bool // it runs in safe mode
	Last    End  // of the last run that has ended
}

// Look tells of the agent whose record is in dir. It disturbs nobody. Where there never was one the State is empty. An error
// is about the record; whether an agent runs is known all the same.
func Look(dir string) (State, error) {
	var s State
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("look at the record of starts: %w", err)
	}
	defer root.Close()
	s.PID, s.Running = running(root)
	r, err := readRecord(root)
	if err != nil {
		return s, fmt.Errorf("look at the record of starts: %w", err)
	}
	for i, one := range r.Runs {
		switch {
		case one.End != nil:
			s.Last = one.ended()
		case s.Running:
			s.Safe = one.Safe
		case i == len(r.Runs)-1:
			s.Last = End{Kind: Crashed, Started: one.Started.Time, Version: one.Version}
		}
	}
	return s, nil
}

func running(root *os.Root) (pid int, on bool) {
	f, err := root.OpenFile(lockFile, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l); err != nil || l.Type == unix.F_UNLCK {
		return 0, false
	}
	return lockedBy(f), true
}
