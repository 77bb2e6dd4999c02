package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// Lane is one way through a model: a session with its tensors, the preprocessor that fills them, the decoder that
// reads them. A model has as many lanes as frames, or batches of them, may be in work at once. One goroutine at a time.
type Lane struct {
	pre   Preprocessor
	sess  Session
	batch Batcher // the session, if it takes several pictures; else nil
	dec   detect.Decoder
	mode  letterbox.Mode

	places []place // by position in the input
	taken  []int   // by position in the input: which of the frames of a batch is there

	health *health // of the model that the lane belongs to; nil in no slot
}

// place is how the frame that was last at a position of the input is placed in it; a camera's size rarely changes.
type place struct {
	letterbox.Transform
	size [2]int // the source size that it is for
}

// Batcher is a Session that may look at several pictures in one run. One goroutine at a time, as for the Session.
type Batcher interface {
	Session

	// Batch is how many pictures a run takes at most; it never changes. Below 2 the other methods are not called.
	Batch() int

	// InputAt is the part of the input for picture i, from 0 up to Batch; that of picture 0 is Input.
	InputAt(i int) Input

	// RunBatch is Run for the first n pictures, from 1 up to Batch. The outputs are those of each picture, as Outputs
	// describes them: views that the next run overwrites. A run that fails does so for all of its pictures.
	RunBatch(ctx context.Context, n int) ([][]detect.Tensor, error)
}

// Outcome is what became of one frame of several.
type Outcome struct {
	Detections []detect.Detection // what was found is appended to what is there; the memory is the caller's
	Timing     Timing             // Infer is the frame's share of the run
	Err        error
}

// NewLane joins the three parts, which the lane then owns. A session that is a Batcher too is used as one.
func NewLane(pre Preprocessor, sess Session, dec detect.Decoder, mode letterbox.Mode) *Lane {
	l := &Lane{pre: pre, sess: sess, dec: dec, mode: mode}
	if b, ok := sess.(Batcher); ok && b.Batch() > 1 {
		l.batch = b
	}
	l.places, l.taken = make([]place, l.Batch()), make([]int, 0, l.Batch())
	return l
}

// Batch is how many frames go through the model in one run at most; 1: it looks at one at a time.
func (l *Lane) Batch() int {
	if l.batch == nil {
		return 1
	}
	return l.batch.Batch()
}

// Detect runs the model on f and appends what it found to dst, boxes in pixels of the frame and clipped to it.
// Boxes that lie wholly outside the picture are dropped. It allocates nothing once dst has room. An error that
// wraps detect.ErrNotFinite or detect.ErrClassRange comes with the detections that were sound.
func (l *Lane) Detect(ctx context.Context, f *Frame, dst []detect.Detection) ([]detect.Detection, Timing, error) {
	first := len(dst)
	l.health.begin()
	dst, tm, err := l.detect(ctx, f, dst)
	l.count(ctx, dst[first:], tm, err)
	return dst, tm, err
}

// count tells the model's health of a frame that has begun.
func (l *Lane) count(ctx context.Context, found []detect.Detection, tm Timing, err error) {
	if err != nil && ctx.Err() != nil {
		l.health.forget()
	} else {
		l.health.record(found, tm.Infer, err)
	}
}

func (l *Lane) detect(ctx context.Context, f *Frame, dst []detect.Detection) ([]detect.Detection, Timing, error) {
	tm, err := l.fill(0, f, l.sess.Input())
	if err != nil {
		return dst, tm, err
	}
	filled := time.Now()
	outputs, err := l.sess.Run(ctx)
	if err != nil {
		return dst, Timing{}, err
	}
	tm.Infer = time.Since(filled)
	dst, err = l.read(0, f, outputs, dst, &tm)
	return dst, tm, err
}

// fill puts f at position i of the input, whose memory is in.
func (l *Lane) fill(i int, f *Frame, in Input) (Timing, error) {
	p := &l.places[i]
	if p.size != [2]int{f.Width, f.Height} {
		t, err := letterbox.New(l.mode, f.Width, f.Height, in.Width, in.Height)
		if err != nil {
			return Timing{}, fmt.Errorf("place the frame in the model's input: %w", err)
		}
		p.Transform, p.size = t, [2]int{f.Width, f.Height}
	}
	start := time.Now()
	if err := l.pre.Process(f, p.Transform, in); err != nil {
		return Timing{}, fmt.Errorf("preprocess: %w", err)
	}
	return Timing{Preprocess: time.Since(start)}, nil
}

// read appends what the outputs say of f, which was at position i, to dst, and completes tm.
func (l *Lane) read(i int, f *Frame, outputs []detect.Tensor, dst []detect.Detection, tm *Timing) ([]detect.Detection, error) {
	start, first := time.Now(), len(dst)
	dst, err := l.dec.Decode(outputs, dst)
	if err != nil {
		err = fmt.Errorf("decode: %w", err)
	}
	p := &l.places[i]
	kept := dst[:first]
	for _, d := range dst[first:] {
		d.Box.X1, d.Box.Y1 = p.InverseClip(d.Box.X1, d.Box.Y1)
		d.Box.X2, d.Box.Y2 = p.InverseClip(d.Box.X2, d.Box.Y2)
		if d.Box.Area() > 0 {
			kept = append(kept, d)
		}
	}
	end := time.Now()
	tm.Postprocess = end.Sub(start)
	if !f.CapturedAt.IsZero() {
		tm.Latency = end.Sub(f.CapturedAt)
	}
	return kept, err
}

// DetectBatch is Detect for several frames, at most Batch of them, in one run: results has an element for each. A frame
// that cannot be fed or read fails alone, a run that fails fails all that were in it. The time of the run is shared out
// equally, so that the times of models compare whatever their batches. It allocates nothing once Detections have room.
func (l *Lane) DetectBatch(ctx context.Context, frames []*Frame, results []Outcome) {
	if l.batch == nil || len(frames) == 1 {
		for i, f := range frames {
			r := &results[i]
			r.Detections, r.Timing, r.Err = l.Detect(ctx, f, r.Detections)
		}
		return
	}
	l.taken = l.taken[:0]
	for i, f := range frames {
		r := &results[i]
		l.health.begin()
		at := len(l.taken)
		if r.Timing, r.Err = l.fill(at, f, l.batch.InputAt(at)); r.Err != nil {
			l.count(ctx, nil, r.Timing, r.Err)
			continue
		}
		l.taken = append(l.taken, i)
	}
	if len(l.taken) == 0 {
		return
	}
	filled := time.Now()
	outputs, err := l.batch.RunBatch(ctx, len(l.taken))
	share := time.Since(filled) / time.Duration(len(l.taken))
	for at, i := range l.taken {
		r := &results[i]
		if err != nil {
			r.Timing, r.Err = Timing{}, err
			l.count(ctx, nil, r.Timing, err)
			continue
		}
		r.Timing.Infer = share
		first := len(r.Detections)
		r.Detections, r.Err = l.read(at, frames[i], outputs[at], r.Detections, &r.Timing)
		l.count(ctx, r.Detections[first:], r.Timing, r.Err)
	}
}

// Outputs describes what the session yields, for making another decoder.
func (l *Lane) Outputs() []detect.TensorInfo { return l.sess.Outputs() }

// SetDecoder exchanges the decoder. Nobody else may be using the lane: see Slot.Each.
func (l *Lane) SetDecoder(dec detect.Decoder) { l.dec = dec }

func (l *Lane) close() error {
	return errors.Join(l.sess.Close(), l.pre.Close())
}
