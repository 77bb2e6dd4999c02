package month

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// latency is how long making a connection takes.
	latency = 20 * time.Millisecond
	// maxUnread is what may be on its way in one direction, as in a kernel's buffers. It is above what anybody here sends
	// before the other side reads, so that nobody waits for a lock behind somebody who waits for the network: a bubble's
	// clock would stand still.
	maxUnread = 16 << 20
)

// listener is where connections of all networks arrive.
type listener struct {
	arriving chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

func newListener() *listener {
	return &listener{arriving: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.arriving:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8883} }

// network is between a device and a listener.
type network struct {
	to *listener

	mu      sync.Mutex
	down    bool          // connections are refused
	up      chan struct{} // closed while bytes pass
	passing bool
	wires   map[*wire]struct{}
}

func newNetwork(to *listener) *network {
	n := &network{to: to, up: make(chan struct{}), passing: true, wires: map[*wire]struct{}{}}
	close(n.up)
	return n
}

// sever ends every connection and refuses new ones until mend.
func (n *network) sever() {
	n.mu.Lock()
	n.down = true
	var all []*wire
	for w := range n.wires {
		all = append(all, w)
	}
	n.mu.Unlock()
	for _, w := range all {
		_ = w.Close()
	}
}

// silence lets nothing through any more, and tells nobody.
func (n *network) silence() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.passing {
		n.passing, n.up = false, make(chan struct{})
	}
}

// mend ends sever and silence. What was on its way arrives, as with TCP.
func (n *network) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = false
	if !n.passing {
		n.passing = true
		close(n.up)
	}
}

func (n *network) state() (down bool, up <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.down, n.up
}

// dial is telemetry.Options.Dial.
func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	down, up := n.state()
	if down {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	select {
	case <-up:
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	time.Sleep(latency)
	here, there := n.pair()
	select {
	case n.to.arriving <- there:
		return here, nil
	case <-n.to.closed:
	case <-ctx.Done():
	}
	_ = here.Close()
	_ = there.Close()
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func (n *network) pair() (a, b *wire) {
	aReads, toA := net.Pipe()
	bReads, toB := net.Pipe()
	a = &wire{Conn: aReads, out: newFlow(), net: n}
	b = &wire{Conn: bReads, out: newFlow(), net: n}
	n.mu.Lock()
	n.wires[a], n.wires[b] = struct{}{}, struct{}{}
	n.mu.Unlock()
	go n.carry(a.out, toB)
	go n.carry(b.out, toA)
	return a, b
}

// carry takes bytes to the other side until either side has closed.
func (n *network) carry(from *flow, to net.Conn) {
	defer to.Close()
	for {
		data, ok := from.take()
		_, up := n.state()
		<-up // the end does not get through either
		if !ok {
			return
		}
		if _, err := to.Write(data); err != nil {
			from.close()
			return
		}
	}
}

// wire is one end of a connection. Writing never waits.
type wire struct {
	net.Conn // the end of a pipe that the other side's bytes come out of, for reading and its deadlines
	out      *flow
	net      *network
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	k, err := w.Conn.Read(p)
	if errors.Is(err, io.ErrClosedPipe) {
		err = net.ErrClosed
	}
	return k, err
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) { return w.out.put(p) }

// Close implements net.Conn.
func (w *wire) Close() error {
	w.net.mu.Lock()
	delete(w.net.wires, w)
	w.net.mu.Unlock()
	w.out.close()
	return w.Conn.Close()
}

// SetWriteDeadline implements net.Conn; no write waits.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline implements net.Conn.
func (w *wire) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

// flow is what is on its way in one direction.
type flow struct {
	wake chan struct{} // capacity 1

	mu     sync.Mutex
	data   []byte
	closed bool
}

func newFlow() *flow { return &flow{wake: make(chan struct{}, 1)} }

func (f *flow) ring() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *flow) put(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, os.NewSyscallError("write", syscall.EPIPE)
	}
	if len(f.data)+len(p) > maxUnread {
		return 0, os.ErrDeadlineExceeded
	}
	f.data = append(f.data, p...)
	f.ring()
	return len(p), nil
}

func (f *flow) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.ring()
}

// take waits for bytes; false: there will be none.
func (f *flow) take() ([]byte, bool) {
	for {
		f.mu.Lock()
		data, closed := f.data, f.closed
		f.data = nil
		f.mu.Unlock()
		if len(data) > 0 {
			return data, true
		}
		if closed {
			return nil, false
		}
		<-f.wake
	}
}
