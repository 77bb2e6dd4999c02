package advisor_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"gnomon/telemetry"
)

// secure are the options for a broker whose certificate a has signed.
func secure(b *broker, a *authority) telemetry.Options {
	o := options(b.url())
	o.CAFile = a.file
	return o
}

// TestAdvisorTLS is the part of Device Advisor's list that is about TLS and succeeds.
func TestAdvisorTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "Test CA")
	usual := ca.server(t, nil)

	t.Run("TLS connect", func(t *testing.T) {
		t.Parallel()
		seen := make(chan tls.ConnectionState, 1)
		clients := x509.NewCertPool()
		clients.AddCert(ca.cert)
		b := newBroker(t, &tls.Config{
			Certificates: []tls.Certificate{usual}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
		}, func(p *peer) {
			seen <- p.Conn.(*tls.Conn).ConnectionState()
			good(p)
		})
		o := secure(b, ca)
		o.CertFile, o.KeyFile = ca.device(t)
		d := start(t, o)
		d.publish(t, 0, 10, 10)
		d.lossless(t, &b.got, 10)
		s := <-seen
		if s.ServerName != "localhost" || s.Version < tls.VersionTLS12 || len(s.PeerCertificates) != 1 || s.PeerCertificates[0].Subject.CommonName != thing {
			t.Errorf("server name %q, version %x, certificates %v", s.ServerName, s.Version, s.PeerCertificates)
		}
	})

	t.Run("TLS cipher suites", func(t *testing.T) { suites(t, ca) })
	t.Run("TLS maximum size fragments", func(t *testing.T) { fragments(t, ca, usual) })

	// The usual chain has a leaf and an authority of about 400 bytes each; the endpoint's of AWS IoT is about ten times
	// as large. What is 20 % larger must be taken, and what is larger than all of these.
	for name, names := range map[string]int{"TLS large size server certificate": 3, "TLS very large server certificate": 300} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			large := ca.server(t, wide(names))
			if was, is := len(usual.Certificate[0]), len(large.Certificate[0]); is*100 < was*120 {
				t.Fatalf("the large certificate has %d bytes, the usual one %d", is, was)
			}
			b := newBroker(t, &tls.Config{Certificates: []tls.Certificate{large}}, good)
			d := start(t, secure(b, ca))
			d.publish(t, 0, 10, 10)
			d.lossless(t, &b.got, 10)
		})
	}
}

// suites: each of those that AWS IoT recommends will do, nothing insecure is offered, nothing old is taken.
func suites(t *testing.T, ca *authority) {
	t.Parallel()
	rsaCert := sign(t, &x509.Certificate{DNSNames: []string{"localhost"}}, ca, rsaKey(t))
	ecdsaCert := ca.server(t, nil)
	const refusal = "it refused the TLS handshake"
	for _, tt := range []struct {
		name     string
		cert     tls.Certificate
		min, max uint16
		suite    uint16 // 0: those of the version
		want     string // "": connects
	}{
		{"TLS 1.3", ecdsaCert, tls.VersionTLS13, tls.VersionTLS13, 0, ""},
		{"ECDHE-ECDSA-AES128-GCM-SHA256", ecdsaCert, tls.VersionTLS12, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, ""},
		{"ECDHE-ECDSA-AES256-GCM-SHA384", ecdsaCert, tls.VersionTLS12, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, ""},
		{"ECDHE-RSA-AES128-GCM-SHA256", rsaCert, tls.VersionTLS12, tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, ""},
		{"ECDHE-RSA-AES256-GCM-SHA384", rsaCert, tls.VersionTLS12, tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, ""},
		{"RC4 alone", rsaCert, tls.VersionTLS12, tls.VersionTLS12, tls.TLS_RSA_WITH_RC4_128_SHA, refusal},
		{"TLS 1.1 alone", rsaCert, tls.VersionTLS10, tls.VersionTLS11, 0, refusal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			offered := make(chan []uint16, 1000)
			cfg := &tls.Config{Certificates: []tls.Certificate{tt.cert}, MinVersion: tt.min, MaxVersion: tt.max}
			if tt.suite != 0 {
				cfg.CipherSuites = []uint16{tt.suite}
			}
			cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				offered <- h.CipherSuites
				return nil, nil
			}
			b := newBroker(t, cfg, good)
			d := start(t, secure(b, ca))
			if tt.want == "" {
				d.publish(t, 0, 1, 10)
				d.lossless(t, &b.got, 1)
			} else {
				d.says(t, tt.want)
			}
			hello := <-offered
			for _, bad := range tls.InsecureCipherSuites() {
				if slices.Contains(hello, bad.ID) {
					t.Errorf("%s is offered", bad.Name)
				}
			}
		})
	}
}

// fragments sends a message of 128 KB in TLS records of 16 KB, the most there is.
func fragments(t *testing.T, ca *authority, cert tls.Certificate) {
	t.Parallel()
	payload := make([]byte, telemetry.MaxPayload)
	_, _ = rand.NewChaCha8([32]byte{}).Read(payload) // never fails
	largest, acked := make(chan int, 1), make(chan uint16, 1)
	b := newBroker(t, nil, func(p *peer) {
		raw := &recordMeter{Conn: p.Conn}
		p.Conn = tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}, DynamicRecordSizingDisabled: true})
		if !p.accept(false) {
			return
		}
		for {
			switch pk := p.read().(type) {
			case *packets.SubscribePacket:
				p.grant(pk)
				p.send("dt/in", 7, payload)
				largest <- raw.largest
			case *packets.PublishPacket:
				p.take(pk)
			case *packets.PubackPacket:
				acked <- pk.MessageID
			case nil:
				return
			}
		}
	})
	o := secure(b, ca)
	o.Broker = strings.Replace(o.Broker, "mqtt://127.0.0.1", "mqtts://localhost", 1)
	got := make(chan []byte, 1)
	o.OnConnect = func(ctx context.Context, c *telemetry.Conn) {
		// The message may be here, and the test over, before Subscribe has returned.
		if err := c.Subscribe(ctx, []string{"dt/in"}, func(_ string, p []byte) { got <- p }); err != nil && ctx.Err() == nil {
			t.Errorf("subscribe: %v", err)
		}
	}
	start(t, o)
	if p := next(t, "the message", got); !bytes.Equal(p, payload) {
		t.Errorf("the message has changed: %d bytes", len(p))
	}
	if id := next(t, "its acknowledgement", acked); id != 7 {
		t.Errorf("message %d was acknowledged", id)
	}
	if n := <-largest; n < 16<<10 {
		t.Errorf("the largest TLS record had %d bytes: the test is about nothing", n)
	}
}

// recordMeter looks at the lengths of the TLS records that are written.
type recordMeter struct {
	net.Conn
	largest, skip int
	header        []byte
}

func (m *recordMeter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if n := min(m.skip, len(rest)); n > 0 {
			m.skip -= n
			rest = rest[n:]
			continue
		}
		m.header, rest = append(m.header, rest[0]), rest[1:]
		if len(m.header) == 5 { // type, version, length
			m.skip = int(m.header[3])<<8 | int(m.header[4])
			m.largest, m.header = max(m.largest, m.skip), nil
		}
	}
	return m.Conn.Write(p)
}

// next is the next value of a channel.
func next[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v in vain: %s", patience, what)
		panic("unreachable")
	}
}

// TestAdvisorTLSRefuses: the broker's certificate is bad in one way, the device refuses it before it has said anything
// and says why; and nothing is lost once the certificate is right.
func TestAdvisorTLSRefuses(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "Test CA"), newAuthority(t, "Test CA") // one name, two keys
	now := time.Now()
	usual := ca.server(t, nil)
	for _, tt := range []struct {
		name string
		cert tls.Certificate
		want string
	}{
		{"unsigned", sign(t, &x509.Certificate{DNSNames: []string{"localhost"}}, nil, ecdsaKey(t)), "isn't signed by a CA in " + ca.file},
		{"unknown CA", other.server(t, nil), "isn't signed by a CA in " + ca.file},
		{"forged signature", forged(usual), "isn't signed by a CA in " + ca.file},
		{
			"expired", ca.server(t, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = now.Add(-48*time.Hour), now.Add(-24*time.Hour)
			}),
			"its certificate expired on " + now.Add(-24*time.Hour).UTC().Format("2006-01-02"),
		},
		{
			"clock wrong", ca.server(t, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = now.Add(24*time.Hour), now.Add(48*time.Hour)
			}),
			"and this device's clock says " + now.UTC().Format("2006-01-02"),
		},
		{
			"incorrect subject name", ca.server(t, func(c *x509.Certificate) { c.DNSNames = []string{"broker.example.com"} }),
			"its certificate is for broker.example.com, not for localhost",
		},
		{
			"not for servers", ca.server(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }),
			"its certificate can't be accepted",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var mended atomic.Bool
			var early atomic.Int32
			b := newBroker(t, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				if mended.Load() {
					return &usual, nil
				}
				return &tt.cert, nil
			}}, func(p *peer) {
				if !mended.Load() {
					early.Add(1)
				}
				good(p)
			})
			d := start(t, secure(b, ca))
			d.publish(t, 0, 10, 10)
			d.says(t, tt.want)
			eventually(t, "the broker notices", func() bool { return len(b.handshakes()) > 0 })
			mended.Store(true)
			d.lossless(t, &b.got, 10)
			if n := early.Load(); n != 0 {
				t.Errorf("%d connections over a bad certificate", n)
			}
		})
	}
}

// TestRevoked: the broker refuses the device's certificate, until it takes it again. A broker's certificate that was
// revoked is not noticed: Go asks no list and no responder, and Device Advisor doesn't ask for it.
func TestRevoked(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "Test CA")
	usual := ca.server(t, nil)
	// A fatal alert with the description certificate_revoked, 44 (RFC 8446, sections 5.1 and 6).
	alert := []byte{21, 3, 3, 0, 2, 2, 44}
	for _, tt := range []struct {
		name    string
		version uint16 // 0: the alert comes in place of the broker's first word
		want    string
	}{
		{"TLS 1.2", tls.VersionTLS12, "(bad certificate): check that it is active and signed by a CA that the broker trusts"},
		{"TLS 1.3", tls.VersionTLS13, "(bad certificate): check that it is active and signed by a CA that the broker trusts"},
		{"alert 44", 0, "(revoked certificate): check that it is active and signed by a CA that the broker trusts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var mended atomic.Bool
			cfg := &tls.Config{
				Certificates: []tls.Certificate{usual}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tt.version,
				VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error {
					if !mended.Load() {
						return errors.New("revoked")
					}
					return nil
				},
			}
			b := newBroker(t, nil, func(p *peer) {
				if tt.version == 0 && !mended.Load() {
					_, _ = p.Read(make([]byte, 4096)) // ClientHello
					p.write(alert...)
					return
				}
				secured := tls.Server(p.Conn, cfg)
				if secured.Handshake() == nil {
					p.Conn = secured
					good(p)
				}
			})
			o := secure(b, ca)
			o.Broker = strings.Replace(o.Broker, "mqtt://127.0.0.1", "mqtts://localhost", 1)
			o.CertFile, o.KeyFile = ca.device(t)
			d := start(t, o)
			d.publish(t, 0, 10, 10)
			d.says(t, "it refused the client certificate "+o.CertFile+" "+tt.want)
			mended.Store(true)
			d.lossless(t, &b.got, 10)
		})
	}
}

// TestPortalTLS: the same as TestPortal where the broker is reached over TLS: the portal answers in the clear, or with a
// certificate of its own.
func TestPortalTLS(t *testing.T) {
	t.Parallel()
	ca, portal := newAuthority(t, "Test CA"), newAuthority(t, "Hotel")
	usual, its := ca.server(t, nil), portal.server(t, nil)
	for _, tt := range []struct {
		name  string
		clear bool
		want  string
	}{
		{"in the clear", true, "it doesn't speak TLS on port"},
		{"with a certificate", false, `(it says "CN=Hotel")`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var open atomic.Bool
			b := newBroker(t, nil, func(p *peer) {
				cert := usual
				if !open.Load() {
					cert = its
					if tt.clear {
						_, _ = p.Read(make([]byte, 4096)) // ClientHello
						p.write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")...)
						return
					}
				}
				p.Conn = tls.Server(p.Conn, &tls.Config{Certificates: []tls.Certificate{cert}})
				good(p)
			})
			o := secure(b, ca)
			o.Broker = strings.Replace(o.Broker, "mqtt://127.0.0.1", "mqtts://localhost", 1)
			d := start(t, o)
			d.publish(t, 0, 10, 10)
			d.says(t, tt.want)
			open.Store(true)
			d.lossless(t, &b.got, 10)
		})
	}
}
