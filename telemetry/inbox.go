package telemetry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// inboxMessages bounds what waits for the handlers of one connection: 64 messages of 128 KB are 8 MB.
const inboxMessages = 64

// incoming is a message from the broker.
type incoming struct {
	topic   string
	payload []byte
}

// subscribed is what one Subscribe asked for.
type subscribed struct {
	filters []string
	handler func(topic string, payload []byte)
}

// inbox holds what has arrived on one connection until the handlers have seen it. put never blocks, so that a slow
// handler holds up neither pings nor acknowledgements.
type inbox struct {
	wake   chan struct{}
	missed *atomic.Uint64 // the client's

	mu    sync.Mutex
	subs  []*subscribed
	queue []incoming
}

func newInbox(missed *atomic.Uint64) *inbox {
	return &inbox{wake: make(chan struct{}, 1), missed: missed}
}

// add makes room for a subscription before SUBSCRIBE is sent: messages may come before SUBACK.
func (b *inbox) add(filters []string, handler func(string, []byte)) (*subscribed, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(filters)
	for _, s := range b.subs {
		n += len(s.filters)
	}
	if n > MaxSubscriptions {
		return nil, fmt.Errorf("%w: %d on this connection, at most %d are allowed", ErrTooManyFilters, n, MaxSubscriptions)
	}
	s := &subscribed{filters: slices.Clone(filters), handler: handler}
	b.subs = append(b.subs, s)
	return s, nil
}

func (b *inbox) remove(s *subscribed) {
	b.mu.Lock()
	b.subs = slices.DeleteFunc(b.subs, func(o *subscribed) bool { return o == s })
	b.mu.Unlock()
}

// put takes a message and its payload.
func (b *inbox) put(topic string, payload []byte) {
	if len(payload) > MaxPayload {
		b.missed.Add(1)
		return
	}
	b.mu.Lock()
	if len(b.queue) >= inboxMessages {
		b.queue = slices.Delete(b.queue, 0, 1)
		b.missed.Add(1)
	}
	b.queue = append(b.queue, incoming{topic: topic, payload: payload})
	b.mu.Unlock()
	signal(b.wake)
}

// run calls the handlers until gone is closed.
func (b *inbox) run(gone <-chan struct{}) {
	for {
		select {
		case <-gone:
			return
		default:
		}
		if m, to, ok := b.next(); ok {
			for i, s := range to {
				payload := m.payload
				if i > 0 {
					payload = slices.Clone(payload) // each handler owns what it gets
				}
				s.handler(m.topic, payload)
			}
			continue
		}
		select {
		case <-b.wake:
		case <-gone:
			return
		}
	}
}

// next takes the oldest message and finds whom it is for.
func (b *inbox) next() (incoming, []*subscribed, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return incoming{}, nil, false
	}
	m := b.queue[0]
	b.queue = slices.Delete(b.queue, 0, 1)
	var to []*subscribed
	for _, s := range b.subs {
		if slices.ContainsFunc(s.filters, func(f string) bool { return matches(f, m.topic) }) {
			to = append(to, s)
		}
	}
	return m, to, true
}

// matches reports whether a topic is among those of a filter (MQTT 3.1.1, section 4.7).
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") != strings.HasPrefix(filter, "$") {
		return false
	}
	for {
		want, restFilter, moreFilter := strings.Cut(filter, "/")
		if want == "#" {
			return true
		}
		level, restTopic, moreTopic := strings.Cut(topic, "/")
		if want != "+" && want != level {
			return false
		}
		if !moreTopic {
			return !moreFilter || restFilter == "#" // a/# includes a
		}
		if !moreFilter {
			return false
		}
		filter, topic = restFilter, restTopic
	}
}

func checkFilters(filters []string) error {
	if len(filters) == 0 {
		return errors.New("no topic filter is given; pass at least one")
	}
	if len(filters) > MaxFilters {
		return fmt.Errorf("%w: %d at once, at most %d are allowed; call Subscribe more than once", ErrTooManyFilters, len(filters), MaxFilters)
	}
	for i, f := range filters {
		if err := checkFilter(f); err != nil {
			return err
		}
		if slices.Contains(filters[:i], f) {
			return fmt.Errorf("the topic filter %q is given twice; remove one", f)
		}
	}
	return nil
}

// checkFilter takes wildcards out where they are allowed and checks the rest like a topic.
func checkFilter(filter string) error {
	if strings.HasPrefix(filter, "$share/") {
		return fmt.Errorf("the topic filter %q is a shared subscription, which isn't supported; subscribe to the topic itself", filter)
	}
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		if l == "+" || (l == "#" && i == len(levels)-1) {
			levels[i] = "x" // of the same length as the wildcard
		}
	}
	return ValidateTopic(strings.Join(levels, "/"))
}
