package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// orphan is the variable that makes this test a process that runs a program and is then killed.
const orphan = "GNOMON_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if command := os.Getenv(orphan); command != "" {
		s, err := Start(Options{Command: Command{Args: []string{"sh", "-c", command}}})
		if err != nil {
			panic(err)
		}
		fmt.Println(s.process.id())
		select {}
	}
	goleak.VerifyTestMain(m)
}

// need skips a test without a program, unless those of cameras must be there.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("GNOMON_REQUIRE_CAMERAS") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs %s, which is not installed", program)
	}
}

// start runs a source's program and closes it when the test ends; nothing of it may be left.
func start(t *testing.T, uri string, ask Ask, stall time.Duration) *Stream {
	t.Helper()
	c, err := Plan(uri, ask)
	if err != nil {
		t.Fatal(err)
	}
	for i, word := range c.Args { // what only a Jetson has
		switch word {
		case "nvarguscamerasrc":
			c.Args[i], c.Args[i+1] = "videotestsrc", "is-live=true"
		case "nvvidconv":
			c.Args[i] = "videoconvert"
		}
		c.Args[i] = strings.ReplaceAll(c.Args[i], "(memory:NVMM)", "")
	}
	files := openFiles(t)
	s, err := Start(Options{Command: c, Stall: stall})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		begun := time.Now()
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("Close took %v", d)
		}
		if n := openFiles(t); n > files {
			t.Errorf("%d files are open, %d were before", n, files)
		}
	})
	return s
}

func shell(t *testing.T, script string, stall time.Duration) *Stream {
	t.Helper()
	return start(t, "exec:sh -c '"+script+"'", Ask{}, stall)
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// next reads a picture, failing the test if there is none.
func next(t *testing.T, s *Stream) Picture {
	t.Helper()
	if err := s.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s.Picture()
}

// fails reads until there is an error and returns it.
func fails(t *testing.T, s *Stream) error {
	t.Helper()
	for range 1000 {
		if err := s.Next(t.Context()); err != nil {
			if again := s.Next(t.Context()); !errors.Is(again, err) {
				t.Errorf("then %v", again)
			}
			return err
		}
	}
	t.Fatal("no error")
	return nil
}

// gone waits until a process is no more; one that only its parent has not asked for is.
func gone(t *testing.T, pid int) {
	t.Helper()
	for range 500 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if _, rest, ok := strings.Cut(string(stat), ") "); err != nil || ok && rest[0] == 'Z' {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

// The scripts of tests write Y4M with a header, then pictures of 24 bytes.
const (
	y4mPicture = `printf "FRAME\n123456781234567812345678"`
	y4mOne     = `printf "YUV4MPEG2 W8 H2 F10:1\n"; ` + y4mPicture
)

func TestRealPrograms(t *testing.T) {
	const ffmpeg = "exec:ffmpeg -v error -f lavfi -i testsrc=size=%dx%d:rate=30 "
	for _, c := range []struct {
		uri    string
		ask    Ask
		format string
		rate   float64
		w, h   int // of the picture
	}{
		{"gst:videotestsrc is-live=true ! video/x-raw,width=320,height=240", Ask{}, I420, 30, 320, 240},
		{"gst:videotestsrc ! video/x-raw, width = 33,height=17", Ask{}, I420, 30, 32, 16},
		{`gst:videotestsrc ! "video/x-raw, width=100, height=50" !`, Ask{Width: 64, Height: 36, FPS: 5}, I420, 5, 64, 36},
		{"gst:videotestsrc", Ask{Format: BGR, Width: 64, Height: 48}, BGR, 0, 64, 48},
		{"gst:videotestsrc", Ask{Format: YUYV, Width: 64, Height: 48}, YUYV, 0, 64, 48},
		{"gst:videotestsrc ! jpegenc", Ask{Format: MJPEG}, MJPEG, 0, 320, 240},
		{"gst:videotestsrc ! jpegenc ! multipartmux ! fdsink", Ask{}, MJPEG, 0, 320, 240},
		{"csi:0", Ask{}, I420, 30, 1280, 720},
		{fmt.Sprintf(ffmpeg, 48, 32) + "-pix_fmt yuv420p -f yuv4mpegpipe -", Ask{}, I420, 30, 48, 32},
		{fmt.Sprintf(ffmpeg, 35, 19) + "-pix_fmt yuv420p -f yuv4mpegpipe -", Ask{}, I420, 30, 34, 18},
		{fmt.Sprintf(ffmpeg, 35, 19) + "-pix_fmt gray -f yuv4mpegpipe -", Ask{}, Gray, 30, 35, 19},
		{fmt.Sprintf(ffmpeg, 640, 480) + "-f mjpeg -", Ask{}, MJPEG, 0, 640, 480},
		{fmt.Sprintf(ffmpeg, 64, 48) + "-f rawvideo -pix_fmt nv12 -", Ask{Format: NV12, Width: 64, Height: 48, FPS: 30}, NV12, 30, 64, 48},
	} {
		t.Run(c.uri, func(t *testing.T) {
			if strings.HasPrefix(c.uri, "exec") {
				need(t, "ffmpeg")
			} else {
				need(t, launcher)
			}
			s := start(t, c.uri, c.ask, 0)
			var last time.Duration
			for range 5 {
				p := next(t, s)
				if p.Format != c.format || p.Width != c.w || p.Height != c.h || len(p.Data) == 0 || p.PTS < last || p.Size() != 0 && p.Size() != len(p.Data) {
					t.Fatalf("%s %dx%d, %d bytes at %v", p.Format, p.Width, p.Height, len(p.Data), p.PTS)
				}
				last = p.PTS
			}
			if s.Rate() != c.rate {
				t.Errorf("%v frames a second, want %v", s.Rate(), c.rate)
			}
		})
	}
}

// What goes wrong is told in words that help, with what the program said.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		uri   string
		ask   Ask
		is    error
		words string
	}{
		"dies":         {"exec:sh -c '" + y4mOne + "; echo lost the sensor >&2; exit 3'", Ask{}, ErrEnded, "exit status 3); it said: lost the sensor"},
		"ends":         {"exec:true", Ask{}, ErrEnded, "true: the program ended (exit status 0)"},
		"is killed":    {"exec:sh -c '" + y4mOne + "; kill -KILL $$'", Ask{}, ErrEnded, "signal: killed"},
		"closes":       {"exec:sh -c 'exec >&-; sleep 1000'", Ask{}, ErrEnded, "signal: terminated"},
		"garbage":      {"exec:sh -c 'head -c 100000 /dev/urandom; sleep 1000'", Ask{Format: Y4M}, ErrFormat, "not understood"},
		"much of it":   {"exec:cat /dev/zero", Ask{Format: MJPEG}, ErrFormat, "no whole JPEG"},
		"new size":     {"exec:sh -c '" + y4mOne + ";" + y4mOne + "; sleep 1000'", Ask{}, ErrChanged, "another size"},
		"refused":      {"exec:sh -c 'echo 401 Unauthorized for http://joe:secret@cam >&2; exit 1'", Ask{}, ErrAuth, "http://***@cam"},
		"no element":   {"gst:videotestsrc ! nvnosuch", Ask{}, ErrMissing, "nvidia-l4t-gstreamer"},
		"no link":      {"gst:videotestsrc ! jpegdec", Ask{}, ErrEnded, "could not link"},
		"no pipeline":  {"gst:videotestsrc ! ! !!", Ask{}, ErrEnded, "cannot be parsed"},
		"no file":      {`gst:filesrc location="/nonexistent/user:pass word" ! decodebin`, Ask{}, ErrEnded, `No such file`},
		"wrong option": {"exec:ffmpeg -v error -i rtsp://joe:secret@127.0.0.1:1/x -f yuv4mpegpipe -", Ask{}, ErrEnded, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(c.uri, "gst") {
				need(t, launcher)
			} else if strings.HasPrefix(c.uri, "exec:ffmpeg") {
				need(t, "ffmpeg")
			}
			plan, err := Plan(c.uri, c.ask)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Start(Options{Command: plan})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			err = fails(t, s)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(dir, "wrong")
	if err := os.WriteFile(wrong, []byte("#!/nonexistent/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for program, words := range map[string]string{"gnomon-no-such-camera": "look at its name", "/nonexistent/ffmpeg": "apt-get install ffmpeg", plain: "permission denied", wrong: "start wrong"} {
		files := openFiles(t)
		s, err := Start(Options{Command: Command{Args: []string{program}}})
		if s != nil || err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", program, err)
		}
		if n := openFiles(t); n > files {
			t.Errorf("%s: %d files are open, %d were before", program, n, files)
		}
	}
	if _, err := Start(Options{}); err == nil {
		t.Error("no program")
	}
	// Another name of the same program will do.
	s, err := Start(Options{Command: Command{Args: []string{"gnomon-no-such-camera", "-c", y4mOne}, Instead: []string{"gnomon-neither", "sh"}}})
	if err != nil {
		t.Fatal(err)
	}
	next(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A program that stops writing, in the middle of a picture, after one, or byte by byte, is stalled and ended.
func TestStall(t *testing.T) {
	for name, script := range map[string]string{
		"silent":   y4mOne + "; sleep 1000",
		"partial":  y4mOne + `; printf "FRAME\n123"; sleep 1000`,
		"trickles": y4mOne + `; printf "FRAME"; while :; do printf " "; sleep 0.05; done`,
		"loud":     y4mOne + "; while :; do echo waiting for the sensor >&2; sleep 0.05; done",
	} {
		t.Run(name, func(t *testing.T) {
			s := shell(t, script, 400*time.Millisecond)
			next(t, s)
			begun := time.Now()
			err := fails(t, s)
			if d := time.Since(begun); !errors.Is(err, ErrStalled) || d < 400*time.Millisecond || d > 5*time.Second {
				t.Errorf("%v after %v", err, d)
			}
			if name == "loud" && !strings.Contains(err.Error(), "waiting for the sensor") {
				t.Error(err)
			}
			if !s.process.wait(5 * time.Second) {
				t.Error("it goes on")
			}
		})
	}
}

// Patience goes by the rate that was announced, then by the one that is kept.
func TestPatience(t *testing.T) {
	s := &Stream{o: Options{}}
	at := time.Now()
	check := func(want time.Duration) {
		t.Helper()
		if got := s.patience(); got < want-want/20 || got > want+want/20 {
			t.Errorf("%v, want about %v", got, want)
		}
	}
	check(startLimit)
	s.arrived(at, 0)
	check(startLimit) // one picture has no interval
	s.arrived(at.Add(5*time.Second), 0)
	check(15 * time.Second)
	for i := range 100 {
		s.arrived(at.Add(5*time.Second+time.Duration(i+1)*time.Second), 9)
	}
	check(stallLimit)
	s.o.Stall = 500 * time.Millisecond
	check(s.o.Stall)
	s = &Stream{o: Options{Stall: time.Second, Command: Command{Rate: 0.5}}}
	check(startLimit)
	s.arrived(at, 0)
	check(time.Second)
	s.o.Stall = 0
	check(6 * time.Second)
}

// A program that writes more than anybody reads is read for its newest pictures.
func TestFlood(t *testing.T) {
	need(t, "ffmpeg")
	s := start(t, "exec:ffmpeg -v error -f lavfi -i color=size=64x48:rate=1000 -f mjpeg -", Ask{}, 0)
	next(t, s)
	for s.Skipped() < 10 {
		time.Sleep(20 * time.Millisecond) // a slow reader
		next(t, s)
	}
}

// Close and the end of the context end a Next that waits.
func TestInterrupted(t *testing.T) {
	s := shell(t, y4mOne+"; sleep 1000", 0)
	next(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(100*time.Millisecond, cancel)
	defer timer.Stop()
	if err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	result := make(chan error)
	go func() { result <- s.Next(context.Background()) }()
	time.Sleep(50 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
}

// Reading costs no memory once it is under way.
func TestNextDoesNotAllocate(t *testing.T) {
	s := start(t, "exec:cat /dev/zero", Ask{Format: Gray, Width: 320, Height: 240}, 0)
	next(t, s)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		if err := s.Next(ctx); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a picture", n)
	}
}
