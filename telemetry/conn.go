package telemetry

import (
	"context"
	"errors"
	"fmt"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/zap"
)

const (
	// MaxFilters is how many filters one SUBSCRIBE may have, AWS IoT Core's limit.
	MaxFilters = 8
	// MaxSubscriptions is how many filters one connection may have in all, AWS IoT Core's limit.
	MaxSubscriptions = 50
	// subscribeRefused is the return code of SUBACK for a filter that was not granted (MQTT 3.1.1, section 3.9.3).
	subscribeRefused = 0x80
)

// ErrTooManyFilters is returned for more than MaxFilters filters at once or MaxSubscriptions on one connection.
var ErrTooManyFilters = errors.New("too many topic filters")

// ErrDisconnected is returned by a Conn whose connection has ended. What was sent may or may not have arrived: ask
// again on the next connection.
var ErrDisconnected = errors.New("the MQTT connection has ended")

// Conn is one live connection, for protocols that need answers, such as the Device Shadow. It ends with the context
// that Options.OnConnect got and is of no use after that. All methods may be called from any goroutine.
type Conn struct {
	requests    chan request  // to the session's sender
	slots       chan struct{} // a token for each unacknowledged request
	subscribing chan struct{} // held from SUBSCRIBE to SUBACK: guard knows the size of one SUBACK only
	done        <-chan struct{}
	guard       *guard
	in          *inbox
}

// request is something to send before what is in the outbox.
type request struct {
	kind kind
	hand func(mqtt.Client) mqtt.Token // hands it to paho
	sent chan<- mqtt.Token            // capacity 1
}

// Subscribe asks for all filters in one SUBSCRIBE at QoS 1 and returns after SUBACK. An error names the filter that
// was refused; then none of these filters is delivered on this connection. Without a SUBACK within the ack timeout the
// connection is dropped, which is ErrDisconnected here, and Options.OnConnect is called for the next one.
//
// The handler gets each message that matches one of the filters, once, and owns the payload. All handlers of a
// connection share one goroutine, so a handler may take its time, but no more than inboxMessages messages wait for it:
// then the oldest is dropped and counted in Stats.Missed.
func (c *Conn) Subscribe(ctx context.Context, filters []string, handler func(topic string, payload []byte)) error {
	if handler == nil {
		return errors.New("subscribe: the handler is nil; pass a function that takes the messages")
	}
	if err := checkFilters(filters); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := c.take(ctx, c.subscribing); err != nil {
		return fmt.Errorf("subscribe to %s: %w", filters[0], err)
	}
	sub, err := c.in.add(filters, handler)
	if err != nil {
		<-c.subscribing
		return fmt.Errorf("subscribe to %s: %w", filters[0], err)
	}
	asked := make(map[string]byte, len(filters))
	for _, f := range filters {
		asked[f] = 1
	}
	token, sent, err := c.send(ctx, request{kind: subscription, hand: func(p mqtt.Client) mqtt.Token {
		c.guard.expectSuback(len(asked))
		return p.SubscribeMultiple(asked, nil)
	}})
	if !sent {
		<-c.subscribing // otherwise it is acknowledge's to give back
	}
	if err == nil {
		err = refusal(filters, token)
	}
	if err != nil {
		c.in.remove(sub)
		return fmt.Errorf("subscribe to %s: %w", filters[0], err)
	}
	return nil
}

// refusal looks for a filter that SUBACK didn't grant.
func refusal(filters []string, token mqtt.Token) error {
	suback, ok := token.(*mqtt.SubscribeToken)
	if !ok {
		return ErrDisconnected
	}
	result := suback.Result()
	for _, f := range filters {
		code, answered := result[f]
		if !answered || code >= subscribeRefused {
			return fmt.Errorf("the broker refused the filter %q: check that its policy allows iot:Subscribe and iot:Receive there", f)
		}
	}
	return nil
}

// Publish sends at QoS 1, not retained, before everything that waits in the outbox, and returns after PUBACK; payload
// must not be changed until then. Nothing is sent again: after ErrDisconnected it is the caller's business on the next
// connection. ErrTooLarge is for more than MaxPayload bytes; topics are those of ValidateTopic. It isn't counted in
// Stats.
func (c *Conn) Publish(ctx context.Context, topic string, payload []byte) error {
	if err := checkSize(topic, payload); err != nil {
		return err
	}
	if err := ValidateTopic(topic); err != nil {
		return err
	}
	_, _, err := c.send(ctx, request{kind: direct, hand: func(p mqtt.Client) mqtt.Token {
		return p.Publish(topic, 1, false, append([]byte(nil), payload...))
	}})
	if err != nil {
		return fmt.Errorf("publish on %s: %w", topic, err)
	}
	return nil
}

// send gives r to the sender and waits for the acknowledgement. sent: the sender has it, and a slot is acknowledge's
// to give back.
func (c *Conn) send(ctx context.Context, r request) (token mqtt.Token, sent bool, err error) {
	if err := c.take(ctx, c.slots); err != nil {
		return nil, false, err
	}
	handed := make(chan mqtt.Token, 1)
	r.sent = handed
	select {
	case c.requests <- r:
	case <-ctx.Done():
		<-c.slots
		return nil, false, ctx.Err()
	case <-c.done:
		<-c.slots
		return nil, false, ErrDisconnected
	}
	select {
	case token = <-handed:
	case <-ctx.Done():
		return nil, true, ctx.Err()
	case <-c.done:
		return nil, true, ErrDisconnected
	}
	select {
	case <-token.Done():
	case <-ctx.Done():
		return nil, true, ctx.Err()
	case <-c.done:
		return nil, true, ErrDisconnected
	}
	if token.Error() != nil {
		return nil, true, ErrDisconnected
	}
	return token, true, nil
}

// take waits for a place in a semaphore.
func (c *Conn) take(ctx context.Context, semaphore chan<- struct{}) error {
	select {
	case <-c.done: // first: a dead connection has places
		return ErrDisconnected
	default:
	}
	select {
	case semaphore <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return ErrDisconnected
	}
}

// hook runs OnConnect and the handlers of one connection. stop ends the context of OnConnect; wait, called when the
// connection is gone, waits for both until hookTimeout after stop, so that a function that doesn't listen to its
// context can hold up neither the next connection nor the end of Run.
type hook struct {
	cancel  context.CancelFunc
	since   time.Time // of stop
	ended   chan struct{}
	timeout time.Duration
	log     *zap.Logger
}

// startHook returns nil if there is nothing to call.
func (s *session) startHook() *hook {
	if s.opts.OnConnect == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &hook{cancel: cancel, ended: make(chan struct{}), timeout: s.opts.timing.hook, log: s.opts.Log}
	handlers := make(chan struct{})
	go func() {
		defer close(handlers)
		s.conn.in.run(s.gone)
	}()
	go func() {
		defer close(h.ended)
		s.opts.OnConnect(ctx, s.conn)
		<-handlers
	}()
	return h
}

func (h *hook) stop() {
	if h != nil && h.since.IsZero() {
		h.since = time.Now()
		h.cancel()
	}
}

func (h *hook) wait() {
	if h == nil {
		return
	}
	timer := time.NewTimer(h.timeout - time.Since(h.since))
	defer timer.Stop()
	select {
	case <-h.ended:
	case <-timer.C:
		h.log.Error("a user of the MQTT connection goes on after its end and is left behind; please report this",
			zap.Duration("waited", h.timeout))
	}
}
