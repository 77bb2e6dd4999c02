//go:build opencv

package camera

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gnomon/camera/child"
	"gnomon/engine"
)

// needProgram skips a test without a program, unless those of cameras must be there.
func needProgram(t *testing.T, uri string) {
	t.Helper()
	name := "ffmpeg"
	if strings.HasPrefix(uri, "gst:") {
		name = "gst-launch-1.0"
	}
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("GNOMON_REQUIRE_CAMERAS") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs %s, which is not installed", name)
	}
}

// grabber opens a source that must be one; it is closed when the test ends.
func grabber(t *testing.T, o Options) engine.Grabber {
	t.Helper()
	src, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(src.Close(), src.Close()); err != nil {
			t.Error(err)
		}
	})
	g, ok := src.(engine.Grabber)
	if !ok || !src.Live() {
		t.Fatalf("%v is no live source", src)
	}
	return g
}

// near fails the test unless the pixel has about this colour, blue first.
func near(t *testing.T, f *engine.Frame, x, y int, want [3]int, tolerance int) {
	t.Helper()
	pix := f.Pix[y*f.Stride+3*x:][:3]
	for i := range want {
		if d := int(pix[i]) - want[i]; d < -tolerance || d > tolerance {
			t.Errorf("the pixel %d,%d is %v, want %v", x, y, pix, want)
			return
		}
	}
}

// Pictures of real programs have the colours that were painted, in every format.
func TestProgramColours(t *testing.T) {
	const ffmpeg = "exec:ffmpeg -v error -f lavfi -i color=c=0x3070C0:size=64x48:rate=25 "
	blue := [3]int{0xc0, 0x70, 0x30}
	gray := [3]int{102, 102, 102} // BT.601
	size := func(format string) Options { return Options{Format: format, Width: 64, Height: 48} }
	for _, c := range []struct {
		uri  string
		o    Options
		want [3]int
	}{
		{ffmpeg + "-pix_fmt yuv420p -f yuv4mpegpipe -", Options{}, blue},
		{ffmpeg + "-pix_fmt gray -f yuv4mpegpipe -", Options{}, gray},
		{ffmpeg + "-f mjpeg -q:v 2 -", Options{}, blue},
		{ffmpeg + "-f rawvideo -pix_fmt bgr24 -", size("bgr"), blue},
		{ffmpeg + "-f rawvideo -pix_fmt rgb24 -", size("rgb"), blue},
		{ffmpeg + "-f rawvideo -pix_fmt gray -", size("gray"), gray},
		{ffmpeg + "-f rawvideo -pix_fmt yuv420p -", size("i420"), blue},
		{ffmpeg + "-f rawvideo -pix_fmt nv12 -", size("nv12"), blue},
		{ffmpeg + "-f rawvideo -pix_fmt yuyv422 -", size("yuyv"), blue},
		{"gst:videotestsrc pattern=solid-color foreground-color=0xff3070c0", size(""), blue},
		{"gst:videotestsrc pattern=solid-color foreground-color=0xff3070c0", size("yuyv"), blue},
		{"gst:videotestsrc pattern=solid-color foreground-color=0xff3070c0", size("bgr"), blue},
		{"gst:videotestsrc pattern=solid-color foreground-color=0xff3070c0 ! video/x-raw,width=64,height=48 ! jpegenc", Options{Format: "mjpeg"}, blue},
	} {
		t.Run(c.uri+" "+c.o.Format, func(t *testing.T) {
			needProgram(t, c.uri)
			leakFree(t)
			c.o.Name, c.o.URI = "cam", c.uri
			g := grabber(t, c.o)
			var f engine.Frame
			defer f.Close()
			if err := g.Retrieve(&f); err == nil {
				t.Error("a picture before the first Grab")
			}
			for i := range 3 {
				begun := time.Now()
				if err := g.Read(t.Context(), &f); err != nil {
					t.Fatal(err)
				}
				if f.Width != 64 || f.Height != 48 || f.Seq != uint64(i) || f.CapturedAt.Before(begun) || f.PTS < 0 || f.Origin != "" {
					t.Fatalf("picture %d: %dx%d, number %d at %v, %v", i, f.Width, f.Height, f.Seq, f.CapturedAt, f.PTS)
				}
			}
			tolerance := 5
			if strings.HasSuffix(c.uri, "jpegenc") { // which takes limited range for full
				tolerance = 10
			}
			near(t, &f, 0, 0, c.want, tolerance)
			near(t, &f, 63, 47, c.want, tolerance)
			if n := g.(interface{ Negotiated() string }).Negotiated(); !strings.HasPrefix(n, "64x48 ") {
				t.Error(n)
			}
		})
	}
}

// The bars of SMPTE's test picture are where they belong, also in a size that is not a multiple of anything.
func TestProgramBars(t *testing.T) {
	for _, size := range []image.Point{{320, 240}, {323, 241}} {
		t.Run(size.String(), func(t *testing.T) {
			uri := fmt.Sprintf("gst:videotestsrc pattern=smpte is-live=true ! video/x-raw,width=%d,height=%d", size.X, size.Y)
			needProgram(t, uri)
			leakFree(t)
			g := grabber(t, Options{Name: "bars", URI: uri})
			var f engine.Frame
			defer f.Close()
			if err := g.Read(t.Context(), &f); err != nil {
				t.Fatal(err)
			}
			if f.Width != size.X&^1 || f.Height != size.Y&^1 {
				t.Errorf("%dx%d of %v", f.Width, f.Height, size)
			}
			for i, want := range [][3]int{{255, 255, 255}, {0, 255, 255}, {255, 255, 0}, {0, 255, 0}, {255, 0, 255}, {0, 0, 255}, {255, 0, 0}} {
				near(t, &f, (2*i+1)*f.Width/14, f.Height/3, want, 4)
			}
			if r := g.(interface{ Rate() float64 }).Rate(); r != 30 {
				t.Errorf("%v frames/s", r)
			}
		})
	}
}

// The size of JPEGs may change; that of Y4M ends the source in words that tell to open it again.
func TestProgramChangesSize(t *testing.T) {
	two := func(format string) string {
		const one = "ffmpeg -v error -re -f lavfi -i testsrc=size=%s:rate=5 -frames:v 2 %s -;"
		return "exec:sh -c '" + fmt.Sprintf(one, "64x48", format) + fmt.Sprintf(one, "32x16", format) + "'"
	}
	for format, want := range map[string]error{"-f mjpeg": ErrEnded, "-pix_fmt yuv420p -f yuv4mpegpipe": ErrChanged} {
		t.Run(format, func(t *testing.T) {
			uri := two(format)
			needProgram(t, uri)
			leakFree(t)
			g := grabber(t, Options{Name: "cam", URI: uri})
			var f engine.Frame
			defer f.Close()
			var last image.Point
			var err error
			for err == nil {
				if err = g.Read(t.Context(), &f); err == nil {
					last = image.Pt(f.Width, f.Height)
				}
			}
			if !errors.Is(err, want) {
				t.Error(err)
			}
			if changed := last == image.Pt(32, 16); changed != errors.Is(want, ErrEnded) || last.X == 0 {
				t.Errorf("the last one is %v", last)
			}
		})
	}
}

// The pipeline that decodes on a Jetson reads a real server, with GStreamer's elements in place of NVIDIA's.
func TestProgramRTSP(t *testing.T) {
	needGStreamer(t)
	server := startRTSP(t, "")
	t.Run("wrong password", func(t *testing.T) {
		leakFree(t)
		g := grabber(t, Options{Name: "cam", URI: "gst:rtspsrc location=rtsp://viewer:guessed@127.0.0.1:" + server.authPort + "/h264 ! decodebin"})
		if err := g.Grab(t.Context()); !errors.Is(err, ErrAuth) || strings.Contains(err.Error(), "guessed") {
			t.Error(err)
		}
	})
	for path, decoder := range map[string]string{"/mjpeg": "jpegdec", "/h264": "openh264dec"} {
		t.Run(path, func(t *testing.T) {
			if exec.Command("gst-inspect-1.0", "--exists", decoder).Run() != nil {
				t.Skipf("needs GStreamer's %s, which is not installed", decoder)
			}
			c, err := child.Plan(server.uri(path), child.Ask{})
			if err != nil {
				t.Fatal(err)
			}
			for i, word := range c.Args {
				switch word {
				case "nvv4l2decoder":
					c.Args[i] = decoder
				case "nvvidconv":
					c.Args[i] = "videoconvert"
				}
			}
			s, err := child.Start(child.Options{Command: c})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			for range 5 {
				if err := s.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if p := s.Picture(); p.Width != 640 || p.Height != 480 || p.Format != child.I420 {
				t.Errorf("%dx%d %s", p.Width, p.Height, p.Format)
			}
		})
	}
}

// What fails is one of the errors of live sources, says what to do and keeps secrets to itself.
func TestProgramErrors(t *testing.T) {
	for _, c := range []struct {
		o     Options
		is    error
		words string
	}{
		{Options{URI: "exec:gnomon-no-such-program rtsp://joe:secret@cam"}, ErrUnsupported, "look at its name"},
		{Options{URI: "exec:sh -c 'secret"}, nil, "no second one"},
		{Options{URI: "csi:x"}, nil, "number of a camera"},
		{Options{URI: "exec:echo hello, secret"}, ErrUnsupported, "neither Y4M nor JPEGs"},
		{Options{URI: "exec:sh -c 'echo rtsp://joe:secret@cam: 401 Unauthorized >&2; exit 1'"}, ErrAuth, "rtsp://***@cam"},
		{Options{URI: "exec:sh -c 'head -c 30 /dev/zero; sleep 1000'", Format: "gray", Width: 5, Height: 6, Stall: time.Second / 2}, ErrStalled, "no whole picture for 500ms"},
		{Options{URI: "exec:sh -c 'head -c 40 /dev/zero; exit 4'", Format: "gray", Width: 5, Height: 6}, ErrEnded, "exit status 4"},
		{Options{URI: "rtsp://joe:secret@127.0.0.1:1/x", Decoder: "jetson"}, ErrUnsupported, "nvidia-l4t-gstreamer"},
	} {
		t.Run(c.o.URI, func(t *testing.T) {
			if c.o.Decoder != "" {
				needProgram(t, "gst:")
			}
			leakFree(t)
			c.o.Name = "cam"
			src, err := Open(c.o)
			if err == nil {
				if s := fmt.Sprint(src); strings.Contains(s, "joe") || !strings.Contains(s, "program ") {
					t.Error(s)
				}
				var f engine.Frame
				for err == nil {
					err = src.Read(t.Context(), &f)
				}
				if e := errors.Join(f.Close(), src.Close()); e != nil {
					t.Error(e)
				}
			}
			if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "secret") {
				t.Error(err)
			}
		})
	}
}

// A JPEG that cannot be decoded is an error, never the picture before it.
func TestProgramBrokenJPEG(t *testing.T) {
	leakFree(t)
	good := picture(t, 64, 48, true)
	// Whole as far as markers go, and nonsense in between.
	bad := "\\377\\330\\377\\300\\000\\013\\010\\000\\060\\000\\100\\001\\001\\021\\000\\377\\332\\000\\010\\001\\001\\000\\000\\077\\000\\000\\377\\331"
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/good.jpg", good, 0o600); err != nil {
		t.Fatal(err)
	}
	// Each waits until the one before was read, or it would be passed over for a newer one.
	script := "cd " + dir + "; cat good.jpg; until [ -e 0 ]; do sleep 0.01; done; printf \"" + bad + "\"; until [ -e 1 ]; do sleep 0.01; done; cat good.jpg; sleep 100"
	g := grabber(t, Options{Name: "cam", URI: "exec:sh -c '" + script + "'"})
	var f engine.Frame
	defer f.Close()
	for i, ok := range []bool{true, false, true} {
		if err := g.Grab(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := g.Retrieve(&f); (err == nil) != ok {
			t.Errorf("picture %d: %v, %dx%d", i, err, f.Width, f.Height)
		}
		if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Close ends a Grab that waits, and whatever comes after it finds the end.
func TestProgramClose(t *testing.T) {
	leakFree(t)
	g := grabber(t, Options{Name: "cam", URI: "exec:sleep 1000"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := g.Grab(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	result := make(chan error)
	go func() { result <- g.Grab(context.Background()) }()
	time.Sleep(50 * time.Millisecond)
	begun := time.Now()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	var f engine.Frame
	if err := g.Retrieve(&f); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := g.Grab(t.Context()); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// Reading raw pictures costs no memory of Go's once it is under way.
func TestProgramDoesNotAllocate(t *testing.T) {
	leakFree(t)
	g := grabber(t, Options{Name: "cam", URI: "exec:cat /dev/zero", Format: "nv12", Width: 640, Height: 480})
	var f engine.Frame
	defer f.Close()
	read := func() {
		if err := g.Read(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if n := testing.AllocsPerRun(50, read); n > 0 {
		t.Errorf("%v allocations for a picture", n)
	}
}
