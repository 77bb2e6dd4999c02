package deploy

import (
	"bytes"
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"gnomon/models/store"
)

// outcome is what an attempt came to.
type outcome struct {
	state    State
	problem  *store.Problem
	failures int
	again    bool
	pause    time.Duration // before the next attempt, if again
}

var errBanned = errors.New("banned")

// settle writes down what an attempt came to.
func (w *worker) settle(ctx context.Context, j *job, err error) outcome {
	w.mu.Lock()
	w.s.obtained = false
	w.mu.Unlock()
	moved := w.progressed()
	if err == nil {
		return outcome{state: StateActive}
	}
	if ctx.Err() != nil {
		w.drop(nil)
		return outcome{}
	}
	if errors.Is(err, errBanned) {
		f := w.failures(j)
		return outcome{
			state: StateBanned, failures: f.Count,
			problem: &store.Problem{Code: f.LastCode, Message: clip(f.LastMessage, maxMessage)},
		}
	}
	f := classify(w.state(), CodeInternal, err)
	out := outcome{problem: f.problem(j.want), failures: w.failures(j).Count}
	w.log.Warn("a model was not deployed", zap.String("slot", w.s.name), zap.String("sha256", j.sha),
		zap.String("code", string(f.code)), zap.String("stage", string(f.stage)), zap.String("reason", out.problem.Message))
	switch f.handling {
	case Final:
		w.drop(out.problem)
		out.state = StateFailed
	case Temporary:
		w.drop(nil)
		if moved {
			w.pauses.reset()
		}
		out.state, out.again, out.pause = f.stage, true, w.pauses.next()
	default:
		w.count(j, &out)
	}
	return out
}

// count counts a failure and decides whether there is another attempt.
func (w *worker) count(j *job, out *outcome) {
	err := w.update("failure", func(st *store.State) error {
		at := time.Now().UTC()
		st.Fail(failureKey(w.s.name, j.want.subject(j.sha), j.release()), out.problem.Code, out.problem.Message, at)
		st.Drop(w.s.name, out.problem, at)
		return nil
	})
	if err != nil {
		w.log.Error("a failure could not be counted", zap.String("slot", w.s.name), zap.Error(err))
	}
	f := w.failures(j)
	out.failures = f.Count
	out.state, out.again, out.pause = StateFailed, true, w.retry.pause(f.Count)
	switch {
	case w.banned(j, f):
		out.state, out.again, out.pause = StateBanned, false, 0
	case j.swapped:
		out.state = StateRolledBack
	}
	if State(out.problem.Stage) == StateDownloading {
		w.discard(j.sha) // what is there may be what is wrong
	}
	w.collect()
}

// forget throws away what nobody wants any more of a job that another order has ended.
func (w *worker) forget(j *job) {
	if j.sha != "" && !w.mentioned(j.sha) {
		w.discard(j.sha)
		w.collect()
	}
}

// mentioned reports whether any slot's newest entry wants the digest.
func (w *worker) mentioned(sha string) bool {
	return bytes.Contains(w.store.State().Desired, []byte(sha))
}

// drop takes the candidate, if there is one, out of the state: from here on a kill is no fault of its.
func (w *worker) drop(why *store.Problem) {
	state := w.store.State()
	if state.Slot(w.s.name).Candidate == nil && why == nil {
		return
	}
	err := w.update("drop", func(st *store.State) error {
		st.Drop(w.s.name, why, time.Now().UTC())
		return nil
	})
	if err != nil {
		w.log.Warn("the next start will count an attempt as interrupted", zap.String("slot", w.s.name), zap.Error(err))
	}
}

// discard throws a download away.
func (w *worker) discard(sha string) {
	if sha == "" {
		return
	}
	w.step("discard")
	if err := w.store.DiscardStaging(sha); err != nil {
		w.log.Warn("a download was not discarded", zap.Error(err))
	}
	w.step("discarded")
}

// collect frees space.
func (d *Deployer) collect() {
	d.step("collect")
	removed, freed, err := d.store.Collect()
	if err != nil {
		d.log.Warn("unused model versions were not removed", zap.Error(err))
	}
	if len(removed) > 0 {
		d.log.Info("removed unused model versions", zap.Strings("sha256", removed), zap.Int64("bytes", freed))
	}
	d.step("collected")
}
