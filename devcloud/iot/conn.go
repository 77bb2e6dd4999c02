package iot

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Why a connection ended, as presence events name it (AWS IoT Core developer guide, "Lifecycle events").
const (
	reasonAuth      = "AUTH_ERROR"
	reasonClient    = "CLIENT_INITIATED_DISCONNECT"
	reasonMistake   = "CLIENT_ERROR"
	reasonLost      = "CONNECTION_LOST"
	reasonDuplicate = "DUPLICATE_CLIENTID"
	reasonForbidden = "FORBIDDEN_ACCESS"
	reasonKeepAlive = "MQTT_KEEP_ALIVE_TIMEOUT"
	reasonServer    = "SERVER_INITIATED_DISCONNECT"
)

// errSlow is what the broker library is told when a client doesn't read its acknowledgements.
var errSlow = errors.New("the client sends and does not read")

// Identity is who is at the other end of a connection, by its certificate.
type Identity struct {
	// Name is the certificate's common name, Thing the thing that it is attached to; empty: none.
	Name, Thing string
	// Admin may do everything that AWS's console may: no policy and no rate applies. Its client ids begin with Name.
	Admin bool
	// Principal identifies the certificate.
	Principal string
	// Policy is what the client is held to; nil: the broker's.
	Policy *Policy
}

// conn is the network connection under one client, as the broker library sees it: reads have AWS's pace, and writes
// go through an outbox.
type conn struct {
	net.Conn
	who  Identity
	addr string
	out  *outbox
	done chan struct{} // closed when nobody serves it any more

	// Only the goroutine that serves the connection uses these.
	bytes     bucket
	publishes bucket
	refusal   byte // the code for CONNACK; 0: the library's
	session   string
	version   uint64

	// Those who publish use it.
	outMu     sync.Mutex
	outgoing  bucket
	discarded atomic.Uint64

	mu     sync.Mutex
	id     string // the client's; empty until it is connected
	reason string // why it ends; the first one stays

	closing   chan struct{}
	closeOnce sync.Once
}

func newConn(inner net.Conn, who Identity, now func() time.Time) *conn {
	return &conn{
		Conn: inner, who: who, addr: inner.RemoteAddr().String(), out: newOutbox(now, !who.Admin), done: make(chan struct{}),
		bytes: newBucket(bytesPerSecond, now), publishes: newBucket(publishesPerSecond, now),
		outgoing: newBucket(publishesPerSecond, now), closing: make(chan struct{}),
	}
}

// Read delays what is above AWS's throughput.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.who.Admin || n == 0 {
		return n, err
	}
	if delay := c.bytes.spend(n); delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.closing:
			return 0, net.ErrClosed
		}
	}
	return n, err
}

// Write puts one packet into the outbox: the library writes each with one call.
func (c *conn) Write(p []byte) (int, error) {
	if c.out.put(p) {
		return len(p), nil
	}
	c.end(reasonMistake)
	return 0, errSlow
}

// Close ends reading at once; the outbox closes the connection when it has written the acknowledgements.
func (c *conn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closing)
		c.out.close()
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	})
	return nil
}

// SetDeadline is about reading: the outbox has deadlines of its own.
func (c *conn) SetDeadline(t time.Time) error {
	select {
	case <-c.closing:
		return net.ErrClosed // or it would undo what Close has done
	default:
		return c.SetReadDeadline(t)
	}
}

// end closes the connection for a reason.
func (c *conn) end(reason string) {
	c.because(reason)
	_ = c.Close()
}

func (c *conn) because(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason == "" {
		c.reason = reason
	}
}

func (c *conn) why() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

func (c *conn) setID(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id = id
}

func (c *conn) clientID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// policy is the one that the client is held to.
func (c *conn) policy(usual *Policy) *Policy {
	if c.who.Policy != nil {
		return c.who.Policy
	}
	return usual
}

func (c *conn) subject() Subject {
	return Subject{ClientID: c.clientID(), CommonName: c.who.Name, Thing: c.who.Thing}
}

// mayDeliver counts a message to the client; false: it is discarded.
func (c *conn) mayDeliver() bool {
	if c.out.full() {
		c.discarded.Add(1)
		return false
	}
	if c.who.Admin {
		return true
	}
	c.outMu.Lock()
	defer c.outMu.Unlock()
	if c.outgoing.take() {
		return true
	}
	c.discarded.Add(1)
	return false
}
