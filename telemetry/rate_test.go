package telemetry_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gnomon/devcloud"
	"gnomon/telemetry"
)

// A backlog leaves at the rate that the options give, whole and in order, and what Conn publishes does not wait for it.
func TestRate(t *testing.T) {
	const messages, rate, burst = 60, 100, 10
	var mu sync.Mutex
	var topics []string
	var at []time.Time
	broker, err := devcloud.NewBroker(devcloud.BrokerOptions{Tap: func(m devcloud.Message) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasPrefix(m.Topic, "dt/data") || m.Topic == "dt/direct" {
			topics, at = append(topics, m.Topic), append(at, time.Now())
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	go func() { _ = broker.Run(t.Context()) }()
	direct := make(chan error, 1)
	opts := options(broker.Addr())
	opts.Rate = rate
	opts.OnConnect = func(ctx context.Context, conn *telemetry.Conn) { direct <- conn.Publish(ctx, "dt/direct", nil) }
	a := newAgent(t, opts)
	for i := range messages {
		if err := a.Publish(fmt.Sprintf("dt/data/%02d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	a.run(t)
	if err := <-direct; err != nil {
		t.Fatal(err)
	}
	if s := a.Stats(); s.Acked == messages {
		t.Error("what was published directly came after the whole backlog")
	}
	eventually(t, "the backlog", func() bool { return a.Stats().Acked == messages })
	mu.Lock()
	defer mu.Unlock()
	n := 0
	var first, last time.Time
	for i, topic := range topics {
		if topic == "dt/direct" {
			continue
		}
		if topic != fmt.Sprintf("dt/data/%02d", n) {
			t.Fatalf("message %d is %s", n, topic)
		}
		if n == 0 {
			first = at[i]
		}
		last = at[i]
		n++
	}
	if n != messages {
		t.Errorf("%d messages", n)
	}
	if took, least := last.Sub(first), time.Second*(messages-burst-1)/rate; took < least {
		t.Errorf("%d messages in %v, faster than %v", messages, took, least)
	}
}
