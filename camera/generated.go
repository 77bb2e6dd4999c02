//go:build opencv

package camera

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"gocv.io/x/gocv"

	"gnomon/camera/testcard"
	"gnomon/engine"
)

// The size and rate of generated pictures where Options has none.
const (
	generatedWidth  = 1280
	generatedHeight = 720
)

// generated is a camera before a test card. It comes by the clock as a camera does, and takes each picture when it is
// grabbed: a reader that is late finds the newest, and those that nobody waited for are never made. So the picture with
// Seq n is always picture n of the card, and testcard.New with the size and rate of the source knows what is in it.
type generated struct {
	o        Options
	card     *testcard.Card
	interval time.Duration
	timer    *time.Timer
	closed   chan struct{}
	close    sync.Once

	opened time.Time
	due    time.Time // of the next picture
	next   uint64
	at     time.Time // of the grab
}

func openGenerated(o Options) (engine.Source, error) {
	const scheme = "test:"
	if o.URI != scheme {
		return nil, fmt.Errorf("%s: nothing may follow %s; width, height and fps have settings of their own", o.URI, scheme)
	}
	if o.Width == 0 {
		o.Width = generatedWidth
	}
	if o.Height == 0 {
		o.Height = generatedHeight
	}
	if o.FPS == 0 {
		o.FPS = testcard.DefaultRate
	}
	if lo, hi := min(o.Width, o.Height), max(o.Width, o.Height); lo < testcard.MinSide || hi > testcard.MaxSide {
		return nil, fmt.Errorf("%s %dx%d: width and height must be from %d to %d pixels", scheme, o.Width, o.Height, testcard.MinSide, testcard.MaxSide)
	}
	if !(o.FPS > 0 && o.FPS <= maxRate) {
		return nil, fmt.Errorf("%s %v frames/s: the rate must be above 0 and at most %d", scheme, o.FPS, maxRate)
	}
	now := time.Now()
	g := &generated{
		o: o, card: testcard.New(o.Width, o.Height, o.FPS), interval: time.Duration(float64(time.Second) / o.FPS),
		timer: time.NewTimer(0), closed: make(chan struct{}), opened: now, due: now,
	}
	return g, nil
}

// Name is the source's name.
func (g *generated) Name() string { return g.o.Name }

// Live is true: the pictures come by the clock.
func (g *generated) Live() bool { return true }

// Rate is the rate of the pictures, frames a second.
func (g *generated) Rate() float64 { return g.o.FPS }

// Frames is 0: they never end.
func (g *generated) Frames() int { return 0 }

// Grab waits for the next picture.
func (g *generated) Grab(ctx context.Context) error {
	g.timer.Reset(time.Until(g.due))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-g.closed:
		return io.EOF
	case <-g.timer.C:
	}
	select { // they win over a picture that is due as well
	case <-ctx.Done():
		return ctx.Err()
	case <-g.closed:
		return io.EOF
	default:
	}
	g.at = time.Now()
	g.due = g.due.Add(g.interval)
	if g.at.After(g.due) { // what should have come meanwhile is lost
		g.due = g.at.Add(g.interval)
	}
	g.next++
	return nil
}

// Retrieve draws the picture that was grabbed.
func (g *generated) Retrieve(dst *engine.Frame) error {
	if g.next == 0 {
		return errors.New("no picture has been grabbed yet")
	}
	b := bufferOf(dst)
	if b.mat.Type() != gocv.MatTypeCV8UC3 || b.mat.Cols() != g.o.Width || b.mat.Rows() != g.o.Height {
		if err := b.mat.Close(); err != nil {
			return fmt.Errorf("make room for a picture: %w", err)
		}
		b.mat = gocv.NewMatWithSize(g.o.Height, g.o.Width, gocv.MatTypeCV8UC3)
	}
	if err := b.expose(dst); err != nil {
		return err
	}
	n := g.next - 1
	g.card.Draw(n, dst.Pix, dst.Stride)
	dst.Seq, dst.CapturedAt, dst.PTS, dst.Origin = n, g.at, g.at.Sub(g.opened), ""
	return nil
}

// Read is Grab and Retrieve.
func (g *generated) Read(ctx context.Context, dst *engine.Frame) error {
	if err := g.Grab(ctx); err != nil {
		return err
	}
	return g.Retrieve(dst)
}

// Close ends a Grab that waits.
func (g *generated) Close() error {
	g.close.Do(func() { close(g.closed) })
	return nil
}

// String names the source in logs.
func (g *generated) String() string {
	return fmt.Sprintf("%v %dx%d at %.4g frames/s", Generated, g.o.Width, g.o.Height, g.o.FPS)
}
