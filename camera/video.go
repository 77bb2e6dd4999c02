//go:build opencv

package camera

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"gocv.io/x/gocv"

	"gnomon/engine"
)

// Properties of OpenCV's VideoCapture that gocv does not name.
const (
	propOpenTimeout gocv.VideoCaptureProperties = 53 // milliseconds
	propReadTimeout gocv.VideoCaptureProperties = 54 // milliseconds
	propThreads     gocv.VideoCaptureProperties = 70
)

const (
	// streamTimeout bounds opening a stream and waiting for its next packet, instead of FFmpeg's 30 s: a camera
	// that is silent for this long is gone.
	streamTimeout = 10 * time.Second

	// maxRate bounds a frame rate that a file claims; nonsense in a header must not stop the pacing.
	maxRate = 1000
)

// video reads a file, a device or a stream through VideoCapture.
type video struct {
	o    Options
	kind Kind

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

func openVideo(o Options, kind Kind) (*video, error) {
	v := &video{o: o, kind: kind}
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
	c, err := v.openCapture()
	if c != nil && (err != nil || !c.IsOpened()) {
		_ = c.Close()
		return v.openError()
	}
	if err != nil {
		return v.openError()
	}
	v.cap = c
	v.fps = c.Get(gocv.VideoCaptureFPS)
	if !(v.fps > 0 && v.fps <= maxRate) {
		v.fps = 0
	}
	v.expected = 0
	if v.kind == File {
		if n := c.Get(gocv.VideoCaptureFrameCount); n > 0 && !math.IsInf(n, 0) {
			v.expected = n
		}
	}
	v.inLoop = 0
	return nil
}

func (v *video) openCapture() (*gocv.VideoCapture, error) {
	if v.kind == Device {
		var params []gocv.VideoCaptureProperties
		if v.o.Width > 0 {
			params = append(params, gocv.VideoCaptureFrameWidth, gocv.VideoCaptureProperties(v.o.Width))
		}
		if v.o.Height > 0 {
			params = append(params, gocv.VideoCaptureFrameHeight, gocv.VideoCaptureProperties(v.o.Height))
		}
		if v.o.FPS > 0 {
			params = append(params, gocv.VideoCaptureFPS, gocv.VideoCaptureProperties(math.Round(v.o.FPS)))
		}
		if len(params) == 0 {
			return gocv.VideoCaptureFileWithAPI(v.o.URI, gocv.VideoCaptureV4L2)
		}
		return gocv.VideoCaptureFileWithAPIParams(v.o.URI, gocv.VideoCaptureV4L2, params)
	}
	// One decoding thread: decoding is a small part of the work, and threads of its own would fight the models'.
	params := []gocv.VideoCaptureProperties{propThreads, 1}
	if v.kind == Stream {
		ms := gocv.VideoCaptureProperties(streamTimeout.Milliseconds())
		params = append(params, propOpenTimeout, ms, propReadTimeout, ms)
	}
	return gocv.VideoCaptureFileWithAPIParams(v.o.URI, gocv.VideoCaptureFFmpeg, params)
}

func (v *video) openError() error {
	switch v.kind {
	case Device:
		if _, err := os.Stat(v.o.URI); err != nil {
			return fmt.Errorf("%s: no such camera; `ls /dev/video*` shows those that there are", v.o.URI)
		}
		return fmt.Errorf("%s cannot be opened: it is in use by another program, is not a capture device, or this user may not read it (group video)", v.o.URI)
	case Stream:
		return fmt.Errorf("%s cannot be opened: check the address, the user and the password, and that the camera is up", Redact(v.o.URI))
	}
	return fmt.Errorf("%s: %w", v.o.URI, ErrNotMedia)
}

// Name is the source's name.
func (v *video) Name() string { return v.o.Name }

// Live tells whether this is a camera or a stream.
func (v *video) Live() bool { return v.kind.Live() }

// Rate is the frame rate that the file or camera claims, frames a second; 0: unknown.
func (v *video) Rate() float64 { return v.fps }

// Frames is the number of frames that the file announces; 0: unknown, live or endless.
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
	if v.kind == File && v.o.Realtime {
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
	if v.kind != File {
		if v.epoch.IsZero() {
			v.epoch = time.Now()
		}
		return time.Since(v.epoch)
	}
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
	case v.kind == Device:
		return fmt.Errorf("%s delivers no more pictures; was it unplugged?", v.o.URI)
	case v.kind == Stream:
		return fmt.Errorf("%s ended or was silent for %v", Redact(v.o.URI), streamTimeout)
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
func (v *video) String() string { return strings.TrimSpace(v.kind.String() + " " + Redact(v.o.URI)) }
