package main

import (
	"errors"
	"io"
	"net"
	"sync"
)

// proxy is the network between the agent and the cloud. Any goroutine may cut it.
type proxy struct {
	socket net.Listener
	target string

	mu      sync.Mutex
	down    bool          // connections are closed as soon as they are accepted
	open    chan struct{} // closed while bytes pass
	conns   map[net.Conn]struct{}
	running sync.WaitGroup
}

// newProxy listens on loopback. Run serves, Close ends it.
func newProxy(target string) (*proxy, error) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{socket: socket, target: target, open: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(p.open)
	return p, nil
}

func (p *proxy) addr() string { return p.socket.Addr().String() }

// run accepts connections until close.
func (p *proxy) run() {
	for {
		near, err := p.socket.Accept()
		if err != nil {
			break
		}
		far, err := net.Dial("tcp", p.target)
		p.mu.Lock()
		if err != nil || p.down {
			p.mu.Unlock()
			_ = near.Close()
			if far != nil {
				_ = far.Close()
			}
			continue
		}
		p.conns[near], p.conns[far] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.running.Go(func() { p.carry(near, far) })
		p.running.Go(func() { p.carry(far, near) })
	}
	p.running.Wait()
}

// carry copies until either side ends.
func (p *proxy) carry(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		open := p.open
		p.mu.Unlock()
		<-open // what is on its way waits, as it would in TCP
		if n > 0 {
			if _, e := to.Write(buf[:n]); e != nil {
				err = e
			}
		}
		if err != nil {
			break
		}
	}
	_ = from.Close()
	_ = to.Close()
	p.mu.Lock()
	delete(p.conns, from)
	delete(p.conns, to)
	p.mu.Unlock()
}

// sever ends all connections, and new ones until mend.
func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for c := range p.conns {
		_ = c.Close()
	}
}

// silence lets nothing through until mend, and tells nobody.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default:
	}
}

// mend ends sever and silence.
func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// close ends everything; run returns.
func (p *proxy) close() error {
	err := p.socket.Close()
	p.sever()
	p.mend()
	p.mu.Lock()
	p.down = true
	p.mu.Unlock()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
