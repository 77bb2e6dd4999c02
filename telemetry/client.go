// Package telemetry publishes what gnomon sees over MQTT: topics, the forms of the messages, and a client that keeps
// trying.
//
// A Client holds one connection to one broker. Publish puts a message into a bounded outbox and returns at once;
// Run connects, sends what is in the outbox, and connects again for ever when it must. At QoS 1 a message leaves the
// outbox when the broker has acknowledged it, so it arrives at least once, perhaps more than once, as long as the
// outbox doesn't overflow. The outbox is memory, or, with Options.Spool, the disk. The agent's status is a retained message on a
// topic of its own, kept by the broker and changed by it, as the client's last will, when the connection breaks.
//
// Options.OnConnect gets each connection as a Conn, for protocols that subscribe and need answers.
//
// The protocol is MQTT 3.1.1 (OASIS Standard, 29 October 2014) with a clean session; the limits are those of AWS IoT
// Core, the strictest of the brokers that gnomon meets.
package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gnomon/telemetry/spool"
)

// Client publishes over MQTT. Create it with New; all its methods may be called from any goroutine.
type Client struct {
	opts        Options
	broker      endpoint
	second      endpoint    // to try when broker can't be reached; without a host: there is none
	at          endpoint    // the one in use; belongs to Run
	onSecond    bool        // at is second
	tls         *tls.Config // nil: plain TCP
	password    string
	statusTopic string
	created     time.Time

	out    *outbox
	report *reporter

	ran       atomic.Bool
	connected atomic.Bool
	connects  atomic.Uint64
	missed    atomic.Uint64
	ackAfter  time.Duration // the ack timeout at present; belongs to Run

	rests   chan *rest
	renew   chan struct{} // capacity 1: the connection is to be made anew
	resting *rest         // what the connection was ended for; belongs to Run

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	ended  chan struct{} // closed at the end of Run
}

// Stats are a Client's numbers since New. Published is the sum of Acked, Dropped, Queued and InFlight, but for
// a message that is moving between two of them.
type Stats struct {
	Broker     string    // the URL of the broker, without credentials
	Connected  bool      // a connection is there now
	Published  uint64    // messages that Publish took; the agent's own status is not among these
	Acked      uint64    // acknowledged by the broker; at QoS 0: handed to the network
	Dropped    uint64    // lost: there was no room, the disk was damaged, or at QoS 0 the connection broke
	Refused    uint64    // messages that Publish returned an error for
	Queued     int       // waiting to be sent
	InFlight   int       // sent and not acknowledged, or waiting to be sent again
	Missed     uint64    // messages from the broker that no handler got: too many at once, or too large
	Reconnects uint64    // connections made after the first
	LastError  string    // the latest trouble with the connection, also one that is over; empty: none
	LastTime   time.Time // of LastError

	// Classes are the numbers of each class, what is in flight included. With a spool, Published is the sum that it
	// is only if what the spool had before is added.
	Classes [NumClasses]spool.ClassStats
	Spool   *spool.Stats // nil: there is none
}

// New checks the options, reads the certificates and the password, and returns a client that isn't connected yet.
// It opens no connection and starts no goroutine. Messages may be published at once; Run sends them.
func New(opts Options) (*Client, error) {
	c, err := newClient(opts)
	if err != nil {
		return nil, fmt.Errorf("MQTT: %w", err)
	}
	return c, nil
}

func newClient(opts Options) (*Client, error) {
	if err := opts.normalise(); err != nil {
		return nil, err
	}
	broker, err := parseBroker(opts.Broker)
	if err != nil {
		return nil, err
	}
	topic, err := StatusTopic(opts.TopicPrefix, opts.Thing)
	if err != nil {
		return nil, err
	}
	cfg, err := tlsConfig(&opts, broker)
	if err != nil {
		return nil, err
	}
	secret, err := password(opts.PasswordFile)
	if err != nil {
		return nil, err
	}
	outboxBytes := maxOutboxBytes
	if opts.Spool != nil {
		outboxBytes = maxLiveBytes
	}
	c := &Client{
		opts: opts, broker: broker, tls: cfg, password: secret, statusTopic: topic, created: time.Now(),
		second: secondEndpoint(broker, &opts), at: broker,
		out:      newOutbox(opts.Outbox, outboxBytes, opts.Spool, opts.Rate > 0),
		report:   newReporter(opts.Log, broker.url, opts.timing.reminder, opts.timing.reminderMax),
		ackAfter: opts.timing.ack,
		rests:    make(chan *rest), renew: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Publish queues a copy of payload for topic, with the QoS of the options and not retained. It never blocks: if the
// outbox is full, its oldest message is dropped and counted. The error is about the message (ErrTooLarge above
// MaxPayload bytes, or a topic that ValidateTopic refuses) or ErrClosed after the end of Run; each is counted.
//
// The class is Detections; see PublishClass.
func (c *Client) Publish(topic string, payload []byte) error {
	return c.PublishClass(Detections, topic, payload)
}

// PublishClass is Publish for a message of a class: it goes before those of less important classes, and when there is
// no room, those are dropped before it. With a spool whose CommitEvery is 0 it returns when the message is on the disk,
// or the disk has turned out not to take it.
func (c *Client) PublishClass(class Class, topic string, payload []byte) error {
	err := checkSize(topic, payload)
	if err == nil {
		err = ValidateTopic(topic)
	}
	if err == nil {
		err = c.out.put(class, topic, payload)
	}
	if err != nil {
		c.out.refuse()
	}
	return err
}

// Stats returns the numbers as they are now.
func (c *Client) Stats() Stats {
	s := Stats{Broker: c.broker.url, Connected: c.connected.Load(), Missed: c.missed.Load()}
	if n := c.connects.Load(); n > 1 {
		s.Reconnects = n - 1
	}
	s.LastError, s.LastTime = c.report.last()
	c.out.fill(&s)
	return s
}

// Run connects and sends until ctx ends, and connects again whenever it has to. Trouble with the connection is logged
// when it begins, when it changes and at growing intervals, never returned.
//
// When ctx ends, Run sends what is in the outbox for up to 2 s, publishes the offline status and disconnects, all
// within 3 s; without a connection it ends at once. What it had to leave unsent is logged, and Stats has the numbers
// in Queued and InFlight. It returns nil then, and an error only if it was called before or after Close.
func (c *Client) Run(ctx context.Context) error {
	if c.ctx.Err() != nil {
		return fmt.Errorf("run the MQTT client: %w", ErrClosed)
	}
	if c.ran.Swap(true) {
		return errors.New("run the MQTT client: Run was called before; make a new client")
	}
	defer close(c.ended)
	c.warnAboutPassword()
	drops := &dropReporter{log: c.opts.Log, first: c.opts.timing.dropReport, maxBetween: c.opts.timing.dropReportMax}
	watching, stopWatching := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { c.watchDrops(watching, drops) })

	c.keepConnected(ctx)

	c.out.close()
	stopWatching()
	wg.Wait()
	s := c.Stats()
	drops.flush(s.Dropped, s.Queued)
	if unsent := s.Queued + s.InFlight; unsent > 0 && s.Spool == nil {
		c.opts.Log.Warn("ended with messages unsent", zap.Int("unsent", unsent), zap.Int("unacknowledged", s.InFlight))
	}
	return nil
}

// Close makes Run end at once, without sending what is left, and Publish refuse. It may be called more than once,
// before, during and after Run, and doesn't wait.
func (c *Client) Close() error {
	c.cancel()
	c.out.close()
	return nil
}

// keepConnected makes one connection after the other.
func (c *Client) keepConnected(ctx context.Context) {
	t := c.opts.timing
	delay := backoff{start: t.backoffStart, limit: t.backoffMax}
	short := 0 // connections in a row that ended right after they were made
	for {
		ended := c.session(ctx)
		if ended.err == nil || ctx.Err() != nil || c.ctx.Err() != nil {
			return
		}
		if errors.Is(ended.err, errRest) {
			c.takeRest()
			continue
		}
		kind, text := c.diagnose(ended.err)
		c.turn(kind, ended.err)
		switch {
		case !ended.connected:
		case ended.lived < t.shortLife:
			short++
		default:
			short = 0
		}
		if ended.connected && short >= shortLives {
			kind, text = flapping, c.flappingText(short, ended.err)
		}
		if errors.Is(ended.err, errNoAck) {
			c.ackAfter = min(2*c.ackAfter, t.ackMax)
		} else {
			c.ackAfter = t.ack
		}
		if ended.lived >= t.stable {
			delay.reset()
		}
		wait := delay.next()
		c.report.failed(kind, text, wait)
		if !c.sleep(ctx, wait) {
			return
		}
	}
}

func (c *Client) warnAboutPassword() {
	if c.opts.Username != "" && !c.broker.secure && !c.broker.local() {
		c.opts.Log.Warn("the password goes over the network in the clear: use mqtts://", zap.String("broker", c.broker.url))
	}
}

// sleep waits; false: the client is to end.
func (c *Client) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case c.resting = <-c.rests:
		c.takeRest()
		return true
	case <-c.renew:
		return true
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return false
}

func (c *Client) watchDrops(ctx context.Context, drops *dropReporter) {
	ticker := time.NewTicker(c.opts.timing.dropReport)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s := c.Stats()
			drops.look(s.Dropped, s.Queued)
		}
	}
}
