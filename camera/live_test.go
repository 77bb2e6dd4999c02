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
	if !errors.Is(err, ErrEnded) || strings.Contains(err.Error(), "secret") {
		t.Errorf("the end: %v", err)
	}
	if err := errors.Join(f.Close(), src.Close()); err != nil {
		t.Error(err)
	}
}

// A camera that sends a broken picture, or is set to another size, as cameras with MJPEG over HTTP do it.
func TestStreamBrokenAndResized(t *testing.T) {
	leakFree(t)
	small, large := picture(t, 64, 48, true), picture(t, 128, 96, true)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
		for i := range 100 {
			frame := small
			switch {
			case i >= 80:
				frame = large
			case i >= 40 && i%10 == 0:
				frame = append([]byte("\xff\xd8\xff"), "this is no picture"...)
			case i >= 40 && i%10 == 5:
				frame = small[:len(small)/2]
			}
			if _, err := fmt.Fprintf(w, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", len(frame), frame); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}))
	t.Cleanup(s.Close)
	src, err := Open(Options{Name: "cam", URI: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	var f engine.Frame
	frames := 0
	for err = src.Read(t.Context(), &f); err == nil; err = src.Read(t.Context(), &f) {
		frames++
		if f.Width != 64 || f.Height != 48 {
			t.Fatalf("frame %d: %dx%d", frames, f.Width, f.Height)
		}
	}
	if !errors.Is(err, ErrChanged) || frames < 60 {
		t.Errorf("%d frames and then %v", frames, err)
	}
	if err := errors.Join(f.Close(), src.Close()); err != nil {
		t.Error(err)
	}
}
