//go:build opencv

package camera

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gnomon/engine"
)

// mjpegCamera is a network camera as many are: JPEG pictures one after the other over HTTP, n of them, 50 a second.
func mjpegCamera(t *testing.T, n int) *httptest.Server {
	t.Helper()
	frame := picture(t, 64, 48, true)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
		for range n {
			_, err := fmt.Fprintf(w, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", len(frame), frame)
			if err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-time.After(20 * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// A live stream is read as it comes, with the time of each grab; its end is an error, which a file's is not, and
// never shows the password.
func TestStream(t *testing.T) {
	leakFree(t)
	server := mjpegCamera(t, 60)
	src, err := Open(Options{Name: "cam", URI: strings.Replace(server.URL, "http://", "http://user:secret@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	if !src.Live() {
		t.Error("a stream is live")
	}
	var f engine.Frame
	frames, last := 0, time.Time{}
	for {
		if err = src.Read(t.Context(), &f); err != nil {
			break
		}
		if f.Width != 64 || f.Height != 48 || f.Seq != uint64(frames) || !f.CapturedAt.After(last) || time.Since(f.CapturedAt) > time.Second {
			t.Fatalf("frame %d: %dx%d, number %d at %v after %v", frames, f.Width, f.Height, f.Seq, f.CapturedAt, last)
		}
		frames, last = frames+1, f.CapturedAt
	}
	if frames < 20 { // the decoder keeps some for probing
		t.Errorf("%d frames of 60", frames)
	}
	if !strings.Contains(err.Error(), "ended or was silent") || strings.Contains(err.Error(), "secret") {
		t.Errorf("the end: %v", err)
	}
	if err := errors.Join(f.Close(), src.Close()); err != nil {
		t.Error(err)
	}
}
