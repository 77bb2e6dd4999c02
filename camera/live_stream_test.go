package camera

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A packet that cannot be decoded is passed over; what the camera then does decides.
func TestStreamTroubles(t *testing.T) {
	damaged := told{readCode: 0, lines: []string{"[mjpeg @ 0x1] overread 8"}}
	for _, row := range []struct {
		name string
		h    *fakeHandle
		want error
		text string
	}{
		{"one packet of two is damaged", &fakeHandle{said: damaged, grabs: func(n int) (time.Duration, bool) { return 0, n%2 == 0 }}, nil, ""},
		{"the server goes", &fakeHandle{said: told{readCode: avEOF}, grabs: func(n int) (time.Duration, bool) { return 0, n == 0 }}, ErrEnded, "the stream has ended"},
		{"the connection breaks", &fakeHandle{said: told{readCode: -int(syscall.ECONNRESET)}, grabs: func(n int) (time.Duration, bool) { return 0, n == 0 }}, ErrEnded, "connection reset by peer"},
		{"the end of a file", &fakeHandle{said: told{readCode: nothingRead}, grabs: func(n int) (time.Duration, bool) { return 0, n == 0 }}, ErrEnded, ""},
		{"another size", &fakeHandle{shapes: func(n int) shape { return shape{640 - 320*(n/2), 480, 0} }}, ErrChanged, "it was 640x480 and is 320x480 now"},
		{"another format", &fakeHandle{shapes: func(n int) shape { return shape{640, 480, 12 * (n / 2)} }}, ErrChanged, ""},
		{"another size than announced", &fakeHandle{shapes: func(int) shape { return shape{320, 480, 0} }}, ErrChanged, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := row.h
			l := mustOpenFake(t, h, Options{})
			var err error
			for i := 0; i < 10 && err == nil; i++ {
				err = l.Grab(t.Context())
			}
			if !errors.Is(err, row.want) || row.want != nil && !strings.Contains(err.Error(), row.text) {
				t.Errorf("%v, want %v with %q", err, row.want, row.text)
			}
			_ = l.Close()
		})
	}
	huge := &fakeHandle{props: map[property]float64{propWidth: 40000, propHeight: 40000}}
	if _, err := openFake(t.Context(), huge, Options{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a huge picture: %v", err)
	}
	none := &fakeHandle{props: map[property]float64{propWidth: 0}}
	if _, err := openFake(t.Context(), none, Options{}); !errors.Is(err, ErrStalled) {
		t.Errorf("no picture: %v", err)
	}
}

// Only damaged packets are as good as silence.
func TestNothingButDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHandle{grabs: func(n int) (time.Duration, bool) { time.Sleep(40 * time.Millisecond); return 0, n < 3 }}
		l := mustOpenFake(t, h, Options{})
		grabN(t, l, 3)
		within(t, minStall, minStall, "noticing", func() {
			if err := l.Grab(t.Context()); !errors.Is(err, ErrStalled) {
				t.Error(err)
			}
		})
		within(t, 0, 50*time.Millisecond, "closing", func() { _ = l.Close() })
	})
}

func TestOpenReason(t *testing.T) {
	const uri = "rtsp://admin:p%40ss@cam:554/main?token=abc123"
	for _, row := range []struct {
		said told
		want error
		text string
	}{
		{told{openCode: avUnauthorised}, ErrAuth, "rtsp://***@cam:554/main"},
		{told{openCode: avForbidden}, ErrAuth, ""},
		{told{openCode: avNotFound}, ErrNoStream, "check the path"},
		{told{openCode: avServerError, lines: []string{"method SETUP failed: 503 admin:p%40ss"}}, ErrUnreachable, "(method SETUP failed: 503 ***)"},
		{told{openCode: avExit}, ErrUnreachable, "does not answer within 10s"},
		{told{openCode: -int(syscall.ECONNREFUSED)}, ErrUnreachable, "nothing listens"},
		{told{openCode: -int(syscall.EHOSTUNREACH)}, ErrUnreachable, "no route to host"},
		{told{openCode: -int(syscall.EIO), lines: []string{"Failed to resolve hostname cam: Name or service not known"}}, ErrUnreachable, "DNS"},
		{told{openCode: -int(syscall.EIO), lines: []string{"what p@ss is"}}, ErrUnreachable, "(what *** is)"},
		{told{openCode: avInvalid}, ErrUnsupported, "no video that can be read"},
		{told{openCode: -int(syscall.EPROTONOSUPPORT)}, ErrUnsupported, "transport"},
		{told{}, ErrUnsupported, "H.264"},
		{told{openCode: -1234567}, ErrUnreachable, "check the address"},
	} {
		err := openReason(uri, row.said)
		if !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%+v: %v, want %v with %q", row.said, err, row.want, row.text)
		}
		for _, secret := range []string{"p%40ss", "p@ss", "admin", "abc123"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%+v: %v shows %s", row.said, err, secret)
			}
		}
	}
}

// A name that is not known, or whose server does not answer, keeps nobody.
func TestFindHost(t *testing.T) {
	for uri, want := range map[string]string{
		"rtsp://cam/x": "cam", "rtsp://a:b@cam:554/x@y": "cam", "http://cam?a@b": "cam", "rtsp://a:b@[fe80::1%eth0]:554/x": "fe80::1",
		"udp://:5000": "", "udp://@239.0.0.1:5000": "239.0.0.1", "rtsp://": "",
	} {
		if got := hostOf(uri); got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		lookup := func(ctx context.Context, host string) ([]string, error) {
			if asked++; host == "cam" {
				return []string{"192.0.2.1"}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		for _, uri := range []string{"rtsp://cam/x", "rtsp://192.0.2.1/x", "rtsp://[::1]:8554/x", "udp://:5000"} {
			if err := findHost(t.Context(), uri, lookup); err != nil {
				t.Errorf("%s: %v", uri, err)
			}
		}
		if asked != 1 {
			t.Errorf("%d names looked up", asked)
		}
		within(t, openLimit, openLimit, "giving up", func() {
			if err := findHost(t.Context(), "rtsp://a:secret@lost/x", lookup); !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "secret") {
				t.Error(err)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := findHost(ctx, "rtsp://lost/x", lookup); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
	})
}
