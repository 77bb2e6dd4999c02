package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"gnomon/models/artifact"
	"gnomon/models/store"
)

// attempt takes a job through all stages. It ends early, with any error, when ctx does.
func (w *worker) attempt(run, ctx context.Context, j *job) error {
	o := w.order()
	switch {
	case o.bad.Code != "":
		return &failure{Code(o.bad.Code), Final, State(o.bad.Stage), errors.New(o.bad.Message)}
	case j.want.nothing() || w.satisfied(j):
		return nil
	}
	if err := w.admit(j); err != nil {
		return err
	}
	if !j.want.builtin() {
		if err := w.resolve(ctx, j); err != nil {
			return err
		}
		if w.satisfied(j) {
			return nil
		}
		if err := w.admit(j); err != nil { // more is known now
			return err
		}
		if err := w.obtain(ctx, j); err != nil {
			return err
		}
		if err := w.probe(ctx, j); err != nil {
			return err
		}
	}
	if err := w.exchange(run, ctx, j); err != nil {
		return err
	}
	if err := w.commit(ctx, j); err != nil {
		return err
	}
	w.discard(j.sha)
	w.collect()
	return nil
}

// satisfied reports whether what is wanted is committed and runs.
func (w *worker) satisfied(j *job) bool {
	if w.owed() || (j.sha == "" && !j.want.builtin()) {
		return false
	}
	state := w.store.State()
	return active(&state, w.s.name).SHA256 == j.sha
}

// admit refuses what is banned or older than what ran before, as far as that is known.
func (w *worker) admit(j *job) error {
	if w.banned(j, w.failures(j)) {
		return errBanned
	}
	state := w.store.State()
	known := j.want.Release > 0 || j.version != nil
	if highest := state.Slot(w.s.name).Release; known && !j.want.AllowDowngrade && j.release() < highest {
		return fail(StateVerifying, CodeDowngradeRefused, fmt.Errorf(
			"release %d is lower than %d, which ran here; raise the release, or set allow_downgrade to true", j.release(), highest))
	}
	v := j.version
	switch {
	case v == nil:
		return nil
	case j.want.Release > 0 && v.Release > 0 && j.want.Release != v.Release:
		return fail(StateVerifying, CodeVersionMismatch, fmt.Errorf("release %d is wanted, the model's manifest says %d", j.want.Release, v.Release))
	case j.want.Version != "" && v.Meta.Version != "" && j.want.Version != v.Meta.Version:
		return fail(StateVerifying, CodeVersionMismatch, fmt.Errorf("version %q is wanted, the model's manifest says %.80q", j.want.Version, v.Meta.Version))
	}
	return nil
}

// resolve finds out the digest behind a tag, once for each entry.
func (w *worker) resolve(ctx context.Context, j *job) error {
	if j.sha != "" {
		return nil
	}
	w.enter(j, StateDownloading)
	pinned, err := w.source.Resolve(ctx, j.uri)
	if err != nil {
		return classify(StateDownloading, CodeInternal, err)
	}
	ref, err := artifact.ParseReference(pinned)
	sha := strings.TrimPrefix(ref.Digest, "sha256:")
	if err != nil || !isDigest(sha) {
		return fail(StateDownloading, CodeInternal, fmt.Errorf("the tag was resolved to %.100q, which has no digest", pinned))
	}
	j.sha, j.uri = sha, pinned
	w.mu.Lock()
	w.s.pin = pin{URI: pinned, SHA256: sha, of: j.want}
	w.mu.Unlock()
	if err := w.keep(); err != nil {
		return classifyStore(StateDownloading, CodeInternal, err)
	}
	return nil
}

// obtain makes sure that the version is installed, whole, and allowed.
func (w *worker) obtain(ctx context.Context, j *job) error {
	v, err := w.store.Version(j.sha)
	if err == nil {
		w.enter(j, StateVerifying)
		err = w.store.Verify(j.sha)
	}
	if err != nil {
		if v, err = w.download(ctx, j); err != nil {
			return err
		}
		w.enter(j, StateVerifying)
		if err := w.store.Verify(j.sha); err != nil {
			return classifyStore(StateVerifying, CodeVersionDamaged, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	j.version = v
	w.mu.Lock()
	w.s.obtained = true
	w.mu.Unlock()
	return w.admit(j)
}

// download fetches and installs the version.
func (w *worker) download(ctx context.Context, j *job) (*store.Version, error) {
	const stage = StateDownloading
	w.enter(j, stage)
	if !acquire(ctx, w.downloads) {
		return nil, ctx.Err()
	}
	defer func() { <-w.downloads }()
	if v, err := w.store.Version(j.sha); err == nil && w.store.Verify(j.sha) == nil {
		return v, nil // another slot has just fetched it
	}
	w.step("staging")
	dir, err := w.store.Staging(j.sha)
	if err != nil {
		return nil, classifyStore(stage, CodeInternal, err)
	}
	w.step("fetch")
	f, err := w.source.Fetch(ctx, FetchRequest{
		URI: j.uri, SHA256: j.sha, Signature: j.want.Signature, Dir: dir,
		Progress: func(done, total int64) { w.progress(ctx, done, total) },
	})
	if err != nil {
		return nil, classify(stage, CodeInternal, err)
	}
	w.step("fetched")
	if f.SHA256 != j.sha {
		return nil, fail(stage, CodeDigestMismatch, fmt.Errorf("the artefact has the digest %.64s, %s is wanted", f.SHA256, j.sha))
	}
	f.Meta.URI = f.URI
	w.step("install")
	v, err := w.store.Install(j.sha, f.FilesDir, f.Meta)
	if err != nil {
		return nil, classifyStore(stage, CodeInstallFailed, err)
	}
	w.step("installed")
	return v, nil
}

// probe tries the version where it can do no harm.
func (w *worker) probe(ctx context.Context, j *job) error {
	w.enter(j, StateProbing)
	if !acquire(ctx, w.probes) {
		return ctx.Err()
	}
	defer func() { <-w.probes }()
	if err := w.phase(j, StateProbing); err != nil {
		return err
	}
	if err := w.host.Probe(ctx, w.s.name, j.version); err != nil {
		return classify(StateProbing, CodeProbeFailed, err)
	}
	return ctx.Err()
}

// exchange loads the model, puts it in place and watches it.
func (w *worker) exchange(run, ctx context.Context, j *job) error {
	w.enter(j, StateLoading)
	if err := w.phase(j, StateLoading); err != nil {
		return err
	}
	m, err := w.host.Load(ctx, w.s.name, j.version)
	if err != nil {
		return classify(StateLoading, CodeLoadFailed, err)
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(err, m.Close())
	}
	before := w.host.Recent(w.s.name)
	if err := w.phase(j, StateProbation); err != nil {
		return errors.Join(err, m.Close())
	}
	j.swapped = true
	if err := w.put(run, j.entry(), m); err != nil {
		return classify(StateLoading, CodeSwapFailed, err)
	}
	w.enter(j, StateProbation)
	w.step("probation")
	return w.watch(ctx, j, before)
}

// phase tells the disk what begins, so that a death in it is known for one.
func (w *worker) phase(j *job, to State) error {
	err := w.update(string(to), func(st *store.State) error {
		e := j.entry()
		e.At = time.Now().UTC()
		st.SetCandidate(w.s.name, e, string(to), e.At)
		return nil
	})
	if err != nil {
		return classifyStore(to, CodeInternal, err)
	}
	return nil
}

// commit makes the model that has passed its probation the one that starts run. A disk that does not take it is tried
// until it does: the model is good, and the old one stays committed meanwhile.
func (w *worker) commit(ctx context.Context, j *job) error {
	for {
		err := w.update("commit", func(st *store.State) error {
			forgive(st, w.s.name, j.sha)
			return st.Promote(w.s.name, time.Now().UTC())
		})
		if err == nil {
			w.log.Info("a model is committed", zap.String("slot", w.s.name), zap.String("version", j.entry().Version), zap.String("sha256", j.sha))
			w.settled()
			return nil
		}
		f := classifyStore(StateProbation, CodeInternal, err)
		if errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNotFound) {
			f = fail(StateProbation, CodeVersionDamaged, err)
		}
		if f.handling != Temporary {
			return f
		}
		pause := w.pauses.next()
		w.conclude(j, outcome{state: StateProbation, problem: f.problem(j.want), again: true, pause: pause})
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}
