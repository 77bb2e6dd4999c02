package iot

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/devcloud/pki"
)

const patience = 10 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is moved by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// bench is a broker with an authority of its own, and clients that write their own bytes.
type bench struct {
	t   *testing.T
	pki *pki.Authority
	b   *Broker
	clk *clock
}

// start runs a broker whose clock stands still, unless change says otherwise.
func start(t *testing.T, policy []byte, change func(*Options)) *bench {
	t.Helper()
	x := &bench{t: t, clk: &clock{at: time.Now()}}
	var err error
	if x.pki, err = pki.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if policy == nil {
		policy = DefaultPolicy(region, account)
	}
	p, err := ParsePolicy(policy, region, account)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{
		Socket: socket, TLS: &tls.Config{Certificates: []tls.Certificate{x.pki.Server()}}, Policy: p, Identify: x.identify,
		limits: limits{now: x.clk.now, connectInterval: -1},
	}
	if change != nil {
		change(&opts)
	}
	if x.b, err = New(opts); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return x
}

func (x *bench) identify(state tls.ConnectionState) (Identity, error) {
	owner, err := x.pki.Identify(state.PeerCertificates)
	who := Identity{Name: owner.Name, Admin: owner.Admin, Principal: owner.Fingerprint}
	if !owner.Admin {
		who.Thing = owner.Name
	}
	return who, err
}

// client is the bare protocol.
type client struct {
	t  *testing.T
	c  net.Conn
	in *bufio.Reader
}

// dial makes a TLS connection with the certificate of a thing, or the administrator's.
func (x *bench) dial(name string) *client {
	x.t.Helper()
	files, err := x.pki.AdminFiles()
	if name != pki.Admin {
		files, err = x.pki.AddThing(name)
	}
	if err != nil {
		x.t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		x.t.Fatal(err)
	}
	return x.dialWith(cert)
}

func (x *bench) dialWith(certs ...tls.Certificate) *client {
	x.t.Helper()
	ca, err := os.ReadFile(x.pki.CAFile())
	if err != nil {
		x.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c, err := tls.Dial("tcp", x.b.Addr(), &tls.Config{RootCAs: roots, Certificates: certs})
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{x.t, c, bufio.NewReader(c)}
}

// connect is dial and CONNECT with the name as the client id.
func (x *bench) connect(name string) *client {
	x.t.Helper()
	c := x.dial(name)
	c.send(connect(name, 2, 60, "", nil))
	c.want(0x20, 0, 0)
	return c
}

func text(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

func packet(first byte, parts ...[]byte) []byte {
	body := []byte{}
	for _, p := range parts {
		body = append(body, p...)
	}
	out, n := []byte{first}, len(body)
	for {
		b := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			b |= 0x80
		}
		if out = append(out, b); n == 0 {
			return append(out, body...)
		}
	}
}

// connect is CONNECT of MQTT 3.1.1; flags 2 asks for a clean session.
func connect(id string, flags byte, keepAlive uint16, will string, willPayload []byte) []byte {
	parts := [][]byte{text("MQTT"), {4, flags}, binary.BigEndian.AppendUint16(nil, keepAlive), text(id)}
	if will != "" {
		parts[1][1] |= 4
		parts = append(parts, text(will), text(string(willPayload)))
	}
	return packet(0x10, parts...)
}

func publish(topic string, qos byte, id uint16, payload string) []byte {
	number := []byte{}
	if qos > 0 {
		number = binary.BigEndian.AppendUint16(nil, id)
	}
	return packet(0x30|qos<<1, text(topic), number, []byte(payload))
}

func subscribe(qos byte, filters ...string) []byte {
	parts := [][]byte{{0, 9}}
	for _, f := range filters {
		parts = append(parts, text(f), []byte{qos})
	}
	return packet(0x82, parts...)
}

func (c *client) send(packets ...[]byte) {
	c.t.Helper()
	for _, p := range packets {
		if _, err := c.c.Write(p); err != nil {
			c.t.Fatalf("send: %v", err)
		}
	}
}

func (c *client) read() (first byte, body []byte, err error) {
	if first, err = c.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(c.in)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, n)
	_, err = io.ReadFull(c.in, body)
	return first, body, err
}

// want reads one packet.
func (c *client) want(first byte, body ...byte) {
	c.t.Helper()
	gotFirst, gotBody, err := c.read()
	if err != nil || gotFirst != first || string(gotBody) != string(body) {
		c.t.Fatalf("got %#x %v, %v; want %#x %v", gotFirst, gotBody, err, first, body)
	}
}

// message reads one PUBLISH as "topic payload", and its packet id (0: QoS 0).
func (c *client) message() (string, uint16, byte) {
	c.t.Helper()
	first, body, err := c.read()
	if err != nil || first>>4 != 3 || len(body) < 2 {
		c.t.Fatalf("got %#x %q, %v; want a message", first, body, err)
	}
	n := 2 + int(binary.BigEndian.Uint16(body))
	topic, rest, id := string(body[2:n]), body[n:], uint16(0)
	if first&6 != 0 {
		id, rest = binary.BigEndian.Uint16(rest), rest[2:]
	}
	return topic + " " + string(rest), id, first
}

func (c *client) wantMessage(want string) {
	c.t.Helper()
	if got, _, _ := c.message(); got != want {
		c.t.Fatalf("got %q, want %q", got, want)
	}
}

// alive shows that the connection lives, and that nothing was said before.
func (c *client) alive() {
	c.t.Helper()
	c.send([]byte{0xc0, 0})
	c.want(0xd0)
}

// closed waits for the end, before which nothing is said.
func (c *client) closed() {
	c.t.Helper()
	first, body, err := c.read()
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("got %#x %q, %v; want the end of the connection", first, body, err)
	}
}

// presenceOf subscribes an administrator to the presence events.
func (x *bench) presenceOf() (next func() string) {
	x.t.Helper()
	admin := x.connect(pki.Admin)
	admin.send(subscribe(1, "$aws/events/presence/#"))
	admin.want(0x90, 0, 9, 1)
	return func() string {
		x.t.Helper()
		m, _, _ := admin.message()
		topic, payload, _ := strings.Cut(m, " ")
		e := presence{}
		if err := json.Unmarshal([]byte(payload), &e); err != nil || e.Session == "" || e.Principal == "" || e.Timestamp == 0 {
			x.t.Errorf("event %s: %v", payload, err)
		}
		return fmt.Sprint(strings.TrimPrefix(topic, presencePrefix), " ", e.Version, " ", e.Reason)
	}
}
