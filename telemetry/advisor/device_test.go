package advisor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gnomon/telemetry"
)

const (
	thing       = "thing-1"
	records     = "dt/gnomon/thing-1/street/detections"
	statusTopic = "dt/gnomon/thing-1/status"

	// patience is for what follows after a timeout of the product, 30 s, and a few delays of its own.
	patience = 55 * time.Second
)

// options are those of the product, but for the names.
func options(broker string) telemetry.Options {
	return telemetry.Options{
		Broker: broker, Thing: thing, TopicPrefix: "dt/gnomon", QoS: 1, AgentVersion: "1.2.3", BootID: "boot-1",
	}
}

// device is a client that runs, and what it logged.
type device struct {
	*telemetry.Client
	logs   *observer.ObservedLogs
	cancel context.CancelFunc
	done   chan struct{}
}

// start runs a client until stop, or the end of the test.
func start(t *testing.T, o telemetry.Options) *device {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	o.Log = zap.New(core)
	client, err := telemetry.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &device{Client: client, logs: logs, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		if err := client.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		d.stop(t)
		if t.Failed() {
			t.Logf("the device has %+v and said:%s", d.Stats(), d.log())
		}
	})
	return d
}

func (d *device) stop(t *testing.T) {
	t.Helper()
	d.cancel()
	select {
	case <-d.done:
	case <-time.After(patience):
		t.Fatal("Run did not end")
	}
}

// publish sends the records from..to-1, each a JSON object of at least size bytes.
func (d *device) publish(t *testing.T, from, to, size int) {
	t.Helper()
	pad := strings.Repeat("x", size)
	for i := from; i < to; i++ {
		payload := fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, i, pad)
		if err := d.Publish(records, payload); err != nil {
			t.Fatalf("publish %d: %v", i, err)
		}
	}
}

// said counts the lines that contain text.
func (d *device) said(text string) int {
	n := 0
	for _, e := range d.logs.All() {
		if strings.Contains(e.Message, text) {
			n++
		}
	}
	return n
}

func (d *device) log() string {
	var b strings.Builder
	for _, e := range d.logs.All() {
		fmt.Fprintf(&b, "\n  %s %s %s %v", e.Time.Format("05.000"), e.Level, e.Message, e.ContextMap())
	}
	return b.String()
}

// says waits for a line that contains text.
func (d *device) says(t *testing.T, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the log says %q", text), func() bool { return d.said(text) > 0 })
}

func (d *device) connected(t *testing.T) {
	t.Helper()
	eventually(t, "a connection", func() bool { return d.Stats().Connected })
}

// lossless waits until the records 0..n-1 have arrived and nothing is left to send, and checks that nothing was lost.
func (d *device) lossless(t *testing.T, l *ledger, n int) {
	t.Helper()
	d.losslessWithin(t, patience, l, n)
}

func (d *device) losslessWithin(t *testing.T, limit time.Duration, l *ledger, n int) {
	t.Helper()
	within(t, limit, fmt.Sprintf("all %d records", n), func() bool {
		s := d.Stats()
		return s.Queued+s.InFlight == 0 && l.complete(n)
	})
	if s := d.Stats(); s.Dropped != 0 {
		t.Errorf("%d records were dropped", s.Dropped)
	}
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	within(t, patience, what, cond)
}

func within(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("waited %v in vain: %s", limit, what)
}

// ledger remembers which records have arrived at a broker, one by one or in a batch. The zero value is empty.
type ledger struct {
	mu   sync.Mutex
	seen map[int]int // times
	bad  int         // payloads that are no records
}

func (l *ledger) take(topic string, payload []byte) {
	if !strings.HasSuffix(topic, "/detections") {
		return
	}
	type record struct {
		N     *int              `json:"n"`
		Batch []json.RawMessage `json:"batch"`
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[int]int{}
	}
	var r record
	if err := json.Unmarshal(payload, &r); err != nil || (r.N == nil) == (r.Batch == nil) {
		l.bad++
		return
	}
	if r.N != nil {
		l.seen[*r.N]++
	}
	for _, raw := range r.Batch {
		var one record
		if err := json.Unmarshal(raw, &one); err != nil || one.N == nil {
			l.bad++
			continue
		}
		l.seen[*one.N]++
	}
}

// complete reports whether 0..n-1 have arrived, and nothing that was never sent.
func (l *ledger) complete(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range n {
		if l.seen[i] == 0 {
			return false
		}
	}
	return len(l.seen) == n && l.bad == 0
}
