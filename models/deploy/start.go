package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"gnomon/models/store"
)

// stageStart is where the report says that an error was met when a slot was started.
const stageStart State = "start"

// Start returns what a slot has to load first: the committed version, checked byte for byte. If that is damaged it is
// the one before, and nil, the model that is configured or built in, if that is no better; the report then says why.
// A candidate that the last process died with is counted as a failure and given up. Call it for each slot before Run.
// Only an unknown slot, the end of ctx and a closed store are errors.
func (d *Deployer) Start(ctx context.Context, name string) (*store.Version, error) {
	s := d.slots[name]
	if s == nil {
		return nil, fmt.Errorf("start slot %q: there is no such slot", name)
	}
	d.recover(s)
	state := d.store.State()
	sl := state.Slot(name)
	var trouble *failure
	for _, e := range []*store.Entry{sl.Active, sl.Previous} {
		if e == nil || e.SHA256 == "" {
			if e == sl.Active {
				break // the built-in model is what is committed
			}
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("start slot %q: %w", name, err)
		}
		v, err := d.whole(s, e.SHA256)
		if err == nil {
			d.started(s, *e, trouble)
			return v, nil
		}
		if errors.Is(err, store.ErrClosed) {
			return nil, fmt.Errorf("start slot %q: %w", name, err)
		}
		if trouble == nil {
			trouble = classify(stageStart, CodeVersionDamaged, err)
		}
		d.log.Error("a model version cannot be used", zap.String("slot", name), zap.String("version", e.Version), zap.Error(err))
	}
	d.started(s, store.Entry{}, trouble)
	return nil, nil
}

// whole returns a version whose files are as they were installed and that was not rejected.
func (d *Deployer) whole(s *slot, sha string) (*store.Version, error) {
	d.mu.Lock()
	rejected := s.rejected[sha]
	d.mu.Unlock()
	if rejected {
		return nil, fail(stageStart, CodeLoadFailed, errors.New("the committed model could not be loaded at the start; it is tried again later"))
	}
	if err := d.store.Verify(sha); err != nil {
		return nil, err
	}
	return d.store.Version(sha)
}

// Reject tells that the version with this digest, which Start returned, could not be loaded. The next Start for the
// slot returns the one before it or nil. The version stays committed, and Run tries it again: at a start the reason
// may be the machine, such as a driver that is not ready.
func (d *Deployer) Reject(name, sha string) {
	if s := d.slots[name]; s != nil {
		d.mu.Lock()
		s.rejected[sha] = true
		d.mu.Unlock()
	}
}

// started notes what a slot starts with. Damage changes what is committed, so that the desired version, if it is the
// damaged one, is fetched again; that the disk does not take it changes nothing for what runs.
func (d *Deployer) started(s *slot, e store.Entry, trouble *failure) {
	d.mu.Lock()
	s.running = e
	if trouble != nil {
		s.view.startup = trouble.problem(want{})
	}
	d.mu.Unlock()
	d.changed()
	if trouble == nil || trouble.code != CodeVersionDamaged {
		return
	}
	err := d.update("start", func(st *store.State) error {
		sl := st.Slot(s.name)
		e.At = time.Now().UTC()
		sl.Active, sl.Previous = &e, nil
		sl.Since, sl.Error = e.At, trouble.problem(want{})
		return nil
	})
	if err != nil {
		d.log.Warn("the next start will meet the damaged version again", zap.String("slot", s.name), zap.Error(err))
	}
}

// recover counts and gives up, once, the candidate that the last process died with.
func (d *Deployer) recover(s *slot) {
	s.once.Do(func() {
		state := d.store.State()
		if state.Slot(s.name).Candidate == nil {
			return
		}
		err := d.update("recover", func(st *store.State) error {
			sl := st.Slot(s.name)
			c, at := *sl.Candidate, time.Now().UTC()
			why := fail(State(sl.Phase), CodeInterrupted, errors.New("the process ended while it tried the model: a crash in the model, or a power cut"))
			st.Fail(failureKey(s.name, c.SHA256, c.Release), string(why.code), why.Error(), at)
			st.Drop(s.name, why.problem(want{}), at)
			return nil
		})
		if err != nil {
			// Without the disk there will be no new attempt either: each begins with a note on the disk.
			d.log.Warn("an interrupted attempt could not be counted", zap.String("slot", s.name), zap.Error(err))
		}
	})
}
