package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/bench"
	"gnomon/camera"
	"gnomon/engine"
)

// pacedSource is a camera: the frames of a file at a rate of its own, which waits for nobody. It satisfies
// engine.Source; the file repeats.
type pacedSource struct {
	engine.Source
	every time.Duration
	due   time.Time // the next frame
	start time.Time // frames before it are not given
}

// Live makes the pipeline treat it as a camera.
func (p *pacedSource) Live() bool { return true }

// Read decodes the next frame and gives it when it is due. A source that is more than a frame behind, because the
// machine is too busy even to decode, leaves frames out as a camera does.
func (p *pacedSource) Read(ctx context.Context, f *engine.Frame) error {
	if err := p.Source.Read(ctx, f); err != nil {
		return err
	}
	if p.due.IsZero() {
		p.due = p.start
	}
	if wait := time.Until(p.due); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.CapturedAt = time.Now()
	for p.due = p.due.Add(p.every); f.CapturedAt.Sub(p.due) > 0; {
		p.due = p.due.Add(p.every)
	}
	return nil
}

// settle is how long cameras run before they are measured: until the last has begun and queues have found their length.
const settle = time.Second

// step measures n cameras at once.
func (b *camerasBench) step(ctx context.Context, n int, slot *engine.Slot, link *benchLink) (_ *bench.CamerasRow, err error) {
	every := time.Duration(float64(time.Second) / b.fps)
	cameras := make([]*watched, 0, n)
	defer func() {
		for _, c := range cameras {
			c.run.end() // all at once
		}
		for _, c := range cameras {
			err = errors.Join(err, c.run.stop(), c.src.Close())
		}
	}()
	for i := range n {
		// Evenly spread, as cameras that know nothing of each other are on the average.
		name := fmt.Sprintf("camera-%d", i+1)
		c, err := b.watch(name, time.Now().Add(every*time.Duration(i)/time.Duration(n)), every, slot, link)
		if err != nil {
			return nil, err
		}
		cameras = append(cameras, c)
	}
	if err := b.pass(ctx, settle, cameras); err != nil {
		return nil, err
	}
	lost := link.mqtt.Stats()
	for _, c := range cameras {
		c.before = c.pipe.Stats()
		c.sink.forget()
	}
	cpu, start := processCPU(), time.Now()
	if err := b.pass(ctx, b.duration, cameras); err != nil {
		return nil, err
	}
	took := time.Since(start).Seconds()
	spent := (processCPU() - cpu).Seconds()
	row := &bench.CamerasRow{Cameras: n, Wanted: b.fps * float64(n), Cores: spent / took, RSS: residentMB()}
	var shares []float64
	var latency bench.Samples
	for _, c := range cameras {
		s := c.pipe.Stats()
		share := float64(s.Processed-c.before.Processed) / took
		shares = append(shares, share)
		row.FPS += share
		row.Captured += float64(s.Captured-c.before.Captured) / took
		row.Dropped += s.Dropped - c.before.Dropped
		row.Failed += s.Failed - c.before.Failed
		c.sink.latencies(&latency)
	}
	now := link.mqtt.Stats()
	row.Dropped += now.Dropped - lost.Dropped + now.Refused - lost.Refused
	row.Jain, row.Latency = bench.Jain(shares), latency.Quantiles()
	row.Least, row.Most = shares[0], shares[0]
	for _, share := range shares {
		row.Least, row.Most = min(row.Least, share), max(row.Most, share)
	}
	if row.FPS > 0 {
		row.CPU = spent * 1000 / (row.FPS * took)
	}
	return row, nil
}

// watched is one camera at work.
type watched struct {
	src    engine.Source
	sink   *publisher
	pipe   *engine.Pipeline
	run    *background
	before engine.Stats // when measuring began
}

// watch starts a camera whose first frame is due at start.
func (b *camerasBench) watch(name string, start time.Time, every time.Duration, slot *engine.Slot, link *benchLink) (*watched, error) {
	src, err := openInput(camera.Options{Name: name, URI: b.source, Loop: true})
	if err != nil {
		return nil, err
	}
	c := &watched{src: &pacedSource{Source: src, every: every, start: start}}
	if c.sink, err = newPublisher(link, name); err == nil {
		c.pipe, err = engine.NewPipeline(engine.PipelineOptions{Source: c.src, Slot: slot, Sink: c.sink})
	}
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	c.run = inBackground(c.pipe.Run)
	return c, nil
}

// pass waits for d, unless a camera ends before.
func (b *camerasBench) pass(ctx context.Context, d time.Duration, cameras []*watched) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	look := time.NewTicker(d / 10)
	defer look.Stop()
	for {
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return errors.New("interrupted")
		case <-look.C:
		}
		for _, c := range cameras {
			select {
			case <-c.run.done:
				return errors.Join(errors.New("a source ended"), c.run.stop())
			default:
			}
		}
	}
}

// latencies adds the times from the grab to the detections.
func (p *publisher) latencies(to *bench.Samples) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to.Merge(&p.latency)
}
