// Package mqttserver is what every MQTT broker of devcloud needs around the broker library: its listener and its log.
package mqttserver

import (
	"log/slog"
	"net"
	"sync"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// listenerID names the one listener that a broker has.
const listenerID = "tcp"

// Handler serves one connection to its end; establish is the library's part of it.
type Handler func(conn net.Conn, establish func(net.Conn) error) error

// Listener accepts TCP connections for the broker. Unlike the library's own it also closes connections that haven't
// sent their CONNECT yet, and its Close returns only when no connection is being served any more: without that a
// silent client could hold up the end of the process.
//
// It closes the connections itself, and never calls the CloseFn that it is given: that one takes a read lock twice
// (Clients.GetByListener), and blocks for ever if a client comes or goes in between.
type Listener struct {
	socket net.Listener
	handle Handler
	log    *slog.Logger

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	wg     sync.WaitGroup // connections being served, and the accept loop
}

var _ listeners.Listener = (*Listener)(nil)

// New makes a listener that owns socket. handle may wrap each connection; nil: the library gets it as it is.
func New(socket net.Listener, handle Handler) *Listener {
	if handle == nil {
		handle = func(conn net.Conn, establish func(net.Conn) error) error { return establish(conn) }
	}
	return &Listener{socket: socket, handle: handle, log: slog.New(slog.DiscardHandler), conns: map[net.Conn]struct{}{}}
}

// ID implements listeners.Listener.
func (l *Listener) ID() string { return listenerID }

// Address is the host:port that was really bound.
func (l *Listener) Address() string { return l.socket.Addr().String() }

// Protocol implements listeners.Listener.
func (l *Listener) Protocol() string { return "tcp" }

// Init implements listeners.Listener.
func (l *Listener) Init(log *slog.Logger) error {
	l.log = log
	return nil
}

// Serve accepts connections until Close. The server calls it in a goroutine of its own.
func (l *Listener) Serve(establish listeners.EstablishFn) {
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
			if err := l.handle(conn, func(c net.Conn) error { return establish(listenerID, c) }); err != nil {
				l.log.Debug("client left", "error", err)
			}
		}()
	}
}

// Close stops accepting, closes every connection and waits until nobody serves them any more.
func (l *Listener) Close(listeners.CloseFn) {
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
func (l *Listener) enter(conn net.Conn) bool {
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

func (l *Listener) leave(conn net.Conn) {
	_ = conn.Close()
	l.mu.Lock()
	delete(l.conns, conn)
	l.mu.Unlock()
	l.wg.Done()
}
