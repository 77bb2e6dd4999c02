package telemetry

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"gnomon/telemetry/spool"
)

const (
	// MaxPayload is the greatest payload of one message in bytes, AWS IoT Core's limit.
	MaxPayload = spool.MaxPayload

	// maxInFlight is how many QoS 1 messages may be unacknowledged at once, AWS IoT Core's limit per connection.
	maxInFlight = 100

	// statusSlots of them are kept for the agent's own status: a periodic one that is still on its way, and the last
	// one. Without them a full window would keep an agent from saying goodbye.
	statusSlots = 2
	// connSlots are kept for Conn's requests; fewer than the 10 that the Device Shadow answers at once.
	connSlots  = 4
	dataWindow = maxInFlight - statusSlots - connSlots
	// liveSlots of these are kept for live messages while a backlog is sent.
	liveSlots = 16

	// maxOutboxBytes bounds the memory of the queue whatever the size of its messages: a camera with a hundred
	// objects in each frame writes 10 KB a frame, and ten thousand of those would be 100 MB on a device of 4 GB.
	maxOutboxBytes = 32 << 20
	// maxLiveBytes bounds what is kept in memory beside a spool. What is more is read from the disk when its time comes.
	maxLiveBytes = 4 << 20
	// refillBelow is when more is read from the spool: enough for one full batch of each of a few topics.
	refillBelow = 2 * MaxPayload
)

// ErrTooLarge is returned for a payload of more than MaxPayload bytes.
var ErrTooLarge = errors.New("the payload is too large")

// ErrClosed is returned by a client that has ended.
var ErrClosed = errors.New("the MQTT client has ended")

// parcel is what the sender gets: a message to send now.
type parcel struct {
	class   Class
	topic   string
	payload []byte
	status  bool // goes to the status topic, retained
}

// outbox holds what is to be sent. A message is queued, then in flight until it is acknowledged, then gone; or dropped
// while it is queued, the oldest of the least important class first. After rewind, what was in flight is queued again
// in its old place. Beside the queue there is one slot for the status, where the newest replaces the one before.
//
// Messages are live if they were put on the connection that there is now, and backlog otherwise. With a rate or a
// spool, live ones go first, and backlog travels in batches; without, everything leaves in its order.
//
// With a spool, everything is in it: live has what was put, and is held, and backlog what was read, so that rewind
// only has to give all of it back.
//
// All methods may be called from any goroutine, but next and refill from one only.
type outbox struct {
	limit int // messages; without a spool
	bytes int // limit of the sizes of the queued messages; with a spool: of the live ones
	spool *spool.Spool
	paced bool
	wake  chan struct{}
	acks  chan struct{}

	mu        sync.Mutex
	closed    bool
	connected bool
	last      bool // only what is live is sent: the client ends, and the spool keeps the rest

	live, backlog [NumClasses]fifo
	n             uint64

	flight [][]message // what was sent on this connection, in its order

	aside []outcast // put aside, the next one first; held in the spool
	alone bool      // the first of them is in flight, and nothing else
	// strikes is how often the broker ended the connection while a message was the oldest that it had not acknowledged, by
	// the message; without it, until it is.
	strikes map[uint64]int

	status     []byte // not handed over yet; nil: none
	statusSent int    // handed over on this connection, not acknowledged

	published, acked, refused uint64
	dropped                   [NumClasses]uint64
}

func newOutbox(limit, bytes int, sp *spool.Spool, paced bool) *outbox {
	return &outbox{
		limit: limit, bytes: bytes, spool: sp, paced: paced,
		wake: make(chan struct{}, 1), acks: make(chan struct{}, 1), strikes: map[uint64]int{},
	}
}

// batches reports whether live messages overtake the others, and several travel as one.
func (o *outbox) batches() bool { return o.paced || o.spool != nil }

// refuse counts a message that put never saw.
func (o *outbox) refuse() {
	o.mu.Lock()
	o.refused++
	o.mu.Unlock()
}

// setStatus replaces the status that waits, if any.
func (o *outbox) setStatus(payload []byte) {
	o.mu.Lock()
	o.status = payload
	o.mu.Unlock()
	signal(o.wake)
}

// refill reads more of the backlog from the spool. The disk may take its time, so nobody else has to wait for it.
func (o *outbox) refill() {
	if o.spool == nil {
		return
	}
	for class := range Class(NumClasses) {
		have, more := o.buffered(class, nil)
		for more && have < refillBelow {
			records := o.spool.Take(class)
			if records == nil {
				break
			}
			have, more = o.buffered(class, records)
		}
		if have > 0 || !more {
			return // the others come later
		}
	}
}

// buffered adds to the backlog of a class that is in memory, and says how many bytes there are now and whether there
// may be more.
func (o *outbox) buffered(class Class, records []spool.Record) (bytes int, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range records {
		o.backlog[class].push(message{Record: r})
	}
	return o.backlog[class].bytes, !o.last
}

// unlimited is a budget for next.
const unlimited = math.MaxInt

// next takes what is to be sent now, of at most so many bytes. Nothing is sent if missing is above 0: something would be
// there if the budget were so much greater. Otherwise, without ok, there is nothing until wake says so.
func (o *outbox) next(budget int) (p parcel, missing int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.status != nil && o.statusSent < statusSlots {
		p := parcel{payload: o.status, status: true}
		o.status = nil
		o.statusSent++
		return p, 0, true
	}
	if p, ok, turn := o.nextAside(time.Now()); turn {
		return p, 0, ok
	}
	if len(o.flight) >= dataWindow {
		return parcel{}, 0, false
	}
	for class := range o.live {
		q := &o.live[class]
		if q.count == 0 {
			continue
		}
		need := q.first().Size() + publishOverhead
		if need > budget {
			return parcel{}, need - budget, false
		}
		limit := 0
		if o.paced {
			limit = min(MaxPayload, budget-publishOverhead-MaxTopicBytes)
		}
		return o.send(q.gather(max(limit, 0))), 0, true
	}
	return o.nextBacklog(budget)
}

func (o *outbox) nextBacklog(budget int) (parcel, int, bool) {
	window, limit := dataWindow, 0
	if o.batches() {
		window, limit = dataWindow-liveSlots, MaxPayload
	}
	if len(o.flight) >= window || (o.last && o.spool != nil) {
		return parcel{}, 0, false
	}
	for class := range o.backlog {
		q := &o.backlog[class]
		switch {
		case q.count == 0:
		case budget < byteBurst: // a batch may need all of it
			return parcel{}, byteBurst - budget, false
		default:
			return o.send(q.gather(limit)), 0, true
		}
	}
	return parcel{}, 0, false
}

// send moves messages of one topic into flight.
func (o *outbox) send(messages []message) parcel {
	o.flight = append(o.flight, messages)
	return parcel{class: messages[0].Class, topic: messages[0].Topic, payload: batch(messages)}
}

// ack forgets the oldest messages in flight, or the oldest status.
func (o *outbox) ack(status bool) {
	o.mu.Lock()
	if status {
		o.statusSent--
	} else {
		o.acked += uint64(len(o.flight[0]))
		o.delivered(o.flight[0])
		if len(o.strikes) > 0 {
			delete(o.strikes, fingerprint(o.flight[0][0]))
		}
		if o.alone {
			o.aside, o.alone = o.aside[1:], false
		}
		o.flight = slices.Delete(o.flight, 0, 1)
	}
	o.mu.Unlock()
	signal(o.wake)
	signal(o.acks)
}

func (o *outbox) delivered(messages []message) {
	if o.spool != nil {
		o.spool.Ack(records(messages))
	}
}

func records(messages []message) []spool.Record {
	out := make([]spool.Record, len(messages))
	for i, m := range messages {
		out[i] = m.Record
	}
	return out
}

// rewind prepares for a new connection, or for none: what is in flight is to be sent again. With atMostOnce, it is
// dropped instead, because nobody knows whether it arrived.
func (o *outbox) rewind(atMostOnce, connected bool) {
	o.mu.Lock()
	o.connected = connected
	if o.alone { // it stays aside
		o.flight, o.alone = nil, false
		o.aside[0].due = time.Now().Add(asideFirst)
		o.sortAside()
	}
	var again [NumClasses][]message
	for _, messages := range o.flight {
		class := messages[0].Class
		if atMostOnce {
			o.dropped[class] += uint64(len(messages))
			o.delivered(messages)
			continue
		}
		again[class] = append(again[class], messages...)
	}
	o.flight = o.flight[:0]
	for class := range again {
		m := append(append(again[class], o.backlog[class].all()...), o.live[class].all()...)
		if o.spool != nil {
			o.spool.Release(records(m))
			continue
		}
		slices.SortFunc(m, func(a, b message) int { return int(a.n) - int(b.n) })
		for _, m := range m {
			o.backlog[class].push(m)
		}
	}
	o.statusSent = 0
	o.mu.Unlock()
	signal(o.wake)
}

// disconnected has what is put from now on wait for the next connection. Without a spool, that is all: what was sent
// is still in flight until rewind.
func (o *outbox) disconnected(atMostOnce bool) {
	if o.spool != nil {
		o.rewind(atMostOnce, false)
		return
	}
	o.mu.Lock()
	o.connected = false
	o.mu.Unlock()
}

// close makes put refuse.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
}

// finish has only what the spool doesn't keep sent from now on.
func (o *outbox) finish() {
	o.mu.Lock()
	o.last = true
	o.mu.Unlock()
}

// drained reports whether every message has been acknowledged; with a spool, every one that is live or was sent.
func (o *outbox) drained() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.spool != nil && o.last {
		for i := range o.live {
			if o.live[i].count > 0 {
				return false
			}
		}
		return len(o.flight) == 0
	}
	count, _ := o.queued()
	return count == 0 && len(o.flight) == 0
}

// statusDrained reports whether every status has been acknowledged.
func (o *outbox) statusDrained() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.status == nil && o.statusSent == 0
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
