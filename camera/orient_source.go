//go:build opencv

package camera

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"gnomon/engine"
)

// oriented is a source whose pictures are cut, turned and mirrored.
type oriented struct {
	engine.Source
	as orientation

	mu     sync.Mutex   // guards from against Close
	from   engine.Frame // what the source delivers, where pixels must move
	closed bool
}

// orientedLive is the same of a Grabber: a picture that is passed over costs no more than without.
type orientedLive struct {
	*oriented
	grabber engine.Grabber
}

// orient puts what o asks for around src, which the result owns, or returns it as it is.
func orient(o Options, src engine.Source) engine.Source {
	as := orientationOf(o)
	if as.none() {
		return src
	}
	t := &oriented{Source: src, as: as}
	if g, ok := src.(engine.Grabber); ok {
		return &orientedLive{t, g}
	}
	return t
}

// Read fills f with the next picture, the way it should be.
func (t *oriented) Read(ctx context.Context, f *engine.Frame) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return io.EOF
	}
	into := t.into(f)
	if err := t.Source.Read(ctx, into); err != nil {
		return err
	}
	return t.finish(into, f)
}

// Read is Grab and Retrieve.
func (t *orientedLive) Read(ctx context.Context, f *engine.Frame) error {
	if err := t.Grab(ctx); err != nil {
		return err
	}
	return t.Retrieve(f)
}

// Grab is the camera's own.
func (t *orientedLive) Grab(ctx context.Context) error { return t.grabber.Grab(ctx) }

// Retrieve makes a frame of the picture that was grabbed last, the way it should be.
func (t *orientedLive) Retrieve(f *engine.Frame) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return io.EOF
	}
	into := t.into(f)
	if err := t.grabber.Retrieve(into); err != nil {
		return err
	}
	return t.finish(into, f)
}

// into is where the source's picture goes: straight to f if no pixel moves.
func (t *oriented) into(f *engine.Frame) *engine.Frame {
	if t.as.turns() {
		return &t.from
	}
	return f
}

func (t *oriented) finish(from, f *engine.Frame) error {
	if from.Format != engine.BGR24 {
		return fmt.Errorf("%s: turn the picture: %w", t.Name(), errPixels)
	}
	t.as.cut(from)
	if from == f {
		return nil
	}
	b := bufferOf(f)
	if err := place(from, t.as.quarters, t.as.mirror, &b.mat); err != nil {
		return fmt.Errorf("%s: turn the picture: %w", t.Name(), err)
	}
	f.Seq, f.CapturedAt, f.PTS, f.Origin = from.Seq, from.CapturedAt, from.PTS, from.Origin
	return b.expose(f)
}

// Close closes the source, and frees what turning its pictures needed.
func (t *oriented) Close() error {
	err := t.Source.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	return errors.Join(err, t.from.Close())
}

// Rate is the source's; 0: unknown.
func (t *oriented) Rate() float64 {
	if r, ok := t.Source.(interface{ Rate() float64 }); ok {
		return r.Rate()
	}
	return 0
}

// Frames is the source's number of frames; 0: unknown.
func (t *oriented) Frames() int {
	if n, ok := t.Source.(interface{ Frames() int }); ok {
		return n.Frames()
	}
	return 0
}

// Negotiated is the source's; empty where it has nothing to say.
func (t *oriented) Negotiated() string {
	if n, ok := t.Source.(interface{ Negotiated() string }); ok {
		return n.Negotiated()
	}
	return ""
}

// String names the source in logs.
func (t *oriented) String() string {
	if s, ok := t.Source.(fmt.Stringer); ok {
		return s.String()
	}
	return t.Name()
}
