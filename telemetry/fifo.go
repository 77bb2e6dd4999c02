package telemetry

import (
	"bytes"
	"encoding/json"

	"gnomon/telemetry/spool"
)

// Class says how important a message is: which goes first, and which is given up first when there is no room.
type Class = spool.Class

// The classes, the most important first.
const (
	Events     = spool.Events
	Detections = spool.Detections
	Metrics    = spool.Metrics
	Logs       = spool.Logs
	NumClasses = spool.NumClasses
)

const (
	batchBegin = `{"batch":[`
	batchEnd   = `]}`
	// maxScan bounds how far down a queue messages of one topic are looked for.
	maxScan = 4096
)

// message is one that was published: a record of the spool, or of its form.
type message struct {
	spool.Record
	n uint64 // counts what was put, so that the order can be restored; 0 for what is in the spool
}

// object reports whether the payload may be part of a batch, which it is no more if it is one itself.
func (m message) object() bool {
	return len(m.Payload) > 0 && m.Payload[0] == '{' && !bytes.HasPrefix(m.Payload, []byte(batchBegin)) && json.Valid(m.Payload)
}

// fifo is a queue that messages may also leave from the middle. Such a place has no topic.
type fifo struct {
	items []message
	head  int
	count int
	bytes int
}

func (q *fifo) push(m message) {
	if q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, m)
	q.count++
	q.bytes += m.Size()
}

// first is the oldest; there must be one.
func (q *fifo) first() message {
	for q.items[q.head].Topic == "" {
		q.head++
	}
	return q.items[q.head]
}

func (q *fifo) pop() message {
	m := q.first()
	q.take(q.head)
	return m
}

func (q *fifo) take(i int) {
	m := q.items[i]
	q.items[i] = message{}
	q.count--
	q.bytes -= m.Size()
	if q.count == 0 {
		q.items, q.head = q.items[:0], 0
	}
}

// all empties the queue.
func (q *fifo) all() []message {
	out := make([]message, 0, q.count)
	for q.count > 0 {
		out = append(out, q.pop())
	}
	return out
}

// gather takes the oldest message, and with it those of the same topic that fit into a batch of so many bytes.
func (q *fifo) gather(limit int) []message {
	at := q.head
	out := []message{q.pop()}
	if limit == 0 || q.count == 0 || !out[0].object() {
		return out
	}
	size := len(batchBegin) + len(out[0].Payload) + len(batchEnd)
	for i := at; i < min(len(q.items), at+maxScan); i++ {
		m := q.items[i]
		if m.Topic != out[0].Topic {
			continue
		}
		if size += 1 + len(m.Payload); size > limit || !m.object() {
			break // the next of its topic must not overtake it
		}
		q.take(i)
		out = append(out, m)
	}
	return out
}

// batch is the payload of some messages.
func batch(messages []message) []byte {
	if len(messages) == 1 {
		return messages[0].Payload
	}
	size := len(batchBegin) + len(batchEnd)
	for _, m := range messages {
		size += len(m.Payload) + 1
	}
	p := append(make([]byte, 0, size), batchBegin...)
	for i, m := range messages {
		if i > 0 {
			p = append(p, ',')
		}
		p = append(p, m.Payload...)
	}
	return append(p, batchEnd...)
}
