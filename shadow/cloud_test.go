package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const thing = "camera-7"

// fault is what the fake service does with a request instead of answering it.
type fault int

const (
	none    fault = 0
	lost    fault = -1 // the request never arrives
	mute    fault = -2 // it is carried out, but no answer comes
	cut     fault = -3 // the connection breaks before the PUBACK, after the request was carried out
	garbage fault = -4 // the answer is no JSON
	// positive: rejected with this code
)

// cloud is the shadow service in memory, as the AWS guide describes it: versions, deltas, tokens, refusals.
type cloud struct {
	t      *testing.T
	prefix string

	mu       sync.Mutex
	exists   bool
	version  int64
	desired  map[string]any
	reported map[string]any
	conns    []*wire
	requests []sent
	faults   map[string][]fault // by topic, used up from the front
	always   map[string]fault
}

// sent is one request of the device.
type sent struct {
	topic   string
	payload string
	at      time.Time
}

// wire is one connection; it satisfies Conn.
type wire struct {
	cloud   *cloud
	ctx     context.Context
	handler func(string, []byte)
	filters map[string]bool
	queue   chan sent
	subErr  error
}

func newCloud(t *testing.T) *cloud {
	return &cloud{
		t: t, prefix: "$aws/things/" + thing + "/shadow/",
		desired: map[string]any{}, reported: map[string]any{},
		faults: map[string][]fault{}, always: map[string]fault{},
	}
}

func (c *cloud) connect(ctx context.Context) *wire {
	w := &wire{cloud: c, ctx: ctx, filters: map[string]bool{}, queue: make(chan sent, 4096)}
	c.mu.Lock()
	c.conns = append(c.conns, w)
	c.mu.Unlock()
	go func() {
		for {
			select {
			case m := <-w.queue:
				w.handler(m.topic, []byte(m.payload))
			case <-ctx.Done():
				return
			}
		}
	}()
	return w
}

func (w *wire) Subscribe(_ context.Context, filters []string, handler func(string, []byte)) error {
	if w.subErr != nil {
		return w.subErr
	}
	if len(filters) > 8 {
		return errors.New("AWS IoT allows 8 filters in a SUBSCRIBE")
	}
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	w.handler = handler
	for _, f := range filters {
		w.filters[f] = true
	}
	return nil
}

func (w *wire) Publish(_ context.Context, topic string, payload []byte) error {
	if w.ctx.Err() != nil {
		return errors.New("not connected")
	}
	return w.cloud.request(strings.TrimPrefix(topic, w.cloud.prefix), payload)
}

// request carries out a request of the device.
func (c *cloud) request(topic string, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, sent{topic, string(payload), time.Now()})
	f := c.always[topic]
	if list := c.faults[topic]; len(list) > 0 {
		f, c.faults[topic] = list[0], list[1:]
	}
	var req struct {
		State struct {
			Reported map[string]any `json:"reported"`
		} `json:"state"`
		ClientToken string `json:"clientToken"`
		Version     *int64 `json:"version"`
	}
	if len(payload) > 0 {
		if err := json.Unmarshal(payload, &req); err != nil {
			c.t.Errorf("the device sent no JSON to %s: %s", topic, payload)
		}
	}
	if len(req.ClientToken) > 64 || req.Version != nil {
		c.t.Errorf("token over 64 bytes or a version in %s", payload)
	}
	switch {
	case f == lost:
		return nil
	case f == garbage:
		c.send(topic+"/accepted", "{{{")
		return nil
	case f > 0:
		c.reject(topic, int(f), "made to fail", req.ClientToken)
		return nil
	case topic == "get" && len(payload) > 0:
		c.t.Errorf("get with a payload: %s", payload)
	case topic == "get" && !c.exists:
		c.reject(topic, 404, "No shadow exists with name: '"+thing+"'", "")
	case topic == "get" && f != mute:
		c.send("get/accepted", c.document())
	case topic == "update":
		c.reported = apply(c.reported, req.State.Reported)
		c.changed(req.ClientToken, f == mute || f == cut)
	}
	if f == cut {
		return errors.New("connection reset by peer")
	}
	return nil
}

// changed is the service's side of an accepted update.
func (c *cloud) changed(token string, silent bool) {
	c.exists = true
	c.version++
	if silent {
		return
	}
	c.send("update/accepted", fmt.Sprintf(`{"state":{},"version":%d,"timestamp":1,"clientToken":%q}`, c.version, token))
	delta := map[string]any{}
	for k, v := range c.desired {
		if fmt.Sprint(v) != fmt.Sprint(c.reported[k]) {
			delta[k] = v
		}
	}
	if len(delta) > 0 {
		c.send("update/delta", fmt.Sprintf(`{"version":%d,"timestamp":1,"state":%s}`, c.version, text(delta)))
	}
}

func (c *cloud) document() string {
	state := map[string]any{}
	if len(c.desired) > 0 {
		state["desired"] = c.desired
	}
	if len(c.reported) > 0 {
		state["reported"] = c.reported
	}
	return fmt.Sprintf(`{"state":%s,"metadata":{"desired":{}},"version":%d,"timestamp":%d}`,
		text(state), c.version, 1700000000)
}

func (c *cloud) reject(topic string, code int, message, token string) {
	c.send(topic+"/rejected", fmt.Sprintf(`{"code":%d,"message":%q,"timestamp":1,"clientToken":%q}`, code, message, token))
}

// send delivers to every connection that has subscribed.
func (c *cloud) send(topic, payload string) {
	for _, w := range c.conns {
		if w.ctx.Err() == nil && w.filters[c.prefix+topic] {
			w.queue <- sent{topic: c.prefix + topic, payload: payload}
		}
	}
}

// inject delivers a message that the service did not make.
func (c *cloud) inject(topic, payload string) {
	c.mu.Lock()
	c.send(topic, payload)
	c.mu.Unlock()
	synctest.Wait()
}

// want sets the desired state by a merge patch, as the console does.
func (c *cloud) want(patch string) {
	c.mu.Lock()
	var p map[string]any
	if err := json.Unmarshal([]byte(patch), &p); err != nil {
		c.t.Error(err)
	}
	c.desired = apply(c.desired, p)
	c.changed("console", false)
	c.mu.Unlock()
	synctest.Wait()
}

func (c *cloud) remove(version int64, silent bool) {
	c.mu.Lock()
	if !silent {
		c.send("delete/accepted", fmt.Sprintf(`{"version":%d,"timestamp":1}`, c.version))
	}
	c.exists, c.version = false, version
	c.desired, c.reported = map[string]any{}, map[string]any{}
	c.mu.Unlock()
}

func (c *cloud) count(topic string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, r := range c.requests {
		if r.topic == topic {
			n++
		}
	}
	return n
}

func (c *cloud) last(topic string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.requests) - 1; i >= 0; i-- {
		if c.requests[i].topic == topic {
			return c.requests[i].payload
		}
	}
	return ""
}

func (c *cloud) has() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return text(c.reported)
}

// fail makes the next requests on topic fail; set makes the state as it is.
func (c *cloud) fail(topic string, f ...fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[topic] = append(c.faults[topic], f...)
}

func (c *cloud) failAlways(topic string, f fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.always[topic] = f
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// device is a client under test in a bubble with a clock of its own.
type device struct {
	*Client
	t     *testing.T
	cloud *cloud
	logs  *observer.ObservedLogs
	mu    sync.Mutex
	got   []string // desired states, in order
	stop  context.CancelFunc
	ended chan error
}

func newDevice(t *testing.T, c *cloud) *device {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	d := &device{t: t, cloud: c, logs: logs}
	client, err := New(Options{Thing: thing, Log: zap.New(core), OnDesired: func(s Desired) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.got = append(d.got, string(s.State))
	}})
	if err != nil {
		t.Fatal(err)
	}
	d.Client = client
	return d
}

// connect serves over a new connection until disconnect.
func (d *device) connect() {
	ctx, stop := context.WithCancel(context.Background())
	w := d.cloud.connect(ctx)
	d.stop, d.ended = stop, make(chan error, 1)
	go func() { d.ended <- d.Serve(ctx, w) }()
	synctest.Wait()
}

func (d *device) disconnect() {
	d.t.Helper()
	d.stop()
	if err := <-d.ended; err != nil {
		d.t.Errorf("Serve returned %v at the end of its context", err)
	}
}

func (d *device) desired() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.got, " ")
}

func (d *device) report(doc string) {
	d.t.Helper()
	if err := d.Report(json.RawMessage(doc)); err != nil {
		d.t.Fatal(err)
	}
	synctest.Wait()
}

// after lets time pass in the bubble.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// check compares what a test expects with what there is.
func check[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
