package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gnomon/bench"
	"gnomon/camera"
	"gnomon/engine"
)

// pacedSource is a camera: the frames of a file at a rate of its own, which waits for nobody. It satisfies
// engine.Grabber; the file repeats.
type pacedSource struct {
	engine.Source
	every time.Duration
	due   time.Time // the next frame
	start time.Time // frames before it are not given
	at    time.Time // of the frame that was grabbed last
	seq   uint64
}

// Live makes the pipeline treat it as a camera.
func (p *pacedSource) Live() bool { return true }

// Grab waits until the next frame is due. A source that is more than a frame behind, because the machine is too busy even
// to decode, leaves frames out as a camera does.
func (p *pacedSource) Grab(ctx context.Context) error {
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
	p.at = time.Now()
	p.seq++
	for p.due = p.due.Add(p.every); p.at.Sub(p.due) > 0; {
		p.due = p.due.Add(p.every)
	}
	return nil
}

// Retrieve decodes the frame, as a camera's is when it has come.
func (p *pacedSource) Retrieve(f *engine.Frame) error {
	err := p.Source.Read(context.Background(), f)
	f.Seq, f.CapturedAt = p.seq-1, p.at
	return err
}

// Read is both.
func (p *pacedSource) Read(ctx context.Context, f *engine.Frame) error {
	if err := p.Grab(ctx); err != nil {
		return err
	}
	return p.Retrieve(f)
}

// settle is how long cameras run before they are measured: until the last has begun and queues have found their length.
const settle = time.Second

// step measures n cameras at once.
func (b *camerasBench) step(ctx context.Context, n int, slot *engine.Slot, link *benchLink) (_ *bench.CamerasRow, err error) {
	cameras, err := b.start(ctx, n, b.fps, slot, link)
	defer func() { err = errors.Join(err, stopCameras(cameras)) }()
	if err != nil {
		return nil, err
	}
	return b.measureCameras(ctx, b.duration, b.fps, cameras, link)
}

// start starts n cameras and waits until all are at work. After an error it returns those that were started: the caller
// stops them either way.
func (b *camerasBench) start(ctx context.Context, n int, fps float64, slot *engine.Slot, link *benchLink) ([]*watched, error) {
	var cameras []*watched
	every := time.Duration(float64(time.Second) / fps)
	for i := range n {
		// Evenly spread, as cameras that know nothing of each other are on the average.
		begin := time.Now().Add(every * time.Duration(i) / time.Duration(n))
		src, err := pacedVideo(ctx, camera.Options{Name: fmt.Sprintf("camera-%d", i+1), URI: b.source, Loop: true}, fps, begin)
		if err != nil {
			return cameras, err
		}
		c, err := watch(src, slot, link)
		if err != nil {
			return cameras, err
		}
		cameras = append(cameras, c)
	}
	return cameras, b.pass(ctx, settle, cameras)
}

// stopCameras ends cameras and frees them.
func stopCameras(cameras []*watched) error {
	var errs []error
	for _, c := range cameras {
		c.run.end() // all at once
	}
	for _, c := range cameras {
		errs = append(errs, c.run.stop(), c.src.Close())
	}
	return errors.Join(errs...)
}

// measureCameras measures cameras of so many frames a second for d.
func (b *camerasBench) measureCameras(ctx context.Context, d time.Duration, fps float64, cameras []*watched, link *benchLink) (*bench.CamerasRow, error) {
	lost := link.mqtt.Stats()
	for _, c := range cameras {
		c.before = c.pipe.Stats()
		c.sink.forget()
	}
	runs, cpu, start := b.runs.read(), processCPU(), time.Now()
	if err := b.pass(ctx, d, cameras); err != nil {
		return nil, err
	}
	took := time.Since(start).Seconds()
	spent := (processCPU() - cpu).Seconds()
	beside := spent - (b.runs.read() - runs).Seconds()
	row := &bench.CamerasRow{Cameras: len(cameras), Wanted: fps * float64(len(cameras)), Cores: spent / took, RSS: residentMB()}
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
	row.Least, row.Most = slices.Min(shares), slices.Max(shares)
	if row.FPS > 0 {
		row.CPU = spent * 1000 / (row.FPS * took)
		row.Overhead = beside * 1000 / (row.Captured * took)
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

// pacedVideo opens a video as a camera of so many frames a second, the first of which is due at begin.
func pacedVideo(ctx context.Context, o camera.Options, fps float64, begin time.Time) (engine.Source, error) {
	src, err := openInput(ctx, o)
	if err != nil {
		return nil, err
	}
	return &pacedSource{Source: src, every: time.Duration(float64(time.Second) / fps), start: begin}, nil
}

// watch starts a camera, which it owns from now on.
func watch(src engine.Source, slot *engine.Slot, link *benchLink) (*watched, error) {
	c := &watched{src: src}
	var err error
	if c.sink, err = newPublisher(link, src.Name()); err == nil {
		c.pipe, err = engine.NewPipeline(engine.PipelineOptions{Source: src, Slot: slot, Sink: c.sink})
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
