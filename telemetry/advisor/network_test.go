package advisor_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"golang.org/x/time/rate"

	"gnomon/telemetry"
)

// TestNetwork makes the line to a real broker bad in one way after the other, before the device connects or while
// records flow. Each time the log must name the cause, and once the line is mended no record may be missing.
func TestNetwork(t *testing.T) {
	t.Parallel()
	const lost, closed = "lost the connection to the broker", "the broker or the network closed it"
	tests := []struct {
		name   string
		toxics []string
		first  bool // the line is bad when the device connects for the first time
		size   int  // of a record
		want   string
	}{
		{"reset in mid publish", []string{toxic("upstream", "reset_peer", `"timeout":0`)}, false, 30_000, closed},
		{"closed in mid publish", []string{toxic("upstream", "limit_data", `"bytes":70000`)}, false, 30_000, closed},
		{"closed in mid acknowledgement", []string{toxic("downstream", "limit_data", `"bytes":6`)}, false, 10, closed},
		{"black hole", both("timeout", `"timeout":0`), false, 10, "the broker has stopped acknowledging messages"},
		{"black hole at first", both("timeout", `"timeout":0`), true, 10, "it accepted the connection but didn't answer CONNECT within"},
		{"no CONNACK", []string{toxic("downstream", "timeout", `"timeout":0`)}, true, 10, "it accepted the connection but didn't answer CONNECT within"},
		{"no PUBACK", []string{toxic("downstream", "timeout", `"timeout":0`)}, false, 10, "the broker has stopped acknowledging messages"},
		{"half-open", []string{toxic("upstream", "timeout", `"timeout":0`)}, false, 10, "the broker has stopped acknowledging messages"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t)
			mend := func() {}
			if tt.first {
				mend = l.poison(tt.toxics...)
			}
			d := start(t, options(l.url()))
			n := 0
			more := func() { d.publish(t, n, n+5, tt.size); n += 5 }
			more()
			if !tt.first {
				d.lossless(t, &l.got, n)
				mend = l.poison(tt.toxics...)
				more()
			}
			d.says(t, tt.want)
			if !tt.first && d.said(lost) == 0 {
				t.Error("the loss was not said")
			}
			mend()
			more()
			d.lossless(t, &l.got, n)
		})
	}
}

// TestReset: the other end's machine forgets the connection in the middle of a message. TestNetwork has the same with
// toxiproxy, which resets only what it hasn't read.
func TestReset(t *testing.T) {
	t.Parallel()
	const resets = 3
	b := newBroker(t, nil, func(p *peer) {
		if p.n >= resets {
			good(p)
			return
		}
		if p.accept(false) {
			_, _ = io.CopyN(io.Discard, p, 70_000)
			_ = p.Conn.(*net.TCPConn).SetLinger(0) // closing sends RST
		}
	})
	d := start(t, options(b.url()))
	d.publish(t, 0, 6, 50_000)
	d.says(t, "the broker or the network closed it")
	d.lossless(t, &b.got, 6)
	if n := b.connections(); n <= resets {
		t.Errorf("only %d connections: nothing was reset", n)
	}
}

// TestHalfOpenAndIdle: what the device sends gets lost, but it only sends pings. Its own broker, because a good one would
// close the connection for want of pings, which toxiproxy passes on.
func TestHalfOpenAndIdle(t *testing.T) {
	t.Parallel()
	b := newBroker(t, nil, good)
	l := &line{t: t}
	l.connect(b.listener.Addr().String())
	o := options(l.url())
	o.KeepAlive = time.Second
	d := start(t, o)
	d.publish(t, 0, 10, 10)
	d.lossless(t, &b.got, 10)
	mend := l.poison(toxic("upstream", "timeout", `"timeout":0`))
	d.says(t, "the broker has stopped answering pings")
	mend()
	d.publish(t, 10, 20, 10)
	d.lossless(t, &b.got, 20)
}

// TestSlowLine: a line that is bad but works must not be taken for a broken one.
func TestSlowLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		toxics []string
		size   int
	}{
		{"one byte at a time", both("slicer", `"average_size":1,"size_variation":0,"delay":10`), 10},
		{"1 KB/s", both("bandwidth", `"rate":1`), 200},
		{"two seconds each way", both("latency", `"latency":2000,"jitter":200`), 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t)
			l.poison(tt.toxics...)
			d := start(t, options(l.url()))
			d.publish(t, 0, 30, tt.size)
			d.lossless(t, &l.got, 30)
			for _, verdict := range []string{"the broker has stopped", "nothing could be sent for"} {
				if d.said(verdict) > 0 {
					t.Errorf("a slow line was taken for a broken one: %s", verdict)
				}
			}
		})
	}
}

// TestRefused: nothing listens, at first and in between.
func TestRefused(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.down()
	d := start(t, options(l.url()))
	d.publish(t, 0, 10, 10)
	d.says(t, "nothing listens there (connection refused): start the broker, or correct the address and the port")
	l.up()
	d.lossless(t, &l.got, 10)
	l.down()
	d.publish(t, 10, 20, 10)
	eventually(t, "the second refusal", func() bool { return d.said("connection refused") > 1 })
	l.up()
	d.lossless(t, &l.got, 20)
}

// TestFlapping: the line is up for 3 s and down for 3 s, again and again, while a record comes every 30 ms.
func TestFlapping(t *testing.T) {
	t.Parallel()
	const period, times = 3 * time.Second, 2
	l := newLine(t)
	d := start(t, options(l.url()))
	d.connected(t)
	n := 0
	for i := range 2 * times {
		for end := time.Now().Add(period); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
			d.publish(t, n, n+1, 10)
			n++
		}
		if i%2 == 0 {
			l.down()
		} else {
			l.up()
		}
	}
	// The delays go on growing while it flaps, mostly to less than 32 s, but there is no bound below the product's.
	d.losslessWithin(t, 128*time.Second+patience, &l.got, n)
	if d.said("the broker or the network closed it") == 0 || d.said("connection refused") == 0 {
		t.Error("the log doesn't say what happened")
	}
	if s := d.Stats(); s.Reconnects > 4*times { // one that doesn't wait would make hundreds
		t.Errorf("%d connections over %d interruptions", s.Reconnects, times)
	}
}

// TestNames: the name of the broker can't be found, or only slowly.
func TestNames(t *testing.T) {
	t.Parallel()
	for i, tt := range []struct {
		name string
		does behaviour
		want string // "": no trouble
	}{
		{"no such name", unknown, "no such host as broker-0.example.com: correct the broker's name or the DNS settings"},
		{"the name server fails", failing, "can't look up broker-1.example.com"},
		{"the name server is silent", silent, "the DNS server didn't say within 10s where broker-2.example.com is"},
		{"the name server is slow", slow, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t)
			host := fmt.Sprintf("broker-%d.example.com", i)
			behave(t, host, tt.does)
			_, port, _ := net.SplitHostPort(l.proxy.Listen)
			d := start(t, options("mqtt://"+host+":"+port))
			d.publish(t, 0, 10, 10)
			if tt.want != "" {
				d.says(t, tt.want)
				behave(t, host, answering)
			}
			d.lossless(t, &l.got, 10)
			if tt.want == "" && d.said("the DNS server didn't say") > 0 {
				t.Error("a slow name server was taken for a broken one")
			}
		})
	}
}

// TestPortal: the network answers in the broker's place until somebody has logged in.
func TestPortal(t *testing.T) {
	t.Parallel()
	var open atomic.Bool
	b := newBroker(t, nil, func(p *peer) {
		if open.Load() {
			good(p)
		} else if p.listen() {
			p.write([]byte("HTTP/1.1 302 Found\r\nLocation: http://login.example.com/\r\n\r\n")...)
		}
	})
	d := start(t, options(b.url()))
	d.publish(t, 0, 10, 10)
	d.says(t, "is a web server, perhaps the login page of this network (a captive portal)")
	open.Store(true)
	d.lossless(t, &b.got, 10)
}

// TestPubacks: acknowledgements that come twice, out of order, or for what was never sent mark nothing as arrived that
// has not.
func TestPubacks(t *testing.T) {
	t.Parallel()
	const n = 40
	for _, tt := range []struct {
		name   string
		answer func(p *peer, held []*packets.PublishPacket)
	}{
		{"twice", func(p *peer, held []*packets.PublishPacket) {
			for _, m := range held {
				p.take(m)
				p.ack(m.MessageID)
			}
		}},
		{"out of order", func(p *peer, held []*packets.PublishPacket) {
			for i := range held {
				p.take(held[len(held)-1-i])
			}
		}},
		{"for what was never sent", func(p *peer, held []*packets.PublishPacket) {
			for _, m := range held {
				p.ack(m.MessageID + 5000)
				p.take(m)
			}
		}},
		{"for the wrong ones, and then no more", func(p *peer, held []*packets.PublishPacket) {
			if p.n > 0 {
				for _, m := range held {
					p.take(m)
				}
				return
			}
			for _, m := range held { // the broker has none of them
				p.ack(m.MessageID + 5000)
			}
			_ = p.Close()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, nil, func(p *peer) {
				if !p.accept(false) {
					return
				}
				var held []*packets.PublishPacket
				p.serve(answers{publish: func(m *packets.PublishPacket) {
					if m.TopicName == statusTopic {
						p.ack(m.MessageID)
						return
					}
					if held = append(held, m); len(held) == 10 {
						tt.answer(p, held)
						held = nil
					}
				}})
			})
			d := start(t, options(b.url()))
			d.connected(t)
			d.publish(t, 0, n, 10)
			d.lossless(t, &b.got, n)
		})
	}
}

// TestTakenOver: two devices with one client id throw each other out. Both say so, both get their records through.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	one, two := start(t, options(l.url())), start(t, options(l.url()))
	one.publish(t, 0, 20, 10)
	two.publish(t, 20, 40, 10)
	for _, d := range []*device{one, two} {
		d.says(t, `another client uses this id, "thing-1", and throws this one out`)
	}
	two.lossless(t, &l.got, 40)
	two.stop(t)
	one.lossless(t, &l.got, 40)
}

// TestThrottled: the broker discards without a word what is above its limit, 100 messages a second, as AWS IoT Core does.
func TestThrottled(t *testing.T) {
	t.Parallel()
	const limit = 100
	for _, tt := range []struct {
		name     string
		pace     float64
		n        int
		takes    func() func(conn int) bool // asked for each message
		discards bool                       // something is above the limit
	}{
		{"within the limit", telemetry.AWSRate, 250, func() func(int) bool {
			bucket := rate.NewLimiter(limit, limit)
			return func(int) bool { return bucket.Allow() }
		}, false},
		// Whatever this machine's speed: the broker takes the first of them, and then nothing until the next connection.
		{"above it", 0, 180, func() func(int) bool {
			var taken, full atomic.Int64
			full.Store(-1)
			return func(conn int) bool {
				if taken.Add(1) <= limit {
					return true
				}
				full.CompareAndSwap(-1, int64(conn))
				return full.Load() != int64(conn)
			}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			takes := tt.takes()
			var discarded atomic.Int64
			b := newBroker(t, nil, func(p *peer) {
				if !p.accept(false) {
					return
				}
				p.serve(answers{publish: func(m *packets.PublishPacket) {
					if takes(p.n) {
						p.take(m)
					} else {
						discarded.Add(1)
					}
				}})
			})
			o := options(b.url())
			o.Rate = tt.pace
			d := start(t, o)
			d.connected(t)
			d.publish(t, 0, tt.n, 10)
			d.lossless(t, &b.got, tt.n)
			if got := discarded.Load() > 0; got != tt.discards {
				t.Errorf("%d messages were discarded", discarded.Load())
			}
			const throttled = "the broker has stopped acknowledging messages"
			if got := d.said(throttled) > 0; got != tt.discards {
				t.Errorf("%q: %v", throttled, got)
			}
		})
	}
}

// TestTooLarge: a record that no broker of AWS would take is refused at once, and holds up nobody.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	d := start(t, options(l.url()))
	d.publish(t, 0, 1, 10)
	if err := d.Publish(records, make([]byte, telemetry.MaxPayload+1)); !errors.Is(err, telemetry.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
	d.publish(t, 1, 2, telemetry.MaxPayload-len(`{"n":1,"pad":""}`))
	d.lossless(t, &l.got, 2)
	if n := d.Stats().Refused; n != 1 {
		t.Errorf("%d messages were refused", n)
	}
}
