//go:build opencv

package camera

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"gnomon/engine"
)

// rtspServer is GStreamer's RTSP server, as testdata/rtsp_server.py sets it up.
type rtspServer struct {
	port, authPort string
	cmd            *exec.Cmd
}

// systemPython is the interpreter that the distribution's GStreamer is for; another one may come first in PATH.
const systemPython = "/usr/bin/python3"

// needGStreamer skips the test where the server cannot run.
func needGStreamer(t *testing.T) {
	t.Helper()
	out, err := exec.Command(systemPython, "-c", `import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer`).CombinedOutput()
	if err == nil {
		return
	}
	needCameras(t, "needs GStreamer's RTSP server for Python (gir1.2-gst-rtsp-server-1.0, python3-gi): "+strings.TrimSpace(string(out)))
}

// needCameras skips the test for the reason given, or fails it where nothing may be left out.
func needCameras(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("GNOMON_REQUIRE_CAMERAS") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// startRTSP serves on the port, or on any if it is empty.
func startRTSP(t *testing.T, port string) *rtspServer {
	t.Helper()
	needGStreamer(t)
	args := []string{"testdata/rtsp_server.py"}
	if port != "" {
		args = append(args, port)
	}
	s := &rtspServer{cmd: exec.Command(systemPython, args...)}
	s.cmd.Env = append(os.Environ(), "GST_DEBUG=0")
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		s.kill()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, e := fmt.Sscan(line, &s.port, &s.authPort); err != nil || e != nil {
		t.Fatalf("the RTSP server says %q: %v", line, err)
	}
	return s
}

// kill is how a camera loses its power.
func (s *rtspServer) kill() {
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	_ = s.cmd.Wait()
}

func (s *rtspServer) uri(path string) string { return "rtsp://127.0.0.1:" + s.port + path }

// openLiveTest opens a source that the test closes, and checks at its end that nothing is left of it.
func openLiveTest(t *testing.T, o Options) engine.Grabber {
	t.Helper()
	o.Name = "cam"
	src, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeInTime(t, src) })
	return src.(engine.Grabber)
}

func closeInTime(t *testing.T, src io.Closer) {
	t.Helper()
	began := time.Now()
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 2*closeLimit {
		t.Errorf("closing took %v", d)
	}
}

// nothingLeft fails the test if it leaves Mats, goroutines, open files or abandoned readers behind.
func nothingLeft(t *testing.T) {
	leakFree(t)
	files := openFiles(t)
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, ignore)
		if n := Abandoned(); n != 0 {
			t.Errorf("%d readers abandoned", n)
		}
		if n := openFiles(t); n > files {
			t.Errorf("%d files open, %d before", n, files)
		}
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// readFrames reads n frames and calls each, if it is not nil, for every one.
func readFrames(t *testing.T, src engine.Source, n int, each func(*engine.Frame)) {
	t.Helper()
	var f engine.Frame
	defer f.Close()
	for i := range n {
		if err := src.Read(t.Context(), &f); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if each != nil {
			each(&f)
		}
	}
}

// untilError grabs until that fails, for at most a quarter of a minute.
func untilError(t *testing.T, src engine.Grabber) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	for {
		if err := src.Grab(ctx); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				t.Fatal("it goes on and on")
			}
			return err
		}
	}
}

// age is how long ago the server made the picture, by the bars in it, when it was grabbed.
func age(t *testing.T, f *engine.Frame) time.Duration {
	t.Helper()
	var made uint16
	y := f.Height / 2
	for bar := range 16 {
		x := (2*bar + 1) * f.Width / 32
		made <<= 1
		if f.Pix[y*f.Stride+3*x] > 125 {
			made |= 1
		}
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	grabbed := time.Duration(now.Nano()) - time.Since(f.CapturedAt)
	return time.Duration(uint16(grabbed.Milliseconds())-made) * time.Millisecond
}
