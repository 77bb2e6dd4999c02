package shadows

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/shadow"
)

// wire is gnomon's connection to the service, in memory. Every message arrives twice, as QoS 1 allows.
type wire struct {
	service *Service
	ctx     context.Context
	queue   chan Message

	mu      sync.Mutex
	filters []string
	handler func(string, []byte)
}

func (w *wire) Subscribe(_ context.Context, filters []string, handler func(string, []byte)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.filters, w.handler = filters, handler
	return nil
}

func (w *wire) Publish(_ context.Context, topic string, payload []byte) error {
	if w.ctx.Err() != nil {
		return errors.New("not connected")
	}
	if !w.service.Request(topic, payload) {
		return errors.New("no request topic: " + topic)
	}
	return nil
}

// deliver hands over what the service sends, on a goroutine of its own as a connection does.
func (w *wire) deliver() {
	for {
		select {
		case <-w.ctx.Done():
			return
		case m := <-w.queue:
			w.mu.Lock()
			for _, filter := range w.filters {
				if filter == m.Topic {
					w.handler(m.Topic, append([]byte(nil), m.Payload...))
					w.handler(m.Topic, append([]byte(nil), m.Payload...))
				}
			}
			w.mu.Unlock()
		}
	}
}

// fleet is one device and the service, in a bubble with a clock of its own.
type fleet struct {
	t       *testing.T
	dir     string
	service *Service
	client  *shadow.Client
	wire    *wire
	stop    context.CancelFunc
	ended   chan error
	desired []string
}

// start makes the service, anew if there was one, and connects the device.
func (f *fleet) start() {
	f.t.Helper()
	ctx, stop := context.WithCancel(f.t.Context())
	w := &wire{ctx: ctx, queue: make(chan Message, 1024)}
	s, err := New(Options{Dir: f.dir, Publish: func(m Message) { w.queue <- m }})
	if err != nil {
		f.t.Fatal(err)
	}
	w.service = s
	f.service, f.wire, f.stop, f.ended = s, w, stop, make(chan error, 1)
	go w.deliver()
	go func() { f.ended <- f.client.Serve(ctx, w) }()
	f.pass(time.Second)
}

func (f *fleet) end() {
	f.t.Helper()
	f.stop()
	if err := errors.Join(<-f.ended, f.service.Close()); err != nil {
		f.t.Error(err)
	}
	synctest.Wait()
}

func (f *fleet) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (f *fleet) report(doc string) {
	f.t.Helper()
	if err := f.client.Report(json.RawMessage(doc)); err != nil {
		f.t.Fatal(err)
	}
	f.pass(5 * time.Second)
}

func (f *fleet) want(patch string) {
	f.t.Helper()
	if _, err := f.service.Update(thing, "", []byte(`{"state":{"desired":`+patch+`}}`)); err != nil {
		f.t.Fatal(err)
	}
	f.pass(5 * time.Second)
}

// expect compares the service's state, and whether the device knows that it is as it should be.
func (f *fleet) expect(what, state string, version int64) {
	f.t.Helper()
	b := &bench{Service: f.service, t: f.t}
	equal(f.t, what+": state", b.state(), state)
	equal(f.t, what+": version", b.version(), version)
	equal(f.t, what+": in sync", f.client.Stats().InSync, true)
}

func TestGnomonsOwnClientConverges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, dir: t.TempDir()}
		client, err := shadow.New(shadow.Options{Thing: thing, OnDesired: func(d shadow.Desired) {
			f.desired = append(f.desired, string(d.State))
		}})
		if err != nil {
			t.Fatal(err)
		}
		f.client = client
		f.start()
		f.report(`{"model":"a","load":{"cpu":0.5,"gpu":1}}`)
		f.expect("first report", `{"reported":{"load":{"cpu":0.5,"gpu":1},"model":"a"}}`, 1)
		f.want(`{"model":"b","fps":[5,10]}`)
		f.expect("desired", `{"desired":{"fps":[5,10],"model":"b"},"reported":{"load":{"cpu":0.5,"gpu":1},"model":"a"},"delta":{"fps":[5,10],"model":"b"}}`, 2)
		f.report(`{"model":"b","fps":[5,10]}`)
		f.expect("done", `{"desired":{"fps":[5,10],"model":"b"},"reported":{"fps":[5,10],"model":"b"}}`, 3)

		f.end()
		f.report(`{"model":"b","fps":[5,10],"boot":2}`)
		f.start()
		f.pass(5 * time.Second)
		f.expect("service restarted", `{"desired":{"fps":[5,10],"model":"b"},"reported":{"boot":2,"fps":[5,10],"model":"b"}}`, 4)

		if !f.service.Request(classic+"delete", nil) { // by somebody else, while the device is connected
			t.Fatal("not a request")
		}
		f.pass(time.Minute)
		f.expect("deleted under it", `{"reported":{"boot":2,"fps":[5,10],"model":"b"}}`, 5)

		f.end()
		f.service, err = New(Options{Dir: f.dir})
		if err != nil {
			t.Fatal(err)
		}
		f.service.Request(classic+"delete", nil)
		f.pass(versionMemory + time.Second)
		f.start()
		f.pass(5 * time.Second)
		f.expect("made again at version 0", `{"reported":{"boot":2,"fps":[5,10],"model":"b"}}`, 0)
		f.want(`{"model":"c"}`)
		f.report(`{"model":"c"}`)
		f.expect("versions start again", `{"desired":{"model":"c"},"reported":{"model":"c"}}`, 2)

		if _, err := f.service.Update(thing, "", []byte(`{"state":{"reported":{"model":"x","load":{}}}}`)); err != nil {
			t.Fatal(err)
		}
		f.pass(2 * time.Hour)
		equal(t, "reported by another: repaired", (&bench{Service: f.service, t: t}).state(), `{"desired":{"model":"c"},"reported":{"model":"c"}}`)
		equal(t, "desired states", strings.Join(f.desired, " "), `{} {"fps":[5,10],"model":"b"} {} {"model":"c"}`)
		stats := f.client.Stats()
		equal(t, "refused and unreadable", stats.Rejected+stats.Malformed+stats.Timeouts, 0)
		f.end()
	})
}
