package telemetry

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestDiagnoseNetwork: causes that a test can't bring about without a network of its own.
func TestDiagnoseNetwork(t *testing.T) {
	c, err := New(Options{Broker: "mqtts://broker.example.com:443", Thing: "t", TopicPrefix: "dt", BootID: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.tls.NextProtos); got != "[x-amzn-mqtt-ca]" {
		t.Errorf("ALPN on port 443 is %s", got)
	}
	dialed := func(err error) error { return &phaseError{dialing, &net.OpError{Op: "dial", Net: "tcp", Err: err}} }
	tests := []struct {
		err  error
		kind trouble
		want string
	}{
		{dialed(&net.DNSError{Err: "no such host", IsNotFound: true}), unresolved, "no such host as broker.example.com: correct the broker's name"},
		{dialed(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), unresolved, "the DNS server didn't say within 10s where broker.example.com is"},
		{dialed(&net.DNSError{Err: "server misbehaving", IsTemporary: true}), unresolved, "can't look up broker.example.com (server misbehaving)"},
		{dialed(syscall.ENETUNREACH), unreachable, "there is no route to it"},
		{dialed(syscall.EHOSTUNREACH), unreachable, "there is no route to it"},
		{dialed(syscall.ETIMEDOUT), silent, "no answer within 10s: check the network, the address, and whether a firewall lets port 443 through"},
		{dialed(syscall.EMFILE), unreachable, "too many open files"},
		{&phaseError{handshaking, syscall.ECONNRESET}, closedEarly, "it closed the connection during the TLS handshake"},
		{&phaseError{handshaking, &net.OpError{Op: "remote error", Err: errors.New("tls: protocol version not supported")}}, handshakeOther, "have a TLS version and a cipher in common"},
		{syscall.ECONNRESET, lost, "lost the connection to the broker mqtts://broker.example.com:443: the broker or the network closed it"},
		{fmt.Errorf("x: %w", errNoAck), lost, "has stopped acknowledging"},
	}
	for _, tt := range tests {
		if kind, text := c.diagnose(tt.err); kind != tt.kind || !strings.Contains(text, tt.want) {
			t.Errorf("%v is %s: %s\nwant %s: %s", tt.err, kind, text, tt.kind, tt.want)
		}
	}
}

// TestPasswordInTheClear: a password that leaves the machine unencrypted is worth a warning.
func TestPasswordInTheClear(t *testing.T) {
	for broker, want := range map[string]int{
		"mqtt://192.0.2.1":          1,
		"mqtt://broker.example.com": 1,
		"mqtt://localhost":          0,
		"mqtt://127.0.0.1":          0,
		"mqtt://[::1]":              0,
		"mqtts://192.0.2.1":         0,
	} {
		core, logs := observer.New(zap.WarnLevel)
		c, err := New(Options{Broker: broker, Thing: "t", TopicPrefix: "dt", BootID: "b", Username: "me", Log: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		c.warnAboutPassword()
		if got := logs.FilterMessageSnippet("in the clear").Len(); got != want {
			t.Errorf("%s: %d warnings, want %d", broker, got, want)
		}
	}
}
