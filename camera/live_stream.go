package camera

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"gnomon/engine"
)

// readLimit is when FFmpeg gives up waiting for a packet by itself, should nobody stop it: longer than the first picture
// may take.
const readLimit = openLimit + 2*time.Second

// readLimitOf is readLimit, but for udp://: there FFmpeg waits where nobody can stop it, so it gives up soon by itself. The first
// picture has come with the probing by then; a camera with less than three frames in four seconds needs Options.Stall.
func readLimitOf(o Options) time.Duration {
	if strings.HasPrefix(strings.ToLower(o.URI), "udp://") {
		return max(minStall, o.Stall) + time.Second
	}
	return max(readLimit, o.Stall+2*time.Second)
}

// maxLivePixels bounds a stream's pictures: twice 8K, 200 MB as BGR.
const maxLivePixels = 1 << 26

// stream is a capture of FFmpeg's.
type stream struct {
	h         handle
	uri       string
	transport string
	readLimit time.Duration

	first   shape // of the pictures, as opened
	fps     float64
	stopped atomic.Bool
}

// streamTransport is what FFmpeg is told. Without, it tries TCP and takes UDP when the server knows no TCP (461). TCP comes
// first because one lost packet spoils the pictures up to the next key frame.
func streamTransport(o Options) string {
	if strings.HasPrefix(strings.ToLower(o.URI), "rtsp://") {
		return o.Transport
	}
	return ""
}

// findHost looks the camera's name up before FFmpeg does: FFmpeg's way cannot be interrupted, and with the network down every
// camera would leave a reader behind.
func findHost(ctx context.Context, uri string, lookup func(ctx context.Context, host string) ([]string, error)) error {
	host := hostOf(uri)
	if host == "" || net.ParseIP(host) != nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	if _, err := lookup(limited, host); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s: %w: its name cannot be looked up; check the address and DNS: %w", Redact(uri), ErrUnreachable, err)
	}
	return nil
}

// hostOf is the name or address that FFmpeg takes out of uri; empty: none.
func hostOf(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if literal, ok := strings.CutPrefix(rest, "["); ok { // IPv6
		address, _, _ := strings.Cut(literal, "]")
		zoneless, _, _ := strings.Cut(address, "%")
		return zoneless
	}
	host, _, _ := strings.Cut(rest, ":")
	return host
}

func (s *stream) open() error {
	if !s.h.stream(s.uri, s.transport, openLimit, s.readLimit) {
		return openReason(s.uri, s.h.told())
	}
	s.fps = saneRate(s.h.get(propFPS))
	s.first = shape{width: int(s.h.get(propWidth)), height: int(s.h.get(propHeight)), format: -1}
	switch w, h := s.first.width, s.first.height; {
	case w <= 0 || h <= 0:
		return fmt.Errorf("%s: %w: no picture came within %v by which to tell their size", Redact(s.uri), ErrStalled, openLimit)
	case w*h > maxLivePixels:
		return fmt.Errorf("%s: %w: pictures of %dx%d pixels; choose a smaller stream of this camera", Redact(s.uri), ErrUnsupported, w, h)
	}
	return nil
}

// grab passes over packets that cannot be decoded: until the next good one the camera is as silent.
func (s *stream) grab() (time.Duration, error) {
	for {
		at, ok := s.h.grab()
		if ok {
			return at, s.same(s.h.shape())
		}
		t := s.h.told()
		if s.stopped.Load() || t.readCode != 0 {
			return 0, grabReason(s.uri, t)
		}
	}
}

// same tells whether the picture is like the first one. OpenCV goes on converting by that one, beyond the end of what is
// smaller now.
func (s *stream) same(now shape) error {
	if s.first.format < 0 {
		s.first.format = now.format
	}
	if now == s.first {
		return nil
	}
	return fmt.Errorf("%s: %w: it was %dx%d and is %dx%d now", Redact(s.uri), ErrChanged, s.first.width, s.first.height, now.width, now.height)
}

func (s *stream) retrieve(dst *engine.Frame) error { return s.h.retrieve(dst) }

func (s *stream) stop() {
	s.stopped.Store(true)
	s.h.stop()
}

func (s *stream) close() { s.h.free() }

func (s *stream) rate() float64 { return s.fps }

func (s *stream) negotiated() string {
	if s.fps == 0 {
		return fmt.Sprintf("%dx%d", s.first.width, s.first.height)
	}
	return fmt.Sprintf("%dx%d, %s frames/s announced", s.first.width, s.first.height, number(s.fps))
}
