package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/schollz/progressbar/v3"

	"gnomon/bench"
	"gnomon/camera"
	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/ort"
	"gnomon/models"
)

// combination is one model on one provider with one number of threads: a row of the table.
type combination struct {
	*speedBench
	model    *models.Model
	provider string
	threads  int    // 0: chosen
	number   string // for the progress bar: 1/3
}

// warmPart is for how much of --duration gnomon runs before it is measured, and its memory is read at the end of it; with
// warmMax at most, by when queues and buffers have long had their size.
const (
	warmPart = 10
	warmMax  = time.Second
)

func (b *speedBench) warm() time.Duration { return min(warmMax, b.duration/warmPart) }

// stage is what is needed to measure one combination, opened in this order and closed in the opposite one.
type stage struct {
	slot   *engine.Slot
	src    engine.Source
	e2e    *flow
	memory *flow // nil: not wanted
	bare   *bareLoops
	nodes  map[string]int // by provider; nil: not known
}

// close frees everything that was opened.
func (s *stage) close(ctx context.Context) error {
	var errs []error
	for _, f := range []*flow{s.e2e, s.memory} {
		if f != nil {
			errs = append(errs, f.stop())
		}
	}
	if s.src != nil {
		errs = append(errs, s.src.Close())
	}
	if s.bare != nil {
		errs = append(errs, s.bare.close())
	}
	if s.slot != nil {
		errs = append(errs, s.slot.Close(ctx))
	}
	return errors.Join(errs...)
}

// measure opens the model, lets gnomon warm up alone, tries the bare arrangements and then measures in rounds.
func (c *combination) measure(ctx context.Context, rt *ort.Runtime, link *benchLink) (_ *bench.SpeedResult, err error) {
	l := chooseLanes(c.flags.sessions, c.threads, false)
	own := bench.Arrangement(l)
	r := &bench.SpeedResult{
		SHA256: c.model.SHA256, Sessions: l.Sessions, Threads: l.Threads, AskedSession: c.flags.sessions, AskedThreads: c.threads, GPUs: []bench.GPU{},
	}
	r.Model, r.Provider = c.model.Spec.Name, c.provider
	var s stage
	defer func() { err = errors.Join(err, s.close(context.WithoutCancel(ctx))) }()
	if err := c.open(ctx, &s, rt, link, l); err != nil {
		return nil, err
	}
	forgetLoading()
	if _, err := s.e2e.measure(ctx, c.warm()); err != nil {
		return nil, err
	}
	r.RSS, r.Nodes = residentMB(), s.nodes
	if err := c.openOthers(ctx, &s, rt, link); err != nil {
		return nil, err
	}
	all := c.arrangements(own)
	rounds := max(minRounds, int(c.duration/roundTime))
	bar := newBenchProgress(c.number+r.Model, len(all)*trials+rounds)
	defer func() { _ = bar.Finish() }()
	trial, err := s.bare.try(ctx, all, min(trialMax, c.duration/trialPart), func() { _ = bar.Add(1) })
	if err != nil {
		return nil, err
	}
	kept := bench.Promising(all, trial, own)
	for _, a := range kept {
		if err := s.bare.open(ctx, a); err != nil {
			return nil, err
		}
	}
	if err := c.rounds(ctx, &s, r, kept, rounds, link, bar); err != nil {
		return nil, err
	}
	r.Summarise(all, trial)
	if c.provider != ort.CPU {
		r.GPUs, err = c.graphicsAtWork(ctx, &s)
	}
	return r, err
}

// options are the provider alone, whatever the manifest prefers: another one in its place would be another measurement.
func (c *combination) options() loadOptions {
	return loadOptions{Providers: providersOf(config.Engine{Providers: []string{c.provider}}), Insist: true}
}

// arrangements are those of the bare loops. Threads are the processor's: on other providers one session is fed by one.
func (c *combination) arrangements(own bench.Arrangement) []bench.Arrangement {
	if c.provider == ort.CPU {
		return bench.Arrangements(runtime.GOMAXPROCS(0), own)
	}
	var out []bench.Arrangement
	for n := 1; n <= max(own.Sessions, maxAutoSessions); n++ {
		out = append(out, bench.Arrangement{Sessions: n, Threads: own.Threads})
	}
	return out
}

// open makes what gnomon's side needs, as the agent does.
func (c *combination) open(ctx context.Context, s *stage, rt *ort.Runtime, link *benchLink, l lanes) error {
	o := c.options()
	o.Lanes, o.Placed = l, func(p ort.Placement) {
		s.nodes = p.Nodes
		printPlaced(os.Stderr, p)
	}
	model, err := loadModel(rt, c.model, o)
	if err != nil {
		return err
	}
	s.slot = engine.NewSlot(model)
	if err := model.WarmUp(ctx, greyFrame(c.model.Spec.Width, c.model.Spec.Height), nil); err != nil {
		return err
	}
	if s.src, err = openInput(ctx, camera.Options{Name: "bench", URI: c.source, Loop: true}); err != nil {
		return err
	}
	s.e2e, err = startFlow(s.src, s.slot, link)
	return err
}

// openOthers makes what gnomon is measured against, and the frames in memory.
func (c *combination) openOthers(ctx context.Context, s *stage, rt *ort.Runtime, link *benchLink) (err error) {
	src, err := openInput(ctx, camera.Options{Name: "bench", URI: c.source})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	limit := 1
	if c.inMemory {
		limit = memoryFrames
	}
	m, err := newMemorySource(ctx, src, limit)
	if err != nil {
		return err
	}
	s.bare = &bareLoops{rt: rt, model: c.model, options: c.options(), frame: &m.frames[0], pools: map[int][]*ort.Session{}}
	if c.inMemory {
		s.memory, err = startFlow(m, s.slot, link)
	}
	return err
}

// rounds measures bare, ours, bare, ours, …
func (c *combination) rounds(ctx context.Context, s *stage, r *bench.SpeedResult, kept []bench.Arrangement, n int, link *benchLink, bar *progressbar.ProgressBar) error {
	parts := len(kept) + 1
	if s.memory != nil {
		parts++
	}
	each := c.duration / time.Duration(n*parts)
	lost := link.mqtt.Stats()
	var samples [len(slice{}.samples)]bench.Samples
	for range n {
		x := bench.Round{Bare: map[string]float64{}}
		for _, a := range kept {
			b, err := s.bare.measure(ctx, a, each)
			if err != nil {
				return err
			}
			x.Bare[a.String()] = b.fps()
			if a == (bench.Arrangement{Sessions: r.Sessions, Threads: r.Threads}) {
				x.RunCPU = b.cpu.Seconds() * 1000 / float64(b.runs)
			}
		}
		e, err := s.e2e.measure(ctx, each)
		if err != nil {
			return err
		}
		e.into(&x)
		for i := range samples {
			samples[i].Merge(&e.samples[i])
		}
		if s.memory != nil {
			m, err := s.memory.measure(ctx, each)
			if err != nil {
				return err
			}
			x.Memory = m.fps()
		}
		r.Rounds = append(r.Rounds, x)
		_ = bar.Add(1)
	}
	r.Stages = stages(&samples)
	now := link.mqtt.Stats()
	r.Dropped = s.e2e.pipe.Stats().Dropped + now.Dropped - lost.Dropped + now.Refused - lost.Refused
	if failed, err := s.e2e.sink.failures(); failed > 0 {
		return fmt.Errorf("model %s failed on %d frames of the source, so its speed says nothing: %w", r.Model, failed, err)
	}
	return nil
}

// into notes a slice of e2e in a round.
func (s *slice) into(x *bench.Round) {
	st := stages(&s.samples)
	x.E2E, x.Frames, x.StagesP50 = s.fps(), s.frames, st.Medians()
	x.CPU, x.DecodeCPU = s.each(s.cpu), s.each(s.decode)
	x.Cores = s.cpu.Seconds() / s.took.Seconds()
	x.Allocs = float64(s.allocs) / float64(max(1, s.frames))
}

// graphicsAtWork looks at the GPUs while gnomon is at work, after the rounds: looking costs.
func (c *combination) graphicsAtWork(ctx context.Context, s *stage) ([]bench.GPU, error) {
	seen := make(chan []bench.GPU, 1)
	time.AfterFunc(c.warm()/2, func() { seen <- graphics(ctx) })
	if _, err := s.e2e.measure(ctx, 2*c.warm()); err != nil {
		return nil, err
	}
	return <-seen, nil
}

// newBenchProgress is newProgress for steps that are no frames.
func newBenchProgress(what string, steps int) *progressbar.ProgressBar {
	bar := newProgress(steps, what)
	progressbar.OptionSetItsString("steps")(bar)
	return bar
}
