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

const (
	// rateBurst is how many messages may be sent at once: those of a few cameras whose frames end together.
	rateBurst = 10

	// awsBytes is what AWS IoT Core takes in a second on one connection.
	awsBytes = 512 << 10
	// publishOverhead is what a PUBLISH has beside topic and payload, and beside the prefix of a rule: at most 5 bytes
	// of fixed header, 2 of the topic's length and 2 of the packet's id.
	publishOverhead = 16
	// byteBurst is the largest message. What may be sent at once and in the second after that is awsBytes together.
	byteBurst = MaxPayload + 2*MaxTopicBytes
	// AWSByteRate is an Options.ByteRate for AWS IoT Core.
	AWSByteRate = awsBytes - byteBurst
)

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
	s.out.refill()
	p, missing, ok := s.out.next(s.budget())
	switch {
	case !ok:
		return s.idle(ctx, missing)
	case p.status:
		return s.paho.Publish(s.statusTopic, statusQoS, true, p.payload), status, true
	}
	topic := p.topic
	if rule := s.opts.BasicIngest[p.class]; rule != "" {
		topic = basicIngest + rule + "/" + topic
	}
	if s.pace != nil {
		s.pace.Allow() // there is one: only this goroutine takes them
	}
	if s.bytes != nil {
		s.bytes.AllowN(time.Now(), min(len(topic)+len(p.payload)+publishOverhead, byteBurst))
	}
	return s.paho.Publish(topic, s.opts.QoS, false, p.payload), data, true
}

// idle waits for something to send, or until so many more bytes may be sent; 0: nothing waits for that.
func (s *session) idle(ctx context.Context, missing int) (mqtt.Token, kind, bool) {
	var refilled <-chan time.Time
	if missing > 0 {
		timer := time.NewTimer(time.Duration(float64(missing) / float64(s.bytes.Limit()) * float64(time.Second)))
		defer timer.Stop()
		refilled = timer.C
	}
	select {
	case r := <-s.conn.requests:
		return s.request(r)
	case <-s.out.wake:
	case <-refilled:
	case <-ctx.Done():
	}
	return nil, 0, false
}

// budget is how many bytes may be sent now.
func (s *session) budget() int {
	if s.bytes == nil {
		return unlimited
	}
	return int(s.bytes.Tokens())
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
