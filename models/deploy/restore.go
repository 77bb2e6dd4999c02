package deploy

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"gnomon/models/store"
)

const (
	// restoreTries is how often the committed model is loaded before the built-in one takes its place: a model that was
	// just closed may give its memory back a moment later.
	restoreTries = 3
	// swapTime bounds the wait for frames in work: the model that is to go may hang.
	swapTime = 30 * time.Second
)

// stageRollBack is where the report says that a committed model could not be loaded again.
const stageRollBack State = "rolling_back"

// owed reports whether the slot runs something else than its committed model, or may.
func (w *worker) owed() bool {
	state := w.store.State()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.s.doubt || w.s.running.SHA256 != active(&state, w.s.name).SHA256
}

// restore puts the committed model back if something else runs, and if that fails the built-in one. It returns nil when
// the committed model runs.
//
// The committed model is loaded again from the store. To keep it loaded during the probation of another would need no
// disk here, but the memory of two models for a minute or more, which the boxes that this is made for often do not
// have. Frames lose nothing by it: the model that is to go runs until the exchange. And a disk that has failed leaves
// the built-in model, which needs none.
func (w *worker) restore(run, ctx context.Context) *failure {
	if !w.owed() || run.Err() != nil {
		return nil //nolint:nilerr // after an orderly stop the next start loads the committed model
	}
	state := w.store.State()
	committed := active(&state, w.s.name)
	pauses := w.retry.backoff()
	var err error
	for try := range restoreTries {
		if try > 0 && !sleep(ctx, pauses.next()) {
			break
		}
		if err = w.bring(run, committed); err == nil {
			w.settled()
			w.log.Info("the committed model runs again", zap.String("slot", w.s.name), zap.String("sha256", committed.SHA256))
			return nil
		}
	}
	w.mu.Lock()
	fallback := committed.SHA256 != "" && (w.s.doubt || w.s.running.SHA256 != "")
	w.mu.Unlock()
	if fallback && ctx.Err() == nil {
		if second := w.bring(run, store.Entry{}); second != nil {
			err = fmt.Errorf("%w; nor can the built-in one: %w", err, second)
		}
	}
	w.mu.Lock()
	runs := "the built-in model runs"
	if w.s.doubt || w.s.running.SHA256 != "" {
		runs = "the model that was to go runs on"
	}
	w.mu.Unlock()
	f := fail(stageRollBack, CodeRollbackFailed, fmt.Errorf("%s: the committed model cannot be loaded: %w", runs, err))
	w.log.Error("a roll-back failed and is tried on", zap.String("slot", w.s.name), zap.Error(f.err))
	return f
}

// bring loads a model that was committed, or the built-in one, and puts it in place.
func (w *worker) bring(run context.Context, e store.Entry) error {
	var v *store.Version
	if e.SHA256 != "" {
		var err error
		if v, err = w.store.Version(e.SHA256); err != nil {
			return err
		}
	}
	w.step("restore")
	m, err := w.host.Load(run, w.s.name, v)
	if err != nil {
		return err
	}
	if err := w.put(run, e, m); err != nil {
		return err
	}
	w.step("restored")
	return nil
}

// put exchanges the model that runs for m.
func (w *worker) put(run context.Context, e store.Entry, m Loaded) error {
	ctx, cancel := context.WithTimeout(run, swapTime)
	defer cancel()
	w.mu.Lock()
	w.s.doubt = true
	w.mu.Unlock()
	w.step("swap")
	if err := w.host.Swap(ctx, w.s.name, m); err != nil {
		return err
	}
	w.step("swapped")
	w.mu.Lock()
	w.s.running, w.s.doubt = e, false
	w.mu.Unlock()
	w.changed()
	return nil
}
