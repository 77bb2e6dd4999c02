package engine

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"gnomon/engine/detect"
)

// maxDetectionsHint is the room that a worker's list of detections starts with: the default cap of the families.
const maxDetectionsHint = 300

// PipelineOptions is what a Pipeline is made of.
type PipelineOptions struct {
	Source Source
	Slot   *Slot
	Sink   Sink
	// Workers is the number of frames that are in the model, or wait for it, at once; 0: as many as the slot has lanes.
	Workers int
	// ScoreThreshold drops detections below it; 0: the model's own threshold decides.
	ScoreThreshold float32
}

// Pipeline takes the frames of one source through a model to a sink. Stages overlap: while the source decodes the
// next picture, each worker takes one frame through preprocessing, inference and decoding. Results reach the sink
// in the order of the frames. A live source never waits: the newest frame replaces the one that nobody took. Other
// sources lose no frame. Buffers circulate; in the steady state nothing is allocated.
type Pipeline struct {
	o    PipelineOptions
	free chan *Frame // empty frames; their number bounds the memory
	work chan *Frame // filled frames; one slot for live sources

	busy   chan struct{} // has an entry for each frame that is in the model or waits for it
	takeMu sync.Mutex    // makes tickets follow the order of the frames
	ticket uint64
	order  order

	threshold                                   atomic.Uint32 // bits of the float32
	captured, dropped, processed, failed, found atomic.Uint64
	preprocess, infer, postprocess, latency     atomic.Int64 // sums in nanoseconds
}

// NewPipeline checks the options and makes a pipeline. It starts nothing; the source and the slot stay the
// caller's to close.
func NewPipeline(o PipelineOptions) (*Pipeline, error) {
	if o.Source == nil || o.Slot == nil || o.Sink == nil {
		return nil, errors.New("a pipeline needs a source, a model slot and a sink")
	}
	if o.Workers <= 0 {
		o.Workers = max(1, o.Slot.Parallel())
	}
	// Frames take unequal times, and a result whose turn has not come waits. For each frame in the model there is a worker
	// more, so that another frame takes its place meanwhile: without, a tenth of the time is lost.
	workers := 2 * o.Workers
	// Each worker holds one frame, the hand-over slot one, capture one: with one fewer the stages would wait for
	// each other's buffers.
	frames := workers + 2
	p := &Pipeline{o: o, free: make(chan *Frame, frames), work: make(chan *Frame, 1), busy: make(chan struct{}, o.Workers)}
	for range frames {
		p.free <- &Frame{}
	}
	p.order.init(workers)
	p.SetScoreThreshold(o.ScoreThreshold)
	return p, nil
}

// SetScoreThreshold changes PipelineOptions.ScoreThreshold from the next result on. Any goroutine may call it.
func (p *Pipeline) SetScoreThreshold(v float32) { p.threshold.Store(math.Float32bits(v)) }

// Run works until the source ends, fails or ctx is cancelled, then ends with the frames in work, of which
// those that are still waiting for the model are given up when ctx is cancelled, and frees the buffers. The end of the
// source and cancellation return nil. Run may be called once.
func (p *Pipeline) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	sinkErr := make(chan error, 1) // the first failure of the sink stops the pipeline
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	for range len(p.order.wake) {
		workers.Go(func() {
			if err := p.worker(stop); err != nil {
				select {
				case sinkErr <- err:
				default:
				}
				cancel()
			}
		})
	}
	err := p.capture(stop)
	close(p.work)
	workers.Wait()
	for f := range p.work { // closed; workers that ended with an error may have left a frame
		_ = f.Close()
	}
	for len(p.free) > 0 {
		_ = (<-p.free).Close() // the native memory is gone either way
	}
	select {
	case e := <-sinkErr:
		return e
	default:
	}
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// capture reads frames until the source ends or ctx does. It owns the frame between free and work.
func (p *Pipeline) capture(ctx context.Context) error {
	live := p.o.Source.Live()
	for {
		var f *Frame
		select {
		case f = <-p.free:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := p.o.Source.Read(ctx, f); err != nil {
			p.free <- f
			return err // a source's errors name it
		}
		p.captured.Add(1)
		if live {
			p.offerNewest(f)
			continue
		}
		select {
		case p.work <- f:
		case <-ctx.Done():
			p.free <- f
			return ctx.Err()
		}
	}
}

// offerNewest puts f into the one slot, in place of an older frame that nobody has taken.
func (p *Pipeline) offerNewest(f *Frame) {
	for {
		select {
		case p.work <- f:
			return
		default:
		}
		select {
		case old := <-p.work:
			p.dropped.Add(1)
			p.free <- old
		default: // a worker took it just now
		}
	}
}

// take waits until there is room in the model, then for the next frame, and gives it its place in the order. Who waits for
// room takes no frame: a newer one may come.
func (p *Pipeline) take() (*Frame, uint64, bool) {
	p.busy <- struct{}{}
	p.takeMu.Lock()
	defer p.takeMu.Unlock()
	f, ok := <-p.work
	if !ok {
		<-p.busy
		return nil, 0, false
	}
	t := p.ticket
	p.ticket++
	return f, t, true
}

func (p *Pipeline) worker(ctx context.Context) error {
	r := Result{Source: p.o.Source.Name(), Detections: make([]detect.Detection, 0, maxDetectionsHint)}
	// One closure for the life of the worker: a new one per frame would be an allocation per frame.
	run := func(l *Lane, info *ModelInfo) {
		r.Model = info
		r.Detections, r.Timing, r.Err = l.Detect(ctx, r.Frame, r.Detections[:0])
	}
	for {
		f, ticket, ok := p.take()
		if !ok {
			return nil
		}
		r.Frame, r.Detections, r.Timing, r.Err = f, r.Detections[:0], Timing{}, nil
		err := p.o.Slot.Use(ctx, run)
		<-p.busy
		deliver := err == nil && (r.Err == nil || ctx.Err() == nil)
		if deliver {
			p.count(&r)
		}
		p.order.enter(ticket)
		var sinkErr error
		if deliver {
			sinkErr = p.o.Sink.Handle(&r)
		}
		p.order.leave()
		p.free <- f
		if sinkErr != nil {
			return sinkErr
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (p *Pipeline) count(r *Result) {
	least := math.Float32frombits(p.threshold.Load())
	if least == 0 && r.Model != nil { // the decoder may keep more, for another source
		least = r.Model.ScoreThreshold
	}
	if least > 0 {
		n := 0 // sorted by score, best first
		for n < len(r.Detections) && r.Detections[n].Score >= least {
			n++
		}
		r.Detections = r.Detections[:n]
	}
	p.processed.Add(1)
	if r.Err != nil {
		p.failed.Add(1)
	}
	p.found.Add(uint64(len(r.Detections)))
	p.preprocess.Add(int64(r.Timing.Preprocess))
	p.infer.Add(int64(r.Timing.Infer))
	p.postprocess.Add(int64(r.Timing.Postprocess))
	p.latency.Add(int64(r.Timing.Latency))
}

// Stats are a pipeline's counters since its start.
type Stats struct {
	Captured   uint64 // frames that the source delivered
	Dropped    uint64 // of those, replaced by a newer one before a worker was free; live sources only
	Processed  uint64 // of those, taken through the model
	Failed     uint64 // of those, with an error
	Detections uint64
	// Sums over Processed frames.
	Preprocess, Infer, Postprocess, Latency time.Duration
}

// Add sums two pipelines' counters.
func (s Stats) Add(o Stats) Stats {
	return Stats{
		Captured: s.Captured + o.Captured, Dropped: s.Dropped + o.Dropped, Processed: s.Processed + o.Processed,
		Failed: s.Failed + o.Failed, Detections: s.Detections + o.Detections,
		Preprocess: s.Preprocess + o.Preprocess, Infer: s.Infer + o.Infer,
		Postprocess: s.Postprocess + o.Postprocess, Latency: s.Latency + o.Latency,
	}
}

// Stats reads the counters. Any goroutine may call it at any time.
func (p *Pipeline) Stats() Stats {
	return Stats{
		Captured: p.captured.Load(), Dropped: p.dropped.Load(), Processed: p.processed.Load(),
		Failed: p.failed.Load(), Detections: p.found.Load(),
		Preprocess: time.Duration(p.preprocess.Load()), Infer: time.Duration(p.infer.Load()),
		Postprocess: time.Duration(p.postprocess.Load()), Latency: time.Duration(p.latency.Load()),
	}
}
