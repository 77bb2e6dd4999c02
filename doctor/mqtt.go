package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"gnomon/cloud/keypair"
)

const (
	// Ports of MQTT without and with TLS, and the one that AWS IoT shares with HTTPS, where alpnMQTT asks for MQTT.
	plainPort = "1883"
	tlsPort   = "8883"
	alpnPort  = "443"
	alpnMQTT  = "x-amzn-mqtt-ca"

	// connectTimeout is for DNS, TCP and TLS of one attempt together: two fit into the limit of a check.
	connectTimeout = 6 * time.Second
	// lastWord is how long a broker may take to refuse a certificate after the handshake, which is when it does with TLS 1.3:
	// at least so long, and lastWords times what the handshake took.
	lastWord  = 300 * time.Millisecond
	lastWords = 2
)

// MQTTOptions is the broker and how the agent connects to it.
type MQTTOptions struct {
	// Broker is a URL: mqtt://HOST:PORT or mqtts://HOST:PORT, as mqtt.broker has it.
	Broker string
	CAFile string        // empty: the system's authorities
	Files  keypair.Files // empty: no certificate
	// Username, PasswordFile and ClientID are for Connect.
	Username, PasswordFile, ClientID string

	second string // for tests: HOST:PORT in place of port 443
}

// endpoint is a way to the broker.
type endpoint struct {
	host, port string
	secure     bool
	alpn       bool // MQTT has to be asked for
}

func (e endpoint) address() string { return net.JoinHostPort(e.host, e.port) }

func parseBroker(raw string) (endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil { // the parser's own error would repeat it, with what may be in it
		return endpoint{}, errors.New("mqtt.broker is no address; write mqtts://HOST:8883 or mqtt://HOST:1883")
	}
	e := endpoint{host: u.Hostname(), port: u.Port()}
	switch strings.ToLower(u.Scheme) {
	case "mqtts", "ssl", "tls":
		e.secure = true
	}
	switch {
	case e.port == "" && e.secure:
		e.port = tlsPort
	case e.port == "":
		e.port = plainPort
	}
	e.alpn = e.secure && e.port == alpnPort
	return e, nil
}

// second is where AWS IoT can be reached when a network lets only the web through; false: there is no such place.
func (e endpoint) second(o *MQTTOptions) (endpoint, bool) {
	if o.second != "" {
		host, port, err := net.SplitHostPort(o.second)
		return endpoint{host: host, port: port, secure: true, alpn: true}, err == nil
	}
	name := strings.TrimSuffix(strings.ToLower(e.host), ".")
	name, aws := strings.CutSuffix(strings.TrimSuffix(name, ".cn"), ".amazonaws.com")
	return endpoint{host: e.host, port: alpnPort, secure: true, alpn: true}, aws && strings.Contains(name, ".iot.") && e.secure && !e.alpn
}

// MQTT checks the way to the broker: its name, TCP, TLS with both certificates, and for AWS IoT port 443 beside 8883. It
// stops before MQTT itself: a second client with the device's name would throw a running agent out.
func MQTT(o MQTTOptions) Check {
	return Check{Name: "mqtt", Run: func(ctx context.Context) Finding { return o.reach(ctx) }}
}

func (o MQTTOptions) reach(ctx context.Context) Finding {
	first, err := parseBroker(o.Broker)
	if err != nil {
		return Fail("correct mqtt.broker", "%v", err)
	}
	c, trouble := o.dial(ctx, first)
	if trouble == nil {
		defer c.Close()
		trouble = c.refusal()
	}
	second, other := first.second(&o)
	if !other {
		if trouble != nil {
			return trouble.finding(first)
		}
		return Good("%s", c.describe())
	}
	c2, trouble2 := o.dial(ctx, second)
	if trouble2 == nil {
		defer c2.Close()
		trouble2 = c2.refusal()
	}
	switch {
	case trouble == nil && trouble2 == nil:
		return Good("%s; port %s too", c.describe(), second.port)
	case trouble == nil:
		return Warn("let TCP port "+second.port+" through as well: it is the other way when "+first.port+" is closed", "%s; not on port %s: %s", c.describe(), second.port, trouble2.text)
	case trouble2 == nil && trouble.network:
		return Warn("let TCP port "+first.port+" through; the agent takes the other way meanwhile", "%s; not on port %s: %s", c2.describe(), first.port, trouble.text)
	}
	return trouble.finding(first)
}

// connection is a way to the broker that works as far as TLS.
type connection struct {
	net.Conn
	at        endpoint
	to        string // IP address
	handshake time.Duration
	state     *tls.ConnectionState // nil: no TLS
	o         *MQTTOptions
}

func (c *connection) describe() string {
	text := fmt.Sprintf("%s (%s)", c.at.address(), c.to)
	if c.state == nil {
		return text + ", not encrypted"
	}
	text += ", " + tls.VersionName(c.state.Version)
	if certs := c.state.PeerCertificates; len(certs) > 0 {
		text += ", its certificate is valid until " + certs[0].NotAfter.UTC().Format(time.DateOnly)
	}
	return fmt.Sprintf("%s, %d ms", text, c.handshake.Milliseconds())
}

// refusal waits for what a broker may have against the device's certificate.
func (c *connection) refusal() *trouble {
	if c.state == nil {
		return nil
	}
	if err := c.SetReadDeadline(time.Now().Add(max(lastWord, lastWords*c.handshake))); err != nil {
		return c.o.explain(c.at, handshaking, err)
	}
	_, err := c.Read(make([]byte, 1))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) { // it waits for us, as it should
		return nil
	}
	return c.o.explain(c.at, handshaking, err)
}

// dial connects as far as TLS.
func (o *MQTTOptions) dial(ctx context.Context, at endpoint) (*connection, *trouble) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c := &connection{at: at, o: o}
	var cfg *tls.Config
	if at.secure {
		var err error
		if cfg, err = o.tls(at); err != nil {
			return nil, &trouble{text: err.Error(), do: "put the right file there, or correct the section mqtt"}
		}
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.address())
	if err != nil {
		return nil, o.explain(at, dialling, err)
	}
	c.Conn = raw
	c.to, _, _ = net.SplitHostPort(raw.RemoteAddr().String())
	if cfg == nil {
		return c, nil
	}
	started := time.Now()
	secured := tls.Client(raw, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, o.explain(at, handshaking, err)
	}
	state := secured.ConnectionState()
	c.Conn, c.state, c.handshake = secured, &state, time.Since(started)
	return c, nil
}

func (o *MQTTOptions) tls(at endpoint) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: at.host}
	if at.alpn {
		cfg.NextProtos = []string{alpnMQTT}
	}
	if o.CAFile != "" {
		pem, err := keypair.Read("ca_file", o.CAFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s has no certificate in it; it must be PEM, with BEGIN CERTIFICATE", o.CAFile)
		}
	}
	if o.Files.CertFile == "" {
		return cfg, nil
	}
	pair, err := tls.LoadX509KeyPair(o.Files.CertFile, o.Files.KeyFile) // whether they are fit is another check
	if err != nil {
		return nil, fmt.Errorf("cert_file and key_file: %w", err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}
