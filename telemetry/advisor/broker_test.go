package advisor_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// broker is an MQTT 3.1.1 broker that does what a script tells it to.
type broker struct {
	listener net.Listener
	tls      *tls.Config // nil: plain TCP
	got      ledger

	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  []net.Conn
	failed []error // handshakes
}

// newBroker serves each connection with script, in a goroutine of its own; it is closed when script returns. With cfg
// the script begins after the handshake.
func newBroker(t *testing.T, cfg *tls.Config, script func(p *peer)) *broker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newBrokerAt(t, l, cfg, script)
}

// newBrokerAt is newBroker with a listener, which is the broker's from then on.
func newBrokerAt(t *testing.T, l net.Listener, cfg *tls.Config, script func(p *peer)) *broker {
	t.Helper()
	b := &broker{listener: l, tls: cfg}
	b.wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns = append(b.conns, conn)
			b.mu.Unlock()
			b.wg.Go(func() {
				defer conn.Close()
				b.serve(&peer{Conn: conn, broker: b, n: n, at: time.Now()}, script)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		b.cut()
		b.wg.Wait()
	})
	return b
}

func (b *broker) serve(p *peer, script func(p *peer)) {
	if b.tls != nil {
		secured := tls.Server(p.Conn, b.tls)
		if err := secured.Handshake(); err != nil {
			b.mu.Lock()
			b.failed = append(b.failed, err)
			b.mu.Unlock()
			return
		}
		p.Conn = secured
	}
	script(p)
}

// cut closes every connection.
func (b *broker) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		_ = c.Close()
	}
}

func (b *broker) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

func (b *broker) handshakes() []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]error(nil), b.failed...)
}

// url is for a certificate of localhost where there is TLS.
func (b *broker) url() string {
	_, port, _ := net.SplitHostPort(b.listener.Addr().String())
	if b.tls != nil {
		return "mqtts://localhost:" + port
	}
	return "mqtt://127.0.0.1:" + port
}

// peer is the broker's end of one connection. Errors end the script at the next read.
type peer struct {
	net.Conn
	broker *broker
	n      int       // of the connection, from 0
	at     time.Time // accepted
	hello  *packets.ConnectPacket
}

// read returns the next packet, nil at the end of the connection.
func (p *peer) read() packets.ControlPacket {
	pk, err := packets.ReadPacket(p)
	if err != nil {
		return nil
	}
	return pk
}

func (p *peer) write(packet ...byte) { _, _ = p.Write(packet) }

// listen reads CONNECT and doesn't answer.
func (p *peer) listen() bool {
	var ok bool
	p.hello, ok = p.read().(*packets.ConnectPacket)
	return ok
}

// welcome answers CONNECT: all is well, and whether a session was there.
func (p *peer) welcome(sessionPresent bool) {
	if sessionPresent {
		p.write(0x20, 2, 1, 0)
	} else {
		p.write(0x20, 2, 0, 0)
	}
}

// accept is both.
func (p *peer) accept(sessionPresent bool) bool {
	if !p.listen() {
		return false
	}
	p.welcome(sessionPresent)
	return true
}

// hangUp ends a plain connection without a reset, which could overtake what was sent before.
func (p *peer) hangUp() {
	_ = p.Conn.(*net.TCPConn).CloseWrite()
	p.drain()
}

// answers says what is done with the packets of one kind; nil: what a good broker does.
type answers struct {
	publish   func(*packets.PublishPacket)
	subscribe func(*packets.SubscribePacket)
	ping      func()
}

// serve answers until the connection ends.
func (p *peer) serve(a answers) {
	if a.publish == nil {
		a.publish = p.take
	}
	if a.subscribe == nil {
		a.subscribe = p.grant
	}
	if a.ping == nil {
		a.ping = func() { p.write(0xd0, 0) }
	}
	for {
		switch pk := p.read().(type) {
		case *packets.PublishPacket:
			a.publish(pk)
		case *packets.SubscribePacket:
			a.subscribe(pk)
		case *packets.PingreqPacket:
			a.ping()
		case nil:
			return
		}
	}
}

// take writes a message into the ledger and acknowledges it.
func (p *peer) take(m *packets.PublishPacket) {
	p.broker.got.take(m.TopicName, m.Payload)
	p.ack(m.MessageID)
}

func (p *peer) ack(id uint16) { p.write(0x40, 2, byte(id>>8), byte(id)) }

// grant acknowledges a SUBSCRIBE with QoS 1 for each filter.
func (p *peer) grant(s *packets.SubscribePacket) {
	answer := append([]byte{0x90, byte(2 + len(s.Topics)), byte(s.MessageID >> 8), byte(s.MessageID)}, bytes.Repeat([]byte{1}, len(s.Topics))...)
	p.write(answer...)
}

// send publishes to the device at QoS 1.
func (p *peer) send(topic string, id uint16, payload []byte) {
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	m.Qos, m.TopicName, m.MessageID, m.Payload = 1, topic, id, payload
	var b bytes.Buffer
	_ = m.Write(&b) // into memory
	p.write(b.Bytes()...)
}

// good is the script of a broker that does what it should.
func good(p *peer) {
	if p.accept(false) {
		p.serve(answers{})
	}
}

// drain reads and answers nothing until the connection ends.
func (p *peer) drain() { _, _ = io.Copy(io.Discard, p) }
