//go:build opencv

package camera

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"gocv.io/x/gocv"

	"gnomon/engine"
)

// propThreads is a property of OpenCV's VideoCapture that gocv does not name.
const propThreads gocv.VideoCaptureProperties = 70

// video reads a file through VideoCapture.
type video struct {
	o Options

	// mu guards cap against Close while a Read is in progress: nothing native is freed outside it.
	mu     sync.Mutex
	cap    *gocv.VideoCapture
	closed bool

	fps      float64
	expected float64 // frames that the header announces; 0: unknown
	inLoop   uint64  // frames since the last opening
	seq      uint64
	base     time.Duration // stream time at the last opening
	last     time.Duration // stream time of the last frame
	epoch    time.Time     // when stream time 0 was due
	timer    *time.Timer
}

func openVideo(o Options) (*video, error) {
	v := &video{o: o}
	if err := v.reopen(); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// reopen opens the capture at the first frame. The caller holds mu or is the only one to know v.
func (v *video) reopen() error {
	if v.cap != nil {
		_ = v.cap.Close()
		v.cap = nil
	}
	// One decoding thread: decoding is a small part of the work, and threads of its own would fight the models'.
	c, err := gocv.VideoCaptureFileWithAPIParams(v.o.URI, gocv.VideoCaptureFFmpeg, []gocv.VideoCaptureProperties{propThreads, 1})
	if c != nil && (err != nil || !c.IsOpened()) {
		_ = c.Close()
		return fmt.Errorf("%s: %w", v.o.URI, ErrNotMedia)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.o.URI, ErrNotMedia)
	}
	v.cap = c
	v.fps = saneRate(c.Get(gocv.VideoCaptureFPS))
	v.expected = 0
	if n := c.Get(gocv.VideoCaptureFrameCount); n > 0 && !math.IsInf(n, 0) {
		v.expected = n
	}
	v.inLoop = 0
	return nil
}

// Name is the source's name.
func (v *video) Name() string { return v.o.Name }

// Live is false: no frame is lost.
func (v *video) Live() bool { return false }

// Rate is the frame rate that the file claims, frames a second; 0: unknown.
func (v *video) Rate() float64 { return v.fps }

// Frames is the number of frames that the file announces; 0: unknown or endless.
func (v *video) Frames() int {
	if v.o.Loop {
		return 0
	}
	return int(v.expected)
}

// Read fills f with the next frame.
func (v *video) Read(ctx context.Context, f *engine.Frame) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b := bufferOf(f)
	at, err := v.next(b)
	if err != nil {
		return err
	}
	if v.o.Realtime {
		if err := v.pace(ctx, at); err != nil {
			return err
		}
	}
	f.CapturedAt = time.Now()
	f.PTS, f.Seq, f.Origin = at, v.seq, ""
	v.seq++
	return b.expose(f)
}

// next decodes one picture into b and returns its place in the stream.
func (v *video) next(b *matBuffer) (time.Duration, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return 0, io.EOF
	}
	if !v.cap.Read(&b.mat) || b.mat.Empty() {
		if err := v.ended(); err != nil {
			return 0, err
		}
		if err := v.reopen(); err != nil {
			return 0, err
		}
		if !v.cap.Read(&b.mat) || b.mat.Empty() {
			return 0, fmt.Errorf("%s: %w", v.o.URI, ErrNotMedia)
		}
	}
	v.inLoop++
	at := v.position()
	v.last = at
	return at, nil
}

// position is the stream time of the picture just read. Files without time stamps are counted out by their rate.
func (v *video) position() time.Duration {
	ms := v.cap.Get(gocv.VideoCapturePosMsec)
	at := v.base + time.Duration(math.Round(ms*1e3))*time.Microsecond
	if v.inLoop > 1 && at <= v.last || ms < 0 || math.IsNaN(ms) || math.IsInf(ms, 0) {
		at = v.last + v.interval()
	}
	return at
}

// interval is the time from one frame to the next.
func (v *video) interval() time.Duration {
	fps := v.fps
	if fps == 0 {
		fps = 25
	}
	return time.Duration(float64(time.Second) / fps)
}

// ended decides what the end of the capture means: nil to start again, io.EOF, or an error.
func (v *video) ended() error {
	switch {
	case v.inLoop == 0:
		return fmt.Errorf("%s: %w: no picture in it can be decoded", v.o.URI, ErrNotMedia)
	case v.o.Loop:
		v.base = v.last + v.interval()
		return nil
	case cutShort(v.o.URI):
		return fmt.Errorf("%s: %w: its header announces %.0f frames and %d could be read", v.o.URI, ErrTruncated, v.expected, v.inLoop)
	}
	return io.EOF
}

// pace waits until the frame at stream time at is due.
func (v *video) pace(ctx context.Context, at time.Duration) error {
	now := time.Now()
	if v.epoch.IsZero() {
		v.epoch = now.Add(-at)
	}
	wait := v.epoch.Add(at).Sub(now)
	if wait < -time.Second { // fell behind for good: the machine was asleep or too slow; don't race to catch up
		v.epoch = now.Add(-at)
	}
	if wait <= 0 {
		return nil
	}
	if v.timer == nil {
		v.timer = time.NewTimer(wait)
	} else {
		v.timer.Reset(wait)
	}
	select {
	case <-v.timer.C:
		return nil
	case <-ctx.Done():
		v.timer.Stop()
		return ctx.Err()
	}
}

// Close frees the capture, after the read in progress if there is one.
func (v *video) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil
	}
	v.closed = true
	if v.cap == nil {
		return nil
	}
	err := v.cap.Close()
	v.cap = nil
	return err
}

// String names the source in logs.
func (v *video) String() string { return File.String() + " " + v.o.URI }
