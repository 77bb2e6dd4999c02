package iot

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gnomon/devcloud/pki"
)

// TestPublishRate: what is above 100 a second is neither delivered nor acknowledged, and the connection stays.
func TestPublishRate(t *testing.T) {
	x := start(t, nil, nil)
	c := x.connect("cam")
	all := []byte{}
	for i := range 150 {
		all = append(all, publish("dt/gnomon/cam/a", 1, uint16(i+1), "x")...)
	}
	c.send(all)
	for i := range publishesPerSecond {
		c.want(0x40, 0, byte(i+1))
	}
	c.alive()
	x.clk.advance(time.Second / 10)
	c.send(all)
	for i := range publishesPerSecond / 10 {
		c.want(0x40, 0, byte(i+1))
	}
	c.alive()
}

// burst publishes n messages as the administrator, who has no limits, and returns when they are on their way.
func (x *bench) burst(topic string, from, n int) {
	x.t.Helper()
	admin := x.connect(pki.Admin)
	for i := range n {
		admin.send(publish(topic, 1, 1, fmt.Sprint(from+i)))
		admin.want(0x40, 0, 1)
	}
	admin.alive()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

func (x *bench) connOf(id string) *conn {
	x.b.mu.Lock()
	defer x.b.mu.Unlock()
	return x.b.conns[id]
}

func TestDeliveryRate(t *testing.T) {
	x := start(t, nil, nil)
	c := x.connect("cam")
	c.send(subscribe(1, "dt/gnomon/cam/#"))
	c.want(0x90, 0, 9, 1)
	x.burst("dt/gnomon/cam/a", 0, 150)
	for i := range publishesPerSecond {
		m, _, _ := c.message()
		if m != fmt.Sprint("dt/gnomon/cam/a ", i) {
			t.Fatalf("message %d is %q", i, m)
		}
	}
	eventually(t, "50 discarded", func() bool { return x.connOf("cam").discarded.Load() == 50 })
	inflight, _ := x.b.server.Clients.Get("cam")
	eventually(t, "what was discarded is not in flight", func() bool { return inflight.State.Inflight.Len() == publishesPerSecond })
	c.alive()
}

// TestUnacknowledged: with 100 messages unacknowledged the next waits for a PUBACK.
func TestUnacknowledged(t *testing.T) {
	x := start(t, nil, nil)
	c := x.connect("cam")
	c.send(subscribe(1, "dt/gnomon/cam/#"))
	c.want(0x90, 0, 9, 1)
	x.burst("dt/gnomon/cam/a", 0, 100)
	ids := []uint16{}
	for range maxUnacknowledged {
		_, id, _ := c.message()
		ids = append(ids, id)
	}
	x.clk.advance(time.Second)
	x.burst("dt/gnomon/cam/a", 100, 2)
	eventually(t, "two wait", func() bool {
		o := x.connOf("cam").out
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.publishes) == 2
	})
	c.alive()
	for i := range 2 {
		c.send(packet(0x40, []byte{byte(ids[i] >> 8), byte(ids[i])}))
		c.wantMessage(fmt.Sprint("dt/gnomon/cam/a ", 100+i))
	}
}

// TestThroughput: what is above 512 KB is delayed, in both directions. The broker's clock stands still, so the delay
// is that of the excess, however slow the machine is.
func TestThroughput(t *testing.T) {
	t.Parallel()
	x := start(t, nil, nil)
	big := strings.Repeat("x", 100<<10)
	const excess = 76 << 10 // six messages and little more
	least := time.Duration(excess) * time.Second / bytesPerSecond
	c := x.connect("cam")
	began := time.Now()
	for i := range 6 {
		c.send(publish("dt/gnomon/cam/a", 1, uint16(i+1), big))
		c.want(0x40, 0, byte(i+1))
	}
	if took := time.Since(began); took < least {
		t.Errorf("600 KB were taken within %v, want %v", took, least)
	}
	sub := x.connect("cam2")
	sub.send(subscribe(0, "dt/gnomon/cam2/#"))
	sub.want(0x90, 0, 9, 0)
	began = time.Now()
	admin := x.connect(pki.Admin)
	for range 6 {
		admin.send(publish("dt/gnomon/cam2/a", 0, 0, big))
	}
	for range 6 {
		_, _, _ = sub.message()
	}
	if took := time.Since(began); took < least {
		t.Errorf("600 KB came within %v, want %v", took, least)
	}
}

func TestConnectRate(t *testing.T) {
	x := start(t, nil, func(o *Options) { o.limits.connectInterval = time.Second })
	first := x.connect("cam")
	again := x.dial("cam")
	again.send(connect("cam", 2, 60, "", nil))
	again.want(0x20, 0, 3)
	again.closed()
	first.alive()
	_ = x.connect("cam2") // the limit is each id's own
	x.clk.advance(time.Second)
	_ = x.connect("cam")
	first.closed()
}

// TestTakeover: the first connection is closed, has said so before the second is announced, and the second works.
func TestTakeover(t *testing.T) {
	x := start(t, nil, nil)
	next := x.presenceOf()
	first := x.connect("cam")
	x.clk.advance(time.Second)
	second := x.connect("cam")
	first.closed()
	for _, want := range []string{"connected/cam 2 ", "disconnected/cam 2 DUPLICATE_CLIENTID", "connected/cam 3 "} {
		if got := next(); got != want {
			t.Errorf("event %q, want %q", got, want)
		}
	}
	second.send(subscribe(1, "dt/gnomon/cam/#"), publish("dt/gnomon/cam/a", 0, 0, "x"))
	second.want(0x90, 0, 9, 1)
	second.wantMessage("dt/gnomon/cam/a x")
}

func TestPresence(t *testing.T) {
	x := start(t, nil, func(o *Options) { o.limits.minKeepAlive = 1 })
	next := x.presenceOf()
	for i, test := range []struct {
		end    func(*client)
		reason string
	}{
		{func(c *client) { c.send([]byte{0xe0, 0}) }, reasonClient},
		{func(c *client) { _ = c.c.Close() }, reasonLost},
		{func(c *client) { c.send(publish("dt/gnomon/cam2/a", 0, 0, "x")) }, reasonForbidden},
		{func(c *client) { c.send(publish("a/b/c/d/e/f/g/h/i", 0, 0, "x")) }, reasonMistake},
		{func(*client) { x.b.Disconnect("cam") }, reasonAuth},
		{func(*client) {}, reasonKeepAlive}, // at 1.5 times of 1 s, in whole seconds
	} {
		x.clk.advance(time.Second)
		c := x.dial("cam")
		began := time.Now()
		c.send(connect("cam", 2, 1, "", nil))
		c.want(0x20, 0, 0)
		if got, want := next(), fmt.Sprint("connected/cam ", i+2, " "); got != want {
			t.Errorf("event %q, want %q", got, want)
		}
		test.end(c)
		if got, want := next(), fmt.Sprint("disconnected/cam ", i+2, " ", test.reason); got != want {
			t.Errorf("event %q, want %q", got, want)
		}
		if test.reason == reasonKeepAlive && time.Since(began) < time.Second {
			t.Error("the connection was dropped before its time")
		}
	}
}

func TestKeepAliveRange(t *testing.T) {
	x := start(t, nil, nil)
	for asked, want := range map[uint16]uint16{0: 1200, 1: 30, 30: 30, 60: 60, 1200: 1200, 65535: 1200} {
		x.clk.advance(time.Second)
		c := x.dial("cam")
		c.send(connect("cam", 2, asked, "", nil))
		c.want(0x20, 0, 0)
		c.alive()
		known, ok := x.b.server.Clients.Get("cam")
		if !ok || known.State.Keepalive != want {
			t.Errorf("keep-alive %d became %d, want %d", asked, known.State.Keepalive, want)
		}
	}
}

// TestPersistentSession: stored messages come again at 10 a second, and the session ends after its time, with its
// subscriptions.
func TestPersistentSession(t *testing.T) {
	t.Parallel()
	x := start(t, nil, func(o *Options) {
		o.limits.now, o.limits.sessionExpiry = nil, time.Second // the pace is kept by the real clock
	})
	persistent := func(present byte) *client {
		c := x.dial("cam")
		c.send(connect("cam", 0, 60, "", nil))
		c.want(0x20, present, 0)
		return c
	}
	c := persistent(0)
	c.send(subscribe(1, "dt/gnomon/cam/#"))
	c.want(0x90, 0, 9, 1)
	c.send([]byte{0xe0, 0})
	c.closed()
	x.burst("dt/gnomon/cam/a", 0, 5)
	began := time.Now()
	c = persistent(1)
	seen := map[string]bool{}
	for range 5 {
		m, id, first := c.message()
		if seen[m] = true; first&8 == 0 {
			t.Errorf("%s has no DUP", m)
		}
		c.send(packet(0x40, []byte{byte(id >> 8), byte(id)}))
	}
	if took := time.Since(began); took < 4*replayInterval || len(seen) != 5 {
		t.Errorf("%d messages within %v", len(seen), took)
	}
	c.send([]byte{0xe0, 0})
	c.closed()
	eventually(t, "the session expires", func() bool { _, ok := x.b.server.Clients.Get("cam"); return !ok })
	c = persistent(0)
	x.burst("dt/gnomon/cam/a", 0, 1)
	c.alive() // nothing came: the subscription is gone
}

// TestSlowClient: who doesn't read holds up nobody, not even its successor.
func TestSlowClient(t *testing.T) {
	x := start(t, nil, nil)
	slow := x.connect(pki.Admin) // no rate but the connection's own
	slow.send(subscribe(0, "dt/#"))
	slow.want(0x90, 0, 9, 0)
	watched := x.connOf(pki.Admin)
	c := x.connect("cam")
	big := strings.Repeat("x", 128<<10)
	for i := range 80 { // 10 MB, above what the kernel and the outbox hold
		x.clk.advance(time.Second)
		c.send(publish("dt/gnomon/cam/a", 1, uint16(i+1), big))
		c.want(0x40, 0, byte(i+1))
	}
	eventually(t, "messages are dropped", func() bool { return watched.discarded.Load() > 0 })
	_ = x.connect(pki.Admin)
}
