package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Conn is one live MQTT connection, as this package needs it. It ends with the context that Serve gets.
type Conn interface {
	// Subscribe asks for all filters in one SUBSCRIBE at QoS 1 and returns after the SUBACK. The handler runs on one
	// goroutine at a time, must not block, and owns the payload.
	Subscribe(ctx context.Context, filters []string, handler func(topic string, payload []byte)) error
	// Publish sends at QoS 1 and returns after the PUBACK.
	Publish(ctx context.Context, topic string, payload []byte) error
}

// Desired is what the cloud wants the device to be.
type Desired struct {
	// State is the object "desired" as it arrived, "{}" when there is none. It is not checked beyond being JSON:
	// members of unexpected types are the reader's to refuse. The receiver owns it.
	State json.RawMessage
	// Version is that of the document the state was read from. It says nothing about the state's age compared with
	// another one: a shadow deleted and made again starts at 0, and Version is 0 too where there is no shadow.
	Version int64
	// Time is when the service sent the document, to the second; zero if it did not say.
	Time time.Time
}

// Options say which shadow this is and who listens.
type Options struct {
	// Thing is the thing's name as registered in AWS IoT.
	Thing string
	// Name is that of a named shadow; empty means the classic, unnamed one.
	Name string
	// OnDesired is called once after the first answer to GET and then whenever the content of the desired state is
	// another than that of the call before, across connections. Calls come from Serve's goroutine, never two at a
	// time, and must be short: nothing else happens on the shadow meanwhile. Report may be called from it. Several
	// changes in quick succession may be one call, with the last state. May be nil.
	OnDesired func(Desired)
	// Log gets what an operator has to know; nil means nothing is logged.
	Log *zap.Logger
}

// Client keeps one shadow. Make it with New, call Serve for each connection, Report at any time. It has no Close: it
// owns nothing between two calls of Serve.
type Client struct {
	prefix    string
	onDesired func(Desired)
	log       *zap.Logger
	wake      chan struct{} // one slot: the state has changed, Serve should look at it
	serving   atomic.Bool

	mu    sync.Mutex
	state state
}

// New checks the names and returns a client that does nothing until Serve is called.
func New(o Options) (*Client, error) {
	if err := checkName("thing name", o.Thing, maxThingName); err != nil {
		return nil, fmt.Errorf("shadow: %w", err)
	}
	what := "classic shadow"
	if o.Name != "" {
		if err := checkName("shadow name", o.Name, maxShadowName); err != nil {
			return nil, fmt.Errorf("shadow: %w", err)
		}
		what = o.Name
	}
	log := o.Log
	if log == nil {
		log = zap.NewNop()
	}
	log = log.With(zap.String("thing", o.Thing), zap.String("shadow", what))
	return &Client{
		prefix:    prefix(o.Thing, o.Name),
		onDesired: o.OnDesired,
		log:       log,
		wake:      make(chan struct{}, 1),
		state:     newState(),
	}, nil
}

// Report replaces the document that the device wants to have as reported. It is turned into JSON at once, so the caller
// may go on changing doc; members that are null are left out. What the cloud lacks of it is sent when there is a
// connection, at most every 250 ms; of several reports in between only the newest is sent. A document equal to the
// last one costs nothing. Report does not wait for the cloud: Stats.InSync tells whether it has the document.
//
// The errors are about the document alone, and leave the previous one in force: it is not a JSON object, it is larger
// than MaxReported bytes, nested deeper than MaxDepth, or has null in an array. Safe for concurrent use.
func (c *Client) Report(doc any) error {
	want, err := encodeReport(doc)
	if err != nil {
		return fmt.Errorf("report to the shadow: %w", err)
	}
	c.mu.Lock()
	c.state.setWant(want)
	c.mu.Unlock()
	c.ring()
	return nil
}

// Stats returns the counters since New. Safe for concurrent use.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.snapshot()
}

// ring wakes Serve, if there is one; a signal that is already waiting is enough.
func (c *Client) ring() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Serve keeps the shadow over one connection: it subscribes, fetches the document, and then brings reports up and
// desired states down until ctx ends (nil) or the connection fails (the connection's error). Call it for each new
// connection, whether or not the broker kept the session, and never twice at a time. Everything it started has ended
// when it returns; messages that the connection hands over later are ignored.
func (c *Client) Serve(ctx context.Context, conn Conn) error {
	if !c.serving.CompareAndSwap(false, true) {
		return errors.New("shadow: Serve is running already: wait until it has returned for the old connection")
	}
	defer c.serving.Store(false)

	c.mu.Lock()
	epoch := c.state.connect(time.Now())
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.state.disconnect()
		c.mu.Unlock()
		c.writeLog()
	}()

	subscribe, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := conn.Subscribe(subscribe, filters(c.prefix), func(topic string, payload []byte) {
		c.handle(epoch, topic, payload)
	})
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return nil // the end of ctx is how Serve is meant to end; the error follows from it
		}
		return c.failed(fmt.Errorf("subscribe to the answers of the shadow at %s (check that the policy allows "+
			"iot:Subscribe and iot:Receive there): %w", c.prefix, err))
	}
	return c.loop(ctx, conn)
}

// loop does what is due and sleeps until something else is.
func (c *Client) loop(ctx context.Context, conn Conn) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		c.deliver()
		c.writeLog()
		c.mu.Lock()
		now := time.Now()
		out, due := c.state.next(now)
		c.mu.Unlock()
		if out != nil {
			if err := c.publish(ctx, conn, out); err != nil {
				return c.failed(err)
			}
			continue
		}
		timer.Reset(due.Sub(now))
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-timer.C:
		}
	}
	return nil
}

// publish sends one request. A PUBACK that does not come is not the connection's end here: the answer will not come
// either, and next tries again; whether the connection is alive is decided by its own keep-alive.
func (c *Client) publish(ctx context.Context, conn Conn, out *request) error {
	publish, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := conn.Publish(publish, c.prefix+out.topic, out.payload)
	if err == nil || ctx.Err() != nil || publish.Err() != nil {
		return nil // see above
	}
	return fmt.Errorf("publish to %s%s: %w", c.prefix, out.topic, err)
}

// failed keeps the error for Stats and passes it on.
func (c *Client) failed(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.stats.LastError = err.Error()
	return err
}

// deliver calls OnDesired if the desired state is another than at the last call.
func (c *Client) deliver() {
	c.mu.Lock()
	desired, changed := c.state.takeDesired()
	c.mu.Unlock()
	if changed && c.onDesired != nil {
		c.onDesired(desired)
	}
}

// writeLog logs what has collected, outside the lock: a log that blocks must not block the connection or Report.
func (c *Client) writeLog() {
	c.mu.Lock()
	entries := c.state.entries
	c.state.entries = nil
	c.mu.Unlock()
	for _, e := range entries {
		c.log.Log(e.level, e.message, e.fields...)
	}
}

// handle takes one message. It runs on the connection's goroutine and does not block: reading a message is all it does
// besides the state's arithmetic. There is no queue to overflow; many messages become one change of the state.
func (c *Client) handle(epoch uint64, topic string, payload []byte) {
	if len(topic) < len(c.prefix) || topic[:len(c.prefix)] != c.prefix {
		return // not ours; a connection may serve several shadows
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.state.connected || c.state.epoch != epoch {
		return
	}
	c.state.handle(topic[len(c.prefix):], payload, time.Now())
	c.ring()
}
