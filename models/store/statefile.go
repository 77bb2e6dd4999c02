package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// maxBad is how many damaged state files are kept for people to look at.
const maxBad = 4

// State returns a copy of the state that belongs to the caller. It never waits for the disk and works after Close.
func (s *Store) State() State {
	return *s.current().clone()
}

// current is the state in memory, not to be changed.
func (s *Store) current() *State {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state
}

// Update lets change edit a copy of the state, checks the result and stores it. When it returns nil the new state has
// reached the disk. After an error State still returns the old one; whether the next Open finds the old or the new
// depends on how far writing came. An error of change is returned as it is. A state that is the same as before is not
// written again. A slot cannot be given an active version that is not installed whole: that is ErrNotFound or
// ErrDamaged. Updates run one after the other; change must not call Update, Remove, Collect, Staging, DiscardStaging or
// Install.
func (s *Store) Update(change func(*State) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	old := s.current()
	next := old.clone()
	if err := change(next); err != nil {
		return err
	}
	next.normalise()
	if err := next.check(); err != nil {
		return fmt.Errorf("store the state: %w", err)
	}
	for name, sl := range next.Slots {
		if sl.Active == nil || sl.Active.SHA256 == "" || sameActive(old.Slots[name], sl) {
			continue
		}
		if _, err := s.Version(sl.Active.SHA256); err != nil {
			return fmt.Errorf("store the state: make a version active in slot %q: %w", name, err)
		}
	}
	data, err := encodeState(next)
	if err != nil {
		return fmt.Errorf("store the state: %w", err)
	}
	if bytes.Equal(data, s.stored) && s.doubt == nil {
		return nil
	}
	// What was read back is what the next start will see, and shares nothing with what change may have kept.
	next, err = parseState(data)
	if err != nil {
		return fmt.Errorf("store the state: %w", err)
	}
	if err := s.save(next, data); err != nil {
		return fmt.Errorf("store the state: %w", explain(err))
	}
	return nil
}

func sameActive(a, b *Slot) bool {
	return a != nil && a.Active != nil && a.Active.SHA256 == b.Active.SHA256
}

// save writes the state file, the one before first, and then makes next the state. The older file is a copy and not
// the renamed state.json: at no time is there no state.json.
func (s *Store) save(next *State, data []byte) error {
	if s.stored != nil {
		if err := s.savePrevious(); err != nil {
			return err
		}
	}
	s.doubt = next
	if err := s.writeFile(s.root, stateName, "state", data); err != nil {
		return err
	}
	if err := s.step("state: sync directory"); err != nil {
		return err
	}
	if err := syncDir(s.root, "."); err != nil {
		return err
	}
	s.stored, s.doubt = data, nil
	s.mu.Lock()
	s.state = next
	s.mu.Unlock()
	return nil
}

// savePrevious makes state.json.prev a copy of what state.json says.
func (s *Store) savePrevious() error {
	if err := s.writeFile(s.root, prevName, "previous state", s.stored); err != nil {
		return err
	}
	s.prev = s.current()
	return nil
}

// load reads the state when the store is opened. It fails only when the file may not be read: an older state must not
// replace one that is whole.
func (s *Store) load() error {
	state, data, err := s.readState(stateName)
	prev, _, prevErr := s.readState(prevName)
	s.prev = prev
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("read %s: %w", stateName, err)
	case err == nil:
		s.state, s.stored = state, data
		return nil
	case missing && errors.Is(prevErr, fs.ErrNotExist):
		s.state = &State{Format: stateFormat}
		return nil
	}
	if !missing {
		s.setAside()
	}
	if prevErr != nil {
		s.state = &State{Format: stateFormat}
		s.note("", fmt.Errorf("both state files are damaged, so every slot begins with the configured model: %w", errors.Join(err, prevErr)))
		return nil
	}
	s.state = prev
	s.note("", fmt.Errorf("the state file is damaged or missing; the one before it is used, so the last change may be lost: %w", err))
	data, err = encodeState(prev)
	if err == nil {
		err = s.save(prev, data)
	}
	if err != nil {
		s.note("", fmt.Errorf("write the state again: %w", err))
	}
	return nil
}

// readState reads and checks a state file.
func (s *Store) readState(name string) (*State, []byte, error) {
	data, err := readFile(s.root, name, maxState)
	if err != nil {
		return nil, nil, err
	}
	state, err := parseState(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return state, data, nil
}

// setAside keeps a damaged state file for people to look at, and removes the oldest such files.
func (s *Store) setAside() {
	bad := badPrefix + time.Now().UTC().Format("20060102T150405.000000000Z")
	err := s.step("set aside: rename")
	if err == nil {
		err = s.root.Rename(stateName, bad)
	}
	if err != nil {
		s.note("", fmt.Errorf("set the damaged state file aside: %w", err))
	}
	names, err := s.names(".")
	if err != nil {
		s.note("", err)
	}
	// Sorted by name is sorted by time.
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, badPrefix) })
	for _, name := range names[:max(0, len(names)-maxBad)] {
		if err := s.root.RemoveAll(name); err != nil {
			s.note("", err)
		}
	}
}
