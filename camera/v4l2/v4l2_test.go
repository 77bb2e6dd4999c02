package v4l2

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The layouts and numbers of linux/videodev2.h on amd64 and arm64, as a C compiler gives them.
func TestLayout(t *testing.T) {
	var c capability
	var f formatDescription
	var s frameSize
	var i frameInterval
	for _, x := range []struct {
		what      string
		got, want uintptr
	}{
		{"capability", unsafe.Sizeof(c), 104},
		{"capability.Version", unsafe.Offsetof(c.Version), 80},
		{"capability.Node", unsafe.Offsetof(c.Node), 88},
		{"format", unsafe.Sizeof(f), 64},
		{"format.PixelFormat", unsafe.Offsetof(f.PixelFormat), 44},
		{"size", unsafe.Sizeof(s), 44},
		{"size.Range", unsafe.Offsetof(s.Range), 12},
		{"interval", unsafe.Sizeof(i), 52},
		{"interval.Range", unsafe.Offsetof(i.Range), 20},
		{"QUERYCAP", requestCapability, 2<<30 | 104<<16 | 'V'<<8},
		{"ENUM_FMT", requestFormat, 3<<30 | 64<<16 | 'V'<<8 | 2},
		{"ENUM_FRAMESIZES", requestSize, 3<<30 | 44<<16 | 'V'<<8 | 74},
		{"ENUM_FRAMEINTERVALS", requestInterval, 3<<30 | 52<<16 | 'V'<<8 | 75},
	} {
		if x.got != x.want {
			t.Errorf("%s is %#x, not %#x", x.what, x.got, x.want)
		}
	}
}

// fakeDevice is a driver below the ioctl.
type fakeDevice struct {
	about     capability
	openErr   error
	formatErr error
	formats   map[uint32][]uint32              // pixel formats by type of buffer
	sizes     map[uint32][]frameSize           // by pixel format
	rates     func(w, h uint32) (r []fraction) // discrete
	rateRange *[3]fraction
	endless   bool
	open      int
}

func (d *fakeDevice) close() error { d.open--; return nil }

func (d *fakeDevice) ioctl(request uint, arg any) error {
	switch q := arg.(type) {
	case *capability:
		if request != requestCapability || d.about.Card[0] == 0 {
			return unix.ENOTTY
		}
		*q = d.about
	case *formatDescription:
		list := d.formats[q.Type]
		if d.formatErr != nil {
			return d.formatErr
		}
		if request != requestFormat || int(q.Index) >= len(list) && !d.endless {
			return unix.EINVAL
		}
		q.PixelFormat = list[int(q.Index)%len(list)]
		copy(q.Description[:], "pictures\x00rubbish")
	case *frameSize:
		if request != requestSize || int(q.Index) >= len(d.sizes[q.PixelFormat]) {
			return unix.EINVAL
		}
		s := d.sizes[q.PixelFormat][q.Index]
		q.Kind, q.Range = s.Kind, s.Range
	case *frameInterval:
		if request != requestInterval {
			return unix.EINVAL
		}
		if d.rateRange != nil && q.Index == 0 {
			q.Kind, q.Range = kindContinuous, *d.rateRange
			return nil
		}
		if d.rates == nil || int(q.Index) >= len(d.rates(q.Width, q.Height)) {
			return unix.EINVAL
		}
		q.Kind, q.Range[0] = kindDiscrete, d.rates(q.Width, q.Height)[q.Index]
	}
	return nil
}

const (
	mjpg = 'M' | 'J'<<8 | 'P'<<16 | 'G'<<24
	yuyv = 'Y' | 'U'<<8 | 'Y'<<16 | 'V'<<24
	y16  = 'Y' | '1'<<8 | '6'<<16 | ' '<<24 | 1<<31
)

func describe(card, bus string, caps, node uint32) (c capability) {
	copy(c.Driver[:], "uvcvideo")
	copy(c.Card[:], card)
	copy(c.Bus[:], bus)
	c.Capabilities, c.Node = caps, node
	return c
}

func camera(card, bus string) *fakeDevice {
	return &fakeDevice{
		about:   describe(card, bus, 0x84a00001, 0x04200001),
		formats: map[uint32][]uint32{bufferCapture: {mjpg, yuyv}},
		sizes: map[uint32][]frameSize{
			mjpg: {{Kind: kindDiscrete, Range: [6]uint32{1920, 1080}}, {Kind: kindDiscrete, Range: [6]uint32{640, 480}}},
			yuyv: {{Kind: kindDiscrete, Range: [6]uint32{640, 480}}},
		},
		rates: func(w, _ uint32) []fraction {
			if w == 1920 {
				return []fraction{{1, 30}}
			}
			return []fraction{{1, 15}, {1001, 30000}, {0, 1}, {1, 15}}
		},
	}
}

// machine is a /dev with nodes, and the drivers behind them.
func machine(t *testing.T, devices map[string]*fakeDevice, links map[string]string) system {
	t.Helper()
	dir := t.TempDir()
	s := system{dev: filepath.Join(dir, "dev"), sys: filepath.Join(dir, "sys")}
	write := func(path, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for name := range devices {
		write(filepath.Join(s.dev, name), "")
		write(filepath.Join(s.sys, name, "name"), "called "+name+"\n")
	}
	for _, other := range []string{"videodev", "vbi0", "media0", "video99999999"} {
		write(filepath.Join(s.dev, other), "")
	}
	for link, target := range links {
		path := filepath.Join(s.dev, "v4l", link)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.Symlink(target, path)); err != nil {
			t.Fatal(err)
		}
	}
	s.open = func(path string) (control, error) {
		d := devices[filepath.Base(path)]
		if d.openErr != nil {
			return nil, d.openErr
		}
		d.open++
		return d, nil
	}
	t.Cleanup(func() {
		for name, d := range devices {
			if d.open != 0 {
				t.Errorf("%s was left open", name)
			}
		}
	})
	return s
}

func TestList(t *testing.T) {
	planes := camera("planes", "platform:isi")
	planes.about = describe("planes", "platform:isi", capCapturePlanes|capOfNode, capCapturePlanes)
	planes.formats = map[uint32][]uint32{bufferCapturePlanes: {y16}}
	planes.sizes = map[uint32][]frameSize{y16: {{Kind: kindContinuous, Range: [6]uint32{16, 4096, 1, 16, 2160, 1}}}}
	planes.rateRange = &[3]fraction{{1, 60}, {1, 1}, {0, 0}}
	devices := map[string]*fakeDevice{
		"video10": camera("Second\x01", "usb-0000:00:14.0-2"),
		"video2":  camera("First", "usb-0000:00:14.0-1"),
		"video3":  {about: describe("First", "usb-0000:00:14.0-1", 0x84a00001, 0x04a00000)}, // metadata
		"video4":  planes,
		"video5":  {about: describe("codec", "platform:codec", capCapture|capOutput|capConvert, 0)},
		"video6":  {openErr: fs.ErrPermission},
		"video7":  {openErr: unix.ENODEV},
		"video11": {openErr: unix.EBUSY},
		"video8":  {},                                                            // speaks another language
		"video9":  {about: describe("old", "usb-0000:00:14.0-3", capCapture, 0)}, // no formats
	}
	got, err := machine(t, devices, map[string]string{
		"by-id/usb-First": "../../video2", "by-path/pci-1": "../../video2", "by-id/usb-First-1": "../../video3",
	}).list()
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, d := range got {
		order = append(order, filepath.Base(d.Path)+" "+d.Name)
	}
	want := "video4 planes, video2 First, video10 Second, video6 called video6, video7 called video7, video8 called video8, video11 called video11, video5 codec, video3 First, video9 old"
	if s := strings.Join(order, ", "); s != want {
		t.Errorf("the order is %s", s)
	}
	first := got[1]
	if len(first.By) != 2 || filepath.Base(first.By[0]) != "usb-First" || filepath.Base(first.By[1]) != "pci-1" {
		t.Errorf("links: %v", first.By)
	}
	modes := []Format{
		{FourCC: "MJPG", Description: "pictures", Sizes: []Size{{Width: 1920, Height: 1080, Rates: []float64{30}}, {Width: 640, Height: 480, Rates: []float64{30000. / 1001, 15}}}},
		{FourCC: "YUYV", Description: "pictures", Sizes: []Size{{Width: 640, Height: 480, Rates: []float64{30000. / 1001, 15}}}},
	}
	if !first.Capture || !reflect.DeepEqual(first.Formats, modes) || first.Driver != "uvcvideo" || first.Err != nil {
		t.Errorf("the first camera: %+v", first)
	}
	continuous := []Format{{FourCC: "Y16-BE", Description: "pictures", Sizes: []Size{{
		Width: 16, MaxWidth: 4096, StepWidth: 1, Height: 16, MaxHeight: 2160, StepHeight: 1, Rates: []float64{60, 1}, RateRange: true,
	}}}}
	if !reflect.DeepEqual(got[0].Formats, continuous) {
		t.Errorf("ranges: %+v", got[0].Formats)
	}
	for i, d := range got[3:] {
		if d.Capture || (d.Err != nil) != (i < 4) {
			t.Errorf("%s: capture %v, error %v", d.Path, d.Capture, d.Err)
		}
	}
	if err := got[3].Err; !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "group video") {
		t.Error(err)
	}
	if err := got[4].Err; !strings.Contains(err.Error(), "unplugged") {
		t.Error(err)
	}
	usb := USB(got)
	if len(usb) != 2 || usb[0].Name != "First" || usb[1].Name != "Second" {
		t.Errorf("on USB: %+v", usb)
	}
	if _, err := json.Marshal(got); err != nil {
		t.Error(err)
	}
}

// A driver that comes to no end, one that fails half way, and a machine without any.
func TestListBroken(t *testing.T) {
	endless, fails := camera("endless", "usb-1"), camera("fails", "usb-2")
	endless.endless = true
	fails.formatErr = unix.ENODEV
	got, err := machine(t, map[string]*fakeDevice{"video0": endless, "video1": fails}, nil).list()
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if n := len(got[0].Formats); got[0].Err == nil || n == 0 || n > maxQuestions || !got[0].Capture {
		t.Errorf("endless: %d formats, %v", n, got[0].Err)
	}
	if !errors.Is(got[1].Err, unix.ENODEV) || !got[1].Capture {
		t.Errorf("unplugged meanwhile: %+v", got[1])
	}
	if got, err := machine(t, nil, nil).list(); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
	if _, err := (system{dev: filepath.Join(t.TempDir(), "none")}).list(); err == nil {
		t.Error("no /dev at all")
	}
}

// What is no camera is told from one by the kernel itself.
func TestRealFiles(t *testing.T) {
	s := host()
	for path, want := range map[string]string{"/dev/null": "no video device", "/dev/video-none": "unplugged"} {
		d := Device{Path: path}
		if err := s.inspect(&d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := List(); err != nil {
		t.Error(err)
	}
}
