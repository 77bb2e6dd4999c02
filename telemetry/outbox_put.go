package telemetry

import (
	"errors"
	"fmt"

	"gnomon/telemetry/spool"
)

// put queues a copy of payload, at the expense of the oldest and least important if there is no room.
func (o *outbox) put(class Class, topic string, payload []byte) error {
	r, err := o.add(class, topic, payload)
	if err != nil {
		return err
	}
	signal(o.wake)
	if o.spool != nil && o.spool.CommitEvery() == 0 {
		if err := o.spool.Wait(r); err != nil && !errors.Is(err, spool.ErrNotDurable) { // that is in Stats
			return fmt.Errorf("spool: %w", err)
		}
	}
	return nil
}

func (o *outbox) add(class Class, topic string, payload []byte) (spool.Record, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return spool.Record{}, ErrClosed
	}
	live := o.connected && o.batches()
	if o.spool != nil {
		r, err := o.spool.Add(class, topic, payload, live)
		if err != nil {
			return r, fmt.Errorf("spool: %w", err)
		}
		o.published++
		if live {
			o.live[class].push(message{Record: r})
			o.trimLive()
		}
		return r, nil
	}
	o.published++
	o.n++
	m := message{Record: spool.Record{Class: class, Topic: topic, Payload: append([]byte(nil), payload...)}, n: o.n}
	for {
		count, bytes := o.queued()
		if count == 0 || count < o.limit && bytes+m.Size() <= o.bytes {
			break
		}
		worst := o.leastImportant()
		if worst < int(class) {
			o.dropped[class]++ // everything else is more important
			return m.Record, nil
		}
		if q := &o.backlog[worst]; q.count > 0 {
			q.pop()
		} else {
			o.live[worst].pop()
		}
		o.dropped[worst]++
	}
	if live {
		o.live[class].push(m)
	} else {
		o.backlog[class].push(m)
	}
	return m.Record, nil
}

// trimLive leaves the oldest of the least important live messages to the spool when there are too many.
func (o *outbox) trimLive() {
	bytes := 0
	for i := range o.live {
		bytes += o.live[i].bytes
	}
	for class := NumClasses - 1; class >= 0 && bytes > o.bytes; class-- {
		for q := &o.live[class]; q.count > 0 && bytes > o.bytes; {
			m := q.pop()
			bytes -= m.Size()
			o.spool.Release([]spool.Record{m.Record})
		}
	}
}

// queued is how much waits.
func (o *outbox) queued() (count, bytes int) {
	for i := range o.live {
		count += o.live[i].count + o.backlog[i].count
		bytes += o.live[i].bytes + o.backlog[i].bytes
	}
	return count, bytes
}

// leastImportant is the last class that has anything queued; -1: none has.
func (o *outbox) leastImportant() int {
	for class := NumClasses - 1; class >= 0; class-- {
		if o.live[class].count+o.backlog[class].count > 0 {
			return class
		}
	}
	return -1
}

// fill adds the outbox's numbers to s.
func (o *outbox) fill(s *Stats) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Published, s.Acked, s.Refused = o.published, o.acked, o.refused
	for _, messages := range o.flight {
		s.InFlight += len(messages)
		if o.spool == nil {
			c := &s.Classes[messages[0].Class]
			c.Records += len(messages)
			for _, m := range messages {
				c.Bytes += int64(m.Size())
			}
		}
	}
	if o.spool == nil {
		for _, m := range o.aside {
			c := &s.Classes[m.Class]
			c.Records++
			c.Bytes += int64(m.Size())
		}
	}
	if o.spool != nil {
		st := o.spool.Stats()
		s.Spool, s.Classes = &st, st.Classes
	}
	for class := range s.Classes {
		c := &s.Classes[class]
		if o.spool == nil {
			c.Records += o.live[class].count + o.backlog[class].count
			c.Bytes += int64(o.live[class].bytes + o.backlog[class].bytes)
		}
		c.Dropped += o.dropped[class]
		s.Dropped += c.Dropped + c.Lost
		s.Queued += c.Records
	}
	s.Queued = max(s.Queued-s.InFlight, 0)
}
