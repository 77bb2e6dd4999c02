package deploy

import (
	"context"
	"encoding/json"
	"reflect"
	"time"

	"go.uber.org/zap"

	"gnomon/models/store"
)

// State is where a slot is. The words are part of the interface.
type State string

// The states of a slot. The first five may have an error and retry_at: then a temporary trouble is waited for.
const (
	StateDownloading State = "downloading"
	StateVerifying   State = "verifying"
	StateProbing     State = "probing"
	StateLoading     State = "loading"
	StateProbation   State = "probation"   // the candidate runs, and is watched
	StateActive      State = "active"      // what is committed runs, and nothing else is wanted
	StateFailed      State = "failed"      // the candidate was refused; with retry_at it is tried again
	StateRolledBack  State = "rolled_back" // likewise, after it had run; the committed model runs again
	StateBanned      State = "banned"      // the candidate is not tried again before its digest or release changes
)

// What a report may hold. The device has 4 KB of the shadow for everything that it reports.
const (
	maxReport    = 2800        // bytes of JSON of all slots; four in trouble at once fit
	maxURI       = 160         // characters
	maxShown     = 40          // characters of a version
	shortMessage = 60          // characters of a message when the whole would be too large
	percentEvery = time.Second // between two changes of percent
	resolution   = time.Second // of times
	wholePercent = 100
)

// SlotReport is what a slot tells the cloud. What stands at the top is what runs.
type SlotReport struct {
	State     State      `json:"state"`
	Percent   int        `json:"percent,omitempty"` // of the download
	Version   string     `json:"version,omitempty"`
	SHA256    string     `json:"sha256,omitempty"`
	Release   int64      `json:"release,omitempty"`
	URI       string     `json:"uri,omitempty"` // "builtin", or where it came from, without secrets
	Candidate *Candidate `json:"candidate,omitempty"`
	Since     time.Time  `json:"since,omitzero"` // of State
	Error     *Problem   `json:"error,omitempty"`
	Failures  int        `json:"failures,omitempty"` // of the candidate, counted
	RetryAt   time.Time  `json:"retry_at,omitzero"`
}

// Candidate is a model that is wanted and not committed.
type Candidate struct {
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Release int64  `json:"release,omitempty"`
	URI     string `json:"uri,omitempty"`
}

// Problem says what went wrong. Message has at most 200 characters.
type Problem struct {
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
	Stage   string `json:"stage,omitempty"`
}

// view is what the report says about a slot beside what runs. Guarded by Deployer.mu.
type view struct {
	state     State
	since     time.Time
	percent   int
	told      time.Time // when percent last changed
	candidate *store.Entry
	problem   *store.Problem
	startup   *store.Problem // what was met at the start, told until the slot is sound
	failures  int
	retryAt   time.Time
}

// Report tells of every slot, by name, and of slots that are desired and not there. It is made for the shadow's
// reported.models: with four slots it never has more than 2800 bytes of JSON, for which it leaves out URIs and shortens
// messages. The caller owns it.
func (d *Deployer) Report() map[string]SlotReport {
	all := map[string]SlotReport{}
	d.mu.Lock()
	for name, p := range d.unknown {
		all[name] = SlotReport{State: StateFailed, Error: shown(&p)}
	}
	for name, s := range d.slots {
		all[name] = s.report()
	}
	d.mu.Unlock()
	for _, trim := range []func(*SlotReport){
		func(r *SlotReport) {
			if r.Candidate != nil {
				r.Candidate.URI = ""
			}
		},
		func(r *SlotReport) { r.URI = "" },
		func(r *SlotReport) {
			if r.Error != nil {
				r.Error.Message = clip(r.Error.Message, shortMessage)
			}
		},
		func(r *SlotReport) { // messages and versions of characters that JSON writes with six
			if r.Version = ""; r.Error != nil {
				r.Error.Message = ""
			}
			if r.Candidate != nil {
				r.Candidate.Version = ""
			}
		},
	} {
		if size(all) <= maxReport {
			break
		}
		for name, r := range all {
			trim(&r)
			all[name] = r
		}
	}
	return all
}

func size(all map[string]SlotReport) int {
	raw, err := json.Marshal(all)
	if err != nil {
		return maxReport // times beyond the year 9999; nothing to trim would help
	}
	return len(raw)
}

func (s *slot) report() SlotReport {
	v := s.view
	r := SlotReport{
		State: v.state, Version: clip(s.running.Version, maxShown), SHA256: s.running.SHA256, Release: s.running.Release,
		URI: clip(s.running.URI, maxURI), Since: rounded(v.since), Error: shown(v.problem), Failures: v.failures, RetryAt: rounded(v.retryAt),
	}
	if s.running.SHA256 == "" {
		r.URI = Builtin
	}
	if v.state == StateDownloading {
		r.Percent = v.percent
	}
	if r.Error == nil {
		r.Error = shown(v.startup)
	}
	if c := v.candidate; c != nil {
		r.Candidate = &Candidate{clip(c.Version, maxShown), c.SHA256, c.Release, clip(c.URI, maxURI)}
	}
	return r
}

func shown(p *store.Problem) *Problem {
	if p == nil {
		return nil
	}
	return &Problem{Code: p.Code, Message: clip(p.Message, maxMessage), Stage: p.Stage}
}

func rounded(t time.Time) time.Time { return t.UTC().Truncate(resolution) }

// changed lets OnChange know, soon.
func (d *Deployer) changed() { signal(d.news) }

// tell calls OnChange whenever the report is another than before, until over is closed, and then once more if needed.
func (d *Deployer) tell(over <-chan struct{}) {
	var before map[string]SlotReport
	for last := false; ; {
		if now := d.Report(); !reflect.DeepEqual(now, before) {
			before = now
			d.onChange()
		}
		if last {
			return
		}
		select {
		case <-d.news:
		case <-over:
			last = true
		}
	}
}

// candidate is how a job is reported.
func (j *job) candidate() *store.Entry {
	if j.want.nothing() {
		return nil
	}
	e := j.entry()
	if j.want.builtin() {
		e.URI = Builtin
	}
	return &e
}

// enter reports that a stage begins. The error of an earlier attempt at this very stage stays until it is over.
func (w *worker) enter(j *job, to State) {
	failures := w.failures(j).Count // the candidate may be another than before
	w.mu.Lock()
	v := &w.s.view
	if v.state != to {
		v.state, v.since, v.problem = to, time.Now(), nil
	}
	v.percent, v.retryAt, v.candidate, v.failures = 0, time.Time{}, j.candidate(), failures
	w.mu.Unlock()
	w.changed()
	w.log.Debug("deploying a model", zap.String("slot", w.s.name), zap.String("stage", string(to)))
}

// progress reports how far a download is.
func (w *worker) progress(ctx context.Context, done, total int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fetched = done; w.first < 0 {
		w.first = done
	}
	v, now := &w.s.view, time.Now()
	if ctx.Err() != nil || v.state != StateDownloading || total <= 0 || now.Sub(v.told) < percentEvery {
		return
	}
	percent := int(min(max(float64(done)/float64(total), 0), 1) * wholePercent)
	if percent != v.percent {
		v.percent, v.told = percent, now
		w.changed()
	}
}

// progressed reports, once, whether a download brought anything since: then the network is there, and the next attempt
// need not wait long.
func (w *worker) progressed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	moved := w.fetched > w.first
	w.first, w.fetched = -1, -1
	return moved
}

// note reports an error of the stage that the slot is in.
func (w *worker) note(p *store.Problem) {
	if p == nil {
		return
	}
	w.mu.Lock()
	w.s.view.problem = p
	w.mu.Unlock()
	w.changed()
}

// conclude reports what an attempt came to.
func (w *worker) conclude(j *job, out outcome) {
	w.mu.Lock()
	v := &w.s.view
	if v.state != out.state {
		v.state, v.since = out.state, time.Now()
	}
	v.problem, v.failures, v.retryAt, v.candidate = out.problem, out.failures, time.Time{}, j.candidate()
	if out.again {
		v.retryAt = time.Now().Add(out.pause)
	}
	if out.state == StateActive {
		v.candidate = nil
	}
	w.mu.Unlock()
	w.changed()
}

// settled forgets what was met at the start.
func (w *worker) settled() {
	w.mu.Lock()
	w.s.view.startup = nil
	w.mu.Unlock()
}

// state is the one that is reported.
func (w *worker) state() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.s.view.state
}
