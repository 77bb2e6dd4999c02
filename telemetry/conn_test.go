package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"gnomon/telemetry"
)

// live is one call of OnConnect.
type live struct {
	ctx  context.Context
	conn *telemetry.Conn
}

// withConns sends each connection to a channel; the call lasts as long as the connection.
func withConns(o telemetry.Options) (telemetry.Options, chan live) {
	conns := make(chan live, 100)
	o.OnConnect = func(ctx context.Context, conn *telemetry.Conn) {
		conns <- live{ctx, conn}
		<-ctx.Done()
	}
	return o, conns
}

func next[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v in vain: %s", patience, what)
		panic("unreachable")
	}
}

func TestMosquittoConn(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t, "listener {plain} 127.0.0.1\nallow_anonymous true\n")
	opts, conns := withConns(options("mqtt://" + m.address("plain")))
	a := start(t, opts)
	type got struct {
		topic string
		size  int
	}
	for round := range 2 {
		c := next(t, "connection", conns)
		msgs := make(chan got, 10)
		filters := []string{"$aws/things/thing-1/shadow/get/+", "dt/in/#"}
		err := c.conn.Subscribe(c.ctx, filters, func(topic string, p []byte) { msgs <- got{topic, len(p)} })
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []got{
			{"$aws/things/thing-1/shadow/get/accepted", 5}, {"dt/in", 0}, {"dt/in/a/b", telemetry.MaxPayload},
		} {
			if err := c.conn.Publish(c.ctx, want.topic, make([]byte, want.size)); err != nil {
				t.Fatal(err)
			}
			if g := next(t, "message", msgs); g != want {
				t.Errorf("got %v, want %v", g, want)
			}
		}
		if round == 1 {
			break
		}
		m.kill(syscall.SIGKILL)
		next(t, "end of the context", c.ctx.Done())
		m.start(t)
		eventually(t, "end of the old Conn", func() bool {
			return errors.Is(c.conn.Publish(t.Context(), "dt/in", nil), telemetry.ErrDisconnected)
		})
	}
	if s := a.Stats(); s.Missed != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestMosquittoTooLargeAndSlow(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t, "listener {plain} 127.0.0.1\nallow_anonymous true\n")
	opts, conns := withConns(options("mqtt://" + m.address("plain")))
	a := start(t, opts)
	c := next(t, "connection", conns)
	started, release := make(chan string, 200), make(chan struct{})
	err := c.conn.Subscribe(c.ctx, []string{"dt/in/+"}, func(topic string, _ []byte) {
		started <- topic
		<-release
	})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(i int) {
		t.Helper()
		// PUBACKs come although the handler stands still.
		if err := c.conn.Publish(c.ctx, fmt.Sprintf("dt/in/%d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	publish(0)
	next(t, "handler", started)
	for i := 1; i <= 64+10; i++ {
		publish(i)
	}
	eventually(t, "the oldest are dropped", func() bool { return a.Stats().Missed == 10 })
	close(release)
	if topic := next(t, "handler", started); topic != "dt/in/11" {
		t.Errorf("the oldest that was kept is %s", topic)
	}
	for range 63 {
		next(t, "handler", started)
	}

	fromOther := publishAs(t, m.address("plain"), "dt/in/large", make([]byte, telemetry.MaxPayload+1))
	if fromOther != nil {
		t.Fatal(fromOther)
	}
	eventually(t, "the large one is dropped", func() bool { return a.Stats().Missed == 11 })
	if s := a.Stats(); s.Reconnects != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestConnRefusals(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(_ int, p *peer) {
		if !p.accept(0) {
			return
		}
		for pk := p.read(); pk != nil; pk = p.read() {
			switch pk := pk.(type) {
			case *packets.PublishPacket:
				p.ack(pk.MessageID)
			case *packets.SubscribePacket:
				answer := []byte{0x90, byte(2 + len(pk.Topics)), byte(pk.MessageID >> 8), byte(pk.MessageID)}
				for _, topic := range pk.Topics {
					code := byte(1)
					if strings.HasPrefix(topic, "secret") {
						code = 0x80
					}
					answer = append(answer, code)
				}
				_, _ = p.Write(answer)
			}
		}
	})
	opts, conns := withConns(options(f.url()))
	start(t, opts)
	c := next(t, "connection", conns)
	many := make([]string, 9)
	for i := range many {
		many[i] = fmt.Sprint("a/", i)
	}
	ignore := func(string, []byte) {}
	for _, tt := range []struct {
		name    string
		filters []string
		want    string
	}{
		{"fine", []string{"open", "a/#"}, ""},
		{"refused", []string{"open", "secret/a"}, `refused the filter "secret/a"`},
		{"too many", many, "too many topic filters: 9 at once, at most 8"},
		{"none", nil, "no topic filter"},
		{"twice", []string{"a", "a"}, "given twice"},
		{"# in the middle", []string{"a/#/b"}, "wildcard '#'"},
		{"part of a level", []string{"a+"}, "wildcard '+'"},
		{"shared", []string{"$share/g/a"}, "shared subscription"},
	} {
		wantError(t, tt.name, c.conn.Subscribe(c.ctx, tt.filters, ignore), tt.want)
	}
	for i := range 6 { // with the 2 from above these are 50
		filters := many[:8]
		for j := range filters {
			filters[j] = fmt.Sprintf("b/%d/%d", i, j)
		}
		wantError(t, "fill", c.conn.Subscribe(c.ctx, filters, ignore), "")
	}
	if err := c.conn.Subscribe(c.ctx, []string{"c"}, ignore); !errors.Is(err, telemetry.ErrTooManyFilters) {
		t.Errorf("51st filter: %v", err)
	}
	wantError(t, "too large", c.conn.Publish(c.ctx, "a", make([]byte, telemetry.MaxPayload+1)), "too large")
	wantError(t, "topic", c.conn.Publish(c.ctx, "$SYS/a", nil), "brokers keep")
}

func wantError(t *testing.T, name string, err error, want string) {
	t.Helper()
	if (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: error %v, want %q", name, err, want)
	}
}

// TestNoAnswer drops a connection on which a request isn't acknowledged, and makes a new one.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		ask  func(live) error
	}{
		{"no SUBACK", func(c live) error { return c.conn.Subscribe(t.Context(), []string{"a"}, func(string, []byte) {}) }},
		{"no PUBACK", func(c live) error { return c.conn.Publish(t.Context(), "a", nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, func(_ int, p *peer) {
				if !p.accept(0) {
					return
				}
				for m := p.publish(); m != nil; m = p.publish() {
					if m.TopicName == statusTopic {
						p.ack(m.MessageID)
					}
				}
			})
			opts, conns := withConns(options(f.url()).WithTiming(telemetry.Timing{
				Ack: 100 * time.Millisecond, BackoffStart: time.Millisecond, BackoffMax: 10 * time.Millisecond,
			}))
			start(t, opts)
			c := next(t, "connection", conns)
			if err := tt.ask(c); !errors.Is(err, telemetry.ErrDisconnected) {
				t.Errorf("error %v", err)
			}
			next(t, "end of the context", c.ctx.Done())
			if again := next(t, "next connection", conns); again.conn == c.conn {
				t.Error("the same Conn again")
			}
		})
	}
}

// TestHookThatStays doesn't hold up the end for longer than its timeout.
func TestHookThatStays(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	release, called := make(chan struct{}), make(chan struct{}, 1)
	opts := options(b.addr).WithTiming(telemetry.Timing{Hook: 20 * time.Millisecond})
	opts.OnConnect = func(context.Context, *telemetry.Conn) { called <- struct{}{}; <-release }
	a := start(t, opts)
	next(t, "call", called)
	a.stop(t)
	if a.logged("left behind") != 1 {
		t.Errorf("log:%s", a.log())
	}
	close(release)
}
