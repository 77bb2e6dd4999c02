package iot

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"time"
)

const (
	// firstPublish is the upper half of the first byte of a PUBLISH, firstReplay that with QoS 1 and DUP: what the
	// broker library sends again from a persistent session.
	firstPublish = 0x30
	firstReplay  = 0x3a
)

// outbox is what is on its way to one client. The broker library writes into it without ever waiting: it holds locks
// while it writes, and one client that doesn't read would hold up all those who publish to it. Acknowledgements go
// first, then messages at AWS's pace, then those of the stored session at theirs.
type outbox struct {
	now   func() time.Time
	paced bool
	wake  chan struct{} // capacity 1

	mu         sync.Mutex
	control    [][]byte
	publishes  [][]byte
	replays    [][]byte
	size       int // bytes of control
	queued     int // bytes of publishes and replays
	unacked    map[uint16]struct{}
	bytes      bucket
	nextReplay time.Time
	closed     bool
}

func newOutbox(now func() time.Time, paced bool) *outbox {
	return &outbox{
		now: now, paced: paced, wake: make(chan struct{}, 1), unacked: map[uint16]struct{}{},
		bytes: newBucket(bytesPerSecond, now),
	}
}

func (o *outbox) ring() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// put takes a copy of one packet; false: too many acknowledgements wait, or it is closed.
func (o *outbox) put(packet []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(packet) == 0 {
		return false
	}
	packet = bytes.Clone(packet)
	switch {
	case packet[0]&0xf0 != firstPublish:
		if o.size += len(packet); o.size > maxControl {
			return false
		}
		o.control = append(o.control, packet)
	case packet[0]&^1 == firstReplay: // without RETAIN
		o.queued += len(packet)
		o.replays = append(o.replays, packet)
	default:
		o.queued += len(packet)
		o.publishes = append(o.publishes, packet)
	}
	o.ring()
	return true
}

// full reports whether no further message should be put in.
func (o *outbox) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queued > maxQueued
}

// acknowledged makes room for a message that waits.
func (o *outbox) acknowledged(id uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.unacked, id)
	o.ring()
}

// close makes run write the acknowledgements that are left, and end.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.ring()
}

// next is what is to be written, and after which delay; without a packet, how long to wait for one (0: until there is
// one). ok is false at the end.
func (o *outbox) next() (packet []byte, delay time.Duration, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case len(o.control) > 0:
		packet, o.control = o.control[0], o.control[1:]
		o.size -= len(packet)
		return packet, 0, true
	case o.closed:
		return nil, 0, false
	case len(o.publishes) > 0 && o.admit(o.publishes[0]):
		packet, o.publishes = o.publishes[0], o.publishes[1:]
	case len(o.replays) > 0 && len(o.unacked) < maxUnacknowledged:
		now := o.now()
		if wait := o.nextReplay.Sub(now); o.paced && wait > 0 {
			return nil, wait, true
		}
		o.nextReplay = now.Add(replayInterval)
		packet, o.replays = o.replays[0], o.replays[1:]
		o.admit(packet)
	default:
		return nil, 0, true
	}
	o.queued -= len(packet)
	if o.paced {
		delay = o.bytes.spend(len(packet))
	}
	return packet, delay, true
}

// admit counts a QoS 1 message as unacknowledged, if there is room. Callers hold mu.
func (o *outbox) admit(packet []byte) bool {
	id, atLeastOnce := packetID(packet)
	if !atLeastOnce || !o.paced {
		return true
	}
	if len(o.unacked) >= maxUnacknowledged {
		return false
	}
	o.unacked[id] = struct{}{}
	return true
}

// packetID reads the identifier of a PUBLISH that the broker library wrote; false: it has QoS 0.
func packetID(packet []byte) (uint16, bool) {
	if packet[0]&0x06 == 0 {
		return 0, false
	}
	rest := packet[1:]
	for len(rest) > 0 && rest[0]&0x80 != 0 { // the remaining length
		rest = rest[1:]
	}
	if len(rest) < 3 {
		return 0, false
	}
	rest = rest[1:]
	topic := int(binary.BigEndian.Uint16(rest))
	if len(rest) < topic+4 {
		return 0, false
	}
	return binary.BigEndian.Uint16(rest[2+topic:]), true
}

// run writes until the outbox is closed or the connection breaks, and closes the connection.
func (o *outbox) run(w net.Conn) {
	defer w.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		packet, delay, ok := o.next()
		if !ok {
			return
		}
		if delay > 0 || packet == nil {
			if !o.pause(timer, delay, packet != nil) {
				continue // closed meanwhile: what waited is not sent
			}
		}
		if packet == nil {
			continue
		}
		if err := w.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return
		}
		if _, err := w.Write(packet); err != nil {
			o.close()
			return
		}
	}
}

// pause waits for delay, or without one for news. In the middle of a delay that a message has to wait, only the end
// counts as news. It returns false when the outbox is closed.
func (o *outbox) pause(timer *time.Timer, delay time.Duration, whole bool) bool {
	var due <-chan time.Time
	if delay > 0 {
		timer.Reset(delay)
		due = timer.C
	}
	for {
		select {
		case <-due:
			return true
		case <-o.wake:
			o.mu.Lock()
			closed := o.closed
			o.mu.Unlock()
			if closed || !whole {
				return !closed
			}
		}
	}
}
