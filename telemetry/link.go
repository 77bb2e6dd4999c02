package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// writeChunk is what has to leave within writeTimeout. A message in one piece would need a timeout for its size.
	writeChunk = 4 << 10

	// sendBuffer bounds what the kernel holds for a slow line. What is in there can't be overtaken by a ping, and
	// nobody knows whether it moves; 64 KB still fill a line of 300 KB/s with 200 ms of delay.
	sendBuffer = 64 << 10

	// closeGrace is how long TLS may take to say goodbye before the socket is closed under it.
	closeGrace = 200 * time.Millisecond

	// lastWordWait is how long the peer's reason for closing may take to arrive after a write has failed.
	lastWordWait = 200 * time.Millisecond
)

// link is the network connection under one MQTT session, as the MQTT library sees it. It adds what the library
// lacks: a write deadline for every chunk of every packet, pings included; a guard on what comes in; a way to break
// off with a reason; and word of when a PUBLISH has been written.
//
// Reads come from one goroutine, writes from several. Deadlines that the library sets for writing are ignored.
type link struct {
	net.Conn
	socket       net.Conn // what Conn runs on: itself, or the TCP connection under TLS
	writeTimeout time.Duration
	guard        guard
	greeted      atomic.Bool // something has been read: from now on there is a reader

	writing   sync.Mutex
	published atomic.Uint64 // PUBLISH and SUBSCRIBE packets written
	wrote     chan struct{} // signalled when published has changed

	mu      sync.Mutex
	reason  error // why the connection ended
	byWrite bool  // reason is a write error, which is often only the echo of what a read will say

	closing sync.Once
}

// dial connects to the broker, with TLS if cfg is not nil, and gives up after timeout or when ctx ends.
func dial(ctx context.Context, with func(context.Context, string, string) (net.Conn, error), address string, cfg *tls.Config, t timing) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, t.connect)
	defer cancel()
	if with == nil {
		with = new(net.Dialer).DialContext
	}
	socket, err := with(ctx, "tcp", address)
	if err != nil {
		return nil, &phaseError{phase: dialing, err: err}
	}
	if tcp, ok := socket.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // the default works as well, only less well
	}
	l := &link{Conn: socket, socket: socket, writeTimeout: t.write, wrote: make(chan struct{}, 1)}
	if cfg == nil {
		return l, nil
	}
	secured := tls.Client(socket, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = socket.Close()
		return nil, &phaseError{phase: handshaking, err: err}
	}
	l.Conn = secured
	return l, nil
}

func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 {
		if bad := l.guard.check(p[:n]); bad != nil {
			l.broke(bad, false)
			_ = l.socket.Close()
			return 0, bad
		}
		l.greeted.Store(true)
	}
	if err != nil {
		l.broke(err, false)
		return n, l.why(err)
	}
	return n, nil
}

// Write sends one packet.
func (l *link) Write(p []byte) (int, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	for sent := 0; sent < len(p); {
		err := l.Conn.SetWriteDeadline(time.Now().Add(l.writeTimeout))
		n := 0
		if err == nil {
			n, err = l.Conn.Write(p[sent:min(sent+writeChunk, len(p))])
		}
		sent += n
		if err != nil {
			l.broke(err, true)
			l.lastWord()
			return sent, l.why(err)
		}
	}
	if len(p) > 0 && (p[0]>>4 == typePublish || p[0]>>4 == typeSubscribe) {
		l.published.Add(1)
		signal(l.wrote)
	}
	return len(p), nil
}

// lastWord reads what the peer may have said before it closed a connection on which CONNECT couldn't even be written.
// With TLS 1.3 that is where the refusal of a client certificate arrives; the MQTT library wouldn't look.
func (l *link) lastWord() {
	if l.greeted.Load() {
		return
	}
	_ = l.SetReadDeadline(time.Now().Add(lastWordWait))
	_, _ = l.Read(make([]byte, 1))
}

// SetDeadline bounds reads only: every write has its own deadline.
func (l *link) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// SetWriteDeadline does nothing: every write has its own deadline.
func (l *link) SetWriteDeadline(time.Time) error { return nil }

// Close ends the connection, politely where that takes no time.
func (l *link) Close() error {
	l.closing.Do(func() {
		// TLS sends a last record, which would wait up to 5 s for a peer that doesn't read.
		force := time.AfterFunc(closeGrace, func() { _ = l.socket.Close() })
		_ = l.Conn.Close()
		force.Stop()
		_ = l.socket.Close()
	})
	return nil
}

// abort ends the connection at once; reads and writes return err.
func (l *link) abort(err error) {
	l.broke(err, false)
	_ = l.socket.Close()
}

// broke remembers why the connection ended: the first error, but a read's rather than a write's, because the peer's
// last word is read.
func (l *link) broke(err error, byWrite bool) {
	if errors.Is(err, net.ErrClosed) {
		return // the consequence of our own closing
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason == nil || (l.byWrite && !byWrite) {
		l.reason, l.byWrite = err, byWrite
	}
}

// why is the reason for which the connection ended, or err if there is none.
func (l *link) why(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason != nil {
		return l.reason
	}
	return err
}
