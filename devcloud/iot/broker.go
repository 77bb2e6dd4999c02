package iot

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"go.uber.org/zap"

	"gnomon/devcloud/internal/mqttserver"
)

// sysTopicSeconds is how often the library counts under $SYS, where no client may subscribe: about never.
const sysTopicSeconds = 24 * 3600

// ErrClosed is what Run returns for a broker that was closed.
var ErrClosed = errors.New("the broker is closed; make a new one")

// Options configures New.
type Options struct {
	// Socket is the open port, TCP. The broker owns it, also when New fails.
	Socket net.Listener
	// TLS holds the server's certificate. A client certificate is asked for in any case.
	TLS *tls.Config
	// Identify says whose certificate it is; an error refuses it. It is called twice for each connection, may be
	// called concurrently, and checks everything: the chain, the dates, and that the certificate is registered.
	Identify func(tls.ConnectionState) (Identity, error)
	// Policy is what every client is held to but an admin, and those whose Identity has another.
	Policy *Policy
	// Shadow gets each request to a Device Shadow, after its PUBACK, on the goroutine of the client's connection; it
	// answers through Publish. Payload belongs to the broker: copy what is kept. May be nil.
	Shadow func(topic string, payload []byte)
	// Provision gets each request to the provisioning service, as Shadow does; it answers the client, and nobody else,
	// through Reply. May be nil.
	Provision func(client, topic string, payload []byte)
	// Log gets refused and disconnected clients and the broker's troubles; nil: nobody does.
	Log *zap.Logger

	limits limits
}

// Broker is an MQTT broker with AWS IoT Core's rules. Create it with New; it serves once Run is called.
type Broker struct {
	opts     Options
	log      *zap.Logger
	tls      *tls.Config
	server   *mochi.Server
	listener *mqttserver.Listener
	versions atomic.Uint64 // of presence events
	open     atomic.Int64  // connections
	once     sync.Once
	closed   chan struct{}

	mu     sync.Mutex
	conns  map[string]*conn     // by client id
	recent map[string]time.Time // by client id: the last CONNECT
}

// New returns a broker that isn't serving yet. The caller owns it and must call Close, whether or not Run is called.
func New(opts Options) (*Broker, error) {
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	opts.limits = opts.limits.withDefaults()
	b := &Broker{
		opts: opts, log: opts.Log.Named("broker"), tls: opts.TLS.Clone(), closed: make(chan struct{}),
		conns: map[string]*conn{}, recent: map[string]time.Time{},
	}
	b.tls.ClientAuth = tls.RequireAnyClientCert
	b.tls.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := opts.Identify(state)
		return err
	}
	b.server = mochi.New(&mochi.Options{
		Capabilities: b.capabilities(), Logger: mqttserver.Log(opts.Log), InlineClient: true,
		SysTopicResendInterval: sysTopicSeconds,
		// One packet, one call of Write: the outbox tells packets apart by that.
		ClientNetWriteBufferSize: 1,
	})
	b.listener = mqttserver.New(opts.Socket, b.handle)
	err := b.server.AddHook(&hook{broker: b}, nil)
	if err == nil {
		err = b.server.AddListener(b.listener)
	}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("set up the broker: %w", err)
	}
	return b, nil
}

func (b *Broker) capabilities() *mochi.Capabilities {
	c := mochi.NewDefaultServerCapabilities()
	c.MaximumPacketSize = maxPacket
	c.MaximumClients = maxConnections
	c.MaximumQos = 1
	c.MinimumProtocolVersion = 4 // AWS IoT Core takes MQTT 3.1.1 and 5
	c.ReceiveMaximum = maxUnacknowledged
	c.MaximumInflight = maxStored
	c.TopicAliasMaximum = 0
	c.MaximumMessageExpiryInterval = int64(retainedExpiry / time.Second)
	c.MaximumSessionExpiryInterval = uint32(b.opts.limits.sessionExpiry / time.Second)
	return c
}

// Addr is the host:port that was really bound.
func (b *Broker) Addr() string { return b.listener.Address() }

// Publish sends a message to those who subscribed to its topic, as AWS's own services do: no policy applies to it. It
// may be called from any goroutine and does not wait for the clients. The broker keeps payload.
func (b *Broker) Publish(topic string, payload []byte) error {
	return b.server.Publish(topic, payload, false, 1)
}

// Reply answers one client, if it has subscribed to the topic: one of the provisioning service's answers, which others
// get nothing of. Otherwise it is like Publish.
func (b *Broker) Reply(client, topic string, payload []byte) error {
	return b.Publish(own(client, topic), payload)
}

// Run serves clients until ctx ends or Close is called, disconnects them and returns nil. Call it once.
func (b *Broker) Run(ctx context.Context) error {
	select {
	case <-b.closed:
		return fmt.Errorf("run the broker: %w", ErrClosed)
	default:
	}
	defer b.Close()
	if err := b.server.Serve(); err != nil {
		return fmt.Errorf("run the broker: %w", err)
	}
	select {
	case <-ctx.Done():
	case <-b.closed:
	}
	return nil
}

// Close disconnects every client, waits until their goroutines have ended and frees the port. It may be called more
// than once, at any time and from any goroutine but a client's.
func (b *Broker) Close() {
	b.once.Do(func() {
		close(b.closed)
		for _, c := range b.all() {
			c.because(reasonServer)
		}
		// The listener is closed here as well as by the server, which doesn't know it yet if New failed.
		_ = b.server.Close()
		b.listener.Close(nil)
	})
}

// Disconnect ends the connection of a thing, whose certificate has been taken away.
func (b *Broker) Disconnect(thing string) {
	for _, c := range b.all() {
		if c.who.Thing == thing {
			c.end(reasonAuth)
		}
	}
}

func (b *Broker) all() []*conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]*conn, 0, len(b.conns))
	for _, c := range b.conns {
		list = append(list, c)
	}
	return list
}

// handle serves one connection: the TLS handshake, then whatever the library does with it.
func (b *Broker) handle(raw net.Conn, establish func(net.Conn) error) error {
	if b.open.Add(1) > maxConnections {
		b.open.Add(-1)
		b.log.Warn("too many connections: one was closed", zap.Int("most", maxConnections))
		return nil
	}
	defer b.open.Add(-1)
	c, err := b.secure(raw)
	if err != nil {
		b.log.Warn("a client got no further than the TLS handshake; its certificate must be one that AddThing made",
			zap.Stringer("from", raw.RemoteAddr()), zap.Error(err))
		return nil // it has been logged, with more to go by than the listener has
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.out.run(c.Conn)
	}()
	err = establish(c)
	_ = c.Close()
	force := time.AfterFunc(flushGrace, func() { _ = raw.Close() })
	<-written
	force.Stop()
	b.release(c)
	close(c.done)
	if n := c.discarded.Load(); n > 0 {
		b.log.Warn("messages to or from a client were discarded: more than 100 a second, or it read too slowly",
			zap.String("client", c.clientID()), zap.Uint64("messages", n))
	}
	return err
}

func (b *Broker) secure(raw net.Conn) (*conn, error) {
	if err := raw.SetDeadline(time.Now().Add(connectTimeout)); err != nil { // until the library sets its own
		return nil, err
	}
	secured := tls.Server(raw, b.tls)
	if err := secured.Handshake(); err != nil {
		return nil, err
	}
	who, err := b.opts.Identify(secured.ConnectionState())
	if err != nil {
		return nil, err
	}
	return newConn(secured, who, b.opts.limits.now), nil
}

// claim makes c the connection of its client id. Another one is ended, and it has ended when claim returns: the
// library itself would let both go on for a moment, and could take the new one for the old.
func (b *Broker) claim(c *conn) {
	id := c.clientID()
	for {
		b.mu.Lock()
		old := b.conns[id]
		if old == nil {
			b.conns[id] = c
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		b.log.Warn("a second connection with the same client id: the first is closed", zap.String("client", id))
		old.end(reasonDuplicate)
		<-old.done
	}
}

func (b *Broker) release(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id := c.clientID(); b.conns[id] == c {
		delete(b.conns, id)
	}
}

// tooSoon reports whether the client id has connected less than AWS's interval ago, and remembers it otherwise.
func (b *Broker) tooSoon(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, interval := b.opts.limits.now(), b.opts.limits.connectInterval
	if last, ok := b.recent[id]; ok && now.Sub(last) < interval {
		return true
	}
	if len(b.recent) >= maxRecent {
		for other, last := range b.recent {
			if now.Sub(last) >= interval {
				delete(b.recent, other)
			}
		}
	}
	b.recent[id] = now
	return false
}
