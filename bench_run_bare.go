package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gnomon/bench"
	"gnomon/engine"
	"gnomon/engine/letterbox"
	"gnomon/engine/ort"
	"gnomon/models"
)

const (
	// trialPart is for how much of --duration each arrangement is tried, trials times, to find out which are worth the
	// rounds; with trialMax at most, which is enough to see 15 %.
	trialPart = 50
	trialMax  = 300 * time.Millisecond
	trials    = 2
	// bareWarmUp is how often a session runs before it is measured; see engine.Model.WarmUp.
	bareWarmUp = 3
)

// bareLoops are sessions that do nothing but run, to measure gnomon against. Their inputs hold a real picture.
type bareLoops struct {
	rt      *ort.Runtime
	model   *models.Model
	options loadOptions // as gnomon's side has them, but for the lanes
	frame   *engine.Frame
	pools   map[int][]*ort.Session // by threads
}

// open makes sessions enough for a.
func (b *bareLoops) open(ctx context.Context, a bench.Arrangement) error {
	pool := b.pools[a.Threads]
	if len(pool) >= a.Sessions {
		return nil
	}
	o := b.options
	o.Lanes.Threads = a.Threads
	more, err := b.rt.Open(sessionOptions(b.model, o), a.Sessions-len(pool))
	if err != nil {
		return err
	}
	b.pools[a.Threads] = append(pool, more...)
	for _, s := range more {
		if err := b.fill(s); err != nil {
			return err
		}
		for range bareWarmUp {
			if _, err := s.Run(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill puts the picture into the session's input: what a model costs may depend on what it sees.
func (b *bareLoops) fill(s *ort.Session) (err error) {
	spec, in := b.model.Spec, s.Input()
	pre, err := newPreprocessor(spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pre.Close()) }()
	t, err := letterbox.New(spec.Resize, b.frame.Width, b.frame.Height, in.Width, in.Height)
	if err != nil {
		return err
	}
	return pre.Process(b.frame, t, in)
}

// closeThreads frees the sessions with so many threads.
func (b *bareLoops) closeThreads(threads int) error {
	var errs []error
	for _, s := range b.pools[threads] {
		errs = append(errs, s.Close())
	}
	delete(b.pools, threads)
	return errors.Join(errs...)
}

func (b *bareLoops) close() error {
	var errs []error
	for threads := range b.pools {
		errs = append(errs, b.closeThreads(threads))
	}
	return errors.Join(errs...)
}

// bareSlice is what the loops did.
type bareSlice struct {
	runs uint64
	took time.Duration // until the last run has ended
	cpu  time.Duration // of the whole process
}

func (s *bareSlice) fps() float64 { return float64(s.runs) / s.took.Seconds() }

// measure runs the sessions of a side by side for d, and each at least once.
func (b *bareLoops) measure(ctx context.Context, a bench.Arrangement, d time.Duration) (*bareSlice, error) {
	pool := b.pools[a.Threads][:a.Sessions]
	runs, errs := make([]uint64, len(pool)), make([]error, len(pool))
	cpu, start := processCPU(), time.Now()
	var loops sync.WaitGroup
	for i, s := range pool {
		loops.Go(func() {
			n := uint64(0) // not runs[i], whose cache line is everybody's
			for {
				if _, errs[i] = s.Run(ctx); errs[i] != nil {
					return
				}
				n++
				if time.Since(start) >= d {
					runs[i] = n
					return
				}
			}
		})
	}
	loops.Wait()
	out := &bareSlice{took: time.Since(start), cpu: processCPU() - cpu}
	for _, n := range runs {
		out.runs += n
	}
	if ctx.Err() != nil {
		return nil, errors.New("interrupted")
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("bare %s: %w", a, err)
	}
	return out, nil
}

// try measures every arrangement for a short time, each. Sessions with as many threads are open at once, no others: all of
// them together would not fit into a small device's memory.
func (b *bareLoops) try(ctx context.Context, all []bench.Arrangement, each time.Duration, step func()) (map[bench.Arrangement]float64, error) {
	byThreads := map[int][]bench.Arrangement{}
	for _, a := range all {
		byThreads[a.Threads] = append(byThreads[a.Threads], a)
	}
	speeds := map[bench.Arrangement]float64{}
	for threads, as := range byThreads {
		for _, a := range as {
			if err := b.open(ctx, a); err != nil {
				return nil, err
			}
		}
		for range trials {
			for _, a := range as {
				s, err := b.measure(ctx, a, each)
				if err != nil {
					return nil, err
				}
				speeds[a] = max(speeds[a], s.fps())
				step()
			}
		}
		if err := b.closeThreads(threads); err != nil {
			return nil, err
		}
	}
	return speeds, nil
}
