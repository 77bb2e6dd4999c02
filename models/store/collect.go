package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// stagingLife is how long a download may lie untouched before Open throws it away: longer than a weekend without a
// connection. A clock that was wrong costs a second download at worst.
const stagingLife = 7 * 24 * time.Hour

// Remove deletes a version and its download. It refuses with ErrInUse while a slot names the version, and with
// ErrNotFound when there is none.
func (s *Store) Remove(sha string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.usable(sha); err != nil {
		return err
	}
	if s.current().Uses(sha) || s.doubt.Uses(sha) {
		return fmt.Errorf("remove model version %s: %w", sha, ErrInUse)
	}
	if _, err := s.root.Lstat(path.Join(versionsDir, sha)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove model version: %w: %s", ErrNotFound, sha)
	}
	delete(s.staged, sha)
	err := s.remove(sha)
	if err == nil {
		err = s.discard(stagingDir, sha)
	}
	if err != nil {
		return fmt.Errorf("remove model version %s: %w", sha, explain(err))
	}
	return nil
}

// remove deletes a version that the current state does not name. The state before may name it; it is brought up to
// date first, so that falling back to it never leads to a version that is gone.
func (s *Store) remove(sha string) error {
	if s.prev.Uses(sha) && s.stored != nil {
		if err := s.savePrevious(); err != nil {
			return err
		}
		if err := syncDir(s.root, "."); err != nil {
			return err
		}
	}
	return s.discard(versionsDir, sha)
}

// Collect frees space: downloads that nobody wants, damaged versions that no slot names, and then, oldest first, other
// versions until all that is stored is at most Options.MaxBytes. It keeps what a slot names as active, previous or
// candidate, what the desired document mentions, and downloads that this process has begun. It returns the digests of
// what was removed and the bytes that became free, also along with an error. That the bound cannot be met is no error.
func (s *Store) Collect() (removed []string, freed int64, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed.Load() {
		return nil, 0, ErrClosed
	}
	c := collection{store: s}
	if err := c.run(); err != nil {
		return c.removed, c.freed, fmt.Errorf("collect unused model versions: %w", explain(err))
	}
	return c.removed, c.freed, nil
}

// collection is one run of Collect.
type collection struct {
	store   *Store
	removed []string
	freed   int64
	total   int64 // bytes that are still stored
}

// unused is a version that may go.
type unused struct {
	sha     string
	size    int64
	since   time.Time
	damaged bool
}

func (c *collection) run() error {
	s := c.store
	downloads, err := s.list(stagingDir)
	if err != nil {
		return err
	}
	for _, sha := range downloads {
		size := treeSize(s.root, path.Join(stagingDir, sha))
		c.total += size
		if _, begun := s.staged[sha]; begun || s.wanted(sha) {
			continue
		}
		if err := s.discard(stagingDir, sha); err != nil {
			return err
		}
		c.gone(sha, size)
	}
	candidates, err := c.unused()
	if err != nil {
		return err
	}
	for _, u := range candidates {
		if !u.damaged && (s.opts.MaxBytes == 0 || c.total <= s.opts.MaxBytes) {
			continue
		}
		if err := s.remove(u.sha); err != nil {
			return err
		}
		c.gone(u.sha, u.size)
	}
	return nil
}

// unused lists the versions that may go, in the order in which they should, and adds up what all versions take.
func (c *collection) unused() ([]unused, error) {
	s := c.store
	names, err := s.list(versionsDir)
	if err != nil {
		return nil, err
	}
	var list []unused
	for _, sha := range names {
		u := unused{sha: sha, size: treeSize(s.root, path.Join(versionsDir, sha))}
		c.total += u.size
		if s.wanted(sha) {
			continue
		}
		v, err := s.Version(sha)
		switch {
		case err == nil:
			u.since = v.Installed
		case errors.Is(err, ErrDamaged):
			u.damaged = true
		}
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b unused) int {
		if n := a.since.Compare(b.since); n != 0 {
			return n
		}
		return strings.Compare(a.sha, b.sha)
	})
	return list, nil
}

func (c *collection) gone(sha string, size int64) {
	c.total -= size
	c.freed += size
	if !slices.Contains(c.removed, sha) {
		c.removed = append(c.removed, sha)
	}
}

// wanted reports whether a slot names the version or the desired document mentions it.
func (s *Store) wanted(sha string) bool {
	state := s.current()
	return state.Uses(sha) || s.doubt.Uses(sha) || bytes.Contains(state.Desired, []byte(sha))
}

// tidy removes what a kill left behind. What does not go away is noted, and no reason not to start.
func (s *Store) tidy() {
	top, err := s.names(".")
	if err != nil {
		s.note("", err)
	}
	for _, name := range top {
		if strings.HasSuffix(name, tempSuffix) {
			s.tidyUp(name)
		}
	}
	trash, err := s.names(trashDir)
	if err != nil {
		s.note("", err)
	}
	for _, name := range trash {
		s.tidyUp(path.Join(trashDir, name))
	}
	downloads, err := s.list(stagingDir)
	if err != nil {
		s.note("", err)
	}
	for _, sha := range downloads {
		if s.newest(path.Join(stagingDir, sha)).Before(time.Now().Add(-stagingLife)) {
			s.tidyUp(path.Join(stagingDir, sha))
		}
	}
}

func (s *Store) tidyUp(name string) {
	err := s.step("tidy: remove")
	if err == nil {
		err = s.root.RemoveAll(name)
	}
	if err != nil {
		s.note("", fmt.Errorf("remove the leftover %s: %w", name, err))
		return
	}
	s.log.Info("removed a leftover of the model store", zap.String("path", name))
}

// newest is when anything in a directory last changed.
func (s *Store) newest(dir string) time.Time {
	var last time.Time
	//nolint:errcheck // what cannot be read is not new
	fs.WalkDir(s.root.FS(), dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		if info, err := d.Info(); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
		return nil
	})
	return last
}

// inspect notes versions that are damaged, and slots whose versions are not there.
func (s *Store) inspect() {
	names, err := s.list(versionsDir)
	if err != nil {
		s.note("", err)
	}
	for _, sha := range names {
		if _, err := s.Version(sha); err != nil {
			s.note(sha, err)
		}
	}
	for name, sl := range s.state.Slots {
		for _, e := range []*Entry{sl.Active, sl.Previous} {
			if e != nil && e.SHA256 != "" && !slices.Contains(names, e.SHA256) {
				s.note(e.SHA256, fmt.Errorf("slot %q: %w: %s; install it again", name, ErrNotFound, e.SHA256))
			}
		}
	}
}
