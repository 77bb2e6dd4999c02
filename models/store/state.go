package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// State is what the state file says. Store.State hands out copies; only the function given to Store.Update changes
// the real one. The methods of State and Slot are plain computations without locks.
type State struct {
	Format int `json:"format"` // of the file; Update sets it
	// Slots are the models that run, by name: 1 to 64 characters of a-z, 0-9, _ and -.
	Slots map[string]*Slot `json:"slots,omitempty"`
	// Desired is the last desired document of the shadow, as JSON. Digests that occur in it are wanted: Collect
	// keeps their versions and downloads.
	Desired json.RawMessage `json:"desired,omitempty"`
	// Failures count attempts that went wrong, by a key of the caller's choice such as a digest.
	Failures map[string]Failures `json:"failures,omitempty"`
}

// Slot is one place where a model runs.
type Slot struct {
	Active    *Entry `json:"active,omitempty"`    // committed; nil means the model that is configured or built in
	Previous  *Entry `json:"previous,omitempty"`  // what RollBack goes back to
	Candidate *Entry `json:"candidate,omitempty"` // installed or on its way, not committed
	// Phase is where the candidate is, in the caller's words; characters as for slot names, or empty.
	Phase   string    `json:"phase,omitempty"`
	Release int64     `json:"release,omitempty"` // highest release that was ever committed here; never falls
	Since   time.Time `json:"since,omitzero"`    // when Active, Candidate or Phase last changed
	Error   *Problem  `json:"error,omitempty"`   // why the last attempt ended
}

// Entry names a model version.
type Entry struct {
	SHA256  string    `json:"sha256,omitempty"` // "" is the model built into the binary or named in the configuration
	URI     string    `json:"uri,omitempty"`
	Version string    `json:"version,omitempty"`
	Release int64     `json:"release,omitempty"`
	At      time.Time `json:"at,omitzero"`
}

// Failures counts what went wrong with one thing.
type Failures struct {
	Count       int       `json:"count"`
	LastCode    string    `json:"last_code,omitempty"`
	LastMessage string    `json:"last_message,omitempty"`
	At          time.Time `json:"at,omitzero"`
}

// Problem says why an attempt ended. Long messages are cut when the state is stored.
type Problem struct {
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
	Stage   string `json:"stage,omitempty"`
}

// Slot returns the slot of that name and makes it if there is none.
func (s *State) Slot(name string) *Slot {
	if s.Slots == nil {
		s.Slots = map[string]*Slot{}
	}
	if s.Slots[name] == nil {
		s.Slots[name] = &Slot{}
	}
	return s.Slots[name]
}

// SetCandidate makes e the candidate of a slot, in the given phase, and forgets the error of the attempt before.
func (s *State) SetCandidate(slot string, e Entry, phase string, at time.Time) {
	sl := s.Slot(slot)
	sl.Candidate, sl.Phase, sl.Since, sl.Error = &e, phase, at, nil
}

// Promote commits the candidate of a slot: it becomes active, and what was active becomes previous. Where nothing was
// active, previous becomes the built-in model. A candidate that equals the active version leaves previous alone.
func (s *State) Promote(slot string, at time.Time) error {
	sl := s.Slots[slot]
	if sl == nil || sl.Candidate == nil {
		return fmt.Errorf("promote in slot %q: %w: there is no candidate", slot, ErrInvalid)
	}
	switch {
	case sl.Active == nil:
		sl.Previous = &Entry{}
	case sl.Active.SHA256 != sl.Candidate.SHA256:
		sl.Previous = sl.Active
	}
	sl.Active, sl.Candidate = sl.Candidate, nil
	sl.Active.At = at
	sl.Phase, sl.Since, sl.Error = "", at, nil
	sl.Release = max(sl.Release, sl.Active.Release)
	return nil
}

// Drop gives the candidate of a slot up, for the reason given (nil for none). The active version stays.
func (s *State) Drop(slot string, why *Problem, at time.Time) {
	sl := s.Slot(slot)
	sl.Candidate, sl.Phase, sl.Since, sl.Error = nil, "", at, why
}

// RollBack makes the previous version of a slot active again, for the reason given. Afterwards there is no previous
// version; Release stays, so that the version that was left is not taken for an update.
func (s *State) RollBack(slot string, why *Problem, at time.Time) error {
	sl := s.Slots[slot]
	if sl == nil || sl.Previous == nil {
		return fmt.Errorf("roll back in slot %q: %w: there is no previous version", slot, ErrInvalid)
	}
	sl.Active, sl.Previous = sl.Previous, nil
	sl.Active.At = at
	sl.Since, sl.Error = at, why
	return nil
}

// Fail counts a failure and returns how often it has happened. The oldest count is forgotten when there are too many.
func (s *State) Fail(key, code, message string, at time.Time) int {
	if s.Failures == nil {
		s.Failures = map[string]Failures{}
	}
	if _, known := s.Failures[key]; !known && len(s.Failures) >= maxFailures {
		keys := slices.Sorted(maps.Keys(s.Failures))
		delete(s.Failures, slices.MinFunc(keys, func(a, b string) int { return s.Failures[a].At.Compare(s.Failures[b].At) }))
	}
	f := Failures{Count: s.Failures[key].Count + 1, LastCode: code, LastMessage: message, At: at}
	s.Failures[key] = f
	return f.Count
}

// Forgive forgets the failures of one thing.
func (s *State) Forgive(key string) { delete(s.Failures, key) }

// Uses reports whether a slot runs the version, would go back to it, or has it as candidate.
func (s *State) Uses(sha string) bool {
	if s == nil || sha == "" {
		return false
	}
	for _, sl := range s.Slots {
		for _, e := range []*Entry{sl.Active, sl.Previous, sl.Candidate} {
			if e != nil && e.SHA256 == sha {
				return true
			}
		}
	}
	return false
}

// clone copies everything, so that neither copy sees changes of the other.
func (s *State) clone() *State {
	c := *s
	c.Desired = slices.Clone(s.Desired)
	c.Failures = maps.Clone(s.Failures)
	c.Slots = make(map[string]*Slot, len(s.Slots))
	for name, sl := range s.Slots {
		d := *sl
		d.Active, d.Previous, d.Candidate, d.Error = cloned(sl.Active), cloned(sl.Previous), cloned(sl.Candidate), cloned(sl.Error)
		c.Slots[name] = &d
	}
	return &c
}

func cloned[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
