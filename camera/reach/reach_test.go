package reach

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rtspServer answers OPTIONS at address, or takes connections and says nothing.
func rtspServer(t *testing.T, address string, answer bool) (stop func(), at string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			if answer && strings.HasPrefix(line, "OPTIONS rtsp://") {
				_, _ = c.Write([]byte("RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"))
			} else {
				_, _ = c.Read(make([]byte, 100)) // until the other side gives up
				_, _ = c.Read(make([]byte, 100))
			}
			_ = c.Close()
		}
	}()
	stop = func() { _ = l.Close(); <-done }
	t.Cleanup(stop)
	return stop, l.Addr().String()
}

func TestThere(t *testing.T) {
	_, good := rtspServer(t, "127.0.0.1:0", true)
	_, hung := rtspServer(t, "127.0.0.1:0", false)
	gone, away := rtspServer(t, "127.0.0.1:0", true)
	gone()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for uri, want := range map[string]bool{
		"rtsp://" + good + "/x": true, "rtsp://user:pass@" + good: true, "rtsp://" + hung: false, "rtsp://" + away: false,
		web.URL: true, "http://" + away: false, "tcp://" + away: true, "/dev/null": true, "/dev/gnomon-none": false,
		"udp://239.0.0.1:5000": true, "gst:videotestsrc": true, "test:": true, "%": true, "tcp://host": true,
	} {
		if got := There(t.Context(), uri); got != want {
			t.Errorf("%s: %v", uri, got)
		}
	}
}

func TestBack(t *testing.T) {
	stop, address := rtspServer(t, "127.0.0.1:0", true)
	stop()
	back := make(chan bool, 1)
	go func() { back <- Back(t.Context(), "rtsp://"+address) }()
	select {
	case <-back:
		t.Fatal("back before it is there")
	case <-time.After(every / 2):
	}
	rtspServer(t, address, true)
	select {
	case ok := <-back:
		if !ok {
			t.Error("away for ever")
		}
	case <-time.After(10 * every):
		t.Error("its return was not noticed")
	}

	// It was never away; and of others nobody can tell.
	ctx, cancel := context.WithTimeout(t.Context(), every/4)
	defer cancel()
	if Back(ctx, "rtsp://"+address) || Back(t.Context(), "test:") {
		t.Error("back without having been away")
	}
}

func TestDeviceBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "video0")
	there, pause := look("/dev/" + strings.Repeat("../", 40) + path)
	if pause != everyDevice || there(t.Context()) {
		t.Fatal("it is there")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !there(t.Context()) {
		t.Error("it is not there")
	}
}
