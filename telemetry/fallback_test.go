package telemetry_test

import (
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"gnomon/telemetry"
)

func TestSecondBroker(t *testing.T) {
	for broker, want := range map[string]string{
		"mqtts://abc-ats.iot.eu-central-1.amazonaws.com":     "mqtts://abc-ats.iot.eu-central-1.amazonaws.com:443",
		"mqtts://ABC.iot.cn-north-1.amazonaws.com.cn":        "mqtts://ABC.iot.cn-north-1.amazonaws.com.cn:443",
		"mqtts://abc.iot.eu-central-1.amazonaws.com:443":     "",
		"mqtts://abc.iot.eu-central-1.amazonaws.com:9999":    "",
		"mqtt://abc.iot.eu-central-1.amazonaws.com:8883":     "",
		"mqtts://broker.example.com":                         "",
		"mqtts://x.iot.eu-central-1.amazonaws.com.evil.test": "",
	} {
		if got := telemetry.SecondBroker(broker, telemetry.Options{}); got != want {
			t.Errorf("%s: %q, want %q", broker, got, want)
		}
	}
	if got := telemetry.SecondBroker("mqtts://h:1", telemetry.Options{TryALPN: true}); got != "mqtts://h:443" {
		t.Errorf("when told to: %q", got)
	}
}

// When the port can't be reached, the other one is tried, with ALPN, and kept as long as it works.
func TestSecondPort(t *testing.T) {
	t.Parallel()
	ca := newPKI(t, "Test CA")
	var got recorder
	var protocol atomic.Value
	cfg := ca.serverConfig(t, "127.0.0.1")
	cfg.NextProtos = []string{"x-amzn-mqtt-ca"}
	second := newFake(t, func(n int, c *peer) {
		conn := tls.Server(c.Conn, cfg)
		c.Conn = conn
		if c.accept(0) {
			protocol.Store(conn.ConnectionState().NegotiatedProtocol)
			if n > 0 { // the first connection is cut after its beginning
				c.serve(&got)
			}
		}
	})
	_, port, err := net.SplitHostPort(second.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resetting := newFake(t, func(int, *peer) {}) // accepts and closes
	for name, broker := range map[string]string{
		"refused": "mqtts://127.0.0.1:" + freePort(t),
		"reset":   strings.Replace(resetting.url(), "mqtt:", "mqtts:", 1),
	} {
		before := second.connections()
		o := options(broker).WithALPNPort(port)
		o.CAFile, o.TryALPN = ca.caFile, true
		a := start(t, o)
		a.publish(t, 0, 1)
		eventually(t, name+": the other port is used", func() bool { return a.Stats().Acked == 1 })
		a.stop(t)
		if p := protocol.Load(); p != "x-amzn-mqtt-ca" {
			t.Errorf("%s: the protocol is %q", name, p)
		}
		if n := second.connections() - before; n != 1 && before > 0 || a.logged("connected to the broker mqtts://127.0.0.1:"+port) == 0 {
			t.Errorf("%s: %d connections, log:%s", name, n, a.log())
		}
	}
	if n := resetting.connections(); n != 1 {
		t.Errorf("the port that doesn't work was tried %d times, though the other one worked", n)
	}
}
