package devcloud_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gnomon/devcloud"
)

const patience = 5 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run starts a broker and ends it with the test.
func run(t *testing.T, opts devcloud.BrokerOptions) *devcloud.Broker {
	t.Helper()
	b, err := devcloud.NewBroker(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := wait(t, done); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return b
}

func wait[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("waited in vain")
		panic("unreachable")
	}
}

func client(t *testing.T, b *devcloud.Broker, id string) mqtt.Client {
	t.Helper()
	o := mqtt.NewClientOptions().AddBroker(b.Addr()).SetClientID(id).SetAutoReconnect(false)
	o.SetWill("will/"+id, "gone", 1, false)
	c := mqtt.NewClient(o)
	done(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(100) })
	return c
}

func done(t *testing.T, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("MQTT: %v", token.Error())
	}
}

// port is the host:port of a broker.
func port(b *devcloud.Broker) string { return strings.TrimPrefix(b.Addr(), "mqtt://") }

func TestBroker(t *testing.T) {
	b := run(t, devcloud.BrokerOptions{})
	if !strings.HasPrefix(b.Addr(), "mqtt://127.0.0.1:") || strings.HasSuffix(b.Addr(), ":0") {
		t.Errorf("Addr is %s, want a real port on loopback", b.Addr())
	}
	got := make(chan mqtt.Message, 10)
	sub, pub := client(t, b, "sub"), client(t, b, "pub")
	done(t, sub.Subscribe("dt/#", 1, func(_ mqtt.Client, m mqtt.Message) { got <- m }))
	done(t, pub.Publish("dt/a", 1, true, "hello"))
	if m := wait(t, got); m.Topic() != "dt/a" || string(m.Payload()) != "hello" || m.Retained() {
		t.Errorf("got %s on %s, retained %v", m.Payload(), m.Topic(), m.Retained())
	}
	late := client(t, b, "late")
	done(t, late.Subscribe("dt/a", 1, func(_ mqtt.Client, m mqtt.Message) { got <- m }))
	if m := wait(t, got); string(m.Payload()) != "hello" || !m.Retained() {
		t.Errorf("a late subscriber got %s, retained %v", m.Payload(), m.Retained())
	}
}

func TestTapHearsBeforeTheAcknowledgement(t *testing.T) {
	var mu sync.Mutex
	heard := map[string]devcloud.Message{}
	b := run(t, devcloud.BrokerOptions{Tap: func(m devcloud.Message) {
		m.Payload = append([]byte(nil), m.Payload...)
		mu.Lock()
		heard[m.Topic] = m
		mu.Unlock()
	}})
	c := client(t, b, "c")
	for _, topic := range []string{"a", "b", "c"} {
		done(t, c.Publish(topic, 1, topic == "b", "to "+topic))
		mu.Lock()
		if m := heard[topic]; string(m.Payload) != "to "+topic || m.Retain != (topic == "b") || m.Will {
			t.Errorf("heard %+v of %s when it was acknowledged", m, topic)
		}
		mu.Unlock()
	}
}

func TestTapHearsWills(t *testing.T) {
	heard := make(chan devcloud.Message, 10)
	b := run(t, devcloud.BrokerOptions{Tap: func(m devcloud.Message) { heard <- m }})
	conns := make(chan net.Conn, 1)
	o := mqtt.NewClientOptions().AddBroker(b.Addr()).SetClientID("x").SetAutoReconnect(false).SetWill("will/x", "gone", 1, true)
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		c, err := net.Dial("tcp", port(b))
		if err == nil {
			conns <- c
		}
		return c, err
	})
	lost := make(chan error, 1)
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err })
	done(t, mqtt.NewClient(o).Connect())
	_ = (<-conns).(*net.TCPConn).CloseWrite()
	if m := wait(t, heard); m.Topic != "will/x" || string(m.Payload) != "gone" || !m.Will || !m.Retain {
		t.Errorf("heard %+v", m)
	}
	_ = wait(t, lost) // whatever it says: that the connection went is what matters
}

func TestCloseDoesNotWaitForClients(t *testing.T) {
	b, err := devcloud.NewBroker(devcloud.BrokerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.Run(context.Background()) }()
	var silent []net.Conn
	for range 5 { // these never send anything
		c, err := net.Dial("tcp", port(b))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	client(t, b, "talker")
	closed := make(chan struct{})
	go func() { b.Close(); close(closed) }()
	wait(t, closed)
	if err := wait(t, ended); err != nil {
		t.Errorf("Run: %v", err)
	}
	for _, c := range silent {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the connection of a silent client: %v, want it closed", err)
		}
	}
	if _, err := net.Dial("tcp", port(b)); err == nil {
		t.Error("the port is still open")
	}
}

// TestCloseUnderLoad closes brokers while clients come and go.
func TestCloseUnderLoad(t *testing.T) {
	for range 20 {
		b, err := devcloud.NewBroker(devcloud.BrokerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- b.Run(context.Background()) }()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					c, err := net.Dial("tcp", port(b))
					if err != nil {
						return
					}
					// CONNECT with a clean session, a keep-alive of 60 s and the client id "x".
					_, _ = c.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x"))
					_, _ = io.ReadFull(c, make([]byte, 4))
					_ = c.Close()
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		go b.Close()
		if err := wait(t, ended); err != nil {
			t.Errorf("Run: %v", err)
		}
		wg.Wait()
	}
}

func TestCloseWithoutRun(t *testing.T) {
	b, err := devcloud.NewBroker(devcloud.BrokerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	b.Close()
	if err := b.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "make a new one") {
		t.Errorf("Run after Close: %v", err)
	}
	again, err := devcloud.NewBroker(devcloud.BrokerOptions{Addr: port(b)})
	if err != nil {
		t.Fatalf("the port wasn't freed: %v", err)
	}
	again.Close()
}

func TestPortInUse(t *testing.T) {
	b := run(t, devcloud.BrokerOptions{})
	_, err := devcloud.NewBroker(devcloud.BrokerOptions{Addr: port(b)})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "choose a free host:port") {
		t.Errorf("second broker on the port: %v", err)
	}
}

// TestQuiet: what an ordinary session makes the library say is not for the agent's log; trouble is.
func TestQuiet(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	b := run(t, devcloud.BrokerOptions{Log: zap.New(core)})
	c := client(t, b, "c")
	done(t, c.Publish("a", 1, false, "x"))
	c.Disconnect(100)
	if n := logs.Len(); n != 0 {
		t.Errorf("%d lines: %v", n, logs.All())
	}
	raw, err := net.Dial("tcp", port(b))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	// A keep-alive of 1 s, which the library thinks little of.
	_, _ = raw.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x01\x00\x01y"))
	for end := time.Now().Add(patience); logs.Len() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no warning came through")
		}
	}
	if e := logs.All()[0]; e.Level != zapcore.WarnLevel || e.LoggerName != "broker" {
		t.Errorf("first line %+v", e)
	}
}

func TestOversizePacket(t *testing.T) {
	heard := make(chan devcloud.Message, 10)
	b := run(t, devcloud.BrokerOptions{Tap: func(m devcloud.Message) { heard <- m }})
	big := client(t, b, "big")
	done(t, big.Publish("a", 1, false, make([]byte, 128<<10)))
	if m := wait(t, heard); len(m.Payload) != 128<<10 {
		t.Errorf("heard %d bytes", len(m.Payload))
	}
	if token := big.Publish("a", 1, false, make([]byte, 130<<10)); token.WaitTimeout(patience) && token.Error() == nil {
		t.Error("a packet of 130 KB was acknowledged")
	}
}
