package telemetry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gnomon/devcloud"
	"gnomon/telemetry"
)

const (
	statusTopic = "dt/gnomon/thing-1/status"
	patience    = 10 * time.Second // for what should happen in milliseconds, on a busy machine
)

// options are those of a client that hurries.
func options(broker string) telemetry.Options {
	return telemetry.Options{
		Broker: broker, Thing: "thing-1", TopicPrefix: "dt/gnomon", QoS: 1,
		AgentVersion: "1.2.3", BootID: "boot-1",
	}.WithTiming(telemetry.Timing{
		Connect: 2 * time.Second, BackoffStart: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond,
	})
}

// agent is a client that runs, and what it logged.
type agent struct {
	*telemetry.Client
	logs   *observer.ObservedLogs
	cancel context.CancelFunc
	done   chan struct{}
}

// start makes a client and runs it until stop, or the end of the test.
func start(t *testing.T, opts telemetry.Options) *agent {
	t.Helper()
	a := newAgent(t, opts)
	a.run(t)
	return a
}

func newAgent(t *testing.T, opts telemetry.Options) *agent {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	opts.Log = zap.New(core)
	client, err := telemetry.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return &agent{Client: client, logs: logs, done: make(chan struct{})}
}

func (a *agent) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	go func() {
		defer close(a.done)
		if err := a.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() { a.stop(t) })
}

// stop ends the client the usual way and waits for it.
func (a *agent) stop(t *testing.T) {
	t.Helper()
	a.cancel()
	select {
	case <-a.done:
	case <-time.After(patience):
		t.Fatal("Run did not end")
	}
}

// logged counts the lines that contain text.
func (a *agent) logged(text string) int {
	n := 0
	for _, e := range a.logs.All() {
		if strings.Contains(e.Message, text) {
			n++
		}
	}
	return n
}

func (a *agent) log() string {
	var b strings.Builder
	for _, e := range a.logs.All() {
		fmt.Fprintf(&b, "\n  %s %s %v", e.Level, e.Message, e.ContextMap())
	}
	return b.String()
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("waited %v in vain: %s", patience, what)
}

func (a *agent) waitConnected(t *testing.T) {
	t.Helper()
	eventually(t, "connect", func() bool { return a.Stats().Connected })
}

// publish sends messages numbered from..to-1.
func (a *agent) publish(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := a.Publish("dt/gnomon/thing-1/street/detections", []byte(strconv.Itoa(i))); err != nil {
			t.Fatalf("publish %d: %v", i, err)
		}
	}
}

// recorder remembers what arrived at a broker.
type recorder struct {
	mu   sync.Mutex
	msgs []devcloud.Message
}

func (r *recorder) record(m devcloud.Message) {
	m.Payload = append([]byte(nil), m.Payload...)
	r.mu.Lock()
	r.msgs = append(r.msgs, m)
	r.mu.Unlock()
}

func (r *recorder) all() []devcloud.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]devcloud.Message(nil), r.msgs...)
}

// numbers are the payloads of the detections, in the order of arrival.
func (r *recorder) numbers() []int {
	var out []int
	for _, m := range r.all() {
		if strings.HasSuffix(m.Topic, "/detections") {
			n, err := strconv.Atoi(string(m.Payload))
			if err != nil {
				panic(err)
			}
			out = append(out, n)
		}
	}
	return out
}

// complete reports whether 0..n-1 have all arrived.
func (r *recorder) complete(n int) bool {
	seen := map[int]bool{}
	for _, v := range r.numbers() {
		seen[v] = true
	}
	return len(seen) == n
}

// statuses are the messages on the status topic.
func (r *recorder) statuses(t *testing.T) []telemetry.Status {
	t.Helper()
	var out []telemetry.Status
	for _, m := range r.all() {
		if m.Topic != statusTopic {
			continue
		}
		if !m.Retain {
			t.Errorf("the status %s is not retained", m.Payload)
		}
		out = append(out, parseStatus(t, m.Payload))
	}
	return out
}

func parseStatus(t *testing.T, payload []byte) telemetry.Status {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(payload)))
	d.DisallowUnknownFields()
	var s telemetry.Status
	if err := d.Decode(&s); err != nil {
		t.Errorf("status %s: %v", payload, err)
	}
	if s.Schema != "gnomon.status/1" || s.Device != "thing-1" || s.BootID != "boot-1" || s.AgentVersion != "1.2.3" {
		t.Errorf("status %s has the wrong names", payload)
	}
	if at, err := time.Parse("2006-01-02T15:04:05.000000Z", s.Time); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("status has the time %q: %v", s.Time, err)
	}
	return s
}

// broker is an in-process broker that can be killed and started again on the same port.
type broker struct {
	recorder
	addr string
	stop func()
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{addr: "mqtt://127.0.0.1:" + freePort(t)}
	b.start(t)
	t.Cleanup(func() { b.stop() })
	return b
}

// start starts the broker, always on the same port.
func (b *broker) start(t *testing.T) {
	t.Helper()
	addr := strings.TrimPrefix(b.addr, "mqtt://")
	server, err := devcloud.NewBroker(devcloud.BrokerOptions{Addr: addr, Tap: b.record})
	if err != nil {
		t.Fatal(err)
	}
	b.addr = server.Addr()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Run(context.Background()); err != nil {
			t.Errorf("broker: %v", err)
		}
	}()
	b.stop = func() {
		server.Close()
		<-done
	}
}

// freePort finds a port that nothing listens on, below those that the system hands out for outgoing connections, so
// that it stays free while a broker is down.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20_000 + rand.IntN(12_000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		_ = l.Close()
		return port
	}
	t.Fatal("no free port found")
	return ""
}

// add records a PUBLISH that a fake broker got.
func (r *recorder) add(p *packets.PublishPacket) {
	r.record(devcloud.Message{Topic: p.TopicName, Payload: p.Payload, Retain: p.Retain})
}
