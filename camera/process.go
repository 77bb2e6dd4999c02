//go:build opencv

package camera

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"gocv.io/x/gocv"

	"gnomon/camera/child"
	"gnomon/engine"
)

// program is a source whose pictures another program writes. The program starts with it; whether it writes pictures, the
// first Grab finds out, within ten seconds.
type program struct {
	o Options
	s *child.Stream

	closed atomic.Bool
	left   atomic.Bool // what became of the program has been looked at
	mu     sync.Mutex  // guards memory against Close while a Grab or Retrieve is in progress
	memory *gocv.Mat   // of raw pictures, as they come; nil: none

	seq  uint64 // pictures grabbed
	at   time.Time
	held bool // a picture is there to be retrieved

	written atomic.Pointer[written]
	skipped atomic.Uint64
}

// written is what a program writes.
type written struct {
	format        string
	width, height int
	rate          float64 // frames a second; 0: unknown
}

func openProcess(o Options) (engine.Source, error) {
	if Abandoned() >= maxAbandoned {
		return nil, fmt.Errorf("%s is not opened: %w", Redact(child.Redact(o.URI)), ErrTooManyAbandoned)
	}
	c, err := child.Plan(o.URI, child.Ask{Width: o.Width, Height: o.Height, FPS: o.FPS, Format: o.Format, Transport: o.Transport})
	if err != nil {
		return nil, because(err)
	}
	p := &program{o: o}
	p.written.Store(&written{rate: c.Rate})
	if p.s, err = child.Start(child.Options{Command: c, Stall: o.Stall, Buffer: p.buffer}); err != nil {
		return nil, because(err)
	}
	return p, nil
}

// reason is an error that says why itself, and is one of this package's as well.
type reason struct{ why, as error }

func (r reason) Error() string   { return r.why.Error() }
func (r reason) Unwrap() []error { return []error{r.why, r.as} }

// because makes an error of the package child one of the errors of live sources.
func because(err error) error {
	for _, known := range [...]struct{ why, as error }{
		{child.ErrStalled, ErrStalled},
		{child.ErrEnded, ErrEnded},
		{child.ErrAuth, ErrAuth},
		{child.ErrChanged, ErrChanged},
		{child.ErrFormat, ErrUnsupported},
		{child.ErrMissing, ErrUnsupported},
	} {
		if errors.Is(err, known.why) {
			return reason{err, known.as}
		}
	}
	return err
}

// buffer is OpenCV's memory, so that pictures come out of the pipe where they are converted. Grab holds mu.
func (p *program) buffer(like child.Picture) ([]byte, error) {
	rows, kind := like.Height, gocv.MatTypeCV8UC1
	switch like.Format {
	case child.BGR, child.RGB:
		kind = gocv.MatTypeCV8UC3
	case child.YUYV:
		kind = gocv.MatTypeCV8UC2
	case child.I420, child.NV12:
		rows += rows / 2
	}
	m := gocv.NewMatWithSize(rows, like.Width, kind)
	data, err := m.DataPtrUint8()
	if err != nil || p.memory != nil { // a program's raw pictures have one size
		return nil, errors.Join(err, m.Close(), errors.ErrUnsupported)
	}
	liveMats.Add(1)
	p.memory = &m
	return data, nil
}

// Name is the source's name.
func (p *program) Name() string { return p.o.Name }

// Live is true: whatever a program writes is new when it comes.
func (p *program) Live() bool { return true }

// Frames is 0: nobody knows how many there will be.
func (p *program) Frames() int { return 0 }

// Rate is the frame rate that the program claims or was asked for, frames a second; 0: unknown.
func (p *program) Rate() float64 { return saneRate(p.written.Load().rate) }

// Negotiated is what the program writes, for logs; empty until there was a picture.
func (p *program) Negotiated() string {
	w := p.written.Load()
	switch {
	case w.format == "":
		return ""
	case w.rate > 0:
		return fmt.Sprintf("%dx%d %s at %s frames/s", w.width, w.height, w.format, number(w.rate))
	}
	return fmt.Sprintf("%dx%d %s", w.width, w.height, w.format)
}

// Skipped counts the pictures that were there already when a newer one was grabbed in their place. Any goroutine may ask.
func (p *program) Skipped() uint64 { return p.skipped.Load() }

// Grab waits for the next picture. A program that writes none for Options.Stall is ended; one that failed or ended is not
// started again: Close the source and open another.
func (p *program) Grab(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() {
		return io.EOF
	}
	p.held = false // what is read now overwrites it
	switch err := p.s.Next(ctx); {
	case err == nil:
	case p.closed.Load():
		return io.EOF
	case p.seq > 0 && errors.Is(err, child.ErrFormat): // it was understood until now: a new start may do
		return reason{err, ErrEnded}
	default:
		return because(err)
	}
	p.at, p.held = time.Now(), true
	p.seq++
	p.skipped.Store(p.s.Skipped())
	picture, w := p.s.Picture(), p.written.Load()
	if picture.Format != w.format || picture.Width != w.width || picture.Height != w.height {
		p.written.Store(&written{picture.Format, picture.Width, picture.Height, p.s.Rate()})
	}
	return nil
}

// Retrieve converts the picture that was grabbed last. YUV is taken for ITU-R BT.601 in limited range, as OpenCV does.
// PTS is when the picture arrived, since the first.
func (p *program) Retrieve(f *engine.Frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed.Load():
		return io.EOF
	case !p.held:
		return errors.New("no picture was grabbed")
	}
	picture := p.s.Picture()
	b := bufferOf(f)
	if err := p.convert(picture, b); err != nil {
		if picture.Format == child.MJPEG { // one that was cut or damaged on its way
			err = reason{err, engine.ErrBadPicture}
		}
		return fmt.Errorf("%s: a picture cannot be converted: %w", p, err)
	}
	f.CapturedAt, f.Seq, f.PTS, f.Origin = p.at, p.seq-1, picture.PTS, ""
	return b.expose(f)
}

func (p *program) convert(picture child.Picture, b *matBuffer) error {
	code := gocv.ColorYUVToBGRIYUV
	switch picture.Format {
	case child.MJPEG:
		return decode(picture.Data, b)
	case child.BGR:
		return p.memory.CopyTo(&b.mat)
	case child.RGB:
		code = gocv.ColorRGBToBGR
	case child.Gray:
		code = gocv.ColorGrayToBGR
	case child.NV12:
		code = gocv.ColorYUVToBGRNV12
	case child.YUYV:
		code = gocv.ColorYUVToBGRYUY2
	}
	return gocv.CvtColor(*p.memory, &b.mat, code)
}

// decode reads a JPEG. It takes a new Mat: OpenCV 4.10's imdecode into one that exists leaves the last picture, or what
// malloc returned, in it when it fails, and does not say so.
func decode(data []byte, b *matBuffer) error {
	m, err := gocv.IMDecode(data, gocv.IMReadColor)
	if m.Empty() { // err alone may be about another call: gocv keeps one for the whole process
		return errors.Join(ErrNotMedia, err, m.Close())
	}
	last := b.mat
	b.mat = m
	return last.Close()
}

// Read is Grab and Retrieve.
func (p *program) Read(ctx context.Context, f *engine.Frame) error {
	if err := p.Grab(ctx); err != nil {
		return err
	}
	return p.Retrieve(f)
}

// Close ends the program, by force after half a second, with everything that it started. A Grab in another goroutine
// returns soon.
func (p *program) Close() error {
	p.closed.Store(true)
	err := p.s.Close()
	if gone := p.s.Gone(); p.left.CompareAndSwap(false, true) {
		select {
		case <-gone:
		default: // a driver holds it; nobody knows for how long
			abandoned.Add(1)
			go func() { <-gone; abandoned.Add(-1) }()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.memory != nil {
		liveMats.Add(-1)
		err = errors.Join(err, p.memory.Close())
		p.memory = nil
	}
	return err
}

// String names the source in logs.
func (p *program) String() string { return Process.String() + " " + Redact(child.Redact(p.o.URI)) }
