package devcloud

import (
	"log/slog"
	"net"
	"sync"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// listenerID names the one listener that a broker has.
const listenerID = "tcp"

// listener accepts TCP connections for the broker. Unlike the library's own it also closes connections that haven't
// sent their CONNECT yet, and its Close returns only when no connection is being served any more: without that a
// silent client could hold up the end of the process.
//
// It closes the connections itself, and never calls the CloseFn that it is given: that one takes a read lock twice
// (Clients.GetByListener), and blocks for ever if a client comes or goes in between.
type listener struct {
	socket net.Listener
	log    *slog.Logger

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	wg     sync.WaitGroup // connections being served, and the accept loop
}

var _ listeners.Listener = (*listener)(nil)

func newListener(socket net.Listener) *listener {
	return &listener{socket: socket, log: slog.New(slog.DiscardHandler), conns: map[net.Conn]struct{}{}}
}

func (l *listener) ID() string       { return listenerID }
func (l *listener) Address() string  { return l.socket.Addr().String() }
func (l *listener) Protocol() string { return "tcp" }

func (l *listener) Init(log *slog.Logger) error {
	l.log = log
	return nil
}

// Serve accepts connections until Close. The server calls it in a goroutine of its own.
func (l *listener) Serve(establish listeners.EstablishFn) {
	if !l.enter(nil) {
		return
	}
	defer l.wg.Done()
	for {
		conn, err := l.socket.Accept()
		if err != nil {
			l.mu.Lock()
			closed := l.closed
			l.mu.Unlock()
			if !closed {
				l.log.Error("the broker stopped accepting connections", "error", err)
			}
			return
		}
		if !l.enter(conn) {
			_ = conn.Close()
			return
		}
		go func() {
			defer l.leave(conn)
			if err := establish(listenerID, conn); err != nil {
				l.log.Debug("client left", "error", err)
			}
		}()
	}
}

// Close stops accepting, closes every connection and waits until nobody serves them any more.
func (l *listener) Close(listeners.CloseFn) {
	l.mu.Lock()
	l.closed = true
	for conn := range l.conns {
		_ = conn.Close()
	}
	l.mu.Unlock()
	_ = l.socket.Close()
	l.wg.Wait()
}

// enter counts a goroutine in and remembers its connection, if it has one; false: the listener is closed.
func (l *listener) enter(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Add(1)
	if conn != nil {
		l.conns[conn] = struct{}{}
	}
	return true
}

func (l *listener) leave(conn net.Conn) {
	_ = conn.Close()
	l.mu.Lock()
	delete(l.conns, conn)
	l.mu.Unlock()
	l.wg.Done()
}
