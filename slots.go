package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"go.uber.org/zap"

	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/ort"
	"gnomon/models"
	"gnomon/models/bundle"
	"gnomon/models/deploy"
	"gnomon/models/store"
)

// slots are the places where models run, by name. It loads models into them, and is what the deployer drives
// (deploy.Host). Any goroutine may call its methods.
type slots struct {
	rt     *ort.Runtime
	cfg    *config.Config
	lanes  lanes
	log    *zap.Logger
	prober *prober
	loader *loader
	byName map[string]*place // never changes
}

// place is one slot: the model that runs in it, and what sources want of it.
type place struct {
	name   string
	slot   *engine.Slot
	frames frameKeeper

	// Held while the model is exchanged or its decoders are, by who waits for frames in work: decoders made for one model
	// must not get into another.
	turn chan struct{}

	mu      sync.Mutex
	params  detect.Params      // of the model that runs, with the model's own threshold
	wants   map[string]float32 // thresholds of sources that have one, by source
	applied float32            // what the decoders have
}

// loaded is a model ready to run, with what is needed to change its thresholds.
type loaded struct {
	*engine.Model
	params  detect.Params
	applied float32 // the threshold that its decoders have
}

// Close frees a model that was not needed in the end.
func (l loaded) Close() error {
	err := l.Model.Close()
	ort.ReleaseMemory()
	return err
}

// newSlots makes the slots that the configuration names, without models.
func newSlots(rt *ort.Runtime, cfg *config.Config, l lanes, log *zap.Logger) *slots {
	s := &slots{rt: rt, cfg: cfg, lanes: l, log: log, byName: map[string]*place{}, prober: newProber(cfg), loader: newLoader(l)}
	for _, name := range cfg.Slots() {
		s.byName[name] = &place{name: name, turn: make(chan struct{}, 1), wants: map[string]float32{}}
	}
	for name, src := range cfg.Sources {
		if src.Enabled && src.ScoreThreshold != nil {
			s.byName[src.SlotName()].wants[name] = *src.ScoreThreshold
		}
	}
	return s
}

// open loads the first model of a slot: a version, or for nil the configured one.
func (s *slots) open(ctx context.Context, name string, v *store.Version) error {
	m, err := s.load(ctx, s.byName[name], v)
	if err != nil {
		return err
	}
	p := s.byName[name]
	p.slot, p.params, p.applied = engine.NewSlot(m.Model), m.params, m.applied
	return nil
}

// close drains all slots. When ctx ends first, runs in progress are interrupted.
func (s *slots) close(ctx context.Context) error {
	s.loader.close()
	var errs []error
	for _, p := range s.byName {
		if p.slot != nil {
			errs = append(errs, p.slot.Close(ctx))
		}
	}
	return errors.Join(errs...)
}

// interrupt ends the runs in progress.
func (s *slots) interrupt() {
	for _, p := range s.byName {
		if p.slot != nil {
			p.slot.Interrupt()
		}
	}
}

// read reads the files of a version, or for nil the configured model.
func (s *slots) read(v *store.Version) (*models.Model, error) {
	if v == nil {
		return readModel(s.cfg.Model.Path, s.cfg.Model.Manifest)
	}
	c, err := contents(v)
	if err != nil {
		return nil, err
	}
	manifest := ""
	if c.Manifest != "" {
		manifest = filepath.Join(v.Dir, c.Manifest)
	}
	return models.Load(filepath.Join(v.Dir, c.Model), manifest)
}

// contents tells which file of a version is what.
func contents(v *store.Version) (bundle.Contents, error) {
	files := make([]bundle.File, len(v.Files))
	for i, f := range v.Files {
		files[i] = bundle.File(f)
	}
	return bundle.Find(files)
}

func (s *slots) load(ctx context.Context, p *place, v *store.Version) (loaded, error) {
	m, err := s.read(v)
	if err != nil {
		return loaded{}, err
	}
	o := s.options()
	o.MinScore = p.least(m.Spec.ScoreThreshold)
	log := s.log.With(zap.String("slot", p.name), zap.String("model", m.Spec.Name))
	var where ort.Placement
	o.Progress, o.Placed = building(log), func(p ort.Placement) { where = p }
	model, err := loadWarm(ctx, s.loader, s.rt, m, o, p.frames.last(m.Spec.Width, m.Spec.Height))
	if err != nil {
		return loaded{}, err
	}
	placed(log, where)
	spec := m.Spec
	log.Info("model loaded", zap.String("version", spec.Version), zap.String("family", string(spec.Family)), zap.Stringer("lanes", s.lanes),
		zap.Stringer("runs_on", where), zap.Strings("unclear", spec.Unclear))
	return loaded{model, spec.Params(), o.MinScore}, nil
}

// options are how models are loaded here.
func (s *slots) options() loadOptions {
	e := s.cfg.Engine
	return loadOptions{Lanes: s.lanes, Batching: true, Batch: int(e.Batch), Spinning: e.Spinning, Deadline: duration(e.RunTimeout), Providers: providersOf(e)}
}

// Probe implements deploy.Host.
func (s *slots) Probe(ctx context.Context, slot string, v *store.Version) error {
	p := s.byName[slot]
	c, err := contents(v)
	if err != nil {
		return err
	}
	return s.prober.run(ctx, probeRequest{
		Dir: v.Dir, Model: c.Model, Manifest: c.Manifest, Golden: c.Golden,
		Library: s.cfg.Engine.Library, Plugins: s.cfg.Engine.Plugins, Providers: providersOf(s.cfg.Engine), Threads: s.lanes.Threads, Spinning: s.cfg.Engine.Spinning, Deadline: duration(s.cfg.Engine.RunTimeout),
	}, p.frames.next(ctx))
}

// Load implements deploy.Host.
func (s *slots) Load(ctx context.Context, slot string, v *store.Version) (deploy.Loaded, error) {
	m, err := s.load(ctx, s.byName[slot], v)
	var missing *ort.ProviderError
	switch {
	case errors.As(err, &missing):
		return nil, &codedError{code: codeProvider, err: err, temp: true}
	case err != nil:
		return nil, err
	}
	return m, nil
}

// Swap implements deploy.Host.
func (s *slots) Swap(ctx context.Context, slot string, next deploy.Loaded) error {
	m, ok := next.(loaded)
	if !ok {
		return errors.Join(fmt.Errorf("exchange the model of slot %s: got a %T", slot, next), next.Close())
	}
	p := s.byName[slot]
	if err := p.take(ctx); err != nil {
		return errors.Join(err, next.Close())
	}
	defer func() { <-p.turn }()
	err := exchange(ctx, p.slot, m.Model)
	if p.slot.Info() == &m.Model.Info { // also when closing the old one went wrong
		p.mu.Lock()
		p.params, p.applied = m.params, m.applied
		p.mu.Unlock()
	}
	if err != nil {
		return err
	}
	// A source may have got another threshold after the model had been loaded.
	return p.setDecoders(ctx)
}

// Health implements deploy.Host.
func (s *slots) Health(slot string) deploy.Health { return healthOf(s.byName[slot].slot.Health()) }

// Recent implements deploy.Host.
func (s *slots) Recent(slot string) deploy.Health { return healthOf(s.byName[slot].slot.Recent()) }

func healthOf(h engine.Health) deploy.Health {
	out := deploy.Health{Begun: h.Begun, Frames: h.Frames, Errors: h.Errors, NotFinite: h.NotFinite, Detections: h.Detections}
	if h.Runs >= leastRuns {
		out.Median = h.Median
	}
	return out
}

// leastRuns is how many runs a median is worth telling of.
const leastRuns = 20

// want sets the threshold of a source, nil for the model's own, and makes the model keep what it needs for that. It may be
// called again after an error: what has been applied is remembered, and not what was asked for.
func (p *place) want(ctx context.Context, source string, score *float32) error {
	p.mu.Lock()
	if score == nil {
		delete(p.wants, source)
	} else {
		p.wants[source] = *score
	}
	p.mu.Unlock()
	if err := p.take(ctx); err != nil {
		return err
	}
	defer func() { <-p.turn }()
	return p.setDecoders(ctx)
}

// forget drops what a source wanted of its slot.
func (s *slots) forget(ctx context.Context, source string, was config.Source) error {
	return s.byName[was.SlotName()].want(ctx, source, nil)
}

// unwant drops what a source wanted, without touching the decoders.
func (p *place) unwant(source string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.wants, source)
}

// least is the lowest threshold that anybody wants: the decoder keeps what it passes, and each source drops the rest.
func (p *place) least(own float32) float32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leastLocked(own)
}

func (p *place) leastLocked(own float32) float32 {
	for _, v := range p.wants {
		own = min(own, v)
	}
	return own
}

// take waits for the turn, which the caller gives back.
func (p *place) take(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for slot %s, which is being changed: %w", p.name, ctx.Err())
	}
}

// setDecoders gives every lane a decoder with the lowest threshold that is wanted, unless it has that. The caller has the
// turn.
func (p *place) setDecoders(ctx context.Context) error {
	p.mu.Lock()
	params := p.params
	params.ScoreThreshold = p.leastLocked(params.ScoreThreshold)
	same := p.applied == params.ScoreThreshold
	p.mu.Unlock()
	if same {
		return nil
	}
	err := p.slot.Each(ctx, func(l *engine.Lane) error {
		dec, err := detect.NewDecoder(params, l.Outputs())
		if err == nil {
			l.SetDecoder(dec)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("set the threshold of slot %s: %w", p.name, err)
	}
	p.mu.Lock()
	p.applied = params.ScoreThreshold
	p.mu.Unlock()
	return nil
}
