package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// Names in the spool's directory.
const (
	fileName    = "spool.db"
	compactName = "spool.new"
	lockName    = "lock"
	// Files that were set aside are spool-damaged-{time}.db. One is kept: each may be as large as the spool.
	damagedPrefix = "spool-damaged-"
	damagedLayout = "20060102T150405Z"
)

// errLocked is for a directory that another process uses.
var errLocked = errors.New("another process has it")

// lock is a file that is locked as long as it is open. The database has a lock of its own, but that comes too late:
// its file is looked at before.
type lock struct{ file *os.File }

func takeLock(dir string) (*lock, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w: end the other gnomon, or give this one a directory of its own", dir, errLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &lock{file: f}, nil
}

func (l *lock) release() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}

// attach opens the file, or begins one. The file is set aside if it is damaged.
func (s *Spool) attach() error {
	if err := os.MkdirAll(s.opts.Dir, 0o700); err != nil {
		return err
	}
	if s.lock == nil {
		l, err := takeLock(s.opts.Dir)
		if err != nil {
			return err
		}
		s.lock = l
	}
	path := filepath.Join(s.opts.Dir, fileName)
	_ = os.Remove(filepath.Join(s.opts.Dir, compactName)) // of a compaction that was cut short
	st, c, err := openStore(path, &s.opts)
	if isDamage(err) {
		if err := s.setAside(path, err); err != nil {
			return err
		}
		st, c, err = openStore(path, &s.opts)
	}
	if err != nil {
		return err
	}
	s.storing.Lock()
	s.store = st
	s.storing.Unlock()
	if !s.loaded {
		s.loaded = true
		s.load(c)
	}
	s.compact()
	return nil
}

// load puts what is in the file before what is in memory.
func (s *Spool) load(c contents) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = max(s.keys, c.lastKey)
	s.deletes = append(s.deletes, c.useless...)
	for class, blocks := range c.blocks {
		q := &s.queues[class]
		for i, b := range blocks {
			b.order = s.oldest - int64(len(blocks)-i)
			q.records += b.live()
			q.onDisk += b.live()
			q.bytes += b.bytes
			s.stored += b.stored
		}
		q.prepend(blocks)
	}
	for class := range c.blocks {
		s.oldest -= int64(len(c.blocks[class]))
	}
}

// detach closes the file.
func (s *Spool) detach() error {
	s.storing.Lock()
	defer s.storing.Unlock()
	err := s.store.close()
	s.store = nil
	return err
}

// repair makes the file ready to be written: it replaces one that has turned out to be damaged, and opens one that
// could not be opened before.
func (s *Spool) repair() error {
	s.mu.Lock()
	broken := s.broken
	s.mu.Unlock()
	if broken != nil {
		_ = s.detach() // what a damaged database says is of no interest
		s.giveUpFile()
		if err := s.setAside(filepath.Join(s.opts.Dir, fileName), broken); err != nil {
			return err
		}
		s.mu.Lock()
		s.broken = nil
		s.mu.Unlock()
	}
	s.storing.RLock()
	there := s.store != nil
	s.storing.RUnlock()
	if there {
		return nil
	}
	return s.attach()
}

// giveUpFile counts what was only in the file as lost, and has the rest written anew.
func (s *Spool) giveUpFile() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deletes, s.stored, s.loaded = nil, 0, false
	for class := range s.queues {
		q := &s.queues[class]
		for b := q.first; b != nil; {
			next := b.next
			q.onDisk -= b.inFile()
			if b.items == nil {
				q.lost += uint64(b.free())
				q.records -= b.live()
				q.bytes -= b.bytes
				q.remove(b)
			} else {
				before := b.pending()
				b.key, b.written, b.stored = 0, 0, 0
				s.unsaved += b.pending() - before
			}
			b = next
		}
	}
	if s.unsaved > 0 && s.since.IsZero() {
		s.since = time.Now()
	}
}

// setAside renames a damaged file, in place of the one that was set aside before, and reports it.
func (s *Spool) setAside(path string, reason error) error {
	old, err := filepath.Glob(filepath.Join(s.opts.Dir, damagedPrefix+"*.db"))
	if err != nil {
		return err
	}
	for _, f := range old {
		_ = os.Remove(f)
	}
	now := time.Now()
	aside := filepath.Join(s.opts.Dir, damagedPrefix+now.UTC().Format(damagedLayout)+".db")
	if err := os.Rename(path, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set the damaged spool aside: %w", err)
	}
	d := Damage{Path: aside, Reason: strings.TrimSpace(reason.Error()), Time: now}
	s.mu.Lock()
	s.damage = d
	s.mu.Unlock()
	s.opts.Log.Warn("the spool was damaged and has been set aside; a new one is begun",
		zap.String("file", d.Path), zap.String("reason", d.Reason))
	return nil
}

const (
	// A file is made smaller when it is worth it: when it has compactMin bytes, and compactPart of that is not needed.
	compactMin  = 16 << 20
	compactPart = 8
	// compactAgain is when it is tried again after it has failed.
	compactAgain = 10 * time.Minute
)

// compact makes the file smaller after a backlog has been delivered. If that fails, it stays as it is for a while.
func (s *Spool) compact() {
	s.storing.RLock()
	st := s.store
	s.storing.RUnlock()
	if st == nil || time.Now().Before(s.large) {
		return
	}
	s.mu.Lock()
	stored := s.stored
	s.mu.Unlock()
	size, limit := st.size(), s.opts.MaxBytes
	switch {
	case size <= limit && (size < min(compactMin, limit/2) || stored > size/compactPart):
		return
	case stored > limit-limit/8:
		return // the spool is to be smaller than it was: first there must be less in it
	}
	err := s.replace(st)
	if err == nil {
		return
	}
	s.large = time.Now().Add(compactAgain)
	s.opts.Log.Warn("the spool's file could not be made smaller; it works all the same", zap.Error(err))
	if isDamage(err) {
		s.mu.Lock()
		s.broken = err
		s.mu.Unlock()
		signal(s.wake)
	}
}

// replace puts a copy of what is in the file in its place.
func (s *Spool) replace(st *store) error {
	next := filepath.Join(s.opts.Dir, compactName)
	defer func() { _ = os.Remove(next) }()
	if err := st.copyTo(next, &s.opts); err != nil {
		return err
	}
	s.storing.Lock()
	defer s.storing.Unlock()
	err := st.close()
	s.store = nil
	if err == nil {
		err = os.Rename(next, st.path)
	}
	if err == nil {
		err = syncDir(s.opts.Dir)
	}
	if err != nil {
		return err
	}
	s.store, _, err = openStore(st.path, &s.opts)
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
