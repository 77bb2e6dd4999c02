package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/jedib0t/go-pretty/v6/table"

	"gnomon/bench"
	"gnomon/config"
	"gnomon/devcloud"
	"gnomon/telemetry"
	"gnomon/telemetry/spool"
)

// link connects a client to the broker, which is in this process unless there is another.
func (b *spoolBench) link(s *benchSpool, rate float64) (*telemetry.Client, func() error, error) {
	var broker *background
	address := b.broker
	if address == config.BrokerEmbedded {
		own, err := devcloud.NewBroker(devcloud.BrokerOptions{})
		if err != nil {
			return nil, nil, err
		}
		address, broker = own.Addr(), inBackground(own.Run)
	}
	boot := uuid.NewString()
	client, err := telemetry.New(telemetry.Options{
		Broker: address, Thing: benchThing, ClientID: "gnomon-bench-" + boot[:8], TopicPrefix: benchPrefix, QoS: 1,
		AgentVersion: version, BootID: boot, Spool: s.Spool, Rate: rate,
	})
	if err != nil {
		return nil, nil, errors.Join(&usageError{fmt.Errorf("--broker: %w", err)}, broker.stop())
	}
	run := inBackground(client.Run)
	return client, func() error { return errors.Join(run.stop(), broker.stop()) }, nil
}

// acked waits until so many records have been acknowledged, within a while for the connection.
func (b *spoolBench) acked(ctx context.Context, c *telemetry.Client, n uint64) error {
	late := time.Now().Add(connectLimit)
	for c.Stats().Acked < n {
		if s := c.Stats(); !s.Connected && time.Now().After(late) {
			return fmt.Errorf("--broker %s: there is no connection: %s", b.broker, s.LastError)
		}
		if err := sleepFor(ctx, spoolPoll); err != nil {
			return err
		}
	}
	return nil
}

// drain sends a backlog to the broker as fast as it takes it.
func (b *spoolBench) drain(ctx context.Context, r *bench.SpoolReport) (err error) {
	s, err := b.open("drain", spool.DefaultCommitEvery)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.remove("drain")) }()
	n := min(spoolDrained, b.records)
	if err := s.fill(ctx, n); err != nil {
		return err
	}
	begin := time.Now()
	client, stop, err := b.link(s, 0)
	if err != nil {
		return err
	}
	err = b.acked(ctx, client, uint64(n))
	r.DrainPerSecond = float64(n) / time.Since(begin).Seconds()
	return errors.Join(err, stop())
}

// capped sends a backlog under AWS's limits, while new records come.
func (b *spoolBench) capped(ctx context.Context, r *bench.SpoolReport) (err error) {
	s, err := b.open("capped", spool.DefaultCommitEvery)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.remove("capped")) }()
	if err := s.fill(ctx, spoolCapFill); err != nil {
		return err
	}
	client, stop, err := b.link(s, telemetry.AWSRate)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := b.acked(ctx, client, 1); err != nil {
		return err
	}
	if err := sleepFor(ctx, spoolBurst); err != nil {
		return err
	}
	begin, before, live := time.Now(), client.Stats().Acked, 0
	for time.Since(begin) < spoolCapped {
		put := time.Now()
		if err := client.PublishClass(telemetry.Metrics, b.topic, b.payload); err != nil {
			return err
		}
		for s.Depth()[telemetry.Metrics] > 0 {
			if err := sleepFor(ctx, spoolPoll); err != nil {
				return err
			}
		}
		live++
		r.Capped.LiveDelayMS = max(r.Capped.LiveDelayMS, time.Since(put).Seconds()*1000)
		if err := sleepFor(ctx, time.Second/bench.SpoolRealTime); err != nil {
			return err
		}
	}
	r.Capped.PerSecond = float64(client.Stats().Acked-before-uint64(live)) / time.Since(begin).Seconds()
	r.Capped.RealTime = r.Capped.PerSecond / bench.SpoolRealTime
	if s.Depth()[telemetry.Detections] == 0 {
		return errors.New("the backlog was gone before the time: the figure under AWS's limits would be wrong")
	}
	return nil
}

func renderSpool(out io.Writer, r *bench.SpoolReport) {
	t := newTable(out)
	t.AppendHeader(table.Row{"spool", fmt.Sprintf("records of %d bytes", r.RecordBytes)})
	t.AppendRows([]table.Row{
		{"durable, a commit every 50 ms", fmt.Sprintf("%.0f/s", r.GroupPerSecond)},
		{fmt.Sprintf("loss window at %d/s, p50 / p95 / p99 / max", bench.SpoolGroupTarget), fmt.Sprintf("%.1f / %.1f / %.1f / %.1f ms", r.Window.P50, r.Window.P95, r.Window.P99, r.Window.Max)},
		{"durable before it counts, many at once / one", fmt.Sprintf("%.0f / %.0f/s", r.EachPerSecond, r.OnePerSecond)},
		{"drained to " + r.Broker, fmt.Sprintf("%.0f/s", r.DrainPerSecond)},
		{"drained under AWS's limits", fmt.Sprintf("%.0f/s, new ones within %.0f ms", r.Capped.PerSecond, r.Capped.LiveDelayMS)},
		{fmt.Sprintf("dequeueing at 1000 / at %d", r.Many), fmt.Sprintf("%.2f / %.2f µs a record", r.Dequeue.Few, r.Dequeue.Many)},
		{fmt.Sprintf("opening with %d", r.Many), fmt.Sprintf("%.2f s, a file of %.0f MB", r.ReopenSeconds, r.FileMB)},
	})
	t.Render()
	_, _ = fmt.Fprintln(out) // a table follows, whose writer cannot report either
	renderVerdicts(out, r.Verdicts())
}
