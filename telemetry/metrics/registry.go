// Package metrics counts what the agent does and tells of it: as a message every half minute, as text for Prometheus,
// and in CloudWatch's embedded metric format.
//
// Frames are counted where they are handled, without allocation and without waiting for anybody but a snapshot that
// copies the counters. Counters run from the start of the process; a Snapshot is the difference to the one before.
package metrics

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Options is what a Registry is made of.
type Options struct {
	Device  string // the thing's name
	BootID  string
	Version string // of the agent
	// Dir is where references of models are kept; empty: in memory, so that they are learnt anew after each start.
	Dir string
	Log *zap.Logger // nil: none
	// Now is the clock; nil: the system's.
	Now func() time.Time
}

// Registry holds the counters of all sources. Any goroutine may call its methods.
type Registry struct {
	o    Options
	refs *references

	mu      sync.Mutex
	sources map[string]*Source

	window sync.Mutex // held while a Snapshot is made
	seq    uint64
	since  time.Time // when the window began
	before map[string]sourceCounts
	last   *Snapshot // guarded by mu; nil: none has been made
}

// New makes a Registry. It reads nothing from Dir before the first Snapshot.
func New(o Options) (*Registry, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	refs, err := newReferences(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("keep references of models: %w", err)
	}
	return &Registry{o: o, refs: refs, sources: map[string]*Source{}, since: o.Now(), before: map[string]sourceCounts{}}, nil
}

// Source is the counters of one source, made at the first call with its name. Names come from the configuration, which
// bounds their number at a time; Forget drops those that are gone.
func (r *Registry) Source(name string) *Source {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sources[name]
	if s == nil {
		s = &Source{name: name, now: r.o.Now, classes: map[string]uint64{}}
		r.sources[name] = s
	}
	return s
}

// Forget drops the counters of a source that is there no more. What was counted since the last Snapshot is told nobody.
func (r *Registry) Forget(name string) {
	r.window.Lock()
	defer r.window.Unlock()
	delete(r.before, name)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sources, name)
}

// all are the sources by name.
func (r *Registry) all() []*Source {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Source, 0, len(r.sources))
	for _, s := range r.sources {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *Source) int { return cmp.Compare(a.name, b.name) })
	return out
}

// Save writes the references that have changed to the disk. Snapshot does so from time to time; this is for the end.
func (r *Registry) Save() error { return r.keep(true) }

// learn gives every source the reference of its model, and keepWhenDue writes what was learnt.
func (r *Registry) learn() {
	for _, s := range r.all() {
		ref, threshold, wanted := s.wantsReference()
		if !wanted {
			continue
		}
		found, err := r.refs.find(ref.SHA256, s.name, threshold)
		if err != nil {
			r.o.Log.Warn("the reference of a model cannot be read; it is learnt anew", zap.String("source", s.name), zap.Error(err))
		}
		s.setReference(ref, threshold, found)
	}
}

// keep writes references that have changed; those that are still being learnt from time to time only, unless all is set.
func (r *Registry) keep(all bool) error {
	for _, s := range r.all() {
		if sha256, ref, ok := s.reference(); ok {
			r.refs.put(sha256, s.name, ref)
		}
	}
	return r.refs.save(r.o.Now(), all)
}
