package telemetry_test

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"gnomon/telemetry"
)

// TestCuts breaks every connection but the last ones at one kind of packet, under load, and expects that nothing
// is lost.
func TestCuts(t *testing.T) {
	t.Parallel()
	const messages, cuts = 3000, 6
	at := func(kind byte, nth int, v verdict) func(int, byte, int) verdict {
		return func(conn int, k byte, before int) verdict {
			if conn < cuts && k == kind && before == nth {
				return v
			}
			return pass
		}
	}
	tests := []struct {
		name  string
		judge func(conn int, kind byte, before int) verdict
	}{
		{"before CONNACK", at(connack, 0, cutBefore)},
		{"after CONNACK", at(connack, 0, cutAfter)},
		{"in mid CONNACK", at(connack, 0, cutMiddle)},
		{"before the first PUBACK", at(pubackT, 0, cutBefore)},
		{"before a PUBACK", at(pubackT, 70, cutBefore)},
		{"after a PUBACK", at(pubackT, 70, cutAfter)},
		{"in mid PUBACK", at(pubackT, 70, cutMiddle)},
		{"in mid PUBLISH", at(publish, 120, cutMiddle)},
		{"before a PUBLISH", at(publish, 120, cutBefore)},
		{"after a PUBLISH", at(publish, 120, cutAfter)},
		{"in the status", at(publish, 0, cutMiddle)},
		{"one byte at a time", func(int, byte, int) verdict { return oneByOne }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			p := newProxy(t, b.addr, tt.judge)
			a := start(t, options(p.url()))
			for i := 0; i < messages; i += 100 {
				a.publish(t, i, i+100)
				time.Sleep(2 * time.Millisecond)
			}
			eventually(t, "all acknowledged", func() bool { return a.Stats().Acked == messages })
			if !b.complete(messages) {
				t.Errorf("%d acknowledged messages did not arrive", messages-len(b.numbers()))
			}
			s := a.Stats()
			if s.Dropped != 0 || s.Queued+s.InFlight != 0 {
				t.Errorf("stats %+v", s)
			}
			if tt.name != "one byte at a time" && p.connections() <= cuts {
				t.Errorf("only %d connections: nothing was cut", p.connections())
			}
		})
	}
}

func (p *proxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// TestBrokerRestarts kills the broker under load and starts it again on the same port.
func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	const messages = 5000
	b := newBroker(t)
	a := start(t, options(b.addr))
	for i := 0; i < messages; i += 50 {
		a.publish(t, i, i+50)
		switch i % 1000 {
		case 500:
			eventually(t, "messages flow", func() bool { return a.Stats().Acked > uint64(i-500) })
			b.stop()
		case 600:
			b.start(t)
		}
		time.Sleep(time.Millisecond)
	}
	eventually(t, "all acknowledged", func() bool { return a.Stats().Acked == messages })
	if !b.complete(messages) {
		t.Errorf("messages were acknowledged and did not arrive")
	}
	if s := a.Stats(); s.Reconnects != 5 || s.Dropped != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestBlackHole: the network swallows everything without closing a connection; the missing acknowledgements are
// noticed.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	p := newProxy(t, b.addr, func(conn int, kind byte, before int) verdict {
		if conn < 2 && kind == publish && before == 50 {
			return blackHole
		}
		return pass
	})
	a := start(t, options(p.url()).WithTiming(telemetry.Timing{
		BackoffStart: 10 * time.Millisecond, BackoffMax: 20 * time.Millisecond, Ack: 150 * time.Millisecond, AckMax: time.Second,
	}))
	a.publish(t, 0, 500)
	eventually(t, "all acknowledged", func() bool { return a.Stats().Acked == 500 })
	if !b.complete(500) || a.Stats().Reconnects != 2 {
		t.Errorf("stats %+v", a.Stats())
	}
	if a.logged("stopped acknowledging") != 2 {
		t.Errorf("log:%s", a.log())
	}
}

// TestIdleBlackHole: the same with nothing to send; the missing PINGRESP is noticed.
func TestIdleBlackHole(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(n int, c *peer) {
		if !c.accept(0) {
			return
		}
		if n > 0 {
			c.serve(&recorder{})
			return
		}
		if p := c.publish(); p != nil { // the status
			c.ack(p.MessageID)
		}
		c.drain()
	})
	o := options(f.url()).WithTiming(telemetry.Timing{BackoffStart: 10 * time.Millisecond, Ping: 200 * time.Millisecond})
	o.KeepAlive = time.Second
	a := start(t, o)
	eventually(t, "reconnect", func() bool { return a.Stats().Reconnects == 1 })
	if a.logged("stopped answering pings") != 1 {
		t.Errorf("log:%s", a.log())
	}
}

// TestSlowAcknowledgements: a broker that takes longer than the client cares to wait gets more time with each
// connection, so that the messages get through in the end.
func TestSlowAcknowledgements(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(_ int, c *peer) {
		if !c.accept(0) {
			return
		}
		for p := c.publish(); p != nil; p = c.publish() {
			time.Sleep(120 * time.Millisecond)
			c.ack(p.MessageID)
		}
	})
	a := start(t, options(f.url()).WithTiming(telemetry.Timing{
		BackoffStart: time.Millisecond, BackoffMax: 5 * time.Millisecond, Ack: 30 * time.Millisecond, AckMax: time.Second,
		Flush: 10 * time.Millisecond, Offline: 10 * time.Millisecond,
	}))
	a.publish(t, 0, 1)
	eventually(t, "acknowledged", func() bool { return a.Stats().Acked == 1 })
	if s := a.Stats(); s.Reconnects < 2 {
		t.Errorf("stats %+v: the broker was not slow", s)
	}
}

// TestHalfOpen: the broker's machine takes nothing any more, so that the buffers fill up.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	var got recorder
	f := newFake(t, func(n int, c *peer) {
		if !c.accept(0) {
			return
		}
		if n == 0 {
			c.hang()
			return
		}
		c.serve(&got)
	})
	a := newAgent(t, options(f.url()).WithTiming(telemetry.Timing{BackoffStart: 10 * time.Millisecond, Write: 200 * time.Millisecond}))
	big := make([]byte, telemetry.MaxPayload)
	for range 50 {
		if err := a.Publish("dt/big", big); err != nil {
			t.Fatal(err)
		}
	}
	a.run(t)
	eventually(t, "all acknowledged", func() bool { return a.Stats().Acked == 50 })
	if a.logged("nothing could be sent for 200ms") != 1 {
		t.Errorf("log:%s", a.log())
	}
}

// TestSlowReader: a broker that reads in bursts makes writes wait for longer than the MQTT library would hold on to
// a message.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(_ int, c *peer) {
		_ = c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		if c.accept(0) {
			slow := &peer{Conn: &bursts{Conn: c.Conn}, closed: c.closed}
			slow.serve(&recorder{})
		}
	})
	a := newAgent(t, options(f.url()).WithTiming(telemetry.Timing{Refuse: 20 * time.Millisecond}))
	big := make([]byte, telemetry.MaxPayload)
	for range 16 {
		if err := a.Publish("dt/big", big); err != nil {
			t.Fatal(err)
		}
	}
	a.run(t)
	eventually(t, "all acknowledged", func() bool { return a.Stats().Acked == 16 })
	if s := a.Stats(); s.Reconnects != 0 || s.LastError != "" {
		t.Errorf("stats %+v", s)
	}
}

// bursts takes a break after every 256 KB.
type bursts struct {
	net.Conn
	read int
}

func (b *bursts) Read(p []byte) (int, error) {
	if b.read > 256<<10 {
		b.read = 0
		time.Sleep(100 * time.Millisecond)
	}
	n, err := b.Conn.Read(p)
	b.read += n
	return n, err
}

// TestWill: when the connection is cut, the broker publishes the last will.
func TestWill(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	p := newProxy(t, b.addr, func(int, byte, int) verdict { return pass })
	a := start(t, options(p.url()).WithTiming(telemetry.Timing{BackoffStart: 200 * time.Millisecond}))
	eventually(t, "status", func() bool { return len(b.statuses(t)) == 1 })
	p.cut()
	eventually(t, "will and reconnect", func() bool { return len(b.statuses(t)) >= 3 })
	var wills int
	for _, m := range b.all() {
		if !m.Will {
			continue
		}
		wills++
		s := parseStatus(t, m.Payload)
		if s.State != telemetry.Offline || s.Reason != telemetry.ConnectionLost || !m.Retain || m.Topic != statusTopic {
			t.Errorf("the will is %+v on %s, retained %v", s, m.Topic, m.Retain)
		}
	}
	if wills != 1 {
		t.Errorf("%d wills, want 1", wills)
	}
	a.stop(t)
	if st := b.statuses(t); st[len(st)-1].Reason != telemetry.Stopped {
		t.Errorf("last status %+v", st[len(st)-1])
	}
}

// TestStopInABlackHole uses the times of the product: a process must be gone 5 s after SIGTERM, whatever the network.
func TestStopInABlackHole(t *testing.T) {
	t.Parallel()
	pki := newPKI(t, "Test CA")
	serverTLS := pki.serverConfig(t, "localhost")
	tests := []struct {
		name   string
		secure bool
		script func(c *peer)
	}{
		{"no CONNACK", false, func(c *peer) { c.drain() }},
		{"no PUBACK", false, func(c *peer) { c.accept(0); c.drain() }},
		{"nothing read", false, func(c *peer) { c.accept(0); c.hang() }},
		{"nothing read, TLS", true, func(c *peer) {
			c.Conn = tls.Server(c.Conn, serverTLS)
			c.accept(0)
			c.hang()
		}},
		{"no TLS handshake", true, func(c *peer) { c.hang() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, func(_ int, c *peer) { tt.script(c) })
			o := telemetry.Options{Broker: f.url(), Thing: "thing-1", TopicPrefix: "dt/gnomon", QoS: 1, BootID: "b"}
			if tt.secure {
				o.Broker, o.CAFile = strings.Replace(f.url(), "mqtt://127.0.0.1", "mqtts://localhost", 1), pki.caFile
			}
			a := newAgent(t, o)
			big := make([]byte, telemetry.MaxPayload)
			for range 100 {
				if err := a.Publish("dt/big", big); err != nil {
					t.Fatal(err)
				}
			}
			a.run(t)
			eventually(t, "connect", func() bool { return f.connections() > 0 })
			time.Sleep(200 * time.Millisecond)
			begin := time.Now()
			a.stop(t)
			if d := time.Since(begin); d > 4*time.Second {
				t.Errorf("stopping took %v", d)
			}
			if s := a.Stats(); s.Queued+s.InFlight != 100 || a.logged("ended with messages unsent") != 1 {
				t.Errorf("stats %+v, log:%s", s, a.log())
			}
		})
	}
}

// TestFlapping: a broker that accepts and drops, again and again. The delays must grow although each connection
// succeeds, and the log must say once what it may be.
func TestFlapping(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(_ int, c *peer) { c.accept(0) })
	a := start(t, options(f.url()).WithTiming(telemetry.Timing{
		BackoffStart: 20 * time.Millisecond, BackoffMax: 10 * time.Second, Refuse: 10 * time.Millisecond,
	}))
	eventually(t, "it is noticed", func() bool { return a.logged("another client uses this id") > 0 })
	time.Sleep(time.Second)
	// Nine at the median; a client that began again at each CONNACK would make a hundred.
	if n := f.connections(); n > 30 {
		t.Errorf("%d connections in a second", n)
	}
	a.stop(t)
	if n := a.logged("another client uses this id"); n != 1 {
		t.Errorf("said %d times, log:%s", n, a.log())
	}
	if n := a.logged("connected to the broker"); n > 3 {
		t.Errorf("%d connections were reported, log:%s", n, a.log())
	}
	if text := a.Stats().LastError; !strings.Contains(text, `"thing-1"`) {
		t.Errorf("last error %q doesn't name the client id", text)
	}
}

// TestHugePacket: the length that a broker announces is not believed.
func TestHugePacket(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(_ int, c *peer) {
		if c.accept(0) {
			_, _ = c.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f})
			c.drain()
		}
	})
	a := start(t, options(f.url()))
	eventually(t, "the packet is refused", func() bool { return a.logged("the broker announced a packet of more than 132096 bytes") > 0 })
}

// TestTwoClientsWithOneID: the real cause of it.
func TestTwoClientsWithOneID(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	fast := options(b.addr).WithTiming(telemetry.Timing{BackoffStart: 20 * time.Millisecond, BackoffMax: 50 * time.Millisecond})
	one := start(t, fast)
	one.waitConnected(t)
	two := start(t, fast)
	eventually(t, "both notice", func() bool {
		return one.logged("another client uses this id") > 0 && two.logged("another client uses this id") > 0
	})
}

// TestDelaysBeginAnew: a connection that has lasted lets the next delay be short again.
func TestDelaysBeginAnew(t *testing.T) {
	t.Parallel()
	const connections = 16
	f := newFake(t, func(_ int, c *peer) {
		if c.accept(0) {
			time.Sleep(30 * time.Millisecond)
		}
	})
	start(t, options(f.url()).WithTiming(telemetry.Timing{
		BackoffStart: 2 * time.Millisecond, BackoffMax: time.Minute, Stable: 20 * time.Millisecond, ShortLife: time.Millisecond,
	}))
	// Delays that went on growing would take a minute together.
	eventually(t, "many connections", func() bool { return f.connections() >= connections })
}

// TestStableAgain: a connection that lasts ends the talk of other clients.
func TestStableAgain(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(n int, c *peer) {
		if c.accept(0) && n >= 4 {
			c.serve(&recorder{})
		}
	})
	a := start(t, options(f.url()).WithTiming(telemetry.Timing{
		BackoffStart: 5 * time.Millisecond, BackoffMax: 20 * time.Millisecond, Stable: 50 * time.Millisecond,
	}))
	eventually(t, "it holds again", func() bool { return a.logged("holds again") == 1 })
	if !a.Stats().Connected {
		t.Error("not connected")
	}
}
