package telemetry

import (
	"errors"
	"fmt"
	"sync"
)

const (
	// MaxPayload is the greatest payload of one message in bytes, AWS IoT Core's limit.
	MaxPayload = 128 << 10

	// maxInFlight is how many QoS 1 messages may be unacknowledged at once, AWS IoT Core's limit per connection.
	maxInFlight = 100

	// statusSlots of them are kept for the agent's own status: a periodic one that is still on its way, and the last
	// one. Without them a full window would keep an agent from saying goodbye.
	statusSlots = 2
	// connSlots are kept for Conn's requests; fewer than the 10 that the Device Shadow answers at once.
	connSlots  = 4
	dataWindow = maxInFlight - statusSlots - connSlots

	// maxOutboxBytes bounds the memory of the queue whatever the size of its messages: a camera with a hundred
	// objects in each frame writes 10 KB a frame, and ten thousand of those would be 100 MB on a device of 4 GB.
	maxOutboxBytes = 32 << 20

	// firstRing is the queue's first capacity in messages; it doubles as needed.
	firstRing = 64
)

// ErrTooLarge is returned for a payload of more than MaxPayload bytes.
var ErrTooLarge = errors.New("the payload is too large")

// ErrClosed is returned by a client that has ended.
var ErrClosed = errors.New("the MQTT client has ended")

type message struct {
	topic   string
	payload []byte
}

func (m message) size() int { return len(m.topic) + len(m.payload) }

// parcel is what the sender gets: a message to send now.
type parcel struct {
	message
	status bool // goes to the status topic, retained
}

// outbox holds what is to be sent. A message is queued, then in flight until it is acknowledged, then gone; or
// dropped while it is queued, oldest first. Messages in flight are never dropped to make room, and after rewind they
// are sent again, in their order, before any that is queued. Beside the queue there is one slot for the status, where
// the newest replaces the one before.
//
// All methods may be called from any goroutine.
type outbox struct {
	limit  int // messages
	bytes  int // limit of the sizes of the queued messages
	wake   chan struct{}
	acks   chan struct{}
	mu     sync.Mutex
	closed bool

	ring   []message
	head   int // index of the oldest
	queued int
	size   int // bytes queued

	flight []message // oldest first; the first sent of them were handed over on this connection
	sent   int

	status     []byte // not handed over yet; nil: none
	statusSent int    // handed over on this connection, not acknowledged

	published, acked, dropped, refused uint64
}

func newOutbox(limit, bytes int) *outbox {
	return &outbox{
		limit: limit, bytes: bytes,
		wake: make(chan struct{}, 1), acks: make(chan struct{}, 1),
		flight: make([]message, 0, dataWindow),
	}
}

// put queues a copy of payload, at the expense of the oldest if there is no room.
func (o *outbox) put(topic string, payload []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrClosed
	}
	m := message{topic: topic, payload: append([]byte(nil), payload...)}
	for o.queued > 0 && (o.queued >= o.limit || o.size+m.size() > o.bytes) {
		o.pop()
		o.dropped++
	}
	if o.queued == len(o.ring) {
		o.grow()
	}
	o.ring[(o.head+o.queued)%len(o.ring)] = m
	o.queued++
	o.size += m.size()
	o.published++
	signal(o.wake)
	return nil
}

// refuse counts a message that put never saw.
func (o *outbox) refuse() {
	o.mu.Lock()
	o.refused++
	o.mu.Unlock()
}

func (o *outbox) grow() {
	ring := make([]message, min(o.limit, max(firstRing, 2*len(o.ring))))
	for i := range o.queued {
		ring[i] = o.ring[(o.head+i)%len(o.ring)]
	}
	o.ring, o.head = ring, 0
}

func (o *outbox) pop() message {
	m := o.ring[o.head]
	o.ring[o.head] = message{}
	o.head = (o.head + 1) % len(o.ring)
	o.queued--
	o.size -= m.size()
	return m
}

// setStatus replaces the status that waits, if any.
func (o *outbox) setStatus(payload []byte) {
	o.mu.Lock()
	o.status = payload
	o.mu.Unlock()
	signal(o.wake)
}

// next takes what is to be sent now; false: nothing, until wake says otherwise.
func (o *outbox) next() (parcel, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.status != nil && o.statusSent < statusSlots {
		p := parcel{message: message{payload: o.status}, status: true}
		o.status = nil
		o.statusSent++
		return p, true
	}
	if o.sent == len(o.flight) {
		if o.queued == 0 || len(o.flight) >= dataWindow {
			return parcel{}, false
		}
		o.flight = append(o.flight, o.pop())
	}
	p := parcel{message: o.flight[o.sent]}
	o.sent++
	return p, true
}

// ack forgets the oldest message in flight, or the oldest status.
func (o *outbox) ack(status bool) {
	o.mu.Lock()
	if status {
		o.statusSent--
	} else {
		o.forget(1)
		o.acked++
	}
	o.mu.Unlock()
	signal(o.wake)
	signal(o.acks)
}

// forget removes the n oldest messages in flight, all of them sent.
func (o *outbox) forget(n int) {
	rest := copy(o.flight, o.flight[n:])
	clear(o.flight[rest:])
	o.flight = o.flight[:rest]
	o.sent -= n
}

// rewind prepares for a new connection: what is in flight is to be sent again. With atMostOnce, messages that were
// handed over on the old connection are dropped instead, because nobody knows whether they arrived.
func (o *outbox) rewind(atMostOnce bool) {
	o.mu.Lock()
	if atMostOnce {
		o.dropped += uint64(o.sent)
		o.forget(o.sent)
	}
	o.sent, o.statusSent = 0, 0
	o.mu.Unlock()
	signal(o.wake)
}

// close makes put refuse.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
}

// drained reports whether every message has been acknowledged.
func (o *outbox) drained() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queued == 0 && len(o.flight) == 0
}

// statusDrained reports whether every status has been acknowledged.
func (o *outbox) statusDrained() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.status == nil && o.statusSent == 0
}

// fill adds the outbox's numbers to s.
func (o *outbox) fill(s *Stats) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Published, s.Acked, s.Dropped, s.Refused = o.published, o.acked, o.dropped, o.refused
	s.Queued, s.InFlight = o.queued, len(o.flight)
}

// checkSize is the error for a payload that no broker would take.
func checkSize(topic string, payload []byte) error {
	if len(payload) <= MaxPayload {
		return nil
	}
	return fmt.Errorf("publish on %s: %w: %d bytes, at most %d", topic, ErrTooLarge, len(payload), MaxPayload)
}

// signal leaves a note for whoever receives from a channel of capacity 1, unless one is there already.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
