package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/telemetry/redact"
)

// The files in the directory.
const (
	recordFile = "starts.json"
	tempFile   = recordFile + ".tmp"
	lockFile   = "lock" // holds the process's id; locked while it runs
)

const (
	recordFormat = 1
	// maxRuns is how many runs are kept: more than safe mode looks at, for people.
	maxRuns = 16
	// maxRecord is what is read of the file, in bytes: several times what maxRuns take.
	maxRecord = 64 << 10
	// maxRounds keeps the length of safe mode from running over; it has long been the longest by then.
	maxRounds = 16
	// maxPID is what is read of the lock, in bytes.
	maxPID = 32

	dirMode  = 0o700
	fileMode = 0o600
)

// ErrRunning is wrapped by the error about a record that another agent has.
var ErrRunning = errors.New("another agent is running")

// record is the file.
type record struct {
	Format int   `json:"format"`
	Safe   bool  `json:"safe,omitempty"`   // the next start is to be a safe one
	Rounds int   `json:"rounds,omitempty"` // safe modes without a good start between
	Runs   []run `json:"runs"`             // newest last
}

type run struct {
	Started moment `json:"started"`
	Version string `json:"version,omitempty"`
	PID     int    `json:"pid"`
	Safe    bool   `json:"safe,omitempty"`
	End     *end   `json:"end,omitempty"` // nil: it runs, or has crashed
}

type end struct {
	At     moment `json:"at"`
	Kind   Kind   `json:"kind"`
	Reason string `json:"reason,omitempty"`
}

// moment is a point in time by the clock, which may be wrong or change, and by the time since the machine started.
type moment struct {
	Time time.Time     `json:"time"`
	Boot string        `json:"boot"`
	Up   time.Duration `json:"up_ns"`
}

// before reports whether m lies before the other moment in one life of the machine.
func (m moment) before(o moment) bool { return m.Boot == o.Boot && m.Up <= o.Up }

// crashes counts the bad ends within the window before a moment. With an orderly one between they begin anew: somebody was
// there.
func (r *record) crashes(now moment) (n int) {
	for _, one := range r.Runs {
		switch e := one.End; {
		case e == nil:
		case e.Kind == Stopped:
			n = 0
		case e.Kind.bad() && e.At.before(now) && now.Up-e.At.Up <= safeWindow:
			n++
		}
	}
	return n
}

func (r *run) ended() End {
	return End{Kind: r.End.Kind, Reason: r.End.Reason, Started: r.Started.Time, Ended: r.End.At.Time, Version: r.Version}
}

// open takes the lock and reads what is there.
func (s *Starts) open() error {
	if err := os.MkdirAll(s.dir, dirMode); err != nil {
		return err
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	if s.lock, err = takeLock(root); err != nil {
		return errors.Join(err, root.Close())
	}
	s.root = root
	if s.record, err = readRecord(root); err != nil {
		return fmt.Errorf("%s cannot be used, so that it begins anew: %w", filepath.Join(s.dir, recordFile), err)
	}
	return nil
}

// readRecord reads the file; none is an empty record.
func readRecord(root *os.Root) (record, error) {
	data, err := readSmall(root, recordFile, maxRecord+1)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, nil
	}
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil || len(data) > maxRecord || r.Format != recordFormat {
		return record{}, errors.New("it is damaged, or of another version of gnomon")
	}
	for i := range r.Runs {
		one := &r.Runs[i]
		one.Version = oneLine(one.Version, maxVersion)
		if one.End != nil {
			one.End.Reason = cleaned(one.End.Reason)
		} else if i < len(r.Runs)-1 {
			return record{}, errors.New("it is damaged")
		}
	}
	r.Rounds = min(max(0, r.Rounds), maxRounds)
	return r, nil
}

// readSmall reads the beginning of a regular file: a pipe would block.
func readSmall(root *os.Root, name string, most int64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is not a regular file", name))
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// save replaces the file so that a reader, also after a power cut, finds the old or the new one.
func (s *Starts) save(what string) (err error) {
	if s.root == nil {
		return nil // Open has said why
	}
	s.record.Format = recordFormat
	s.record.Runs = s.record.Runs[max(0, len(s.record.Runs)-maxRuns):]
	data, err := json.Marshal(s.record)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s in %s: %w", what, s.dir, err)
		}
	}()
	if err := s.o.step("create"); err != nil {
		return err
	}
	f, err := s.root.OpenFile(tempFile, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	if err := errors.Join(s.fill(f, data), f.Close()); err != nil {
		return errors.Join(err, s.root.Remove(tempFile)) // a full disk gets its room back
	}
	if err := s.o.step("rename"); err != nil {
		return err
	}
	if err := s.root.Rename(tempFile, recordFile); err != nil {
		return err
	}
	if err := s.o.step("sync the folder"); err != nil {
		return err
	}
	return syncDir(s.root)
}

func (s *Starts) fill(f *os.File, data []byte) error {
	half := len(data) / 2
	if _, err := f.Write(data[:half]); err != nil {
		return err
	}
	if err := s.o.step("write the second half"); err != nil {
		return err
	}
	if _, err := f.Write(data[half:]); err != nil {
		return err
	}
	if err := s.o.step("sync"); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes a rename last. Some file systems cannot, and then do not need it.
func syncDir(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// cleaned is a reason as it may be kept and told.
func cleaned(reason string) string { return oneLine(redact.Text(reason), maxReason) }

// takeLock takes the directory for this process until the file is closed or the process ends, however it ends. The lock is
// of the open file (fcntl(2)), so that Look can see it without taking it.
func takeLock(root *os.Root) (*os.File, error) {
	f, err := root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return nil, err
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		pid := lockedBy(f)
		_ = f.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("%w (process %d)", ErrRunning, pid)
		}
		return nil, fmt.Errorf("lock %s: %w", lockFile, err)
	}
	// Only people read the number, so a full disk does not matter.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

func lockedBy(f *os.File) int {
	b := make([]byte, maxPID)
	n, _ := f.ReadAt(b, 0) // io.EOF always
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return 0
	}
	return pid
}
