package deploy

import (
	"context"
	"time"

	"gnomon/models/store"
)

// worker does the work of one slot, on one goroutine.
type worker struct {
	*Deployer
	s      *slot
	done   uint64   // serial of the last order begun
	pauses *backoff // after temporary failures

	// Guarded by mu: how many bytes of a download were there when it was first told, -1 for not yet, and since.
	first, fetched int64
}

// job is one attempt to bring what is wanted into the slot.
type job struct {
	want    want
	sha     string         // empty for the built-in model and for a tag that is not resolved
	uri     string         // what to fetch
	version *store.Version // once it is installed; nil for the built-in model
	swapped bool           // it runs, or may run
}

// release is that of the model as far as it is known.
func (j *job) release() int64 {
	if j.want.Release == 0 && j.version != nil {
		return j.version.Release
	}
	return j.want.Release
}

// entry names the model in the store's state.
func (j *job) entry() store.Entry {
	if j.want.builtin() {
		return store.Entry{}
	}
	e := store.Entry{SHA256: j.sha, URI: j.want.Public, Version: j.want.Version, Release: j.release()}
	if v := j.version; v != nil {
		e.URI = v.URI
		if e.Version == "" {
			e.Version = v.Version
		}
	}
	return e
}

// work follows the orders of a slot until run ends.
func (d *Deployer) work(run context.Context, s *slot) {
	w := &worker{Deployer: d, s: s, pauses: d.retry.backoff(), first: -1, fetched: -1}
	for {
		select {
		case <-run.Done():
			return
		case <-s.wake:
		}
		ctx, cancel := context.WithCancel(run)
		if w.begin(cancel) {
			w.handle(run, ctx)
		}
		cancel()
	}
}

// begin lets the next order cancel the work on this one, and reports whether this one is new.
func (w *worker) begin(cancel context.CancelFunc) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.s.cancel, w.s.obtained = cancel, false
	fresh := w.s.serial != w.done
	w.done = w.s.serial
	return fresh
}

// order is what the slot is to do now. It changes without a new serial only in how the artefact is fetched.
func (w *worker) order() order {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.s.order
}

// handle works on an order until it is fulfilled, refused or banned, or until ctx ends because of another one. What
// puts the committed model back does not end with ctx but only with run.
func (w *worker) handle(run, ctx context.Context) {
	w.pauses.reset()
	_ = w.restore(run, ctx) // it reports by itself
	for again := w.cool(run, ctx); again && ctx.Err() == nil; {
		j := w.newJob()
		err := w.attempt(run, ctx, j)
		out := w.settle(ctx, j, err)
		why := out.problem
		w.note(why)
		if trouble := w.restore(run, ctx); trouble != nil && (j.swapped || why == nil) {
			out.problem = trouble.problem(j.want)
		}
		if ctx.Err() != nil {
			w.forget(j)
			return
		}
		w.conclude(j, out)
		again = w.wait(run, ctx, out, why)
	}
}

// wait waits for the next attempt and reports whether there is one. While something else than the committed model runs,
// that is tried on; why is the error to report when it has worked.
func (w *worker) wait(run, ctx context.Context, out outcome, why *store.Problem) bool {
	pauses, end := w.retry.backoff(), time.Now().Add(out.pause)
	for w.owed() {
		pause := pauses.next()
		if out.again {
			pause = min(pause, time.Until(end))
		}
		if pause <= 0 || !sleep(ctx, pause) {
			break
		}
		if w.restore(run, ctx) == nil {
			w.conclude(w.newJob(), outcome{state: out.state, problem: why, failures: out.failures, again: out.again, pause: time.Until(end)})
		}
	}
	return out.again && sleep(ctx, time.Until(end))
}

// newJob begins an attempt at the slot's order.
func (w *worker) newJob() *job {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted := w.s.order.want
	j := &job{want: wanted, sha: wanted.SHA256, uri: wanted.URI}
	if p := w.s.pin; j.sha == "" && p.SHA256 != "" && p.of == wanted {
		j.sha, j.uri = p.SHA256, p.URI
	}
	return j
}

// cool waits until a model that has failed may be tried again: the pause may have begun before the process did. It
// reports whether ctx is still alive.
func (w *worker) cool(run, ctx context.Context) bool {
	j := w.newJob()
	f := w.failures(j)
	if j.want.nothing() || f.Count == 0 || w.satisfied(j) || w.banned(j, f) {
		return ctx.Err() == nil
	}
	// Clocks step: never more than the pause, and none if the failure seems to be long ago.
	pause := w.retry.pause(f.Count)
	pause = min(pause, pause-time.Since(f.At))
	if pause <= 0 {
		return ctx.Err() == nil
	}
	p := store.Problem{Code: f.LastCode, Message: clip(f.LastMessage, maxMessage)}
	out := outcome{state: StateFailed, problem: &p, failures: f.Count, pause: pause, again: true}
	w.conclude(j, out)
	return w.wait(run, ctx, out, &p)
}

// failures are those of a job's model in this slot.
func (w *worker) failures(j *job) store.Failures {
	state := w.store.State()
	return failuresOf(&state, w.s.name, j.want.subject(j.sha), j.want.Release)
}

func (w *worker) banned(j *job, f store.Failures) bool {
	return f.Count > len(w.retry.Counted) && !j.want.builtin() // the built-in model is the last resort
}
