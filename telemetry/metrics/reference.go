package metrics

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"time"
)

// referenceSchema names the form of a reference's file. The number goes up when a reader of the old form would misread
// the new one.
const referenceSchema = "gnomon.reference/1"

// Limits of what is kept.
const (
	// saveEvery is how much of a first day may be lost with the power. SD cards wear out with every write.
	saveEvery = 10 * time.Minute
	// maxReference bounds a file: one source takes about 600 bytes.
	maxReference = 256 << 10
	// maxReferenceSources bounds the sources in a file; the ones that began first go first.
	maxReferenceSources = 128
	// maxReferences bounds the files: models that were in use longest ago go first.
	maxReferences = 32
)

// reference is the first day of a model on one source.
type reference struct {
	Source    string    `json:"source"`
	Threshold float32   `json:"score_threshold"`
	Started   time.Time `json:"started_at"`
	RunningS  float64   `json:"running_s"`
	part
}

// referenceFile is what is kept of one model.
type referenceFile struct {
	Schema  string      `json:"schema"`
	SHA256  string      `json:"sha256"`
	Sources []reference `json:"sources"`

	dirty    bool
	complete int       // sources whose first day was over when it was written
	saved    time.Time // zero: not yet
}

// references keeps the first days of models, one file for each digest.
type references struct {
	dir string // empty: memory

	mu    sync.Mutex
	files map[string]*referenceFile // by digest; what has been asked for
}

// newReferences makes the directory if there is one to be.
func newReferences(dir string) (*references, error) {
	if dir != "" {
		const private = 0o700
		if err := os.MkdirAll(dir, private); err != nil {
			return nil, err
		}
	}
	return &references{dir: dir, files: map[string]*referenceFile{}}, nil
}

// find is the reference of a model on a source with a threshold, as far as it was learnt; a new one if there is none, or
// none that is sound, which the error tells.
func (r *references) find(sha256, source string, threshold float32) (reference, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.file(sha256)
	for _, ref := range f.Sources {
		if ref.Source == source && ref.Threshold == threshold {
			ref.part = ref.clone()
			return ref, err
		}
	}
	return reference{Source: source, Threshold: threshold, part: newPart()}, err
}

func (p *part) clone() part {
	return part{Running: p.Running, Confidence: p.Confidence.clone(), PerFrame: p.PerFrame.clone()}
}

// file is what is known of a model, read from the disk the first time.
func (r *references) file(sha256 string) (*referenceFile, error) {
	if f := r.files[sha256]; f != nil {
		return f, nil
	}
	f, err := r.read(sha256)
	if err != nil || f == nil {
		f = &referenceFile{Schema: referenceSchema, SHA256: sha256}
	}
	r.files[sha256] = f
	return f, err
}

// put takes what was learnt.
func (r *references) put(sha256, source string, ref reference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, _ := r.file(sha256) // it was told of when it was looked for
	i := slices.IndexFunc(f.Sources, func(o reference) bool { return o.Source == source })
	if i >= 0 && f.Sources[i].Threshold == ref.Threshold && f.Sources[i].RunningS == ref.RunningS && f.Sources[i].PerFrame.N == ref.PerFrame.N {
		return
	}
	f.dirty = true
	if i >= 0 {
		f.Sources[i] = ref
		return
	}
	f.Sources = append(f.Sources, ref)
	slices.SortStableFunc(f.Sources, func(a, b reference) int { return a.Started.Compare(b.Started) })
	f.Sources = f.Sources[max(0, len(f.Sources)-maxReferenceSources):]
}

// save writes what has changed and is due: whole days at once, beginnings from time to time.
func (r *references) save(now time.Time, all bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dir == "" {
		return nil
	}
	var errs []error
	wrote := false
	for _, f := range r.files {
		complete := 0
		for i := range f.Sources {
			if f.Sources[i].RunningS >= referenceTime.Seconds() {
				complete++
			}
		}
		if f.saved.IsZero() {
			f.saved = now // the first minutes may be lost
		}
		if !f.dirty || !isDigest(f.SHA256) || !all && complete == f.complete && now.Sub(f.saved) < saveEvery {
			continue
		}
		f.saved = now
		if err := r.write(f); err != nil {
			errs = append(errs, fmt.Errorf("keep the reference of model %.12s: %w", f.SHA256, err))
			continue
		}
		f.dirty, f.complete, wrote = false, complete, true
	}
	if wrote {
		errs = append(errs, r.prune())
	}
	return errors.Join(errs...)
}

// wantsReference tells what a source's model is when its reference has not been looked for.
func (s *Source) wantsReference() (ModelRef, float32, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.model == nil || s.model.drift.ref != nil {
		return ModelRef{}, 0, false
	}
	return s.model.ref, s.model.threshold, true
}

// setReference gives the model its reference, unless there is another model by now.
func (s *Source) setReference(ref ModelRef, threshold float32, found reference) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.model
	if m == nil || m.ref.SHA256 != ref.SHA256 || m.threshold != threshold || m.drift.ref != nil {
		return
	}
	started := found.Started
	if started.IsZero() {
		started = s.now().UTC().Truncate(time.Second)
	}
	p := found.part
	m.drift.start(&p, started)
}

// reference is what was learnt about the model in use.
func (s *Source) reference() (sha256 string, ref reference, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.model == nil || s.model.drift.ref == nil {
		return "", reference{}, false
	}
	d := &s.model.drift
	return s.model.ref.SHA256, reference{
		Source: s.name, Threshold: s.model.threshold, Started: d.started,
		RunningS: math.Round(d.ref.Running.Seconds()*1e3) / 1e3, part: d.ref.clone(),
	}, true
}
