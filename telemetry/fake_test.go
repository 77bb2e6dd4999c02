package telemetry_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// fake is a broker that does what a test tells it to, mostly wrong things.
type fake struct {
	listener net.Listener
	wg       sync.WaitGroup
	closed   chan struct{}
	mu       sync.Mutex
	conns    []net.Conn
}

// newFake serves each connection with script, which gets its number, from 0. The connection is closed when script
// returns.
func newFake(t *testing.T, script func(n int, c *peer)) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{listener: l, closed: make(chan struct{})}
	f.wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			f.wg.Go(func() {
				defer conn.Close()
				script(n, &peer{Conn: conn, closed: f.closed})
			})
		}
	})
	t.Cleanup(f.close)
	return f
}

func (f *fake) url() string { return "mqtt://" + f.listener.Addr().String() }

func (f *fake) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

func (f *fake) close() {
	close(f.closed)
	_ = f.listener.Close()
	f.mu.Lock()
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

// peer is the broker's end of one connection. Errors end the script at the next read.
type peer struct {
	net.Conn
	closed <-chan struct{} // by the end of the test
}

// read returns the next packet, nil at the end of the connection.
func (p *peer) read() packets.ControlPacket {
	pk, err := packets.ReadPacket(p)
	if err != nil {
		return nil
	}
	return pk
}

// accept reads CONNECT and answers with the return code.
func (p *peer) accept(code byte) bool {
	if _, ok := p.read().(*packets.ConnectPacket); !ok {
		return false
	}
	_, err := p.Write([]byte{0x20, 2, 0, code})
	return err == nil
}

// publish returns the next PUBLISH, nil at the end; PINGREQs are answered.
func (p *peer) publish() *packets.PublishPacket {
	for {
		switch pk := p.read().(type) {
		case *packets.PublishPacket:
			return pk
		case *packets.PingreqPacket:
			_, _ = p.Write([]byte{0xd0, 0})
		case nil:
			return nil
		}
	}
}

func (p *peer) ack(id uint16) {
	_, _ = p.Write([]byte{0x40, 2, byte(id >> 8), byte(id)})
}

// serve acknowledges and records until the connection ends.
func (p *peer) serve(r *recorder) {
	for pub := p.publish(); pub != nil; pub = p.publish() {
		r.add(pub)
		if pub.Qos == 1 {
			p.ack(pub.MessageID)
		}
	}
}

// drain reads and forgets until the connection ends.
func (p *peer) drain() { _, _ = io.Copy(io.Discard, p) }

// hang reads nothing and closes nothing until the end of the test.
func (p *peer) hang() { <-p.closed }
