// Package child reads pictures that a program writes: raw, as YUV4MPEG2 or as JPEGs one after the other. The program is
// a process of its own, so whatever hangs, leaks or crashes in its drivers and decoders is ended from outside and
// started again. Linux, pure Go.
//
// Plan makes the program's command line of a source's URI, Start runs it, Next waits for the next whole picture.
package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// ErrStalled is wrapped by the error about a program that runs and writes no picture.
var ErrStalled = errors.New("no picture arrived in time")

// ErrEnded is wrapped by the error about a program that is no more: a live source has no end.
var ErrEnded = errors.New("the program ended")

// ErrFormat is wrapped by errors about what a program writes when it is none of the formats, or not the one announced.
var ErrFormat = errors.New("what the program writes is not understood")

// ErrChanged is wrapped by the error about pictures that have another size all of a sudden. A new start reads them.
var ErrChanged = errors.New("the pictures have another size than before")

// ErrAuth is wrapped by the error about a program that a camera has refused.
var ErrAuth = errors.New("the camera refuses the user or the password")

// ErrMissing is wrapped by the error about a program that is not installed, or an element of GStreamer that is not.
var ErrMissing = errors.New("it is not installed")

const (
	// startLimit is how long the first picture may take: a pipeline negotiates, a sensor settles its exposure.
	startLimit = 10 * time.Second

	// stallLimit and stallIntervals are how long the others may take unless Options.Stall says so: what a lost frame or a
	// busy processor delays is forgiven, what a person notices is not.
	stallLimit     = 2 * time.Second
	stallIntervals = 3

	// maxSkip bounds how many pictures Next passes over for a newer one, so that a program that floods cannot keep it.
	maxSkip = 64
)

// Options say how a program is read.
type Options struct {
	Command Command

	// Stall is how long to wait for a picture; 0: 2 s or three intervals, the longer. The first one has 10 s in any case.
	Stall time.Duration

	// Buffer returns the memory for pictures like p, whose Data is nil: p.Size() bytes, which Next fills again and again.
	// It is called before the first raw picture. Nil: Go's.
	Buffer func(p Picture) ([]byte, error)
}

// Stream is a running program and its pictures. All but Close is for one goroutine.
type Stream struct {
	o       Options
	name    string // of the program, for errors
	process *process
	pipe    *pipe
	in      *reader
	frames  framer // nil until the format is known
	picture Picture
	skipped uint64
	failed  error

	first    time.Time     // when the first picture arrived
	last     time.Time     // and the last
	interval time.Duration // between pictures, smoothed; 0: unknown

	closing sync.Once
	closed  chan struct{}
	result  error // of Close
}

// Start runs the program. Whoever gets a Stream closes it.
func Start(o Options) (*Stream, error) {
	path, err := o.Command.find()
	if err != nil {
		return nil, err
	}
	s := &Stream{o: o, name: o.Command.name(), closed: make(chan struct{})}
	if o.Command.Rate > 0 {
		s.interval = time.Duration(float64(time.Second) / o.Command.Rate)
	}
	out, in, err := openPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for %s: %w", s.name, err)
	}
	s.process, err = startProcess(path, o.Command, in)
	_ = in.Close() // the program has its own
	if err == nil {
		s.pipe, err = newPipe(out)
	}
	if err != nil {
		if s.process != nil {
			s.process.stop()
		}
		return nil, errors.Join(fmt.Errorf("start %s: %w", s.name, err), out.Close())
	}
	s.in = newReader(s.pipe)
	return s, nil
}

// Next waits for the next whole picture, which Picture then returns. When several are there already it is the newest.
// An error is final, but for the context's.
func (s *Stream) Next(ctx context.Context) error {
	if s.failed != nil {
		return s.failed
	}
	limit := s.patience()
	s.pipe.begin(ctx, time.Now().Add(limit))
	skipped, err := s.read()
	s.skipped += uint64(skipped)
	if err == nil {
		s.arrived(time.Now(), skipped)
		return nil
	}
	if e := ctx.Err(); e != nil && errors.Is(err, e) {
		return e // what was read of a picture is kept
	}
	s.failed = s.explain(err, limit)
	return s.failed
}

func (s *Stream) read() (skipped int, err error) {
	if s.frames == nil {
		if s.frames, err = newFramer(s.in, s.o); err != nil {
			return 0, err
		}
	}
	return s.frames.next(&s.picture)
}

// arrived notes when, and how often pictures come.
func (s *Stream) arrived(now time.Time, skipped int) {
	if s.first.IsZero() {
		s.first, s.last = now, now
		if rate := s.Rate(); rate > 0 {
			s.interval = time.Duration(float64(time.Second) / rate)
		}
		return
	}
	gap := now.Sub(s.last) / time.Duration(skipped+1)
	s.last = now
	if s.interval == 0 {
		s.interval = gap
		return
	}
	s.interval += (gap - s.interval) / 8
}

// patience is how long to wait for the next picture.
func (s *Stream) patience() time.Duration {
	limit := s.o.Stall
	if limit <= 0 {
		limit = max(stallLimit, stallIntervals*s.interval)
	}
	if s.first.IsZero() || s.interval == 0 && s.o.Stall <= 0 {
		limit = max(limit, startLimit)
	}
	return limit
}

// Picture is the last one that Next read. Its Data is overwritten by the next Next. PTS is when it arrived, since the
// first: programs send no time that could be trusted.
func (s *Stream) Picture() Picture {
	p := s.picture
	p.PTS = s.last.Sub(s.first)
	return p
}

// Skipped counts the pictures that were passed over because a newer one was there.
func (s *Stream) Skipped() uint64 { return s.skipped }

// Rate is the frame rate that the program claims or was asked for, frames a second; 0: unknown.
func (s *Stream) Rate() float64 {
	if y, ok := s.frames.(*y4m); ok && y.rate > 0 {
		return y.rate
	}
	return s.o.Command.Rate
}

// explain turns what reading said into what became of the program.
func (s *Stream) explain(err error, limit time.Duration) error {
	switch {
	case errors.Is(err, os.ErrClosed):
		return fmt.Errorf("%s: %w: it was closed", s.name, ErrEnded)
	case errors.Is(err, ErrStalled):
		s.process.terminate()
		return fmt.Errorf("%s wrote no whole picture for %v: %w%s", s.name, limit, ErrStalled, s.process.said())
	case errors.Is(err, errEnd):
		status := s.process.ended()
		return fmt.Errorf("%s: %w (%s)%s", s.name, s.process.cause(), status, s.process.said())
	}
	s.process.terminate()
	return fmt.Errorf("%s: %w%s", s.name, err, s.process.said())
}

// Gone is closed once the program has ended.
func (s *Stream) Gone() <-chan struct{} { return s.process.done }

// Close ends the program and everything that it started in its process group: asked first, killed after half a second.
// A Next in another goroutine returns soon. It is idempotent; an error means that the program cannot be killed, which
// is for the kernel to sort out.
func (s *Stream) Close() error {
	s.closing.Do(func() {
		s.process.terminate()
		s.result = s.pipe.Close()
		if !s.process.stop() {
			s.result = errors.Join(s.result, fmt.Errorf("%s (process %d) does not end although it was killed: a driver holds it", s.name, s.process.id()))
		}
		close(s.closed)
	})
	<-s.closed
	return s.result
}
