package engine

import (
	"context"

	"gnomon/engine/detect"
)

// maxDetectionsHint is the room that a worker's list of detections starts with: the default cap of the families.
const maxDetectionsHint = 300

// worker takes one frame at a time to the sink. It runs the model itself when it is given a lane, and for the frames of
// its mates as well; a mate finds its frame done when it wakes.
type worker struct {
	p    *Pipeline
	seat *seat
	wake chan struct{} // one slot

	// Set by the slot before it wakes the worker, or the one that runs the model for it.
	frame  *Frame // nil: there is none any more
	ticket uint64
	lane   *Lane // nil: the frame is done
	pool   *lanePool
	mates  []*worker

	view     Frame // what the model sees of frame
	x, y     int   // where that begins
	r        Result
	frames   []*Frame // of a run with mates
	outcomes []Outcome
}

func newWorker(p *Pipeline) *worker {
	return &worker{
		p: p, seat: p.seat, wake: make(chan struct{}, 1),
		r: Result{Source: p.o.Source.Name(), Detections: make([]detect.Detection, 0, maxDetectionsHint)},
	}
}

// run works until there are no frames any more or the sink fails.
func (w *worker) run(ctx context.Context) error {
	apart := context.WithoutCancel(ctx)
	for w.seat.rest(w) {
		if w.lane != nil {
			w.infer(ctx, apart)
			w.seat.slot.finish(w)
		}
		if err := w.deliver(ctx); err != nil {
			return err
		}
	}
	if w.seat.isClosed() && ctx.Err() == nil {
		return ErrClosed
	}
	return nil
}

// infer runs the model. Sources that wait for room learn of it here and not when the slot takes their frame: who wakes
// them first wakes the worker later.
func (w *worker) infer(ctx, apart context.Context) {
	w.seat.hasRoom()
	if len(w.mates) == 0 {
		w.detect(ctx)
		return
	}
	for _, mate := range w.mates {
		mate.seat.hasRoom()
	}
	w.detectTogether(apart) // the end of one source is none of the others' business
}

// look prepares what the model sees and the place for what it finds.
func (w *worker) look(m *ModelInfo) *Frame {
	w.x, w.y = w.p.region.view(w.frame, &w.view)
	w.r.Frame, w.r.Model, w.r.Detections = w.frame, m, w.r.Detections[:0]
	return &w.view
}

func (w *worker) detect(ctx context.Context) {
	f := w.look(&w.pool.model.Info)
	w.r.Detections, w.r.Timing, w.r.Err = w.lane.Detect(ctx, f, w.r.Detections)
}

func (w *worker) detectTogether(ctx context.Context) {
	w.frames, w.outcomes = w.frames[:0], w.outcomes[:0]
	w.bring(w, &w.pool.model.Info)
	for _, mate := range w.mates {
		w.bring(mate, &w.pool.model.Info)
	}
	w.lane.DetectBatch(ctx, w.frames, w.outcomes)
	w.fetch(w, 0)
	for i, mate := range w.mates {
		w.fetch(mate, i+1)
	}
}

func (w *worker) bring(from *worker, m *ModelInfo) {
	w.frames = append(w.frames, from.look(m))
	w.outcomes = append(w.outcomes, Outcome{Detections: from.r.Detections})
}

func (w *worker) fetch(to *worker, i int) {
	o := &w.outcomes[i]
	to.r.Detections, to.r.Timing, to.r.Err = o.Detections, o.Timing, o.Err
}

// deliver hands the result to the sink when it is its turn, and gives the frame back.
func (w *worker) deliver(ctx context.Context) (err error) {
	// What was given up because the source is being stopped is no result.
	given := w.r.Err == nil || ctx.Err() == nil
	if given {
		shift(w.r.Detections, w.x, w.y)
		w.p.count(&w.r)
	}
	w.p.order.enter(w.ticket)
	if given {
		err = w.p.o.Sink.Handle(&w.r)
	}
	w.p.order.leave()
	w.seat.slot.spare.put(w.frame)
	return err
}
