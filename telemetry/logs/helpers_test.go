package logs

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gnomon/telemetry/redact"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// line is a record as a reader sees it.
type line struct {
	Schema, Device, Source, Time, Level, Message, Logger string
	BootID                                               string `json:"boot_id"`
	Seq                                                  uint64
	Fields                                               map[string]any
}

// cloud takes what is published.
type cloud struct {
	t  *testing.T
	mu sync.Mutex

	lines    []line
	payloads []string
	refuse   error
	refused  int
}

func (c *cloud) publish(payload []byte) error {
	var got struct{ Batch []line }
	if err := json.Unmarshal(payload, &got); err != nil || len(got.Batch) == 0 || len(payload) > maxBatch {
		c.t.Errorf("payload of %d bytes, %d lines: %v", len(payload), len(got.Batch), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse != nil {
		c.refused++
		return c.refuse
	}
	c.lines = append(c.lines, got.Batch...)
	c.payloads = append(c.payloads, string(payload))
	return nil
}

func (c *cloud) set(refuse error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = refuse
}

// seen are the lines so far.
func (c *cloud) seen() []line {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]line(nil), c.lines...)
}

func (c *cloud) messages() (out []string) {
	for _, l := range c.seen() {
		out = append(out, l.Message)
	}
	return out
}

// until waits for something.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come to this: %s", what)
		}
	}
}

// background runs something until stop, which returns its error.
func background(t *testing.T, run func(context.Context) error) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			err = <-done
		})
		return err
	}
	t.Cleanup(func() { _ = stop() }) // looked at by who calls it
	return stop
}

// newShipper is one that publishes to c, quickly.
func newShipper(t *testing.T, c *cloud, o Options) *Shipper {
	t.Helper()
	c.t = t
	o.Device, o.BootID = "thing-1", "boot-1"
	if o.Publish == nil {
		o.Publish = c.publish
	}
	if o.Redactor == nil {
		o.Redactor = redact.New("the-camera-password")
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.every = 10 * time.Millisecond
	return s
}

// host is a machine with logs, followed into a cloud.
type host struct {
	t     *testing.T
	dir   string
	opts  SystemOptions
	edit  func(*System)
	c     *cloud
	log   *observer.ObservedLogs
	stop  func()
	lossy bool // the end fails, because lines are left
}

func newHost(t *testing.T) *host {
	dir := t.TempDir()
	core, log := observer.New(zap.DebugLevel)
	return &host{t: t, dir: dir, c: &cloud{t: t}, log: log, opts: SystemOptions{
		Positions: filepath.Join(dir, "positions.json"), Rate: 100_000, Log: zap.New(core),
	}}
}

// start begins to follow; stop ends it as the agent does.
func (h *host) start() {
	h.t.Helper()
	s := newShipper(h.t, h.c, Options{})
	y, err := NewSystem(s, h.opts)
	if err != nil {
		h.t.Fatal(err)
	}
	y.poll = 5 * time.Millisecond
	if h.edit != nil {
		h.edit(y)
	}
	stopShipper := background(h.t, s.Run)
	stopSystem := background(h.t, y.Run)
	h.stop = func() {
		if err := errors.Join(stopSystem(), stopShipper()); (err != nil) != h.lossy {
			h.t.Error(err)
		}
		stopSystem, stopShipper = func() error { return nil }, func() error { return nil }
	}
	h.t.Cleanup(h.stop)
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// write adds to a file of the host.
func (h *host) write(name, text string) {
	h.t.Helper()
	f, err := os.OpenFile(h.path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// saved is what is in the file of positions.
func (h *host) saved() saved {
	h.t.Helper()
	v, err := readPositions(h.opts.Positions)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}
