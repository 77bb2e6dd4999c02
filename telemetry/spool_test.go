package telemetry_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gnomon/devcloud"
	"gnomon/telemetry"
	"gnomon/telemetry/spool"
)

// startSpool opens a spool and runs it until the returned function is called, or the end of the test.
func startSpool(t *testing.T, dir string) (*spool.Spool, func()) {
	t.Helper()
	sp, err := spool.Open(spool.Options{Dir: dir, CommitEvery: spool.DefaultCommitEvery})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = sp.Run(context.Background()) }) // an error: it was closed first
	stop := func() {
		if err := sp.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
	t.Cleanup(stop)
	return sp, stop
}

// What one process could not send, the next one does; the status says what there is.
func TestSpoolOutlivesTheClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sp, stop := startSpool(t, dir)
	o := options("mqtt://127.0.0.1:" + freePort(t))
	o.Spool = sp
	a := start(t, o)
	for i := range 500 {
		if err := a.PublishClass(telemetry.Logs, "dt/logs", fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	a.stop(t)
	if s := a.Stats(); s.Queued != 500 || s.Classes[telemetry.Logs].Records != 500 || a.logged("unsent") != 0 {
		t.Errorf("stats %+v, log:%s", s, a.log())
	}
	stop()

	sp, _ = startSpool(t, dir)
	got := arrivals{seen: map[int]int{}}
	broker, err := devcloud.NewBroker(devcloud.BrokerOptions{Tap: got.record})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = broker.Run(context.Background()) })
	defer wg.Wait()
	defer broker.Close()
	o = options(broker.Addr())
	o.Spool = sp
	a = start(t, o)
	eventually(t, "everything arrives", func() bool { return a.Stats().Acked == 500 })
	a.stop(t)
	got.mu.Lock()
	defer got.mu.Unlock()
	if len(got.seen) != 500 || got.batches == 0 || got.batches > 10 {
		t.Errorf("%d arrived, in %d batches", len(got.seen), got.batches)
	}
	if s := a.Stats(); s.Queued+s.InFlight != 0 || s.Spool.Classes[telemetry.Logs].Records != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestStatusHasTheSpool(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	sp, _ := startSpool(t, t.TempDir())
	if err := sp.Put(telemetry.Metrics, "dt/m", []byte("1")); err != nil {
		t.Fatal(err)
	}
	o := options(b.addr)
	o.Spool = sp
	start(t, o)
	eventually(t, "status", func() bool { return len(b.statuses(t)) > 0 })
	out := b.statuses(t)[0].Outbox
	if out == nil || out.Classes["metrics"].Records != 1 || out.Classes["metrics"].OnDisk != 1 || out.Spool == nil || out.Spool.MaxBytes != spool.DefaultMaxBytes {
		t.Errorf("outbox %+v", out)
	}
}

// While a backlog drains under AWS's limits, what is live is not held up: it overtakes all but what is on its way.
func TestLiveWhileDraining(t *testing.T) {
	t.Parallel()
	sp, _ := startSpool(t, t.TempDir())
	backlog := strings.Repeat("x", 1000)
	for i := range 2000 { // 2 MB: five seconds of what AWS takes
		if _, err := sp.Add(telemetry.Events, "dt/backlog", fmt.Appendf(nil, `{"n":%d,"x":%q}`, i, backlog), false); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	size, live := 0, map[int]time.Time{}
	var begin time.Time
	broker, err := devcloud.NewBroker(devcloud.BrokerOptions{Tap: func(m devcloud.Message) {
		mu.Lock()
		defer mu.Unlock()
		switch m.Topic {
		case "$aws/rules/events_rule/dt/backlog":
			size += len(m.Payload)
		case "dt/live":
			n, _ := strconv.Atoi(string(m.Payload))
			live[n] = time.Now()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = broker.Run(context.Background()) })
	defer wg.Wait()
	defer broker.Close()
	o := options(broker.Addr())
	o.Spool, o.Rate = sp, telemetry.AWSRate
	o.BasicIngest = map[telemetry.Class]string{telemetry.Events: "events_rule"}
	a := start(t, o)
	a.waitConnected(t)
	begin = time.Now()
	put := make([]time.Time, 20)
	for i := range put {
		time.Sleep(50 * time.Millisecond)
		put[i] = time.Now()
		if err := a.PublishClass(telemetry.Logs, "dt/live", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "what is live arrives", func() bool { mu.Lock(); defer mu.Unlock(); return len(live) == len(put) })
	mu.Lock()
	defer mu.Unlock()
	if a.Stats().Queued == 0 {
		t.Error("the backlog is gone already: the test is too small")
	}
	for i := range put {
		if d := live[i].Sub(put[i]); d > time.Second {
			t.Errorf("live message %d took %v", i, d)
		}
	}
	if most := time.Since(begin).Seconds()*telemetry.AWSByteRate + 2*telemetry.MaxPayload; size == 0 || float64(size) > most {
		t.Errorf("%d bytes of the backlog in %v, at most %.0f are allowed", size, time.Since(begin), most)
	}
}

func TestBasicIngestOptions(t *testing.T) {
	for rule, good := range map[string]bool{"": true, "to_kinesis2": true, "a/b": false, "a b": false, strings.Repeat("a", 129): false} {
		o := options("mqtt://127.0.0.1:1")
		o.BasicIngest = map[telemetry.Class]string{telemetry.Logs: rule}
		if _, err := telemetry.New(o); (err == nil) != good {
			t.Errorf("rule %.10q: %v", rule, err)
		}
	}
}
