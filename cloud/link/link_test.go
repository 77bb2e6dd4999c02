package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/cloud/keypair"
	"gnomon/devcloud"
	"gnomon/devcloud/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startCloud(t *testing.T) *devcloud.Cloud {
	t.Helper()
	cloud, err := devcloud.NewCloud(devcloud.CloudOptions{Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cloud.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return cloud
}

func options(cloud *devcloud.Cloud, thing pki.Files) Options {
	return Options{
		Broker: cloud.MQTTURL(), ClientID: thing.Name, CAFile: cloud.CAFile(),
		Files: keypair.Files{CertFile: thing.CertFile, KeyFile: thing.KeyFile},
	}
}

func TestConn(t *testing.T) {
	cloud := startCloud(t)
	thing, err := cloud.AddThing("cam")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial(t.Context(), options(cloud, thing))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make(chan string, 1)
	topic := "dt/gnomon/cam/x"
	if err := c.Subscribe(t.Context(), []string{topic}, func(_ string, payload []byte) { got <- string(payload) }); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 100<<10)
	if err := c.Publish(t.Context(), topic, []byte(large)); err != nil {
		t.Fatal(err)
	}
	if payload := <-got; payload != large {
		t.Errorf("came back: %d bytes", len(payload))
	}
	var e *Error
	if err := c.Subscribe(t.Context(), []string{"dt/gnomon/other/x"}, nil); !errors.As(err, &e) || e.Kind != Refused || !strings.Contains(e.Error(), "iot:Subscribe") {
		t.Errorf("another's topic: %v", err)
	}
	if err := c.Publish(t.Context(), "dt/gnomon/other/x", nil); !errors.As(err, &e) || e.Kind != Ended || !strings.Contains(e.Error(), "iot:Publish") {
		t.Errorf("publish on another's topic: %v", err)
	}
	<-c.Done()
	if err := c.Publish(t.Context(), topic, nil); !errors.As(err, &e) || e.Kind != Ended {
		t.Errorf("after the end: %v", err)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
}

func TestDialErrors(t *testing.T) {
	cloud := startCloud(t)
	thing, err := cloud.AddThing("cam")
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := pki.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other, err := foreign.AddThing("cam")
	if err != nil {
		t.Fatal(err)
	}
	own := options(cloud, thing)
	for _, tt := range []struct {
		name   string
		change func(*Options)
		kind   Kind // empty: no *Error
		text   string
	}{
		{"nothing listens", func(o *Options) { o.Broker = "127.0.0.1:1" }, Unreachable, "check the endpoint"},
		{"no such host", func(o *Options) { o.Broker = "no-such-host.invalid:8883" }, Unreachable, "DNS"},
		{"another authority", func(o *Options) { o.CAFile = foreign.CAFile() }, Untrusted, "check the CA file"},
		{"system's authorities", func(o *Options) { o.CAFile = "" }, Untrusted, "check the CA file"},
		{"unknown certificate", func(o *Options) { o.Files = keypair.Files{CertFile: other.CertFile, KeyFile: other.KeyFile} }, Refused, "refuses the certificate"},
		{"another's client id", func(o *Options) { o.ClientID = "other" }, Refused, "iot:Connect"},
		{"no endpoint", func(o *Options) { o.Broker = "" }, "", "describe-endpoint"},
		{"a path", func(o *Options) { o.Broker = "mqtts://a/b" }, "", "describe-endpoint"},
		{"a user", func(o *Options) { o.Broker = "mqtts://u:secret@a" }, "", "describe-endpoint"},
		{"a bad port", func(o *Options) { o.Broker = "a:99999" }, "", "no good port"},
		{"no key", func(o *Options) { o.Files.KeyFile = "" }, "", "key_file is not set"},
		{"no CA in it", func(o *Options) { o.CAFile = own.Files.KeyFile }, "", "no certificate in it"},
	} {
		o := own
		tt.change(&o)
		c, err := Dial(t.Context(), o)
		if err == nil {
			_ = c.Close()
		}
		e, ok := errors.AsType[*Error](err)
		if err == nil || ok != (tt.kind != "") || ok && e.Kind != tt.kind || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, own); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("stopped: %v", err)
	}
	for _, tt := range []struct{ broker, host, ports string }{
		{"a-ats.iot.eu-central-1.amazonaws.com", "a-ats.iot.eu-central-1.amazonaws.com", "8883 443"},
		{"mqtts://a:443/", "a", "443"},
		{"[::1]:8883", "::1", "8883"},
	} {
		if host, ports, err := Address(tt.broker); err != nil || host != tt.host || strings.Join(ports, " ") != tt.ports {
			t.Errorf("%s: %s %v %v", tt.broker, host, ports, err)
		}
	}
}

// server is a TLS server that says what it likes.
func server(t *testing.T, say func(net.Conn)) Options {
	t.Helper()
	a, err := pki.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	thing, err := a.AddThing("cam")
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{a.Server()}, NextProtos: []string{alpnMQTT}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = readPacket(c) // CONNECT
			say(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return Options{
		Broker: l.Addr().String(), ClientID: "cam", CAFile: a.CAFile(),
		Files: keypair.Files{CertFile: thing.CertFile, KeyFile: thing.KeyFile},
	}
}

func TestStrangeServers(t *testing.T) {
	write := func(data string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Write([]byte(data))
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.Copy(io.Discard, c) // until the client goes
		}
	}
	for _, tt := range []struct {
		name string
		say  func(net.Conn)
		kind Kind
	}{
		{"AWS's refusal", write("\x20\x02\x00\x07"), Refused},
		{"busy", write("\x20\x02\x00\x03"), Unreachable},
		{"closes", func(net.Conn) {}, Unreachable},
		{"a web server", write("HTTP/1.1 400 Bad Request\r\n\r\n"), Untrusted},
		{"endless length", write("\x20\xff\xff\xff\xff\xff"), Untrusted},
		{"huge packet", write("\x30\xff\xff\xff\x7f"), Untrusted},
		{"another packet", write("\x40\x02\x00\x01"), Untrusted},
	} {
		_, err := Dial(t.Context(), server(t, tt.say))
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != tt.kind {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	o := server(t, func(c net.Conn) {
		_, _ = c.Write([]byte("\x20\x02\x00\x00"))
		_, _ = readPacket(c)
		_, _ = c.Write([]byte("\xd0\x00")) // PINGRESP: nobody has asked
	})
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Publish(t.Context(), "a", nil); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("an answer to nothing: %v", err)
	}
}

// TestALPN: on port 443 the connection asks for MQTT, which is all that is different.
func TestALPN(t *testing.T) {
	asked := make(chan string, 1)
	o := server(t, func(c net.Conn) {
		asked <- c.(*tls.Conn).ConnectionState().NegotiatedProtocol
		_, _ = c.Write([]byte("\x20\x02\x00\x00"))
	})
	pair, err := keypair.Load(o.Files, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true} //nolint:gosec // what is looked at is the offer
	for _, port := range []string{"", alpnPort} {
		offer := cfg.Clone()
		offer.NextProtos = protocols(port)
		c, err := dial(t.Context(), offer, o.Broker, "cam")
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if got := <-asked; (got == alpnMQTT) != (port == alpnPort) {
			t.Errorf("port %q: asked for %q", port, got)
		}
	}
}

func FuzzReadPacket(f *testing.F) {
	for _, s := range []string{"\x20\x02\x00\x00", "\x30\x05\x00\x01aXY", "\x90\x03\x00\x01\x01", "\x40\x02\x00\x01", "\x32\x01\x00", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		r := bytes.NewReader(data)
		for {
			if _, err := readPacket(r); err != nil {
				return
			}
		}
	})
}

func TestKeyFilesAreRead(t *testing.T) {
	o := server(t, func(net.Conn) {})
	if err := os.Chmod(o.Files.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	o.CAFile = filepath.Join(t.TempDir(), "none")
	if _, err := Dial(t.Context(), o); !errors.Is(err, keypair.ErrLoose) {
		t.Errorf("error %v", err)
	}
}
