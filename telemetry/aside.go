package telemetry

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"gnomon/telemetry/spool"
)

const (
	// asideAfter is how many connections the broker ends with the same message as the oldest that it has not acknowledged,
	// before the message is put aside. AWS IoT ends a connection for a topic that the
	// policy forbids, others for a size; without this one such message would hold up all others for ever.
	asideAfter = 8
	// asideFirst is when a message that was put aside is tried again, alone; the time doubles up to asideMax.
	asideFirst = time.Minute
	asideMax   = time.Hour
	// asideTries is how often, before it is given up. Others must have been acknowledged meanwhile: then it is the message,
	// and not the network.
	asideTries = 5
	// maxAside bounds how many messages are aside: what a wrong policy brings about within a minute.
	maxAside = 64
)

// outcast is a message that was put aside.
type outcast struct {
	message
	tries int
	due   time.Time
	acked uint64 // by the broker, when it was put aside
}

// suspect is told that the broker has ended the connection. It returns what became of the message that may be why, empty
// for nothing. A message that nothing waits behind is only sent again. It is called before rewind.
func (o *outbox) suspect(now time.Time) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.flight) == 0 {
		return ""
	}
	first := o.flight[0][0]
	if o.alone {
		return o.failedAlone(now)
	}
	sum := fingerprint(first)
	if len(o.strikes) >= maxAside { // a line that breaks with another message each time
		clear(o.strikes)
	}
	o.strikes[sum]++
	waiting, _ := o.queued()
	if o.strikes[sum] < asideAfter || len(o.flight)+waiting < 2 {
		return ""
	}
	delete(o.strikes, sum)
	for _, m := range o.flight[0] {
		if len(o.aside) == maxAside {
			o.giveUp(m)
			continue
		}
		o.aside = append(o.aside, outcast{message: m, due: now.Add(asideFirst), acked: o.acked})
	}
	o.flight = o.flight[1:]
	o.sortAside()
	return fmt.Sprintf("the broker ended the connection %d times after a message on %s with %d bytes, which is put aside so that others get through; check that the policy lets this device publish there, and the broker's limit on sizes",
		asideAfter, first.Topic, len(first.Payload))
}

// failedAlone decides about the message that was sent alone.
func (o *outbox) failedAlone(now time.Time) string {
	o.flight, o.alone = nil, false
	bad := o.aside[0]
	o.aside = o.aside[1:]
	bad.tries++
	if bad.tries >= asideTries && o.acked > bad.acked {
		o.giveUp(bad.message)
		return fmt.Sprintf("a message on %s with %d bytes is dropped: the broker ended the connection each of %d times that it was sent, and takes others",
			bad.Topic, len(bad.Payload), asideAfter+bad.tries)
	}
	bad.due = now.Add(min(asideFirst<<bad.tries, asideMax))
	o.aside = append(o.aside, bad)
	o.sortAside()
	return ""
}

// sortAside puts first what is to be tried first.
func (o *outbox) sortAside() {
	slices.SortStableFunc(o.aside, func(a, b outcast) int { return a.due.Compare(b.due) })
}

// fingerprint tells messages apart, whatever batch they travel in.
func fingerprint(m message) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(m.Topic))
	_, _ = h.Write(m.Payload)
	return h.Sum64()
}

// giveUp drops a message that is nowhere any more.
func (o *outbox) giveUp(m message) {
	o.dropped[m.Class]++
	if o.spool != nil {
		o.spool.Ack([]spool.Record{m.Record})
	}
}

// nextAside reports whether it is the turn of what was put aside: a message, or nothing until what was sent before has been
// acknowledged.
func (o *outbox) nextAside(now time.Time) (parcel, bool, bool) {
	switch {
	case o.alone:
		return parcel{}, false, true
	case len(o.aside) == 0 || now.Before(o.aside[0].due) || o.last:
		return parcel{}, false, false
	case len(o.flight) > 0:
		return parcel{}, false, true
	}
	o.alone = true
	return o.send([]message{o.aside[0].message}), true, true
}
