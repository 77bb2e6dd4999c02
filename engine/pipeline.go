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

// DefaultMaxAge is how old a live frame may be when its turn comes: what happened longer ago is no news, and the frame
// after it is there soon.
const DefaultMaxAge = time.Second

// Gate decides which frames are worth looking at. Pass is called by the one goroutine that captures, with what the model
// would see of each frame that is due: the Region. It must be quick; the frame is lent until Pass returns.
type Gate interface {
	Pass(f *Frame) bool
}

// PipelineOptions is what a Pipeline is made of.
type PipelineOptions struct {
	Source Source
	Slot   *Slot
	Sink   Sink
	// Workers is the number of frames that are in the model at once; 0: as many as the slot has lanes, and for sources that
	// lose no frame as many as these take at once.
	Workers int
	// ScoreThreshold drops detections below it; 0: the model's own threshold decides.
	ScoreThreshold float32
	// Labels are the classes that are reported; none: all. Those that the model does not know do no harm.
	Labels []string
	// Region is the part of the picture that the model sees: x, y, width and height as shares of it, rounded to even
	// pixels. Zero: all of it. Boxes are in pixels of the whole picture either way.
	Region [4]float64
	// DetectFPS is how many frames a second are looked at, at most, by the frames' own times; 0: all.
	DetectFPS float64
	// Gate decides about those; nil: all pass.
	Gate Gate
	// MaxAge drops a live frame that is older when its turn comes, if a newer one is likely to follow; 0: DefaultMaxAge,
	// below 0: none is too old.
	MaxAge time.Duration
}

// Pipeline takes the frames of one source through a model to a sink. Stages overlap: while the source decodes the
// next picture, each worker takes one frame through preprocessing, inference and decoding. Results reach the sink
// in the order of the frames. A live source never waits: the newest frame replaces the one that nobody took. Other
// sources lose no frame. The slot decides whose turn it is when several pipelines use it. Buffers circulate; in the
// steady state nothing is allocated.
type Pipeline struct {
	o     PipelineOptions
	seat  *seat
	order order

	workers int
	region  region
	labels  atomic.Pointer[[]string] // nil: all
	classes atomic.Pointer[classes]  // made of labels for the model in use

	threshold                                        atomic.Uint32 // bits of the float32
	detectFPS                                        atomic.Uint64 // bits of the float64
	captured, paced, still, processed, failed, found atomic.Uint64
	preprocess, infer, postprocess, latency          atomic.Int64 // sums in nanoseconds
}

// NewPipeline checks the options and makes a pipeline. It starts nothing; the source and the slot stay the
// caller's to close.
func NewPipeline(o PipelineOptions) (*Pipeline, error) {
	if o.Source == nil || o.Slot == nil || o.Sink == nil {
		return nil, errors.New("a pipeline needs a source, a model slot and a sink")
	}
	if err := region(o.Region).check(); err != nil {
		return nil, err
	}
	depth := 1
	if !o.Source.Live() { // a lane takes as many frames of a file at once as it can
		depth = max(1, o.Slot.Batch())
	}
	if o.Workers <= 0 {
		o.Workers = max(1, o.Slot.Parallel()*depth)
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	p := &Pipeline{o: o, region: o.Region}
	// Frames take unequal times, and a result whose turn has not come waits. For each frame in the model there is a worker
	// more, so that another frame takes its place meanwhile: without, a tenth of the time is lost. Frames that a lane takes
	// at once are done at once: one more for each lane's place, or for each frame of one lane, will do.
	p.workers = o.Workers + max(o.Workers/depth, depth)
	p.seat = &seat{slot: o.Slot, live: o.Source.Live(), depth: depth, limit: o.Workers, maxAge: o.MaxAge, room: make(chan struct{}, 1)}
	p.order.init(p.workers)
	p.SetScoreThreshold(o.ScoreThreshold)
	p.SetLabels(o.Labels)
	p.SetDetectFPS(o.DetectFPS)
	return p, nil
}

// SetScoreThreshold changes PipelineOptions.ScoreThreshold from the next result on. Any goroutine may call it.
func (p *Pipeline) SetScoreThreshold(v float32) { p.threshold.Store(math.Float32bits(v)) }

// SetDetectFPS changes PipelineOptions.DetectFPS from the next frame on. Any goroutine may call it.
func (p *Pipeline) SetDetectFPS(v float64) { p.detectFPS.Store(math.Float64bits(v)) }

// Run works until the source ends, fails or ctx is cancelled, then ends with the frames in work, of which
// those that are still waiting for the model are given up when ctx is cancelled, and frees the buffers. The end of the
// source and cancellation return nil. Run may be called once.
func (p *Pipeline) Run(ctx context.Context) error {
	if err := p.o.Slot.join(p.seat); err != nil {
		return err
	}
	defer p.o.Slot.leave(p.seat)
	var workers sync.WaitGroup
	failed := make(chan error, 1) // the first failure of the sink, or the end of the slot, stops the pipeline
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(stop, p.seat.abandon)()
	for range p.workers {
		workers.Go(func() {
			if err := newWorker(p).run(stop); err != nil {
				select {
				case failed <- err:
				default:
				}
				cancel()
			}
		})
	}
	err := p.capture(stop)
	p.seat.end()
	workers.Wait()
	p.seat.abandon() // workers that ended with an error may have left frames
	select {
	case e := <-failed:
		return e
	default:
	}
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// count reduces the detections to those that are wanted, and counts.
func (p *Pipeline) count(r *Result) {
	least := math.Float32frombits(p.threshold.Load())
	if least == 0 { // the decoder may keep more, for another source
		least = r.Model.ScoreThreshold
	}
	if least > 0 {
		r.Detections = above(r.Detections, least)
	}
	r.Detections = p.filter(r.Detections, r.Model)
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

// above keeps those whose score is least or more; they are sorted by score, best first.
func above(found []detect.Detection, least float32) []detect.Detection {
	n := 0
	for n < len(found) && found[n].Score >= least {
		n++
	}
	return found[:n]
}
