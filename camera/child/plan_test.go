package child

import (
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	const side = " ! fdsink fd=3 sync=false"
	const i420 = "video/x-raw,format=I420"
	hd := Ask{Width: 1920, Height: 1080, FPS: 25}
	for _, c := range []struct {
		uri  string
		ask  Ask
		want string // the arguments, or what the error says
		c    Command
	}{
		{"exec:ffmpeg -i 'a b' -f yuv4mpegpipe -", Ask{}, "ffmpeg -i a b -f yuv4mpegpipe -", Command{}},
		{"exec:cam", Ask{Format: NV12, Width: 4, Height: 2, FPS: 5}, "cam", Command{Format: NV12, Width: 4, Height: 2, Rate: 5}},
		{"exec: ", Ask{}, "no command", Command{}},
		{"exec:'' a", Ask{}, "no command", Command{}},
		{"exec:cam | ffmpeg -i -", Ask{}, "exec:sh -c", Command{}},
		{"exec:sh -c 'secret", Ask{}, "no second one", Command{}},

		{`gst:a "b, c" d='e f'`, Ask{Format: MJPEG}, "a b, c d=e f" + side, Command{Side: true, Format: MJPEG}},
		{"gst:videotestsrc ! jpegdec !", Ask{}, "videotestsrc ! jpegdec ! videoconvert ! " + i420 + " ! y4menc" + side, Command{Side: true, Format: Y4M}},
		{"gst:a", hd, "a ! videorate drop-only=true ! videoscale ! videoconvert ! " + i420 + ",width=1920,height=1080,framerate=[0/1,25/1] ! y4menc" + side, Command{Side: true, Format: Y4M, Width: 1920, Height: 1080, Rate: 25}},
		{"gst:a", Ask{Format: MJPEG}, "a" + side, Command{Side: true, Format: MJPEG}},
		{"gst:a", Ask{Format: BGR, Width: 64, Height: 48}, "a ! videoscale ! videoconvert ! video/x-raw,format=BGR,width=64,height=48" + side, Command{Side: true, Format: BGR, Width: 64, Height: 48}},
		{"gst:a ! tee name=t t. ! fdsink t. ! filesink location=x", Ask{Format: MJPEG}, "a ! tee name=t t. ! fdsink t. ! filesink location=x", Command{Format: MJPEG}},
		{"gst:a", Ask{Format: BGR, Width: 66, Height: 48}, "multiple of 8", Command{}},
		{"gst:a", Ask{Format: "h264"}, `"h264" is not known`, Command{}},
		{"gst:a ! autovideosink sync=false", Ask{}, "ends in autovideosink", Command{}},
		{"gst: ", Ask{}, "no pipeline", Command{}},

		{"csi:0", Ask{}, "nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1 ! nvvidconv ! " + i420 +
			" ! queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0 ! y4menc" + side, Command{Side: true, Format: Y4M, Rate: 30}},
		{"csi:00", Ask{}, "not the number", Command{}},
		{"csi:0 ! filesink", Ask{}, "not the number", Command{}},
		{"rtsp://u:p@cam/1?a=1&b=!", Ask{Width: 640, Height: 360}, `rtspsrc location="rtsp://u:p@cam/1?a=1&b=!" protocols=tcp latency=200 drop-on-latency=true ! application/x-rtp,media=video ! parsebin ! nvv4l2decoder ! nvvidconv ! ` +
			i420 + ",width=640,height=360 ! queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0 ! y4menc" + side, Command{Side: true, Format: Y4M}},
		{`rtsp://cam/" ! filesink location=/etc/x`, Ask{}, "no address may have", Command{}},
		{"rtsp://cam/\\", Ask{}, "no address may have", Command{}},

		{"rpi:1", Ask{}, "rpicam-vid --camera 1 --codec yuv420 --width 1280 --height 720 --framerate 30 --timeout 0 --nopreview --flush --output -", Command{Format: I420, Width: 1280, Height: 720, Rate: 30}},
		{"rpi:0", Ask{Width: 1000, Height: 700, FPS: 7.5}, "rpicam-vid --camera 0 --codec mjpeg --width 1000 --height 700 --framerate 7.5 --timeout 0 --nopreview --flush --output -", Command{Format: MJPEG, Width: 1000, Height: 700, Rate: 7.5}},
		{"rpi:-1", Ask{}, "not the number", Command{}},
		{"file.avi", Ask{}, "no program", Command{}},
	} {
		got, err := Plan(c.uri, c.ask)
		if err != nil {
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", c.uri, err)
			}
			continue
		}
		args := strings.TrimPrefix(strings.Join(got.Args, " "), "gst-launch-1.0 -q -f ")
		if args != c.want || got.Side != c.c.Side || got.Format != c.c.Format || got.Width != c.c.Width || got.Height != c.c.Height || got.Rate != c.c.Rate {
			t.Errorf("%s: %s\nwant %s\n%+v", c.uri, args, c.want, got)
		}
	}
}

func TestRate(t *testing.T) {
	for fps, want := range map[float64]string{30: "30/1", 29.97: "30000/1001", 59.94: "60000/1001", 7.5: "7500/1000", 0.5: "500/1000", 0.0001: "1/1000", 29.5: "29500/1000"} {
		if got := rate(fps); got != want {
			t.Errorf("%v: %s, want %s", fps, got, want)
		}
	}
}

func TestHint(t *testing.T) {
	for said, want := range map[string]string{
		`erroneous pipeline: no element "nvvidconv"`: "nvidia-l4t-gstreamer", `no element "rtph264depay"`: "good", `no element "x264enc"`: "ugly",
		`no element "avdec_h264"`: "libav", `no element "frei0r"`: "gst-inspect-1.0", "Unauthorized": "password", "all is well": "",
	} {
		if got := hint(said); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %s", said, got)
		}
	}
	for program, want := range map[string]string{"/usr/bin/ffmpeg": "apt-get install ffmpeg", "mycam": "PATH"} {
		if got := install(program); !strings.Contains(got, want) {
			t.Errorf("%s: %s", program, got)
		}
	}
}

// The last words of a program are told, its secrets are not.
func TestTail(t *testing.T) {
	secret := "hunter2!"
	tail := newTail([]string{"gst-launch-1.0", "rtspsrc", `user-pw="` + secret + `"`, "--token", "tok-12345", "http://joe:s3cret-word@cam/"})
	write := func(s string) {
		if n, err := tail.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	write("first\nsecond\nthird\n" + strings.Repeat("more\n", 4))
	write("\x1b[1;32mcolour\x1b[0m and\x07 bell\n frame 1\r frame 2\r\n\n")
	write("pass")
	write("word is " + secret + ", tok-12345, s3cret-word\n")
	write(strings.Repeat("x", 5000) + "\n")
	write("rtsp://a:b@cam/ refused")
	got := tail.String()
	for _, no := range []string{"first", secret, "tok-12345", "s3cret", "a:b", "\x1b", "\x07", "  "} {
		if strings.Contains(got, no) {
			t.Errorf("%q is in %s", no, got)
		}
	}
	for _, yes := range []string{"frame 1 | frame 2 |", "colour and bell", "xxx… |", "rtsp://***@cam/ refused"} {
		if !strings.Contains(got, yes) {
			t.Errorf("%q is not in %s", yes, got)
		}
	}
	for _, uri := range []string{
		"exec:curl -u admin:hunter2 http://cam/", "exec:curl --user=admin:hunter2 http://cam/", "exec:curl -uadmin:hunter2 x", "exec:curl --proxy-user 'a:hunter2' x",
		"gst:rtspsrc user-pw = hunter2 ! x", "gst:rtspsrc user-pw= hunter2 ! x", "gst:rtspsrc user-pw =hunter2 ! x", "exec:x --password hunter2", "exec:x -u",
	} {
		if got := Redact(uri); strings.Contains(got, "hunter2") || len(Secrets(uri)) == 0 && strings.Contains(uri, "hunter2") {
			t.Error(got)
		}
	}
	uri := "gst:rtspsrc user-pw=" + secret + " location=rtsp://joe:s3cret-word@cam/ ! x"
	if got := Redact(uri); strings.Contains(got, secret) || strings.Contains(got, "s3cret") || !strings.Contains(got, "location=") {
		t.Error(got)
	}
}
