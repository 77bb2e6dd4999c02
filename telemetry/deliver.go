package telemetry

import (
	"context"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// delivery is something that was handed to paho and may be unacknowledged.
type delivery struct {
	token mqtt.Token
	at    time.Time
	kind  kind
}

// kind says what is delivered, and so what its acknowledgement sets free.
type kind byte

const (
	data         kind = iota // from the outbox
	status                   // the agent's status
	direct                   // Conn.Publish
	subscription             // Conn.Subscribe
)

// send hands one message after the other to paho, each when the one before has been written. Paho's Publish may
// therefore block only when the connection has just died, and then not for longer than refusePublish.
func (s *session) send(ctx context.Context) {
	var published uint64
	for ctx.Err() == nil {
		token, what, ok := s.handOver(ctx)
		if !ok {
			continue
		}
		if failed(token) {
			// It will never be written: the connection is gone already, or not to be trusted.
			s.link.abort(s.link.why(token.Error()))
			return
		}
		for published++; s.link.published.Load() < published; {
			select {
			case <-s.link.wrote:
			case <-ctx.Done():
				return
			}
		}
		s.sent <- delivery{token: token, at: time.Now(), kind: what} // has room, see maxInFlight
	}
}

// AWSRate is an Options.Rate for AWS IoT Core, which takes 100 publishes a second on a connection and discards the rest
// without a word: those that are not acknowledged then hold up everything until the connection is made anew. The rest of
// the hundred is for the status, the shadow and other protocols.
const AWSRate = 80

// rateBurst is how many messages may be sent at once: those of a few cameras whose frames end together.
const rateBurst = 10

// handOver gives paho what is to be sent next, requests first; false: nothing was there, or it is not yet time.
func (s *session) handOver(ctx context.Context) (mqtt.Token, kind, bool) {
	select {
	case r := <-s.conn.requests:
		return s.request(r)
	default:
	}
	if wait := s.paceWait(); wait > 0 {
		select {
		case r := <-s.conn.requests:
			return s.request(r)
		case <-time.After(wait):
		case <-ctx.Done():
		}
		return nil, 0, false
	}
	p, ok := s.out.next()
	switch {
	case !ok:
		select {
		case r := <-s.conn.requests:
			return s.request(r)
		case <-s.out.wake:
		case <-ctx.Done():
		}
		return nil, 0, false
	case p.status:
		return s.paho.Publish(s.statusTopic, statusQoS, true, p.payload), status, true
	}
	if s.pace != nil {
		s.pace.Allow() // there is one: only this goroutine takes them
	}
	return s.paho.Publish(p.topic, s.opts.QoS, false, p.payload), data, true
}

// paceWait is how long to wait before anything from the outbox may be sent.
func (s *session) paceWait() time.Duration {
	if s.pace == nil {
		return 0
	}
	missing := 1 - s.pace.Tokens()
	return time.Duration(max(missing, 0) / float64(s.pace.Limit()) * float64(time.Second))
}

func (s *session) request(r request) (mqtt.Token, kind, bool) {
	token := r.hand(s.paho)
	r.sent <- token
	return token, r.kind, true
}

// failed reports whether a message certainly won't be acknowledged.
func failed(token mqtt.Token) bool {
	select {
	case <-token.Done():
		return token.Error() != nil
	default:
		return false
	}
}

// acknowledge waits for the broker to acknowledge what was sent, in that order. Brokers may acknowledge in another
// order; the window then moves on when the oldest is there. If nothing moves for the ack timeout it ends the
// connection, so that everything is sent again on the next.
func (s *session) acknowledge(ctx context.Context) {
	var progress time.Time
	timer := time.NewTimer(s.ackAfter)
	defer timer.Stop()
	for {
		var d delivery
		select {
		case d = <-s.sent:
		case <-ctx.Done():
			return
		}
		since := d.at
		if progress.After(since) {
			since = progress
		}
		timer.Reset(s.ackAfter - time.Since(since))
		select {
		case <-d.token.Done():
			if d.token.Error() != nil {
				return // the connection is gone
			}
			s.acked(d.kind)
			progress = time.Now()
		case <-timer.C:
			s.link.abort(errNoAck)
			return
		case <-ctx.Done():
			return
		}
	}
}

// acked sets free what was waiting for an acknowledgement.
func (s *session) acked(what kind) {
	switch what {
	case data, status:
		s.out.ack(what == status)
	case subscription:
		<-s.conn.subscribing
		<-s.conn.slots
	case direct:
		<-s.conn.slots
	}
}
