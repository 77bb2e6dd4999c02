package metrics

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestServer(t *testing.T) {
	address := make(chan net.Addr, 1)
	r := newRegistry(t, newClock(), "")
	s, err := NewServer(ServerOptions{Addr: "127.0.0.1:0", Text: func() []byte { return r.Text(inputs()) }, OnListen: func(a net.Addr) { address <- a }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	addr := (<-address).String()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{http.MethodGet, "/metrics", http.StatusOK},
		{http.MethodHead, "/metrics", http.StatusOK},
		{http.MethodPost, "/metrics", http.StatusMethodNotAllowed},
		{http.MethodGet, "/", http.StatusNotFound},
		{http.MethodGet, "/metrics/", http.StatusNotFound},
	} {
		req, err := http.NewRequestWithContext(ctx, c.method, "http://"+addr+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != c.code {
			t.Errorf("%s %s: %d, %v", c.method, c.path, resp.StatusCode, err)
		}
		if c.code == http.StatusOK && c.method == http.MethodGet && (!strings.Contains(string(body), "# TYPE gnomon_agent_info gauge\n") || resp.Header.Get("Content-Type") != contentType) {
			t.Errorf("%s: %s", resp.Header.Get("Content-Type"), body)
		}
		_ = resp.Body.Close()
	}

	other, err := NewServer(ServerOptions{Addr: addr, Text: func() []byte { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Run(ctx); err == nil || !strings.Contains(err.Error(), "telemetry.metrics.listen") {
		t.Errorf("on a port that is taken: %v", err)
	}
	// A reader that sends nothing does not keep it.
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := s.Run(ctx); err != nil { // told to end before it began
		t.Error(err)
	}
	for _, o := range []ServerOptions{{Addr: "nowhere", Text: func() []byte { return nil }}, {}} {
		if _, err := NewServer(o); err == nil {
			t.Errorf("made a server of %+v", o)
		}
	}
}

func TestPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, err := New(Options{Device: "thing-1", BootID: "b", Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		messages, emf := make(chan []byte, 100), make(chan []byte, 100)
		p, err := NewPublisher(PublisherOptions{
			Registry: r, Collect: inputs, Publish: func(b []byte) error { messages <- b; return nil },
			Namespace: "Gnomon", PublishEMF: func(b []byte) error { emf <- b; return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		next := func(after, window time.Duration, seq uint64) {
			t.Helper()
			begun := time.Now()
			var m struct {
				Seq     uint64
				WindowS float64 `json:"window_s"`
			}
			if err := json.Unmarshal(<-messages, &m); err != nil || m.Seq != seq || m.WindowS != window.Seconds() || time.Since(begun) != after {
				t.Errorf("after %v: %+v, %v", time.Since(begun), m, err)
			}
		}
		next(30*time.Second, 30*time.Second, 1)
		next(30*time.Second, 30*time.Second, 2)
		p.SetEvery(0) // as often as may be
		synctest.Wait()
		next(time.Second, time.Second, 3)
		time.Sleep(time.Second / 2)
		cancel()
		next(0, time.Second/2, 4)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(emf) != 4*3 {
			t.Errorf("%d messages for CloudWatch", len(emf))
		}
	})
	if _, err := NewPublisher(PublisherOptions{}); err == nil {
		t.Error("made a publisher of nothing")
	}
	r := newRegistry(t, newClock(), "")
	if _, err := NewPublisher(PublisherOptions{Registry: r, Collect: inputs, Namespace: "x"}); err == nil {
		t.Error("CloudWatch without a way there")
	}
}
