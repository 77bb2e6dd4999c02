package camera

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/camera/v4l2"
)

func openFakeDevice(t *testing.T, h *fakeHandle, o Options, gone *atomic.Bool) (*live, error) {
	t.Helper()
	stat := func(string) (fs.FileInfo, error) {
		if gone != nil && gone.Load() {
			return nil, fs.ErrNotExist
		}
		return nil, nil
	}
	return openLive(t.Context(), o, Device, "/dev/video0", &device{h: h, path: "/dev/video0", asked: o, stat: stat})
}

// An unplugged camera gives no more frames, however its driver puts it; a wait that a signal cut short is no end.
func TestUnplugged(t *testing.T) {
	frame := func(n int) (time.Duration, bool) {
		time.Sleep(40 * time.Millisecond)
		return time.Duration(n+1) * 40 * time.Millisecond, true
	}
	for _, row := range []struct {
		name   string
		grabs  func(n int) (time.Duration, bool)
		leaves int // the node goes after so many; 0: stays
		frames int
		want   error
	}{
		{"grabbing fails", func(n int) (time.Duration, bool) {
			if n < 3 {
				return frame(n)
			}
			return 0, false
		}, 3, 3, ErrGone},
		{"true once more with the old buffer", func(n int) (time.Duration, bool) { return frame(min(n, 2)) }, 3, 3, ErrGone},
		{"the node stays, in a container", func(n int) (time.Duration, bool) {
			if n < 3 {
				return frame(n)
			}
			return 0, false
		}, 0, 3, ErrGone},
		{"new buffers from nowhere", frame, 3, 3 + 25, ErrGone},
		{"a signal", func(n int) (time.Duration, bool) {
			if n%3 == 1 {
				return 0, false
			}
			return frame(n)
		}, 0, 50, nil},
		{"the driver waits in vain", func(n int) (time.Duration, bool) {
			if n < 3 {
				return frame(n)
			}
			time.Sleep(driverLimit)
			return 0, false
		}, 0, 3, ErrStalled},
		{"a driver without a clock", func(int) (time.Duration, bool) { time.Sleep(40 * time.Millisecond); return 0, true }, 0, 50, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var gone atomic.Bool
				l, err := openFakeDevice(t, &fakeHandle{grabs: row.grabs}, Options{}, &gone)
				if err != nil {
					t.Fatal(err)
				}
				frames := 0
				for err == nil && frames < 50 {
					if err = l.Grab(t.Context()); err == nil {
						if frames++; frames == row.leaves {
							gone.Store(true)
						}
					}
				}
				if !errors.Is(err, row.want) || frames > row.frames {
					t.Errorf("%d frames and %v, want %d and %v", frames, err, row.frames, row.want)
				}
				_ = l.Close()
				synctest.Wait()
			})
		})
	}
}

// What a camera was asked for and what it gave are told.
func TestNegotiated(t *testing.T) {
	mjpg := fourCC("mjpg")
	base := map[property]float64{propWidth: 640, propHeight: 480, propFPS: 30, propFourCC: fourCC("YUYV")}
	for _, row := range []struct {
		o      Options
		refuse []property
		want   string
		first  string
	}{
		{Options{}, nil, "640x480 YUYV at 30 frames/s", fmt.Sprint("38=", deviceBuffers)},
		{Options{Format: "mjpg", Width: 1280, Height: 720, FPS: 25}, nil, "1280x720 MJPG at 25 frames/s", fmt.Sprint("6=", mjpg)},
		{Options{Format: "mjpg", Width: 1920, Height: 1080, FPS: 60}, []property{propWidth, propHeight, propFourCC, propFPS}, "640x480 YUYV at 30 frames/s (asked for 1920x1080, MJPG, 60 frames/s)", ""},
		{Options{Width: 320}, nil, "320x480 YUYV at 30 frames/s", "3=320"},
	} {
		h := &fakeHandle{props: map[property]float64{}, refuse: map[property]bool{}}
		for p, v := range base {
			h.props[p] = v
		}
		for _, p := range row.refuse {
			h.refuse[p] = true
		}
		l, err := openFakeDevice(t, h, row.o, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Negotiated(); got != row.want || l.String() != "camera /dev/video0, "+row.want {
			t.Errorf("%+v: %s (%s), want %s", row.o, got, l, row.want)
		}
		if row.first != "" && h.sets[0] != row.first {
			t.Errorf("%+v: set %v", row.o, h.sets)
		}
		_ = l.Close()
	}
}

func TestDevicePath(t *testing.T) {
	list := func() ([]v4l2.Device, error) {
		return []v4l2.Device{{Path: "/dev/video10", Capture: true, Bus: "platform:isp"}, {Path: "/dev/video2", Capture: true, Bus: "usb-1"}, {Path: "/dev/video3", Bus: "usb-1"}, {Path: "/dev/video4", Capture: true, Bus: "usb-2"}}, nil
	}
	for uri, want := range map[string]string{"usb:0": "/dev/video2", "usb:1": "/dev/video4", "/dev/video7": "/dev/video7"} {
		if got, err := devicePath(uri, list); got != want || err != nil {
			t.Errorf("%s is %s, %v", uri, got, err)
		}
	}
	for uri, want := range map[string]string{"usb:2": "there are 2 cameras on USB", "usb:x": "number of a camera", "usb:": "number of a camera"} {
		if _, err := devicePath(uri, list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if _, err := devicePath("usb:2", list); !errors.Is(err, ErrGone) {
		t.Errorf("a camera that is not there: %v", err)
	}
}
