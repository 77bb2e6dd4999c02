package telemetry_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// MQTT packet types, section 2.2.1.
const (
	connack = 2
	publish = 3
	pubackT = 4
)

// verdict is what a proxy does with a packet.
type verdict int

const (
	pass      verdict = iota
	cutBefore         // close both sides without handing the packet on
	cutAfter          // hand it on, then close both sides
	cutMiddle         // hand half of it on, then close both sides
	blackHole         // hand nothing on any more, in either direction, and close nothing
	oneByOne          // hand it on in pieces of one byte
)

// proxy stands between clients and a broker and looks at every packet.
type proxy struct {
	listener net.Listener
	target   string
	// judge is called for each packet, one call at a time: the number of the connection, from 0, the packet's type,
	// and how many of that type this connection has had before.
	judge func(conn int, kind byte, before int) verdict

	wg    sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn
	count int
}

func newProxy(t *testing.T, target string, judge func(conn int, kind byte, before int) verdict) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: strings.TrimPrefix(target, "mqtt://"), judge: judge}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "mqtt://" + p.listener.Addr().String() }

// cut closes every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		n := p.count
		p.count++
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		pair := &pair{proxy: p, n: n, client: client, server: server, seen: map[byte]int{}, hole: make(chan struct{})}
		p.wg.Go(func() { pair.relay(client, server) })
		p.wg.Go(func() { pair.relay(server, client) })
	}
}

// pair is one connection through the proxy.
type pair struct {
	proxy          *proxy
	n              int
	client, server net.Conn
	mu             sync.Mutex
	seen           map[byte]int
	hole           chan struct{} // closed when nothing is to be handed on any more
}

func (p *pair) relay(from, to net.Conn) {
	r := bufio.NewReader(from)
	for {
		packet, err := readRaw(r)
		if err != nil {
			break
		}
		p.mu.Lock()
		select {
		case <-p.hole:
			p.mu.Unlock()
			_, _ = io.Copy(io.Discard, r)
			continue
		default:
		}
		kind := packet[0] >> 4
		v := p.proxy.judge(p.n, kind, p.seen[kind])
		p.seen[kind]++
		if v == blackHole {
			close(p.hole)
		}
		p.mu.Unlock()
		switch v {
		case pass, cutAfter:
			_, err = to.Write(packet)
		case cutMiddle:
			_, err = to.Write(packet[:len(packet)/2])
		case oneByOne:
			for i := range packet {
				_, err = to.Write(packet[i : i+1])
			}
		}
		if v == cutBefore || v == cutAfter || v == cutMiddle || err != nil {
			break
		}
	}
	_ = p.client.Close()
	_ = p.server.Close()
}

// readRaw reads one packet as it is on the wire.
func readRaw(r *bufio.Reader) ([]byte, error) {
	first, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	packet := []byte{first}
	length := 0
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		packet = append(packet, b)
		length |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	return append(packet, body...), nil
}
