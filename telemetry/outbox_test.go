package telemetry

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func put(t *testing.T, o *outbox, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := o.put(Detections, "t", []byte(strconv.Itoa(i))); err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
	}
}

// take takes everything that may be sent now.
func take(o *outbox) []string {
	var got []string
	for {
		p, _, ok := o.next(unlimited)
		if !ok {
			return got
		}
		if p.status {
			got = append(got, "status "+string(p.payload))
		} else {
			got = append(got, string(p.payload))
		}
	}
}

func numbers(from, to int) []string {
	var s []string
	for i := from; i < to; i++ {
		s = append(s, strconv.Itoa(i))
	}
	return s
}

func stats(o *outbox) Stats {
	var s Stats
	o.fill(&s)
	return s
}

func TestOutboxDropsTheOldest(t *testing.T) {
	o := newOutbox(100, maxOutboxBytes, nil, false)
	put(t, o, 0, 250)
	if s := stats(o); s.Dropped != 150 || s.Queued != 100 || s.Published != 250 {
		t.Errorf("stats %+v, want 150 dropped of 250 and 100 queued", s)
	}
	if diff := cmp.Diff(numbers(150, 150+dataWindow), take(o)); diff != "" {
		t.Errorf("not the newest, in order: %s", diff)
	}
	// What is in flight takes no room in the queue and is never dropped.
	put(t, o, 250, 500)
	if s := stats(o); s.InFlight != dataWindow || s.Queued != 100 {
		t.Errorf("stats %+v, want %d in flight and 100 queued", s, dataWindow)
	}
	o.rewind(false, true)
	if diff := cmp.Diff(numbers(150, 150+dataWindow), take(o)); diff != "" {
		t.Errorf("in flight: %s", diff)
	}
}

func TestOutboxBoundsBytes(t *testing.T) {
	o := newOutbox(1000, 1000, nil, false)
	big := make([]byte, 99) // and one byte of topic
	for i := range 25 {
		big[0] = byte(i)
		if err := o.put(Detections, "t", big); err != nil {
			t.Fatal(err)
		}
	}
	if s := stats(o); s.Queued != 10 || s.Dropped != 15 {
		t.Errorf("%d queued and %d dropped, want 10 and 15", s.Queued, s.Dropped)
	}
	p, _, _ := o.next(unlimited)
	if p.payload[0] != 15 {
		t.Errorf("the oldest is %d, want 15", p.payload[0])
	}
	// One that is larger than everything together drives out the others and stays.
	if err := o.put(Detections, "t", make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	if s := stats(o); s.Queued != 1 || s.Dropped != 24 {
		t.Errorf("%d queued and %d dropped, want 1 and 24", s.Queued, s.Dropped)
	}
}

func TestOutboxWindow(t *testing.T) {
	o := newOutbox(1000, maxOutboxBytes, nil, false)
	put(t, o, 0, 200)
	if n := len(take(o)); n != dataWindow {
		t.Fatalf("%d messages in flight, want %d", n, dataWindow)
	}
	// The status gets through a full window, twice, and no more than the broker's limit is on its way.
	for i, want := range []int{1, 1, 0} {
		o.setStatus([]byte(strconv.Itoa(i)))
		if n := len(take(o)); n != want {
			t.Errorf("status %d: %d sent, want %d", i, n, want)
		}
	}
	if dataWindow+statusSlots+connSlots != 100 {
		t.Errorf("%d messages may be unacknowledged, want 100", dataWindow+statusSlots+connSlots)
	}
	o.ack(false)
	o.ack(true)
	if diff := cmp.Diff([]string{"status 2", strconv.Itoa(dataWindow)}, take(o)); diff != "" {
		t.Errorf("after two acknowledgements: %s", diff)
	}
}

func TestOutboxStatusIsTheNewest(t *testing.T) {
	o := newOutbox(10, maxOutboxBytes, nil, false)
	put(t, o, 0, 1)
	o.setStatus([]byte("old"))
	o.setStatus([]byte("new"))
	if diff := cmp.Diff([]string{"status new", "0"}, take(o)); diff != "" {
		t.Error(diff)
	}
	if o.statusDrained() || o.drained() {
		t.Error("drained before anything was acknowledged")
	}
	o.ack(true)
	o.ack(false)
	if !o.statusDrained() || !o.drained() {
		t.Error("not drained after everything was acknowledged")
	}
}

func TestOutboxSendsAgainInOrder(t *testing.T) {
	o := newOutbox(1000, maxOutboxBytes, nil, false)
	put(t, o, 0, 10)
	take(o)
	for range 3 {
		o.ack(false)
	}
	put(t, o, 10, 12)
	o.rewind(false, true)
	if diff := cmp.Diff(numbers(3, 12), take(o)); diff != "" {
		t.Errorf("after a reconnect: %s", diff)
	}
	// Half of them sent when the connection breaks again.
	o.rewind(false, true)
	for range 4 {
		o.next(unlimited)
	}
	o.ack(false)
	o.rewind(false, true)
	if diff := cmp.Diff(numbers(4, 12), take(o)); diff != "" {
		t.Errorf("after another: %s", diff)
	}
	if s := stats(o); s.Acked != 4 || s.InFlight != 8 || s.Dropped != 0 || s.Published != 12 {
		t.Errorf("stats %+v", s)
	}
}

func TestOutboxAtMostOnce(t *testing.T) {
	o := newOutbox(1000, maxOutboxBytes, nil, false)
	put(t, o, 0, 5)
	for range 3 {
		o.next(unlimited)
	}
	o.ack(false)
	o.rewind(true, true)
	if diff := cmp.Diff(numbers(3, 5), take(o)); diff != "" {
		t.Errorf("sent again: %s", diff)
	}
	if s := stats(o); s.Acked != 1 || s.Dropped != 2 {
		t.Errorf("stats %+v, want 1 acknowledged and 2 dropped", s)
	}
}

func TestOutboxCopiesAndCloses(t *testing.T) {
	o := newOutbox(10, maxOutboxBytes, nil, false)
	payload := []byte("before")
	if err := o.put(Detections, "t", payload); err != nil {
		t.Fatal(err)
	}
	copy(payload, "after!")
	o.close()
	if err := o.put(Detections, "t", payload); !errors.Is(err, ErrClosed) {
		t.Errorf("put after close: %v, want ErrClosed", err)
	}
	if diff := cmp.Diff([]string{"before"}, take(o)); diff != "" {
		t.Error(diff)
	}
}

// TestOutboxKeepsCount checks, against many publishers and a sender whose connection keeps breaking, that every
// message ends in exactly one of the counters and that nothing overtakes.
func TestOutboxKeepsCount(t *testing.T) {
	const publishers, each = 4, 5000
	o := newOutbox(500, maxOutboxBytes, nil, false)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				if err := o.put(Detections, "t", fmt.Appendf(nil, "%d %d", p, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var last [publishers]int
	for step, finished := 0, false; !finished || !o.drained(); step++ {
		select {
		case <-done:
			finished = true
		default:
		}
		p, _, ok := o.next(unlimited)
		if !ok || step%7 == 0 {
			if step%3 == 0 {
				o.rewind(false, true)
			}
			continue
		}
		// The oldest in flight is this one only if nothing is unacknowledged before it; acknowledge at once so.
		if stats(o).InFlight == 1 {
			var who, n int
			if _, err := fmt.Sscanf(string(p.payload), "%d %d", &who, &n); err != nil {
				t.Fatal(err)
			}
			if n < last[who] {
				t.Fatalf("publisher %d: %d after %d", who, n, last[who])
			}
			last[who] = n
			o.ack(false)
		} else {
			o.rewind(false, true)
			for range stats(o).InFlight {
				o.next(unlimited)
				o.ack(false)
			}
		}
	}
	if s := stats(o); s.Published != publishers*each || s.Acked+s.Dropped != s.Published || s.Queued+s.InFlight != 0 {
		t.Errorf("stats %+v don't add up", s)
	}
}
