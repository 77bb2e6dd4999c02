package store

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// maxPID is in bytes: what is read of a lock file, which holds one process id and a line end.
const maxPID = 32

// takeLock takes the store for this process until the file is closed or the process ends, however it ends. The file
// stays where it is for good: were it removed, two processes could hold two locks of the same name.
func takeLock(root *os.Root) (*os.File, error) {
	f, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, fileMode)
	readOnly := errors.Is(err, syscall.EROFS)
	if readOnly {
		// A disk that was made read-only after an error should still serve the model that is on it.
		f, err = root.OpenFile(lockName, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	}
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", lockName, err)
		}
		return nil, fmt.Errorf("%w by %s; stop it first, or use another directory", ErrLocked, holder(f))
	}
	if readOnly {
		return f, nil
	}
	// Only people read the number, so a disk that is too full for it is no reason to stop.
	if f.Truncate(0) == nil {
		f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0) //nolint:errcheck // see above
	}
	return f, nil
}

// flock locks the file without waiting for whoever holds it.
func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// holder names the process that holds the lock.
func holder(f *os.File) string {
	b := make([]byte, maxPID)
	n, _ := f.ReadAt(b, 0) // io.EOF always; an empty file is handled below
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return "another process"
	}
	return fmt.Sprintf("process %d", pid)
}
