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
// reads them. A model has as many lanes as frames may be in work at once. One goroutine at a time.
type Lane struct {
	pre  Preprocessor
	sess Session
	dec  detect.Decoder
	mode letterbox.Mode

	placed letterbox.Transform // of the last frame; a camera's size rarely changes
	size   [2]int              // the source size that placed is for

	health *health // of the model that the lane belongs to; nil in no slot
}

// NewLane joins the three parts, which the lane then owns.
func NewLane(pre Preprocessor, sess Session, dec detect.Decoder, mode letterbox.Mode) *Lane {
	return &Lane{pre: pre, sess: sess, dec: dec, mode: mode}
}

// Detect runs the model on f and appends what it found to dst, boxes in pixels of the frame and clipped to it.
// Boxes that lie wholly outside the picture are dropped. It allocates nothing once dst has room. An error that
// wraps detect.ErrNotFinite or detect.ErrClassRange comes with the detections that were sound.
func (l *Lane) Detect(ctx context.Context, f *Frame, dst []detect.Detection) ([]detect.Detection, Timing, error) {
	first := len(dst)
	l.health.begin()
	dst, tm, err := l.detect(ctx, f, dst)
	if err != nil && ctx.Err() != nil {
		l.health.forget()
	} else {
		l.health.record(dst[first:], tm.Infer, err)
	}
	return dst, tm, err
}

func (l *Lane) detect(ctx context.Context, f *Frame, dst []detect.Detection) ([]detect.Detection, Timing, error) {
	var tm Timing
	in := l.sess.Input()
	if l.size != [2]int{f.Width, f.Height} {
		t, err := letterbox.New(l.mode, f.Width, f.Height, in.Width, in.Height)
		if err != nil {
			return dst, tm, fmt.Errorf("place the frame in the model's input: %w", err)
		}
		l.placed, l.size = t, [2]int{f.Width, f.Height}
	}
	start := time.Now()
	if err := l.pre.Process(f, l.placed, in); err != nil {
		return dst, tm, fmt.Errorf("preprocess: %w", err)
	}
	filled := time.Now()
	outputs, err := l.sess.Run(ctx)
	if err != nil {
		return dst, tm, err
	}
	ran := time.Now()
	first := len(dst)
	dst, err = l.dec.Decode(outputs, dst)
	if err != nil {
		err = fmt.Errorf("decode: %w", err)
	}
	kept := dst[:first]
	for _, d := range dst[first:] {
		d.Box.X1, d.Box.Y1 = l.placed.InverseClip(d.Box.X1, d.Box.Y1)
		d.Box.X2, d.Box.Y2 = l.placed.InverseClip(d.Box.X2, d.Box.Y2)
		if d.Box.Area() > 0 {
			kept = append(kept, d)
		}
	}
	end := time.Now()
	tm = Timing{Preprocess: filled.Sub(start), Infer: ran.Sub(filled), Postprocess: end.Sub(ran)}
	if !f.CapturedAt.IsZero() {
		tm.Latency = end.Sub(f.CapturedAt)
	}
	return kept, tm, err
}

// Outputs describes what the session yields, for making another decoder.
func (l *Lane) Outputs() []detect.TensorInfo { return l.sess.Outputs() }

// SetDecoder exchanges the decoder. Nobody else may be using the lane: see Slot.Each.
func (l *Lane) SetDecoder(dec detect.Decoder) { l.dec = dec }

func (l *Lane) close() error {
	return errors.Join(l.sess.Close(), l.pre.Close())
}
