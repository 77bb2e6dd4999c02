package devcloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	mochi "github.com/mochi-mqtt/server/v2"
	"go.uber.org/zap"

	"gnomon/devcloud/internal/mqttserver"
)

const (
	// defaultAddr is loopback, so that a demo never opens a port to the network, and a port of the system's choice,
	// so that it never collides with a broker that is already there.
	defaultAddr = "127.0.0.1:0"

	// maxPacket bounds what one client may send in one packet: the 128 KB payload that AWS IoT Core allows, with
	// room for a topic of 256 bytes and the headers.
	maxPacket = 128<<10 + 1<<10

	// maxClients is far above what a demo has, and keeps a runaway client from eating the agent's file descriptors.
	maxClients = 256

	// sysTopicSeconds is how often the broker publishes its own counters under $SYS. Nobody in gnomon reads them.
	sysTopicSeconds = 60
)

// Message is one message that a client has published. Payload belongs to the broker: copy what is kept.
type Message struct {
	Topic   string
	Payload []byte
	Retain  bool
	Will    bool // published by the broker in the name of a client whose connection broke
}

// BrokerOptions configures NewBroker. The zero value is a quiet broker on a free loopback port.
type BrokerOptions struct {
	// Addr is the host:port to listen on; empty: 127.0.0.1 and a free port. There is no authentication: anything
	// but a loopback address opens the broker to whoever can reach it.
	Addr string

	// Log gets the broker's warnings and errors; nil: nobody does.
	Log *zap.Logger

	// Tap, if set, is called with each message that a client publishes, before the broker acknowledges it, and with
	// each will. Calls for different clients may be concurrent. It must be quick: the client waits.
	Tap func(Message)
}

// Broker is an MQTT 3.1.1 and 5 broker inside the process, open to every client. Create it with NewBroker; it
// accepts connections once Run is called.
type Broker struct {
	server   *mochi.Server
	listener *mqttserver.Listener
	once     sync.Once
	closed   chan struct{}
}

// NewBroker opens the listening port and returns a broker that isn't serving yet. The caller owns it and must call
// Close, whether or not Run is called.
func NewBroker(opts BrokerOptions) (*Broker, error) {
	addr := opts.Addr
	if addr == "" {
		addr = defaultAddr
	}
	socket, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("open the broker's port: %w; choose a free host:port, or leave it empty for one on loopback", err)
	}
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumPacketSize = maxPacket
	capabilities.MaximumClients = maxClients
	server := mochi.New(&mochi.Options{
		Capabilities:           capabilities,
		Logger:                 mqttserver.Log(opts.Log),
		SysTopicResendInterval: sysTopicSeconds,
	})
	b := &Broker{server: server, listener: mqttserver.New(socket, nil), closed: make(chan struct{})}
	if err := server.AddHook(&hook{tap: opts.Tap}, nil); err != nil {
		b.Close()
		return nil, fmt.Errorf("set up the broker: %w", err)
	}
	if err := server.AddListener(b.listener); err != nil {
		b.Close()
		return nil, fmt.Errorf("set up the broker: %w", err)
	}
	return b, nil
}

// Addr is the URL that clients on this machine connect to, with the port that was really bound:
// mqtt://127.0.0.1:41234.
func (b *Broker) Addr() string { return "mqtt://" + b.listener.Address() }

// Run serves clients until ctx ends or Close is called, disconnects them and returns nil. Call it once: a broker
// that was closed returns an error.
func (b *Broker) Run(ctx context.Context) error {
	select {
	case <-b.closed:
		return errors.New("run the broker: it is closed; make a new one")
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
// than once, at any time and from any goroutine.
func (b *Broker) Close() {
	b.once.Do(func() {
		close(b.closed)
		// The listener is closed here as well as by the server, which doesn't know it yet if NewBroker failed.
		_ = b.server.Close()
		b.listener.Close(nil)
	})
}
