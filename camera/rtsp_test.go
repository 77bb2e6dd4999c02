//go:build opencv

package camera

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gnomon/engine"
)

// Frames come as they are made, however they are coded and carried, with the moment of their grab, and late by little.
func TestRTSP(t *testing.T) {
	nothingLeft(t)
	server := startRTSP(t, "")
	for _, row := range []struct{ path, transport string }{{"/h264", ""}, {"/h264", "udp"}, {"/mjpeg", "tcp"}, {"/udp", ""}} {
		t.Run(strings.TrimSpace(row.path[1:]+" "+row.transport), func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			src := openLiveTest(t, Options{URI: server.uri(row.path), Transport: row.transport})
			opened := time.Since(began)
			var ages []time.Duration
			var last engine.Frame
			readFrames(t, src, 50, func(f *engine.Frame) {
				if f.Width != 640 || f.Height != 480 || f.Seq != uint64(len(ages)) || len(ages) > 0 && (!f.CapturedAt.After(last.CapturedAt) || f.PTS <= last.PTS) {
					t.Fatalf("frame %d: %dx%d at %v, %v into the stream, after %v, %v", f.Seq, f.Width, f.Height, f.CapturedAt, f.PTS, last.CapturedAt, last.PTS)
				}
				last = *f
				ages = append(ages, age(t, f))
			})
			if last.PTS < 1500*time.Millisecond || last.PTS > 4*time.Second {
				t.Errorf("50 frames at 25 a second end at %v", last.PTS)
			}
			ages = ages[25:] // the first ones waited while the stream was probed
			slices.Sort(ages)
			t.Logf("opened in %v; a frame is %v old when it is grabbed (median; worst %v)", opened.Round(time.Millisecond), ages[len(ages)/2], ages[len(ages)-1])
			if m := ages[len(ages)/2]; m > time.Second { // a decoder that keeps frames keeps seconds of them
				t.Errorf("frames are %v old when they are grabbed", m)
			}
		})
	}
}

// What goes wrong, side by side: most of the time is spent waiting.
func TestRTSPFaults(t *testing.T) {
	nothingLeft(t)
	for _, row := range []struct {
		name  string
		fault func(*testing.T)
	}{
		{"black hole", rtspBlackHole}, // the longest first
		{"killed and restarted", rtspKilledAndRestarted},
		{"stalls", rtspStalls},
		{"refusals", rtspRefusals},
		{"transport", rtspTransport},
		{"resize", rtspResize},
		{"plain UDP", silentUDP},
		{"ends", rtspEnds},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.fault(t)
		})
	}
}

// The wanted transport is the only one that is tried.
func rtspTransport(t *testing.T) {
	server := startRTSP(t, "")
	src, err := Open(Options{URI: server.uri("/udp"), Transport: "tcp"})
	if err == nil {
		_ = src.Close()
	}
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "transport") {
		t.Errorf("TCP of a server that has none: %v", err)
	}
}

func rtspRefusals(t *testing.T) {
	server := startRTSP(t, "")
	for _, row := range []struct {
		uri  string
		want error
	}{
		{"rtsp://viewer:wr0ng@127.0.0.1:" + server.authPort + "/h264", ErrAuth},
		{"rtsp://127.0.0.1:" + server.authPort + "/h264", ErrAuth},
		{server.uri("/none"), ErrNoStream},
	} {
		src, err := Open(Options{URI: row.uri})
		if err == nil {
			_ = src.Close()
		}
		if !errors.Is(err, row.want) || strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), "viewer") {
			t.Errorf("%s: %v, want %v", row.uri, err, row.want)
		}
	}
	src := openLiveTest(t, Options{URI: "rtsp://viewer:s3cret%3Ax@127.0.0.1:" + server.authPort + "/h264"})
	readFrames(t, src, 3, nil)
}

// A camera that is down at first, loses its power in mid stream and comes back.
func rtspKilledAndRestarted(t *testing.T) {
	server := startRTSP(t, "")
	for range 3 {
		src := openLiveTest(t, Options{URI: server.uri("/h264")})
		readFrames(t, src, 5, nil)
		server.kill()
		began := time.Now()
		if err := untilError(t, src); !errors.Is(err, ErrEnded) {
			t.Errorf("killed: %v", err)
		}
		if d := time.Since(began); d > minStall+time.Second {
			t.Errorf("it took %v to notice", d)
		}
		if _, err := Open(Options{URI: server.uri("/h264")}); !errors.Is(err, ErrUnreachable) {
			t.Errorf("while it is down: %v", err)
		}
		closeInTime(t, src)
		server = startRTSP(t, server.port)
	}
	readFrames(t, openLiveTest(t, Options{URI: server.uri("/h264")}), 5, nil)
}

// A camera that hangs, its connection intact, is noticed, and its reader comes back when it is told to.
func rtspStalls(t *testing.T) {
	server := startRTSP(t, "")
	for _, row := range []struct{ path, transport string }{{"/h264", ""}, {"/h264", "udp"}} {
		src := openLiveTest(t, Options{URI: server.uri(row.path), Transport: row.transport})
		readFrames(t, src, 10, nil)
		if err := server.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := untilError(t, src); !errors.Is(err, ErrStalled) {
			t.Errorf("%v", err)
		}
		if d := time.Since(began); d < minStall/2 || d > minStall+time.Second {
			t.Errorf("it took %v to notice", d)
		}
		closeInTime(t, src)
		// One that hangs already is given up when its time is up, or nobody waits.
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		began = time.Now()
		if _, err := OpenContext(ctx, Options{URI: server.uri(row.path)}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("opening: %v", err)
		}
		cancel()
		if d := time.Since(began); d > closeLimit {
			t.Errorf("opening was given up after %v", d)
		}
		if err := server.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
}

// blackHole is an address that swallows everything: its queue of connections is full, and nobody accepts any.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "black hole")
	t.Cleanup(func() { _ = f.Close() })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	a := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: addr.(*syscall.SockaddrInet4).Port}
	for range 4 { // the first ones get in, the others wait
		d := net.Dialer{Timeout: 200 * time.Millisecond}
		if c, err := d.Dial("tcp", a.String()); err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	return a.String()
}

// A camera that never answers is given up. Meanwhile another one is opened and read, whose damaged packets spoil pictures, but not
// the source.
func rtspBlackHole(t *testing.T) {
	hole := blackHole(t)
	server := startRTSP(t, "")
	lost := make(chan error, 1)
	began := time.Now()
	go func() {
		_, err := Open(Options{URI: "rtsp://" + hole + "/x"})
		lost <- err
	}()
	readFrames(t, openLiveTest(t, Options{URI: server.uri("/damaged")}), 120, func(f *engine.Frame) {
		if f.Width != 640 || f.Height != 480 {
			t.Fatalf("a frame of %dx%d", f.Width, f.Height)
		}
	})
	select {
	case err := <-lost:
		t.Errorf("the black hole was given up at once: %v", err)
	default:
	}
	if err := <-lost; !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "does not answer within 10s") {
		t.Errorf("%v", err)
	}
	if d := time.Since(began); d > openLimit+openGrace {
		t.Errorf("it took %v", d)
	}
}

// What changes its size in mid stream ends in an error before a picture of the wrong size comes out, and is right when it is opened
// again.
func rtspResize(t *testing.T) {
	server := startRTSP(t, "")
	src := openLiveTest(t, Options{URI: server.uri("/resize")})
	var f engine.Frame
	defer f.Close()
	var err error
	for err == nil {
		if err = src.Read(t.Context(), &f); err == nil && (f.Width != 320 || f.Height != 240) {
			t.Fatalf("a frame of %dx%d", f.Width, f.Height)
		}
	}
	if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "it was 320x240 and is 640x480 now") {
		t.Error(err)
	}
	readFrames(t, openLiveTest(t, Options{URI: server.uri("/resize")}), 5, nil)
}

// Ten times the rate: every picture is grabbed, few are converted, and they do not get older.
func TestRTSPTenTimesTheRate(t *testing.T) {
	nothingLeft(t)
	server := startRTSP(t, "")
	src := openLiveTest(t, Options{URI: server.uri("/fast")})
	var f engine.Frame
	defer f.Close()
	var first, last engine.Frame
	for i := range 500 {
		if err := src.Grab(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i%25 == 24 {
			if err := src.Retrieve(&f); err != nil {
				t.Fatal(err)
			}
			if last = f; i < 100 {
				first = f
			}
		}
	}
	if n := testing.AllocsPerRun(50, func() {
		if err := src.Read(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a frame, want 0", n)
	}
	if last.Seq != 499 {
		t.Errorf("the last frame has number %d", last.Seq)
	}
	rate := float64(last.Seq-first.Seq) / last.CapturedAt.Sub(first.CapturedAt).Seconds()
	t.Logf("%.0f frames/s, %v old", rate, age(t, &f))
	if d := age(t, &f); d > time.Second {
		t.Errorf("frames are %v old when they are grabbed", d)
	}
}

// The server says goodbye, or, over TCP, just falls silent.
func rtspEnds(t *testing.T) {
	server := startRTSP(t, "")
	src := openLiveTest(t, Options{URI: server.uri("/short")})
	if err := untilError(t, src); !errors.Is(err, ErrEnded) && !errors.Is(err, ErrStalled) {
		t.Error(err)
	}
}

// MPEG-TS over UDP has no connection that could end. The reader comes back by itself.
func silentUDP(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	uri := "udp://" + c.LocalAddr().String()
	_ = c.Close()
	sender := exec.Command("ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-c:v", "mpeg2video", "-f", "mpegts", uri+"?pkt_size=1316")
	if err := sender.Start(); err != nil {
		needCameras(t, err.Error())
	}
	defer func() { _ = sender.Wait() }()
	defer func() { _ = sender.Process.Kill() }()
	src := openLiveTest(t, Options{URI: uri})
	readFrames(t, src, 20, nil)
	_ = sender.Process.Kill()
	if err := untilError(t, src); !errors.Is(err, ErrStalled) {
		t.Error(err)
	}
	closeInTime(t, src)
	for deadline := time.Now().Add(5 * time.Second); Abandoned() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the reader does not come back")
		}
	}
}

// What the seam between OpenCV and FFmpeg relies on: the head of AVFrame, and that FFmpeg's log stays with it after OpenCV has set up
// FFmpeg.
func TestDecoderSeam(t *testing.T) {
	server := mjpegCamera(t, 60)
	n, err := newNative()
	if err != nil {
		t.Fatal(err)
	}
	defer n.free()
	if !n.stream(server.URL, "", openLimit, readLimit) {
		t.Fatal(n.told())
	}
	if _, ok := n.grab(); !ok || n.shape().width != 64 || n.shape().height != 48 || n.shape().format < 0 {
		t.Errorf("the picture is %+v", n.shape())
	}
	bad, err := newNative()
	if err != nil {
		t.Fatal(err)
	}
	defer bad.free()
	if bad.stream("rtsp://127.0.0.1:1/x", "", openLimit, readLimit) {
		t.Fatal("opened")
	}
	if said := bad.told(); said.openCode != -int(syscall.ECONNREFUSED) || len(said.lines) == 0 || !strings.Contains(strings.Join(said.lines, "\n"), "Connection refused") {
		t.Errorf("%+v", said)
	}
}
