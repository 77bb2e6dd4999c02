//go:build opencv

package camera

// #cgo LDFLAGS: -Wl,--wrap=avformat_open_input -Wl,--wrap=avformat_find_stream_info -Wl,--wrap=av_read_frame
// #cgo LDFLAGS: -Wl,--wrap=avcodec_receive_frame -Wl,--wrap=ff_check_interrupt
// #include <stdlib.h>
// #include "live_capture.h"
import "C"

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
	"unsafe"

	"gocv.io/x/gocv"

	"gnomon/camera/v4l2"
	"gnomon/engine"
)

// installDecoderLog makes FFmpeg's errors go to the capture that they are about.
func installDecoderLog() { C.gnomon_decoder_install() }

// native is a VideoCapture.
type native struct {
	p    *C.gnomon_capture
	said C.gnomon_told
	at   C.double // milliseconds
}

func newNative() (*native, error) {
	p := C.gnomon_capture_new()
	if p == nil {
		return nil, errors.New("out of memory")
	}
	return &native{p: p}, nil
}

// openStream opens what FFmpeg reads from the network.
func openStream(ctx context.Context, o Options) (engine.Source, error) {
	if err := findHost(ctx, o.URI, net.DefaultResolver.LookupHost); err != nil {
		return nil, err
	}
	n, err := newNative()
	if err != nil {
		return nil, err
	}
	return opened(openLive(ctx, o, Stream, Redact(o.URI), &stream{h: n, uri: o.URI, transport: streamTransport(o), readLimit: readLimitOf(o)}))
}

// openDevice opens what Video4Linux reads.
func openDevice(ctx context.Context, o Options) (engine.Source, error) {
	path, err := findDevice(ctx, o.URI, v4l2.List)
	if err != nil {
		return nil, err
	}
	n, err := newNative()
	if err != nil {
		return nil, err
	}
	return opened(openLive(ctx, o, Device, path, &device{h: n, path: path, asked: o, stat: os.Stat}))
}

// opened makes no interface of a nil pointer.
func opened(l *live, err error) (engine.Source, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (n *native) stream(uri, transport string, open, read time.Duration) bool {
	u, t := C.CString(uri), C.CString(transport)
	defer C.free(unsafe.Pointer(u))
	defer C.free(unsafe.Pointer(t))
	return C.gnomon_capture_stream(n.p, u, t, C.int(open.Milliseconds()), C.int(read.Milliseconds()), &n.said) != 0
}

func (n *native) device(path string) bool {
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	return C.gnomon_capture_device(n.p, p, &n.said) != 0
}

func (n *native) grab() (time.Duration, bool) {
	ok := C.gnomon_capture_grab(n.p, &n.said, &n.at) != 0
	ms := float64(n.at)
	if !(ms >= 0 && ms < 1e15) { // no number, or none that a Duration holds in microseconds
		ms = -1
	}
	return time.Duration(ms*1e3) * time.Microsecond, ok
}

func (n *native) retrieve(dst *engine.Frame) error {
	b := bufferOf(dst)
	if C.gnomon_capture_retrieve(n.p, unsafe.Pointer(b.mat.Ptr())) == 0 {
		return errors.New("the picture cannot be converted")
	}
	return b.expose(dst)
}

func (n *native) shape() shape {
	return shape{int(n.said.width), int(n.said.height), int(n.said.format)}
}

func (n *native) told() told {
	t := told{openCode: int(n.said.open_code), readCode: int(n.said.read_code)}
	for i := range int(n.said.lines) {
		t.lines = append(t.lines, C.GoString(&n.said.line[i][0]))
	}
	return t
}

func (n *native) get(p property) float64 { return float64(C.gnomon_capture_get(n.p, C.int(p))) }

func (n *native) set(p property, value float64) bool {
	return C.gnomon_capture_set(n.p, C.int(p), C.double(value)) != 0
}

func (n *native) stop() { C.gnomon_capture_stop(n.p) }

func (n *native) free() {
	C.gnomon_capture_free(n.p)
	n.p = nil
}

// place copies the picture of f into m: turned clockwise by so many quarter turns, then mirrored (bit 0: left and right, bit 1:
// top and bottom). It minds f.Stride.
func place(f *engine.Frame, quarters, mirror int, m *gocv.Mat) error {
	if f.Width < 1 || f.Height < 1 || f.Stride < 3*f.Width || len(f.Pix) < (f.Height-1)*f.Stride+3*f.Width {
		return errors.New("the frame's memory is too small for its picture")
	}
	pix := (*C.uint8_t)(unsafe.SliceData(f.Pix))
	if C.gnomon_place(pix, C.int(f.Width), C.int(f.Height), C.int64_t(f.Stride), C.int(quarters), C.int(mirror), unsafe.Pointer(m.Ptr())) == 0 {
		return errors.New("the picture cannot be copied: out of memory")
	}
	return nil
}
