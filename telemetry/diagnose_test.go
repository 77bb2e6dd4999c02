package telemetry_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gnomon/telemetry"
)

// TestDiagnosisMosquitto connects to a real mosquitto in every wrong way, and in the right one.
func TestDiagnosisMosquitto(t *testing.T) {
	t.Parallel()
	ca, other := newPKI(t, "Test CA"), newPKI(t, "Other CA")
	write := func(name, text string) string {
		file := filepath.Join(ca.dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	now := time.Now()
	server, serverKey := ca.now(t, "server", "localhost")
	expired, expiredKey := ca.issue(t, "expired", "localhost", now.Add(-48*time.Hour), now.Add(-24*time.Hour))
	future, futureKey := ca.issue(t, "future", "localhost", now.Add(24*time.Hour), now.Add(48*time.Hour))
	elsewhere, elsewhereKey := ca.now(t, "elsewhere", "broker.example.com")
	client, clientKey := ca.now(t, "client", "thing-1")
	stranger, strangerKey := other.now(t, "client", "thing-1")
	old, oldKey := ca.issue(t, "old", "thing-1", now.Add(-48*time.Hour), now.Add(-24*time.Hour))
	users := write("users", passwordLine(t, "gnomon", "secret"))

	tlsListener := func(name, cert, key string) string {
		return "listener {" + name + "} 127.0.0.1\ncafile " + ca.caFile + "\ncertfile " + cert + "\nkeyfile " + key + "\n"
	}
	m := startMosquitto(t, "listener {plain} 127.0.0.1\nallow_anonymous true\n"+
		"listener {password} 127.0.0.1\nallow_anonymous false\npassword_file "+users+"\n"+
		tlsListener("tls", server, serverKey)+"allow_anonymous true\n"+
		tlsListener("expired", expired, expiredKey)+"allow_anonymous true\n"+
		tlsListener("future", future, futureKey)+"allow_anonymous true\n"+
		tlsListener("elsewhere", elsewhere, elsewhereKey)+"allow_anonymous true\n"+
		tlsListener("mutual", server, serverKey)+"require_certificate true\nallow_anonymous true\n")

	plain := func(name string) string { return "mqtt://" + m.address(name) }
	secure := func(name string) string { return "mqtts://localhost:" + m.ports[name] }
	tests := []struct {
		name   string
		broker string
		set    func(o *telemetry.Options)
		want   string // in LastError; "": connects
	}{
		{"plain", plain("plain"), nil, ""},
		{"password", plain("password"), func(o *telemetry.Options) {
			o.Username, o.PasswordFile = "gnomon", write("right", "secret\n")
		}, ""},
		{"wrong password", plain("password"), func(o *telemetry.Options) {
			o.Username, o.PasswordFile = "gnomon", write("wrong", "sesame\n")
		}, "isn't authorised to connect (CONNACK code 5): check the credentials"},
		{"no password", plain("password"), nil, "isn't authorised to connect (CONNACK code 5)"},
		{"TLS", secure("tls"), func(o *telemetry.Options) { o.CAFile = ca.caFile }, ""},
		{"client certificate", secure("mutual"), func(o *telemetry.Options) {
			o.CAFile, o.CertFile, o.KeyFile = ca.caFile, client, clientKey
		}, ""},
		{
			"unknown CA", secure("tls"), func(o *telemetry.Options) { o.CAFile = other.caFile },
			"isn't signed by a CA in " + other.caFile + ` (it says "CN=Test CA"): put the certificate of the broker's CA there`,
		},
		{"no CA", secure("tls"), nil, "signed by nobody whom this system trusts (it says \"CN=Test CA\"): set ca_file"},
		{
			"wrong host", secure("elsewhere"), func(o *telemetry.Options) { o.CAFile = ca.caFile },
			"its certificate is for broker.example.com, not for localhost",
		},
		{
			"expired", secure("expired"), func(o *telemetry.Options) { o.CAFile = ca.caFile },
			"its certificate expired on " + now.Add(-24*time.Hour).UTC().Format("2006-01-02"),
		},
		{
			"not yet valid", secure("future"), func(o *telemetry.Options) { o.CAFile = ca.caFile },
			"and this device's clock says " + now.UTC().Format("2006-01-02"),
		},
		{
			"no client certificate", secure("mutual"), func(o *telemetry.Options) { o.CAFile = ca.caFile },
			"it wants a client certificate (certificate required): set cert_file and key_file",
		},
		{"client certificate of another CA", secure("mutual"), func(o *telemetry.Options) {
			o.CAFile, o.CertFile, o.KeyFile = ca.caFile, stranger, strangerKey
		}, "it refused the client certificate " + stranger + " (unknown certificate authority): check that it is active and signed by a CA that the broker trusts"},
		{"expired client certificate", secure("mutual"), func(o *telemetry.Options) {
			o.CAFile, o.CertFile, o.KeyFile = ca.caFile, old, oldKey
		}, "it expired on " + now.Add(-24*time.Hour).UTC().Format("2006-01-02")},
		{
			"TLS to a plain port", "mqtts://localhost:" + m.ports["plain"], func(o *telemetry.Options) { o.CAFile = ca.caFile },
			"it closed the connection during the TLS handshake",
		},
		{"plain to a TLS port", plain("tls"), nil, "it closed the connection without answering CONNECT: see the broker's own log; it may want TLS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(tt.broker)
			if tt.set != nil {
				tt.set(&o)
			}
			diagnosis(t, o, tt.want)
		})
	}
}

// diagnosis runs a client until it is connected or has said what is wrong.
func diagnosis(t *testing.T, o telemetry.Options, want string) {
	t.Helper()
	a := start(t, o)
	eventually(t, "connect or fail", func() bool { s := a.Stats(); return s.Connected || s.LastError != "" })
	if s := a.Stats(); s.Connected != (want == "") || !strings.Contains(s.LastError, want) {
		t.Errorf("connected %v, trouble %q\nwant %q", s.Connected, s.LastError, want)
	}
	if want == "" {
		return
	}
	// It goes on trying, and doesn't go on talking.
	time.Sleep(100 * time.Millisecond)
	a.stop(t)
	if n := a.logged(want); n != 1 {
		t.Errorf("it was said %d times, log:%s", n, a.log())
	}
	if n := a.logged("unsent"); n != 0 {
		t.Errorf("nothing was published, log:%s", a.log())
	}
}

// TestDiagnosis: the same for what no real broker does.
func TestDiagnosis(t *testing.T) {
	t.Parallel()
	answer := func(text string) func(int, *peer) {
		return func(_ int, c *peer) {
			c.read()
			_, _ = c.Write([]byte(text))
			c.drain()
		}
	}
	tests := []struct {
		name   string
		script func(int, *peer)
		want   string
	}{
		{"wrong version", answer("\x20\x02\x00\x01"), "it doesn't speak MQTT 3.1.1 (CONNACK code 1)"},
		{"client id", answer("\x20\x02\x00\x02"), `it doesn't accept the client id "thing-1" (CONNACK code 2)`},
		{"unavailable", answer("\x20\x02\x00\x03"), "it says that it is unavailable (CONNACK code 3)"},
		{"bad password", answer("\x20\x02\x00\x04"), `it refused the user name "" or its password (CONNACK code 4): check username and password_file`},
		{"not authorised", answer("\x20\x02\x00\x05"), `client id "thing-1" isn't authorised to connect (CONNACK code 5)`},
		{"not authorised, as AWS says it", answer("\x20\x02\x00\x07"), `client id "thing-1" isn't authorised to connect (CONNACK code 7)`},
		{"unknown code", answer("\x20\x02\x00\x99"), "it refused the connection with CONNACK code 153"},
		{"web server", answer("HTTP/1.1 302 Found\r\nLocation: http://login.example.com/\r\n\r\n"), "is a web server, perhaps the login page of this network (a captive portal)"},
		{"mail server", answer("220 mail.example.com ESMTP\r\n"), "doesn't speak MQTT: check the port"},
		{"TLS port", answer("\x15\x03\x01\x00\x02\x02\x46"), "it wants TLS on port "},
		{"closes", func(_ int, c *peer) { c.read() }, "it closed the connection without answering CONNECT"},
		{"says nothing", func(_ int, c *peer) { c.drain() }, "it accepted the connection but didn't answer CONNECT within 150ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, tt.script)
			diagnosis(t, options(f.url()).WithTiming(telemetry.Timing{
				Connect: 150 * time.Millisecond, BackoffStart: 10 * time.Millisecond, BackoffMax: 20 * time.Millisecond,
			}), tt.want)
		})
	}
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		diagnosis(t, options("mqtt://127.0.0.1:"+freePort(t)), "nothing listens there (connection refused): start the broker")
	})
	t.Run("no TLS handshake", func(t *testing.T) {
		t.Parallel()
		f := newFake(t, func(_ int, c *peer) { c.drain() })
		_, port, err := net.SplitHostPort(f.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		diagnosis(t, options("mqtts://127.0.0.1:"+port).WithTiming(telemetry.Timing{Connect: 150 * time.Millisecond, BackoffStart: 10 * time.Millisecond}),
			"it accepted the TCP connection but didn't finish the TLS handshake within 150ms")
	})
	t.Run("not TLS", func(t *testing.T) {
		t.Parallel()
		f := newFake(t, func(_ int, c *peer) { _, _ = c.Write([]byte("220 mail.example.com\r\n")); c.drain() })
		_, port, err := net.SplitHostPort(f.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		diagnosis(t, options("mqtts://127.0.0.1:"+port), "it doesn't speak TLS on port "+port)
	})
}
