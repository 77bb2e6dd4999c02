package camera

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"gnomon/camera/v4l2"
	"gnomon/engine"
)

const (
	// driverLimit is when OpenCV gives up waiting for a buffer: soon, so that one who waits can be stopped. It is asked
	// again until live loses patience. Setup tells OpenCV, in seconds.
	driverLimit = time.Second

	// deviceTries is how often in a row a device may fail at once, or give the same buffer again: a signal that the process
	// gets interrupts the wait, an unplugged camera fails for ever.
	deviceTries = 4

	// deviceLook is how often the node is looked for while pictures come.
	deviceLook = time.Second

	// deviceBuffers is how many pictures wait in the driver: each is one interval of delay, and with fewer than two the camera
	// has nowhere to write while one is read.
	deviceBuffers = 2
)

// device is a capture of Video4Linux's.
type device struct {
	h     handle
	path  string
	asked Options
	stat  func(path string) (fs.FileInfo, error) // os.Stat; tests have another

	agreed  string
	fps     float64
	last    time.Duration // the driver's time of the last picture
	looked  time.Time
	stopped atomic.Bool
}

// open opens the device and asks for what Options says. The camera decides what it gives; that is noted.
func (d *device) open() error {
	if !d.h.device(d.path) {
		return d.refused()
	}
	before := d.mode()
	if code := fourCC(d.asked.Format); code != 0 { // first: the sizes and rates depend on it
		d.h.set(propFourCC, code)
	}
	if d.asked.Width > 0 || d.asked.Height > 0 { // OpenCV waits for both
		w, h := d.asked.Width, d.asked.Height
		if w == 0 {
			w = before.width
		}
		if h == 0 {
			h = before.height
		}
		d.h.set(propWidth, float64(w))
		d.h.set(propHeight, float64(h))
	}
	if want := math.Round(d.asked.FPS); want > 0 {
		d.h.set(propFPS, want)
		if d.h.get(propFPS) != want { // OpenCV takes 30 for set before anything was
			d.h.set(propFPS, want+1)
			d.h.set(propFPS, want)
		}
	}
	d.h.set(propBufferSize, deviceBuffers)
	got := d.mode()
	if got.width <= 0 || got.height <= 0 {
		return fmt.Errorf("%s: %w: it gives no picture in a format that can be read", d.path, ErrUnsupported)
	}
	d.fps = got.fps
	d.agreed = got.String() + d.missed(got)
	d.last = -1
	d.looked = time.Now()
	return nil
}

// refused says why the device could not be opened.
func (d *device) refused() error {
	switch err := openable(d.path); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s: no such camera; `ls /dev/video*` shows those that there are", ErrGone, d.path)
	case errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO):
		return fmt.Errorf("%w: %s", ErrGone, d.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s cannot be opened: this user may not read it; add it to the group video", d.path)
	}
	return fmt.Errorf("%s cannot be opened: it is in use by another program, is not a capture device, or this user may not read it (group video)", d.path)
}

// openable tells whether the device can be opened, and why not.
func openable(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// grab waits for the next buffer. OpenCV says that it has one when the camera was unplugged meanwhile, so a buffer with the
// time of the last one is none, nor is any once the node has gone.
func (d *device) grab() (time.Duration, error) {
	for tries := 0; ; {
		began := time.Now()
		at, ok := d.h.grab()
		repeated := ok && at > 0 && at == d.last
		waited := time.Since(began)
		switch {
		case d.stopped.Load():
			return 0, fmt.Errorf("%s: %w", d.path, ErrStalled)
		case (!ok || repeated || time.Since(d.looked) > deviceLook) && !d.present():
			return 0, fmt.Errorf("%w: %s", ErrGone, d.path)
		case ok && !repeated:
			d.last = at
			if at <= 0 { // a driver without a clock
				at = -1
			}
			return at, nil
		case waited > driverLimit/2: // nothing came; ask again
			continue
		}
		if tries++; tries == deviceTries {
			return 0, fmt.Errorf("%w, or its driver failed: %s gives no more pictures", ErrGone, d.path)
		}
	}
}

func (d *device) present() bool {
	d.looked = time.Now()
	_, err := d.stat(d.path)
	return !errors.Is(err, fs.ErrNotExist)
}

func (d *device) retrieve(dst *engine.Frame) error { return d.h.retrieve(dst) }

func (d *device) stop() {
	d.stopped.Store(true)
	d.h.stop()
}

func (d *device) close() { d.h.free() }

func (d *device) rate() float64 { return d.fps }

func (d *device) negotiated() string { return d.agreed }

// mode is how a device delivers.
type mode struct {
	width, height int
	format        string
	fps           float64
}

func (d *device) mode() mode {
	return mode{
		width: int(d.h.get(propWidth)), height: int(d.h.get(propHeight)),
		format: fourCCName(uint32(d.h.get(propFourCC))), fps: saneRate(d.h.get(propFPS)),
	}
}

func (m mode) String() string {
	s := fmt.Sprintf("%dx%d %s", m.width, m.height, m.format)
	if m.fps > 0 {
		s += " at " + number(math.Round(100*m.fps)/100) + " frames/s"
	}
	return s
}

// missed says what was asked for and not given.
func (d *device) missed(got mode) string {
	var parts []string
	if w, h := d.asked.Width, d.asked.Height; w > 0 && w != got.width || h > 0 && h != got.height {
		parts = append(parts, fmt.Sprintf("%dx%d", w, h))
	}
	if f := strings.ToUpper(d.asked.Format); f != "" && f != got.format {
		parts = append(parts, f)
	}
	if want := d.asked.FPS; want > 0 && math.Abs(want-got.fps) > 0.5 {
		parts = append(parts, number(want)+" frames/s")
	}
	if parts == nil {
		return ""
	}
	return " (asked for " + strings.Join(parts, ", ") + ")"
}

// fourCC is the number of mjpg or yuyv; 0: of neither.
func fourCC(format string) float64 {
	name := strings.ToUpper(format)
	if len(name) != 4 {
		return 0
	}
	return float64(uint32(name[0]) | uint32(name[1])<<8 | uint32(name[2])<<16 | uint32(name[3])<<24)
}

func fourCCName(v uint32) string {
	b := []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}
	for _, c := range b {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("format %#x", v)
		}
	}
	return strings.TrimSpace(string(b))
}

// findDevice is devicePath within the time that opening has: a driver that hangs would keep it for ever.
func findDevice(ctx context.Context, uri string, list func() ([]v4l2.Device, error)) (string, error) {
	type found struct {
		path string
		err  error
	}
	if Abandoned() >= maxAbandoned {
		return "", fmt.Errorf("%s is not opened: %w", uri, ErrTooManyAbandoned)
	}
	ch := make(chan found, 1)
	abandoned.Add(1) // until it comes back
	go func() {
		defer abandoned.Add(-1)
		path, err := devicePath(uri, list)
		ch <- found{path, err}
	}()
	limit := time.NewTimer(openLimit)
	defer limit.Stop()
	select {
	case f := <-ch:
		return f.path, f.err
	case <-ctx.Done():
		return "", ctx.Err()
	case <-limit.C:
		return "", fmt.Errorf("%s: %w: a camera's driver does not answer", uri, ErrStalled)
	}
}

// devicePath resolves usb:N, the Nth camera on a USB bus, from 0.
func devicePath(uri string, list func() ([]v4l2.Device, error)) (string, error) {
	digits, ok := strings.CutPrefix(uri, "usb:")
	if !ok {
		return uri, nil
	}
	n, err := strconv.ParseUint(digits, 10, 8)
	if err != nil {
		return "", fmt.Errorf("%s: what follows usb: is the number of a camera, from 0", uri)
	}
	all, err := list()
	if err != nil {
		return "", fmt.Errorf("%s: %w", uri, err)
	}
	cameras := v4l2.USB(all)
	if n >= uint64(len(cameras)) {
		return "", fmt.Errorf("%w: %s: there are %d cameras on USB; `gnomon cameras` shows them", ErrGone, uri, len(cameras))
	}
	return cameras[n].Path, nil
}
