package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"go.uber.org/zap"
)

// What the errors of a Store wrap, for callers who act on them.
var (
	// ErrLocked: another process, or another Store in this one, holds the directory.
	ErrLocked = errors.New("the model store is in use")
	// ErrNotFound: no version with that digest is installed.
	ErrNotFound = errors.New("no such model version")
	// ErrDamaged: a version is there, but a file is missing or differs from what was installed.
	ErrDamaged = errors.New("the model version is damaged")
	// ErrInUse: a slot runs the version, would go back to it, or is about to run it.
	ErrInUse = errors.New("the model version is in use")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the model store is closed")
	// ErrInvalid: a digest, name or state that breaks the rules of this package.
	ErrInvalid = errors.New("invalid")
)

// Names inside the store's directory.
const (
	lockName     = "lock"
	stateName    = "state.json"
	prevName     = "state.json.prev"
	badPrefix    = "state.json.bad-"
	stagingDir   = "staging"
	versionsDir  = "versions"
	trashDir     = "trash"
	metaName     = "version.json"
	tempSuffix   = ".tmp"
	dirMode      = 0o700 // models are nobody else's business, and nobody else may change them
	fileMode     = 0o600
	othersModify = 0o022 // permission bits that let the group or everybody write
)

// Options are the settings of a Store. The zero value is usable.
type Options struct {
	// MaxBytes bounds what Collect leaves: the size of all versions and downloads together. 0 sets no bound, and
	// then Collect removes only what is damaged or no longer wanted.
	MaxBytes int64
	// Log receives what the store tidies up; nil for silence. Errors are returned, not logged.
	Log *zap.Logger

	// step is called before every step that changes the disk. Tests make it fail, or end the process.
	step func(name string) error
}

// Store is an open model store. All methods may be called from any goroutine. The caller owns it and closes it.
type Store struct {
	dir  string // absolute
	opts Options
	log  *zap.Logger
	root *os.Root
	lock *os.File

	installing sync.Mutex // one Install at a time; taken before writing
	writing    sync.Mutex // held while the state or the set of directories changes
	closed     atomic.Bool
	damaged    []Damage            // set by Open only
	staged     map[string]struct{} // guarded by writing: downloads that this process has begun
	stored     []byte              // guarded by writing: the contents of state.json; nil before the first
	prev       *State              // guarded by writing: what state.json.prev says
	doubt      *State              // guarded by writing: a state that may have reached the disk although its write failed

	mu    sync.RWMutex // held briefly, so that State never waits for the disk
	state *State
}

// Damage is one thing that Open found broken and worked around.
type Damage struct {
	SHA256 string // of the version; empty for the state file and for files that could not be tidied up
	Err    error
}

// Open opens the store in dir, makes it if it is not there, and tidies up what a kill left behind. Damage to single
// versions or to the state file does not make it fail; Damaged tells. It fails with ErrLocked while another process
// has the store, and when others may write to dir. Close must be called.
func Open(dir string, opts Options) (*Store, error) {
	if opts.MaxBytes < 0 {
		return nil, fmt.Errorf("open model store: %w: a bound of %d bytes; write 0 for none", ErrInvalid, opts.MaxBytes)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open model store %s: %w", dir, err)
	}
	s := &Store{dir: abs, opts: opts, log: opts.Log, staged: map[string]struct{}{}}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if err := s.open(); err != nil {
		err = errors.Join(err, s.release())
		return nil, fmt.Errorf("open model store %s: %w", abs, explain(err))
	}
	return s, nil
}

// open takes the directory into possession, then tidies and reads it.
func (s *Store) open() error {
	if err := makeDir(s.dir); err != nil {
		return err
	}
	if err := checkDir(s.dir); err != nil {
		return err
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	s.root = root
	if s.lock, err = takeLock(root); err != nil {
		return err
	}
	for _, name := range []string{versionsDir, stagingDir, trashDir} {
		if err := root.Mkdir(name, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			if info, statErr := root.Lstat(name); statErr != nil || !info.IsDir() {
				return err
			}
		}
		if info, err := root.Lstat(name); err != nil || !info.IsDir() {
			return fmt.Errorf("%s is not a directory; move it away", filepath.Join(s.dir, name))
		}
	}
	if err := syncDir(root, "."); err != nil {
		s.note("", fmt.Errorf("sync the directory: %w", err))
	}
	s.tidy()
	if err := s.load(); err != nil {
		return err
	}
	s.inspect()
	return nil
}

// note remembers damage that Open found.
func (s *Store) note(sha string, err error) {
	s.damaged = append(s.damaged, Damage{SHA256: sha, Err: explain(err)})
}

// Damaged tells what Open found broken: versions, the state file, leftovers that would not go away. The caller owns
// the slice.
func (s *Store) Damaged() []Damage {
	return append([]Damage(nil), s.damaged...)
}

// Close gives the directory free. Calling it again does nothing. What was returned before stays valid.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.installing.Lock()
	defer s.installing.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.release(); err != nil {
		return fmt.Errorf("close model store %s: %w", s.dir, err)
	}
	return nil
}

// release closes what open opened. The lock is given up explicitly: a child that another goroutine is just starting
// shares the file until it runs its program, and closing alone would leave the lock with it.
func (s *Store) release() error {
	var lockErr, rootErr error
	if s.lock != nil {
		lockErr = errors.Join(syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN), s.lock.Close())
	}
	if s.root != nil {
		rootErr = s.root.Close()
	}
	return errors.Join(lockErr, rootErr)
}

// step announces a step that changes the disk.
func (s *Store) step(name string) error {
	if s.opts.step == nil {
		return nil
	}
	if err := s.opts.step(name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
