package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gnomon/bench"
	"gnomon/engine"
	"gnomon/telemetry"
)

const (
	// drainLimit is how long what is on its way may take when a slice of measuring ends: the slowest run of a model, and
	// a broker that is behind.
	drainLimit = 30 * time.Second
	// ackPoll is how often the outbox is looked at for the last acknowledgements: a thousandth of the usual slice.
	ackPoll = 200 * time.Microsecond
	// fillRounds is how many frames go through each session before a slice begins to count: while the first is in the
	// model, frames gather before it.
	fillRounds = 2
)

// publisher publishes every result as the agent does with publish: every_frame. It satisfies engine.Sink.
type publisher struct {
	mqtt  *telemetry.Client
	topic string
	ident identity
	buf   []byte

	mu       sync.Mutex
	handled  uint64
	at       time.Time // of the last of them
	failed   uint64
	err      error // the last of a frame
	pre, run bench.Samples
	post     bench.Samples
	publish  bench.Samples
	latency  bench.Samples
	came     chan struct{} // one slot
}

func newPublisher(link *benchLink, source string) (*publisher, error) {
	topic, err := telemetry.DetectionsTopic(benchPrefix, link.ident.thing, source)
	if err != nil {
		return nil, err
	}
	return &publisher{mqtt: link.mqtt, topic: topic, ident: link.ident, came: make(chan struct{}, 1)}, nil
}

// Handle publishes one result and notes its times.
func (p *publisher) Handle(r *engine.Result) error {
	start := time.Now()
	m := detectionMessage(r, r.Source)
	m.Device, m.BootID, m.Limit = p.ident.thing, p.ident.boot, telemetry.MaxPayload
	p.buf = m.AppendJSON(p.buf[:0])
	_ = p.mqtt.Publish(p.topic, p.buf) // counted by the client
	took := time.Since(start)
	p.mu.Lock()
	p.handled++
	p.at = start.Add(took)
	if r.Err != nil {
		p.failed++
		p.err = r.Err
	} else {
		p.pre.Add(r.Timing.Preprocess)
		p.run.Add(r.Timing.Infer)
		p.post.Add(r.Timing.Postprocess)
		p.publish.Add(took)
		p.latency.Add(r.Timing.Latency)
	}
	p.mu.Unlock()
	select {
	case p.came <- struct{}{}:
	default:
	}
	return nil
}

// flow is a pipeline that works only while it is measured.
type flow struct {
	src  *gatedSource
	sink *publisher
	pipe *engine.Pipeline
	run  *background
	fill uint64 // results until every stage has something to do
}

// startFlow takes src, which stays the caller's, through the slot's model to the broker.
func startFlow(src engine.Source, slot *engine.Slot, link *benchLink) (*flow, error) {
	sink, err := newPublisher(link, src.Name())
	if err != nil {
		return nil, err
	}
	f := &flow{src: newGatedSource(src), sink: sink, fill: fillRounds * uint64(max(1, slot.Parallel()))}
	if f.pipe, err = engine.NewPipeline(engine.PipelineOptions{Source: f.src, Slot: slot, Sink: sink}); err != nil {
		return nil, err
	}
	f.run = inBackground(f.pipe.Run)
	return f, nil
}

// stop ends the pipeline and returns its error, the first time.
func (f *flow) stop() error { return f.run.stop() }

// slice is what was measured from one result to another, with all stages at work in between.
type slice struct {
	frames  uint64
	took    time.Duration // and the time that the broker was behind at the end
	cpu     time.Duration // of the whole process
	decode  time.Duration // processor time of decoding
	allocs  uint64        // objects on Go's heap
	samples [5]bench.Samples
}

func (s *slice) fps() float64 { return float64(s.frames) / s.took.Seconds() }

// each is a share of the time for one frame, in ms.
func (s *slice) each(d time.Duration) float64 {
	return d.Seconds() * 1000 / float64(max(1, s.frames))
}

// stages are the percentiles of the samples.
func stages(s *[5]bench.Samples) bench.Stages {
	return bench.Stages{
		Decode: s[0].Quantiles(), Preprocess: s[1].Quantiles(), Infer: s[2].Quantiles(),
		Postprocess: s[3].Quantiles(), Publish: s[4].Quantiles(),
	}
}

// moment is where a slice begins or ends.
type moment struct {
	handled     uint64
	at          time.Time // of the last result
	cpu, decode time.Duration
	allocs      uint64
}

func (f *flow) now() moment {
	m := moment{cpu: processCPU(), allocs: heapAllocs()}
	f.src.mu.Lock()
	m.decode = f.src.cpu
	f.src.mu.Unlock()
	f.sink.mu.Lock()
	m.handled, m.at = f.sink.handled, f.sink.at
	f.sink.mu.Unlock()
	return m
}

// measure lets frames in until every stage is busy, counts for d and for one result at least, and then waits until the
// broker has acknowledged everything. What the broker is behind with at the last result counts as time: no frame is free
// that it has not acknowledged.
func (f *flow) measure(ctx context.Context, d time.Duration) (*slice, error) {
	f.src.open()
	begin, end, err := f.count(ctx, d)
	f.src.shut()
	if err == nil {
		err = f.drain(ctx)
	}
	if err != nil {
		return nil, err
	}
	drained := time.Now()
	f.sink.mu.Lock()
	defer f.sink.mu.Unlock()
	s := &slice{
		frames: end.handled - begin.handled, took: end.at.Sub(begin.at) + drained.Sub(f.sink.at),
		cpu: end.cpu - begin.cpu, decode: end.decode - begin.decode, allocs: end.allocs - begin.allocs,
	}
	f.src.mu.Lock()
	s.samples[0].Merge(&f.src.times)
	f.src.mu.Unlock()
	for i, from := range [...]*bench.Samples{&f.sink.pre, &f.sink.run, &f.sink.post, &f.sink.publish} {
		s.samples[i+1].Merge(from)
	}
	return s, nil
}

// count finds the moments between which is counted.
func (f *flow) count(ctx context.Context, d time.Duration) (begin, end moment, err error) {
	if err := f.results(ctx, f.sink.count()+f.fill); err != nil {
		return begin, end, err
	}
	f.reset()
	begin = f.now()
	if err := f.sleep(ctx, d); err != nil {
		return begin, end, err
	}
	if err := f.results(ctx, begin.handled+1); err != nil {
		return begin, end, err
	}
	return begin, f.now(), nil
}

// results waits until so many have come.
func (f *flow) results(ctx context.Context, n uint64) error {
	for f.sink.count() < n {
		select {
		case <-f.sink.came:
		case <-f.run.done:
			return f.ended()
		case <-ctx.Done():
			return errors.New("interrupted")
		}
	}
	return nil
}

func (p *publisher) count() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.handled
}

// failures is how many frames failed so far, and why the last one did.
func (p *publisher) failures() (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed, p.err
}

func (f *flow) reset() {
	f.src.mu.Lock()
	f.src.times.Reset()
	f.src.mu.Unlock()
	f.sink.forget()
}

// forget forgets the times so far.
func (p *publisher) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range [...]*bench.Samples{&p.pre, &p.run, &p.post, &p.publish, &p.latency} {
		s.Reset()
	}
}

func (f *flow) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-f.run.done:
		return f.ended()
	case <-ctx.Done():
		return errors.New("interrupted")
	}
}

// ended is the error of a pipeline that ended by itself.
func (f *flow) ended() error {
	if err := f.stop(); err != nil {
		return err
	}
	return errors.New("the source ended")
}

// drain waits until every frame that was let in is acknowledged.
func (f *flow) drain(ctx context.Context) error {
	late := time.NewTimer(drainLimit)
	defer late.Stop()
	poll := time.NewTicker(ackPoll)
	defer poll.Stop()
	for !f.idle() {
		select {
		case <-f.sink.came:
		case <-poll.C:
		case <-f.run.done:
			return f.ended()
		case <-ctx.Done():
			return errors.New("interrupted")
		case <-late.C:
			s := f.sink.mqtt.Stats()
			return fmt.Errorf("after %v there are %d messages that %s has not acknowledged (%s)", drainLimit, s.Queued+s.InFlight, s.Broker, s.LastError)
		}
	}
	return nil
}

func (f *flow) idle() bool {
	f.src.mu.Lock()
	read, reading := f.src.read, f.src.reading
	f.src.mu.Unlock()
	if reading || read != f.sink.count() {
		return false
	}
	s := f.sink.mqtt.Stats()
	return s.Queued+s.InFlight == 0
}
