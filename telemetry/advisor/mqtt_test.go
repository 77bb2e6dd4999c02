package advisor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"
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

// lives sends each connection to a channel.
func lives(o *telemetry.Options) <-chan live {
	conns := make(chan live, 1000)
	o.OnConnect = func(ctx context.Context, c *telemetry.Conn) {
		conns <- live{ctx, c}
		<-ctx.Done()
	}
	return conns
}

// subscribe asks for the filters on the next connection; when that breaks, as it may on a busy machine, on the one after.
// It returns what comes.
func subscribe(t *testing.T, conns <-chan live, filters ...string) <-chan []byte {
	t.Helper()
	got := make(chan []byte, 100)
	for {
		c := next(t, "a connection", conns)
		err := c.conn.Subscribe(c.ctx, filters, func(_ string, p []byte) { got <- p })
		if err == nil {
			return got
		}
		if !errors.Is(err, telemetry.ErrDisconnected) && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

// TestAdvisorMQTT is the part of Device Advisor's list in which the broker behaves.
func TestAdvisorMQTT(t *testing.T) {
	t.Parallel()
	t.Run("MQTT connect", func(t *testing.T) {
		t.Parallel()
		hello := make(chan packets.ConnectPacket, 1)
		b := newBroker(t, nil, func(p *peer) {
			if p.accept(false) {
				hello <- *p.hello
				p.serve(answers{})
			}
		})
		start(t, options(b.url())).connected(t)
		c := next(t, "CONNECT", hello)
		if c.ProtocolName != "MQTT" || c.ProtocolVersion != 4 || c.ClientIdentifier != thing || !c.CleanSession {
			t.Errorf("CONNECT %v", &c)
		}
		if c.Keepalive < 30 || c.Keepalive > 1200 { // AWS IoT Core's bounds
			t.Errorf("keep-alive %d s", c.Keepalive)
		}
		if !c.WillFlag || c.WillQos != 1 || !c.WillRetain || c.WillTopic != statusTopic || !json.Valid(c.WillMessage) {
			t.Errorf("last will %s on %s", c.WillMessage, c.WillTopic)
		}
	})

	t.Run("MQTT publish", func(t *testing.T) {
		t.Parallel()
		packet := make(chan packets.PublishPacket, 10)
		b := newBroker(t, nil, func(p *peer) {
			if p.accept(false) {
				p.serve(answers{publish: func(m *packets.PublishPacket) { packet <- *m; p.take(m) }})
			}
		})
		d := start(t, options(b.url()))
		d.publish(t, 0, 1, 10)
		d.lossless(t, &b.got, 1)
		for range 2 {
			if m := next(t, "PUBLISH", packet); m.Qos != 1 || m.MessageID == 0 || m.Dup || m.Retain != (m.TopicName == statusTopic) {
				t.Errorf("PUBLISH %v", &m)
			}
		}
	})

	t.Run("MQTT subscribe", func(t *testing.T) {
		t.Parallel()
		packet := make(chan packets.SubscribePacket, 100)
		b := newBroker(t, nil, func(p *peer) {
			if p.accept(false) {
				p.serve(answers{subscribe: func(s *packets.SubscribePacket) { packet <- *s; p.grant(s) }})
			}
		})
		o := options(b.url())
		conns := lives(&o)
		start(t, o)
		subscribe(t, conns, "dt/in/a", "dt/in/+")
		s := next(t, "SUBSCRIBE", packet)
		slices.Sort(s.Topics)
		if !slices.Equal(s.Topics, []string{"dt/in/+", "dt/in/a"}) || !slices.Equal(s.Qoss, []byte{1, 1}) {
			t.Errorf("SUBSCRIBE %v", &s)
		}
	})

	t.Run("MQTT acknowledges QoS 1", func(t *testing.T) {
		t.Parallel()
		sizes := []int{0, 1, 127, 128, 16384, telemetry.MaxPayload}
		acked := make(chan uint16, 100)
		b := newBroker(t, nil, func(p *peer) {
			if !p.accept(false) {
				return
			}
			for {
				switch pk := p.read().(type) {
				case *packets.SubscribePacket:
					p.grant(pk)
					for i, size := range sizes {
						p.send("dt/in", uint16(1000+i), bytes.Repeat([]byte{byte(i)}, size))
					}
				case *packets.PublishPacket:
					p.take(pk)
				case *packets.PubackPacket:
					acked <- pk.MessageID
				case nil:
					return
				}
			}
		})
		o := options(b.url())
		conns := lives(&o)
		d := start(t, o)
		got := subscribe(t, conns, "dt/in")
		for i, size := range sizes {
			if p := next(t, "a message", got); !bytes.Equal(p, bytes.Repeat([]byte{byte(i)}, size)) {
				t.Errorf("message %d has changed", i)
			}
			if id := next(t, "PUBACK", acked); id != uint16(1000+i) {
				t.Errorf("PUBACK for %d", id)
			}
		}
		if n := d.Stats().Missed; n != 0 {
			t.Errorf("%d messages were missed", n)
		}
	})
}

// TestAdvisorSilence is the part of the list in which the broker leaves out one kind of answer, once. MQTT 3.1.1 lets a
// client send a QoS 1 message again only on a new connection (section 4.4), and paho does no other: so a missing
// answer ends the connection, and everything follows on the next.
func TestAdvisorSilence(t *testing.T) {
	t.Parallel()
	t.Run("MQTT no PUBACK", func(t *testing.T) {
		t.Parallel()
		var ignored atomic.Int32
		b := newBroker(t, nil, func(p *peer) {
			if !p.accept(false) {
				return
			}
			p.serve(answers{publish: func(m *packets.PublishPacket) {
				if p.n == 0 && m.TopicName != statusTopic {
					ignored.Add(1)
					return
				}
				p.take(m)
			}})
		})
		d := start(t, options(b.url()))
		d.publish(t, 0, 5, 10)
		d.says(t, "the broker has stopped acknowledging messages")
		d.lossless(t, &b.got, 5)
		if ignored.Load() == 0 {
			t.Error("nothing was sent the first time")
		}
	})

	t.Run("MQTT no SUBACK", func(t *testing.T) {
		t.Parallel()
		var asked atomic.Int32
		b := newBroker(t, nil, func(p *peer) {
			if !p.accept(false) {
				return
			}
			p.serve(answers{subscribe: func(s *packets.SubscribePacket) {
				if asked.Add(1) > 1 {
					p.grant(s)
					p.send("dt/in", 1, []byte("x"))
				}
			}})
		})
		o := options(b.url())
		conns := lives(&o)
		d := start(t, o)
		got := subscribe(t, conns, "dt/in")
		next(t, "a message", got)
		if d.said("the broker has stopped acknowledging messages") == 0 || asked.Load() < 2 {
			t.Errorf("it asked %d times", asked.Load())
		}
		d.publish(t, 0, 5, 10)
		d.lossless(t, &b.got, 5)
	})

	t.Run("MQTT no PINGRESP", func(t *testing.T) {
		t.Parallel()
		ended := make(chan struct{})
		b := newBroker(t, nil, func(p *peer) {
			if !p.accept(false) {
				return
			}
			if p.n > 0 {
				p.serve(answers{})
				return
			}
			p.serve(answers{ping: func() {}})
			close(ended)
		})
		o := options(b.url())
		o.KeepAlive = time.Second
		d := start(t, o)
		next(t, "the end of the connection", ended)
		d.says(t, "the broker has stopped answering pings")
		d.publish(t, 0, 5, 10)
		d.lossless(t, &b.got, 5)
	})
}

// TestAdvisorSession: the client always asks for a clean session, so it never relies on what a broker remembers. Paho
// could keep a session, but in memory or in files that are not synced; the queue in front of it is what survives. It
// subscribes again on every connection, whether the broker says that a session is present or not, and sends again what
// was not acknowledged. What a broker kept for a session, messages to the device, doesn't come: the shadow asks for the
// whole document on each connection instead. Device Advisor's test of a persistent session that is resumed looks for
// messages that were kept, and so can't succeed.
func TestAdvisorSession(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		present bool
	}{{"MQTT session resumed", true}, {"MQTT session expired", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const cuts = 2
			var unclean, connection atomic.Int32
			b := newBroker(t, nil, func(p *peer) {
				if !p.accept(tt.present) {
					return
				}
				if !p.hello.CleanSession {
					unclean.Add(1)
				}
				connection.Store(int32(p.n))
				p.serve(answers{
					publish: func(m *packets.PublishPacket) {
						if p.n >= cuts || m.TopicName == statusTopic {
							p.take(m)
						}
					},
					subscribe: func(s *packets.SubscribePacket) { p.grant(s); p.send("dt/in", 1, []byte{byte(p.n)}) },
				})
			})
			o := options(b.url())
			conns := lives(&o)
			d := start(t, o)
			d.publish(t, 0, 5, 10)
			for n := range cuts + 1 {
				if p := next(t, "a message", subscribe(t, conns, "dt/in")); int32(p[0]) != connection.Load() {
					t.Errorf("on connection %d a message of connection %d came", connection.Load(), p[0])
				}
				if n < cuts {
					b.cut()
				}
			}
			d.lossless(t, &b.got, 5)
			if n := unclean.Load(); n != 0 {
				t.Errorf("%d connections asked for a session that lasts", n)
			}
		})
	}
}
