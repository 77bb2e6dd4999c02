package telemetry_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"

	"gnomon/telemetry"
)

func TestLife(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	a := newAgent(t, options(b.addr))
	a.publish(t, 0, 3) // before Run: it waits in the outbox
	a.run(t)
	a.publish(t, 3, 300)
	eventually(t, "all arrive", func() bool { return b.complete(300) })
	a.stop(t)

	if got := b.numbers(); !slices.IsSorted(got) || len(got) != 300 {
		t.Errorf("%d messages arrived, not once each in their order: %v", len(got), got)
	}
	st := b.statuses(t)
	if len(st) != 2 || st[0].State != telemetry.Online || st[0].Reason != telemetry.Connected ||
		st[1].State != telemetry.Offline || st[1].Reason != telemetry.Stopped {
		t.Errorf("statuses %+v, want online and offline", st)
	}
	if last := b.all()[len(b.all())-1]; last.Topic != statusTopic || last.Will {
		t.Errorf("the last message is %+v, want the offline status", last)
	}
	want := telemetry.Stats{Broker: b.addr, Published: 300, Acked: 300}
	if diff := cmp.Diff(want, a.Stats()); diff != "" {
		t.Error(diff)
	}
	if a.logged("connected to the broker "+b.addr) != 1 || a.logs.Len() != 1 {
		t.Errorf("log:%s", a.log())
	}
	if err := a.Publish("dt/x", nil); !errors.Is(err, telemetry.ErrClosed) {
		t.Errorf("Publish after the end: %v, want ErrClosed", err)
	}
}

func TestStopSendsWhatIsQueued(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	a := start(t, options(b.addr))
	a.waitConnected(t)
	a.publish(t, 0, 2000)
	a.stop(t)
	if !b.complete(2000) {
		t.Errorf("%d of 2000 messages arrived: %+v", len(b.numbers()), a.Stats())
	}
}

func TestQoS0(t *testing.T) {
	t.Parallel()
	var got recorder
	var mu sync.Mutex
	var qos []byte
	f := newFake(t, func(_ int, c *peer) {
		if !c.accept(0) {
			return
		}
		for p := c.publish(); p != nil; p = c.publish() {
			got.add(p)
			mu.Lock()
			qos = append(qos, p.Qos)
			mu.Unlock()
			if p.Qos == 1 {
				c.ack(p.MessageID)
			}
		}
	})
	o := options(f.url())
	o.QoS = 0
	a := start(t, o)
	a.publish(t, 0, 500)
	eventually(t, "all arrive", func() bool { return got.complete(500) })
	a.stop(t)
	mu.Lock()
	defer mu.Unlock()
	// The status has QoS 1 all the same.
	if qos[0] != 1 || slices.Max(qos[1:501]) != 0 || qos[len(qos)-1] != 1 {
		t.Errorf("QoS %v", qos)
	}
	if s := a.Stats(); s.Acked != 500 || s.InFlight != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestPublishErrors(t *testing.T) {
	t.Parallel()
	a := newAgent(t, options("mqtt://127.0.0.1:1"))
	if err := a.Publish("dt/x", make([]byte, telemetry.MaxPayload+1)); !errors.Is(err, telemetry.ErrTooLarge) || !strings.Contains(err.Error(), "131073 bytes") {
		t.Errorf("too large: %v", err)
	}
	if err := a.Publish("dt/+/x", nil); err == nil || !strings.Contains(err.Error(), "wildcard") {
		t.Errorf("wildcard: %v", err)
	}
	if err := a.Publish("dt/x", make([]byte, telemetry.MaxPayload)); err != nil {
		t.Errorf("just small enough: %v", err)
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := a.Publish("dt/x", nil); !errors.Is(err, telemetry.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if err := a.Run(context.Background()); !errors.Is(err, telemetry.ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
	if s := a.Stats(); s.Refused != 3 || s.Published != 1 || s.Queued != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestRunTwice(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	a := start(t, options(b.addr))
	a.waitConnected(t)
	if err := a.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "make a new client") {
		t.Errorf("second Run: %v", err)
	}
}

func TestCloseEndsRun(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	a := start(t, options(b.addr))
	a.waitConnected(t)
	eventually(t, "status", func() bool { return len(b.statuses(t)) > 0 })
	_ = a.Close()
	select {
	case <-a.done:
	case <-time.After(time.Second):
		t.Error("Run did not end within 1s of Close")
	}
	// Nobody said goodbye, so the broker does.
	eventually(t, "will", func() bool {
		all := b.all()
		return all[len(all)-1].Will
	})
}

// TestOutboxWithoutBroker: a broker that isn't there costs the publisher nothing but the oldest messages.
func TestOutboxWithoutBroker(t *testing.T) {
	t.Parallel()
	o := options("mqtt://127.0.0.1:" + freePort(t)).WithTiming(telemetry.Timing{
		BackoffStart: 10 * time.Millisecond, BackoffMax: 20 * time.Millisecond, DropReport: 20 * time.Millisecond,
	})
	o.Outbox = 1000
	a := start(t, o)
	begin := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { a.publish(t, 0, 10000) })
	}
	wg.Wait()
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("40000 messages took %v to publish", d)
	}
	eventually(t, "drops are reported", func() bool { return a.logged("the outbox is full") > 0 })
	eventually(t, "trouble", func() bool { return a.Stats().LastError != "" })
	s := a.Stats()
	if s.Dropped != 39000 || s.Queued != 1000 || s.Published != 40000 || s.Connected {
		t.Errorf("stats %+v", s)
	}
	a.stop(t)
	if a.logged("ended with messages unsent") != 1 || a.Stats().Queued != 1000 {
		t.Errorf("1000 messages were left unsent, log:%s", a.log())
	}
	if n := a.logged("the outbox is full"); n > 8 { // it would be one every 20 ms
		t.Errorf("%d lines about drops", n)
	}
}

// TestWindow: a broker that acknowledges nothing gets no more than AWS IoT Core would take.
func TestWindow(t *testing.T) {
	t.Parallel()
	var got recorder
	f := newFake(t, func(_ int, c *peer) {
		if c.accept(0) {
			for p := c.publish(); p != nil; p = c.publish() {
				got.add(p)
			}
		}
	})
	a := start(t, options(f.url()).WithTiming(telemetry.Timing{Flush: 50 * time.Millisecond, Offline: 50 * time.Millisecond}))
	a.publish(t, 0, 500)
	eventually(t, "the window is full", func() bool { return len(got.numbers()) >= telemetry.DataWindow })
	time.Sleep(50 * time.Millisecond)
	if n := len(got.numbers()); n != telemetry.DataWindow || len(got.all()) > telemetry.MaxInFlight {
		t.Errorf("%d detections in %d messages are unacknowledged", n, len(got.all()))
	}
	if s := a.Stats(); s.InFlight != telemetry.DataWindow || s.Queued != 500-telemetry.DataWindow {
		t.Errorf("stats %+v", s)
	}
	a.stop(t)
	if n := len(got.all()); n > telemetry.MaxInFlight {
		t.Errorf("%d messages are unacknowledged", n)
	}
	if a.logged("ended with messages unsent") != 1 {
		t.Errorf("log:%s", a.log())
	}
}

// TestSentAgainInOrder: after a broken connection, what was unacknowledged comes first, in its order, then the rest.
func TestSentAgainInOrder(t *testing.T) {
	t.Parallel()
	var first, second recorder
	f := newFake(t, func(n int, c *peer) {
		if !c.accept(0) {
			return
		}
		if n > 0 {
			c.serve(&second)
			return
		}
		for i := 0; i < 40; i++ {
			p := c.publish()
			if p == nil {
				return
			}
			first.add(p)
			if i < 11 { // the status and ten detections
				c.ack(p.MessageID)
			}
		}
	})
	a := newAgent(t, options(f.url()))
	a.publish(t, 0, 200)
	a.run(t)
	eventually(t, "all acknowledged", func() bool { return a.Stats().Acked == 200 })
	if got := second.numbers(); got[0] > 10 || got[len(got)-1] != 199 || !slices.IsSorted(got) {
		t.Errorf("the second connection got %v", got)
	}
	if s := a.Stats(); s.Reconnects != 1 || s.Dropped != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestStrangeAcknowledgements: acknowledgements out of order, twice, and of nothing at all.
func TestStrangeAcknowledgements(t *testing.T) {
	t.Parallel()
	var got recorder
	f := newFake(t, func(_ int, c *peer) {
		if !c.accept(0) {
			return
		}
		var ids []uint16
		for p := c.publish(); p != nil; p = c.publish() {
			got.add(p)
			if p.TopicName == statusTopic {
				c.ack(p.MessageID)
				continue
			}
			if ids = append(ids, p.MessageID); len(ids) == 10 {
				slices.Reverse(ids)
				for _, id := range ids {
					c.ack(id)
					c.ack(id)
					c.ack(id + 5000)
				}
				ids = nil
			}
		}
	})
	a := start(t, options(f.url()))
	a.publish(t, 0, 200)
	eventually(t, "all acknowledged", func() bool { return a.Stats().Acked == 200 })
	a.stop(t)
	if s := a.Stats(); s.Reconnects != 0 || len(got.numbers()) != 200 {
		t.Errorf("stats %+v, %d messages", s, len(got.numbers()))
	}
}

// TestAcksOneByteAtATime: packets needn't come in one piece.
func TestAcksOneByteAtATime(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(_ int, c *peer) {
		slow := func(p []byte) {
			for _, b := range p {
				_, _ = c.Write([]byte{b})
				time.Sleep(2 * time.Millisecond)
			}
		}
		if _, ok := c.read().(*packets.ConnectPacket); !ok {
			return
		}
		slow([]byte{0x20, 2, 0, 0})
		for p := c.publish(); p != nil; p = c.publish() {
			slow([]byte{0x40, 2, byte(p.MessageID >> 8), byte(p.MessageID)})
		}
	})
	a := start(t, options(f.url()))
	a.publish(t, 0, 20)
	eventually(t, "all acknowledged", func() bool { return a.Stats().Acked == 20 })
	a.stop(t)
	if s := a.Stats(); s.Reconnects != 0 || s.LastError != "" {
		t.Errorf("stats %+v", s)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	o := options(b.addr).WithTiming(telemetry.Timing{Status: 20 * time.Millisecond})
	var frames uint64
	o.Status = func() map[string]telemetry.SourceStatus {
		frames += 25
		return map[string]telemetry.SourceStatus{"street": {State: "running", Frames: frames, Detections: 7}}
	}
	a := start(t, o)
	a.publish(t, 0, 5)
	eventually(t, "a few statuses", func() bool { return len(b.statuses(t)) >= 5 })
	a.stop(t)
	st := b.statuses(t)
	for i, s := range st {
		want := telemetry.Periodic
		switch i {
		case 0:
			want = telemetry.Connected
		case len(st) - 1:
			want = telemetry.Stopped
		}
		if s.Reason != want || s.Sources["street"].State != "running" || s.Sources["street"].Detections != 7 || s.Outbox == nil {
			t.Errorf("status %d is %+v, want reason %s", i, s, want)
		}
		if i > 0 && s.Sources["street"].Frames <= st[i-1].Sources["street"].Frames {
			t.Errorf("status %d has no newer counters than the one before", i)
		}
	}
	if last := st[len(st)-1]; last.State != telemetry.Offline || last.Outbox.Published != 5 || last.Outbox.Acked != 5 {
		t.Errorf("last status %+v", last)
	}
}

func TestHugeStatus(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	o := options(b.addr)
	o.Status = func() map[string]telemetry.SourceStatus {
		return map[string]telemetry.SourceStatus{"street": {Error: strings.Repeat("x", telemetry.MaxPayload)}}
	}
	start(t, o)
	eventually(t, "status", func() bool { return len(b.statuses(t)) > 0 })
	if s := b.statuses(t)[0]; !s.Truncated || len(s.Sources) != 0 || s.State != telemetry.Online {
		t.Errorf("status %+v, want one without sources", s)
	}
}
