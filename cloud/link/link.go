// Package link makes one MQTT connection with a certificate, for the few requests of provisioning and for trying a
// certificate out: it subscribes, publishes and ends. It publishes no status and leaves no last will, which the policy
// of a claim certificate would not allow; it does not connect again, and an error says what kind it is. The agent's own
// connection is telemetry's.
//
// The protocol is MQTT 3.1.1 (OASIS Standard, 29 October 2014) over TLS, with a clean session.
package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"gnomon/cloud/keypair"
)

const (
	// connectTimeout is for DNS, TCP and TLS together, and again for the wait for CONNACK. A mobile network takes 3 s on
	// a bad day.
	connectTimeout = 10 * time.Second
	// ackTimeout is how long SUBACK and PUBACK may take.
	ackTimeout = 30 * time.Second
	// writeTimeout is for one packet of a few KB.
	writeTimeout = 20 * time.Second
	// keepAlive is AWS IoT's longest: the connection is over long before.
	keepAlive = 1200
	// maxPacket is AWS IoT's largest message with its topic. Answers to a request for a certificate have some 3 KB.
	maxPacket = 128<<10 + 1<<10

	tlsPort = "8883"
	// alpnPort is where AWS IoT serves MQTT beside HTTPS, told apart by alpnMQTT: for networks that block 8883.
	alpnPort = "443"
	alpnMQTT = "x-amzn-mqtt-ca"
)

// Options configures Dial.
type Options struct {
	// Broker is HOST, HOST:PORT or mqtts://HOST[:PORT]. Without a port it is 8883 and, if that can't be reached, 443.
	Broker string
	// ClientID is at most 128 bytes. A device's policy wants it to be the thing's name.
	ClientID string
	// Files are the certificate and the key to connect with; CAFile has the authorities that the broker's certificate
	// may be of, in place of the system's; may be empty.
	Files  keypair.Files
	CAFile string
}

// Conn is a connection. Its methods may be called from any goroutine.
type Conn struct {
	net  net.Conn
	done chan struct{} // closed when nothing more is read

	writing sync.Mutex

	mu       sync.Mutex
	err      error // why it ended
	next     uint16
	waiting  map[uint16]chan packets.ControlPacket // by packet id; capacity 1
	handlers map[string]func(topic string, payload []byte)
}

// Dial connects. The error is an *Error, or says what is wrong with the options and the files.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	host, ports, err := Address(o.Broker)
	if err != nil {
		return nil, err
	}
	pair, err := keypair.Load(o.Files, time.Now())
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, Certificates: []tls.Certificate{pair}}
	if o.CAFile != "" {
		pem, err := keypair.Read("ca_file", o.CAFile)
		if err != nil {
			return nil, err
		}
		if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s has no certificate in it; it must be PEM, with BEGIN CERTIFICATE", o.CAFile)
		}
	}
	var first error
	for _, port := range ports {
		cfg.NextProtos = protocols(port)
		c, err := dial(ctx, cfg.Clone(), net.JoinHostPort(host, port), o.ClientID)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Unreachable {
			return nil, err
		}
	}
	return nil, first
}

// Address takes a broker apart: its host and the ports to try.
func Address(broker string) (host string, ports []string, err error) {
	const hint = "write what `aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints, or HOST:PORT"
	address := strings.TrimSuffix(strings.TrimPrefix(broker, "mqtts://"), "/")
	if address == "" || strings.ContainsAny(address, "/@?# \t\r\n") {
		return "", nil, errors.New("the endpoint is not a host name: " + hint)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), ""
	}
	if port == "" {
		return host, []string{tlsPort, alpnPort}, nil
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n < 1 || host == "" {
		return "", nil, errors.New("the endpoint has no good port: " + hint)
	}
	return host, []string{port}, nil
}

// protocols are what is asked for by ALPN.
func protocols(port string) []string {
	if port == alpnPort {
		return []string{alpnMQTT}
	}
	return nil
}

func dial(ctx context.Context, cfg *tls.Config, address, id string) (*Conn, error) {
	short, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(short, "tcp", address)
	if err != nil {
		return nil, explain(address, dialling, err)
	}
	secured := tls.Client(raw, cfg)
	if err := secured.HandshakeContext(short); err != nil {
		_ = raw.Close()
		return nil, explain(address, handshaking, err)
	}
	c := &Conn{
		net: secured, done: make(chan struct{}), waiting: map[uint16]chan packets.ControlPacket{},
		handlers: map[string]func(string, []byte){},
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	err = c.connect(id)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close()
		return nil, explain(address, connecting, err)
	}
	go c.read()
	return c, nil
}

// connect sends CONNECT and reads CONNACK.
func (c *Conn) connect(id string) error {
	hello := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	hello.ProtocolName, hello.ProtocolVersion, hello.CleanSession = "MQTT", 4, true
	hello.ClientIdentifier, hello.Keepalive = id, keepAlive
	if err := c.write(hello); err != nil {
		// With TLS 1.3 the refusal of a certificate arrives after the handshake: it is the better reason.
		_ = c.net.SetReadDeadline(time.Now().Add(time.Second))
		if _, why := c.net.Read(make([]byte, 1)); why != nil {
			return why
		}
		return err
	}
	if err := c.net.SetReadDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	var first [1]byte
	if _, err := io.ReadFull(c.net, first[:]); err != nil {
		return err
	}
	if first[0] != packets.Connack<<4 { // a web server's answer, perhaps: its length would be waited for
		return errNotMQTT
	}
	packet, err := readPacket(io.MultiReader(bytes.NewReader(first[:]), c.net))
	if err != nil {
		return err
	}
	ack, ok := packet.(*packets.ConnackPacket)
	if !ok {
		return errNotMQTT
	}
	if ack.ReturnCode != 0 {
		return connackError(ack.ReturnCode)
	}
	return c.net.SetReadDeadline(time.Time{})
}

// Close says goodbye and returns when the connection is gone. It may be called more than once.
func (c *Conn) Close() error {
	_ = c.write(packets.NewControlPacket(packets.Disconnect)) // the other side may have gone before
	_ = c.net.Close()
	<-c.done
	return nil
}

// Done is closed when the connection has ended, by whichever side.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Subscribe asks for all filters at QoS 1 and returns after SUBACK; filters are topics without wildcards. The handler
// gets each message and must not wait.
func (c *Conn) Subscribe(ctx context.Context, filters []string, handler func(topic string, payload []byte)) error {
	c.mu.Lock()
	for _, f := range filters {
		c.handlers[f] = handler
	}
	c.mu.Unlock()
	packet := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	packet.Topics, packet.Qoss = filters, make([]byte, len(filters))
	for i := range packet.Qoss {
		packet.Qoss[i] = 1
	}
	answer, err := c.exchange(ctx, func(id uint16) packets.ControlPacket {
		packet.MessageID = id
		return packet
	})
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", filters[0], err)
	}
	ack, ok := answer.(*packets.SubackPacket)
	if !ok || len(ack.ReturnCodes) != len(filters) {
		return fmt.Errorf("subscribe to %s: %w", filters[0], errNotMQTT)
	}
	for i, code := range ack.ReturnCodes {
		if code > 1 {
			return &Error{Kind: Refused, text: fmt.Sprintf("the broker refused a subscription to %s: let the policy of the "+
				"certificate allow iot:Subscribe and iot:Receive there", filters[i])}
		}
	}
	return nil
}

// Publish sends a message at QoS 1 and returns after PUBACK.
func (c *Conn) Publish(ctx context.Context, topic string, payload []byte) error {
	packet := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	packet.TopicName, packet.Payload, packet.Qos = topic, payload, 1
	_, err := c.exchange(ctx, func(id uint16) packets.ControlPacket {
		packet.MessageID = id
		return packet
	})
	if err != nil {
		return fmt.Errorf("publish on %s: %w", topic, err)
	}
	return nil
}

// exchange sends a packet and waits for what acknowledges it.
func (c *Conn) exchange(ctx context.Context, with func(id uint16) packets.ControlPacket) (packets.ControlPacket, error) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	answer := make(chan packets.ControlPacket, 1)
	c.mu.Lock()
	if c.next++; c.next == 0 { // no packet has this id
		c.next++
	}
	id := c.next
	c.waiting[id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, id)
	}()
	if err := c.write(with(id)); err != nil {
		return nil, c.ended(err)
	}
	select {
	case packet := <-answer:
		return packet, nil
	case <-c.done:
		return nil, c.ended(nil)
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer came: %w", ctx.Err())
	}
}

func (c *Conn) write(packet packets.ControlPacket) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.net.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return packet.Write(c.net)
}

// read serves what comes in until the connection ends.
func (c *Conn) read() {
	defer close(c.done)
	for {
		packet, err := readPacket(c.net)
		if err == nil {
			err = c.take(packet)
		}
		if err != nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			_ = c.net.Close()
			return
		}
	}
}

func (c *Conn) take(packet packets.ControlPacket) error {
	switch p := packet.(type) {
	case *packets.PublishPacket:
		c.mu.Lock()
		handler := c.handlers[p.TopicName]
		c.mu.Unlock()
		if handler != nil {
			handler(p.TopicName, p.Payload)
		}
		if p.Qos == 1 {
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = p.MessageID
			return c.write(ack)
		}
	case *packets.SubackPacket:
		c.acknowledge(p.MessageID, p)
	case *packets.PubackPacket:
		c.acknowledge(p.MessageID, p)
	default:
		return errNotMQTT
	}
	return nil
}

func (c *Conn) acknowledge(id uint16, packet packets.ControlPacket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer := c.waiting[id]; answer != nil {
		answer <- packet
		delete(c.waiting, id)
	}
}
