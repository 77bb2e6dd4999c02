package telemetry

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gnomon/telemetry/spool"
)

// sendAll takes what may be sent within the budget, acknowledging at once.
func sendAll(o *outbox, budget int) []string {
	var got []string
	for {
		o.refill()
		p, _, ok := o.next(budget)
		if !ok {
			return got
		}
		got = append(got, p.topic+" "+string(p.payload))
		o.ack(false)
	}
}

func putAll(t *testing.T, o *outbox, messages ...string) {
	t.Helper()
	for _, m := range messages {
		topic, payload, _ := strings.Cut(m, " ")
		class := map[byte]Class{'e': Events, 'd': Detections, 'm': Metrics, 'l': Logs}[topic[0]]
		if err := o.put(class, topic, []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
}

func openSpool(t *testing.T, opts spool.Options) *spool.Spool {
	t.Helper()
	opts.Dir, opts.CommitEvery = t.TempDir(), spool.MaxCommitEvery
	sp, err := spool.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sp.Close() })
	return sp
}

// The order of sending: what is live by class, then the backlog by class, in batches of one topic; with a spool and
// without.
func TestOutboxLiveFirst(t *testing.T) {
	for name, sp := range map[string]*spool.Spool{"memory": nil, "spool": openSpool(t, spool.Options{})} {
		o := newOutbox(1000, maxOutboxBytes, sp, true)
		putAll(t, o, `d1 {"n":1}`, `l {"n":2}`, `d2 {"n":3}`, `d1 {"n":4}`, `d1 text`, `d1 {"n":5}`, `e {"n":6}`)
		o.rewind(false, true)
		putAll(t, o, `l {"n":7}`, `d1 {"n":8}`, `d1 {"n":9}`, `e {"n":10}`)
		want := []string{
			`e {"n":10}`, `d1 {"batch":[{"n":8},{"n":9}]}`, `l {"n":7}`,
			`e {"n":6}`, `d1 {"batch":[{"n":1},{"n":4}]}`, `d2 {"n":3}`, `d1 text`, `d1 {"n":5}`, `l {"n":2}`,
		}
		if diff := cmp.Diff(want, sendAll(o, unlimited)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if s := stats(o); s.Published != 11 || s.Acked != 11 || s.Queued != 0 || s.InFlight != 0 || !o.drained() {
			t.Errorf("%s: %+v", name, s)
		}
		// Half sent when the connection breaks: everything again, in its order, as backlog.
		putAll(t, o, `d1 {"n":1}`, `d2 {"n":2}`)
		o.refill()
		if p, _, _ := o.next(unlimited); string(p.payload) != `{"n":1}` {
			t.Errorf("%s: %s", name, p.payload)
		}
		if s := stats(o); s.InFlight != 1 || s.Queued != 1 {
			t.Errorf("%s: %+v", name, s)
		}
		o.rewind(false, true)
		putAll(t, o, `d1 {"n":3}`)
		want = []string{`d1 {"n":3}`, `d1 {"n":1}`, `d2 {"n":2}`}
		if diff := cmp.Diff(want, sendAll(o, unlimited)); diff != "" {
			t.Errorf("%s, after another connection: %s", name, diff)
		}
	}
}

func TestOutboxDropsTheLeastImportant(t *testing.T) {
	o := newOutbox(4, maxOutboxBytes, nil, false)
	putAll(t, o, "l 1", "e 2", "l 3", "d 4", "d 5", "d 6", "l 7", "e 8")
	if diff := cmp.Diff([]string{"e 2", "e 8", "d 5", "d 6"}, sendAll(o, unlimited)); diff != "" {
		t.Error(diff)
	}
	s := stats(o)
	if s.Classes[Logs].Dropped != 3 || s.Classes[Detections].Dropped != 1 || s.Dropped != 4 || s.Published != 8 {
		t.Errorf("stats %+v", s)
	}
}

// A batch is no larger than a message may be, and with a budget a live one no larger than that.
func TestOutboxBatchSize(t *testing.T) {
	sp := openSpool(t, spool.Options{})
	o := newOutbox(1000, maxLiveBytes, sp, true)
	const n = 1000
	for i := range n {
		putAll(t, o, fmt.Sprintf(`d {"n":%d,"x":"%s"}`, i, strings.Repeat("x", i)))
	}
	o.rewind(false, true)
	if _, missing, ok := o.next(unlimited); ok || missing != 0 {
		t.Error("the spool wasn't asked, and there is something all the same")
	}
	next, largest := 0, 0
	for next < n {
		o.refill()
		if _, missing, ok := o.next(byteBurst - 1); ok || missing != 1 {
			t.Fatalf("backlog is sent with less than the whole budget, or %d bytes are missing", missing)
		}
		p, _, ok := o.next(byteBurst)
		if !ok {
			t.Fatalf("%d of %d", next, n)
		}
		var b struct{ Batch []struct{ N int } }
		if err := json.Unmarshal(p.payload, &b); err != nil || len(b.Batch) == 0 {
			t.Fatalf("%.50s: %v", p.payload, err)
		}
		for _, m := range b.Batch {
			if m.N != next {
				t.Fatalf("%d after %d", m.N, next-1)
			}
			next++
		}
		largest = max(largest, len(p.payload))
		o.ack(false)
	}
	if largest > MaxPayload || largest < MaxPayload*3/4 {
		t.Errorf("the largest batch has %d bytes", largest)
	}
	for range 10 {
		putAll(t, o, `d {"x":"`+strings.Repeat("x", 1000)+`"}`)
	}
	if p, missing, ok := o.next(900); ok || missing < 100 {
		t.Errorf("more than the budget is sent: %d bytes, %d missing", len(p.payload), missing)
	}
	if p, _, ok := o.next(5000); !ok || len(p.payload) > 5000 || len(p.payload) < 4000 {
		t.Errorf("%v: %d bytes within 5000", ok, len(p.payload))
	}
}

// What is live doesn't fill the memory: beyond a bound it is left to the spool, and nothing is lost.
func TestOutboxLiveIsBounded(t *testing.T) {
	sp := openSpool(t, spool.Options{})
	o := newOutbox(1000, 1000, sp, false)
	o.rewind(false, true)
	for i := range 100 {
		putAll(t, o, fmt.Sprintf("d %d%s", i, strings.Repeat(" ", 100)))
	}
	if _, bytes := o.queued(); bytes > 1000 {
		t.Errorf("%d bytes are live, at most 1000 are allowed", bytes)
	}
	got := sendAll(o, unlimited)
	if len(got) != 100 || !strings.HasPrefix(got[0], "d 91") || !strings.HasPrefix(got[9], "d 0") {
		t.Errorf("%d messages, %.20q first", len(got), got)
	}
}

// A full window of backlog leaves room for what is live.
func TestOutboxWindowForLive(t *testing.T) {
	sp := openSpool(t, spool.Options{})
	o := newOutbox(1000, maxLiveBytes, sp, false)
	put(t, o, 0, 200) // not JSON: each travels alone
	o.rewind(false, true)
	o.refill()
	if n := len(take(o)); n != dataWindow-liveSlots {
		t.Errorf("%d messages of the backlog in flight", n)
	}
	put(t, o, 200, 300)
	if n := len(take(o)); n != liveSlots {
		t.Errorf("%d live ones besides", n)
	}
	// At the end only those are waited for.
	o.finish()
	for range dataWindow {
		o.ack(false)
	}
	if o.refill(); o.drained() {
		t.Error("live messages are left, and it is drained")
	}
	for range 100 - liveSlots {
		o.next(unlimited)
		o.ack(false)
	}
	if o.refill(); !o.drained() || stats(o).Queued != 200-(dataWindow-liveSlots) {
		t.Errorf("%+v", stats(o))
	}
}
