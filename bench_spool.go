package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"gnomon/bench"
	"gnomon/config"
	"gnomon/engine/detect"
	"gnomon/telemetry"
	"gnomon/telemetry/spool"
)

const (
	defaultSpoolRecords              = 1_000_000
	minSpoolRecords, maxSpoolRecords = 100_000, 10_000_000
	// spoolRoom is more than a record of the benchmark takes in the file.
	spoolRoom = 1 << 10
	// spoolAhead bounds what waits for a commit while the spool is filled: less than it would give up.
	spoolAhead = 4 << 20
	// spoolDrained is how many records the broker gets in the test without a cap: a second's worth of the target at least.
	spoolDrained = 200_000
	// spoolCapped is how long the test with a cap goes on, and spoolBurst what it doesn't count: the bucket is full at
	// the beginning.
	spoolCapped, spoolBurst = 5 * time.Second, time.Second
	// spoolCapFill is more than goes through in that time.
	spoolCapFill = 20_000
	// spoolWindow is how long records come at the rate of the target, spoolTick how often some do.
	spoolWindow, spoolTick = 5 * time.Second, 5 * time.Millisecond
	// spoolProbes look at how long a record takes; each has a few dozen in that time.
	spoolProbes = 8
	// spoolWriters put records at once that are to be durable each.
	spoolWriters, spoolEach, spoolOne = 64, 100, 200
	// spoolRounds of so many records are dequeued; a single one would measure how long the disk takes.
	spoolRounds, spoolRound = 60, 1000
	// spoolPoll is how often something is looked at that is waited for.
	spoolPoll = time.Millisecond
)

// spoolBench measures the spool and what drains it.
type spoolBench struct {
	records int
	dir     string
	broker  string
	json    bool
	topic   string
	payload []byte
}

func benchSpoolCommand() *cobra.Command {
	var b spoolBench
	c := &cobra.Command{
		Use:   "spool",
		Short: "Measure the disk spool, and how fast it drains to a broker",
		Long: "Put records of a camera into a spool and take them out again: records a second that are safe from a power failure,\n" +
			"with a commit every 50 ms and with one for each; draining to a broker, without limits and under those of AWS IoT\n" +
			"Core; what a record costs with many others in the spool; opening a full one. Needs about 1 KB of disk for each\n" +
			"record. Exit code 1 when a target is missed.",
		Example: "  gnomon bench spool\n  gnomon bench spool --broker mqtt://127.0.0.1:1883 --json > spool.json",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if b.records < minSpoolRecords || b.records > maxSpoolRecords {
				return usage("--records must be between %d and %d", minSpoolRecords, maxSpoolRecords)
			}
			return b.run(c.Context(), c.OutOrStdout())
		},
	}
	c.Flags().IntVar(&b.records, "records", defaultSpoolRecords, "how many records to fill the spool with")
	c.Flags().StringVar(&b.dir, "dir", "", "folder to put the spools in, and so the disk to measure (default: the system's for temporary files)")
	c.Flags().StringVar(&b.broker, "broker", config.BrokerEmbedded, "broker to drain to")
	c.Flags().BoolVar(&b.json, "json", false, "print one JSON object")
	return c
}

func (b *spoolBench) run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp(b.dir, "gnomon-bench-spool-")
	if err != nil {
		return &usageError{fmt.Errorf("--dir: %w", err)}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b.dir = dir
	b.topic, b.payload = spoolRecord()
	r := &bench.SpoolReport{RecordBytes: len(b.topic) + len(b.payload), Many: b.records, Broker: b.broker}
	steps := []func(context.Context, *bench.SpoolReport) error{b.window, b.each, b.drain, b.capped, b.few, b.many}
	bar := newProgress(len(steps), "measuring")
	if err := b.measure(ctx, r, steps, bar); err != nil {
		return err
	}
	if b.json {
		err = json.NewEncoder(out).Encode(r)
	} else {
		renderSpool(out, r)
	}
	return errors.Join(err, missed(r.Verdicts()))
}

func (b *spoolBench) measure(ctx context.Context, r *bench.SpoolReport, steps []func(context.Context, *bench.SpoolReport) error, bar *progressbar.ProgressBar) error {
	defer func() { _ = bar.Finish() }()
	for _, step := range steps {
		if err := step(ctx, r); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		_ = bar.Add(1)
	}
	return nil
}

// spoolRecord is what a camera that sees two people publishes for a frame.
func spoolRecord() (topic string, payload []byte) {
	m := telemetry.DetectionMessage{
		Device: benchThing, BootID: uuid.NewString(), Source: "street", Seq: 123_456, CapturedAt: time.Now(), PTS: time.Hour,
		Width: 1920, Height: 1080, Labels: []string{"person"},
		Model: telemetry.ModelRef{Name: "nanodet", Version: "1", SHA256: fmt.Sprintf("%064x", 1)},
		Detections: []detect.Detection{
			{Score: 0.87, Box: detect.Box{X1: 12.5, Y1: 40.25, X2: 88.1, Y2: 210.4}},
			{Score: 0.52, Box: detect.Box{X1: 612.5, Y1: 340.25, X2: 688.1, Y2: 510.4}},
		},
	}
	return benchPrefix + "/" + benchThing + "/street/detections", m.AppendJSON(nil)
}

// benchSpool is a spool that runs.
type benchSpool struct {
	*spool.Spool
	b   *spoolBench
	run *background
}

func (b *spoolBench) open(name string, every time.Duration) (*benchSpool, error) {
	sp, err := spool.Open(spool.Options{Dir: filepath.Join(b.dir, name), CommitEvery: every, MaxBytes: max(spool.DefaultMaxBytes, spoolRoom*int64(b.records))})
	if err != nil {
		return nil, err
	}
	return &benchSpool{Spool: sp, b: b, run: inBackground(sp.Run)}, nil
}

func (s *benchSpool) close() error { return errors.Join(s.run.stop(), s.Close()) }

// remove closes the spool and frees its disk.
func (s *benchSpool) remove(name string) error {
	return errors.Join(s.close(), os.RemoveAll(filepath.Join(s.b.dir, name)))
}

// fill puts n records in, as fast as the disk takes them, and waits until they are there.
func (s *benchSpool) fill(ctx context.Context, n int) error {
	for i := range n {
		if _, err := s.Add(telemetry.Detections, s.b.topic, s.b.payload, false); err != nil {
			return err
		}
		if i%1000 == 0 {
			if err := s.wait(ctx, spoolAhead); err != nil {
				return err
			}
		}
	}
	return s.wait(ctx, 0)
}

// wait waits until no more than so many bytes wait for the disk.
func (s *benchSpool) wait(ctx context.Context, bytes int) error {
	for {
		st := s.Stats()
		if st.Fault != nil {
			return fmt.Errorf("the disk doesn't take the records: %w", st.Fault)
		}
		if st.Unsaved <= bytes {
			return nil
		}
		if err := sleepFor(ctx, spoolPoll); err != nil {
			return err
		}
	}
}

func sleepFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return errors.New("interrupted")
	}
}

// window has records come at the target's rate, and looks at how long some of them take.
func (b *spoolBench) window(ctx context.Context, r *bench.SpoolReport) (err error) {
	s, err := b.open("window", spool.DefaultCommitEvery)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.remove("window")) }()
	probing, stop := context.WithCancel(ctx)
	defer stop()
	var probes sync.WaitGroup
	var waits [spoolProbes][]time.Duration
	var failed [spoolProbes]error
	for i := range spoolProbes {
		probes.Go(func() { waits[i], failed[i] = b.probe(probing, s) })
	}
	begin := time.Now()
	for done := 0; time.Since(begin) < spoolWindow && err == nil; err = sleepFor(ctx, spoolTick) {
		for due := int(time.Since(begin).Seconds() * bench.SpoolGroupTarget); done < due && err == nil; done++ {
			_, err = s.Add(telemetry.Detections, b.topic, b.payload, false)
		}
	}
	stop()
	probes.Wait()
	if err := errors.Join(append(failed[:], err)...); err != nil {
		return err
	}
	all := slices.Concat(waits[:]...)
	r.Window = bench.SpoolWindow{
		P50: bench.Percentile(all, 0.5), P95: bench.Percentile(all, 0.95), P99: bench.Percentile(all, 0.99), Max: bench.Percentile(all, 1),
	}
	return nil
}

// probe puts records, at no fixed distance from the commits, and measures how long each takes until it is durable.
func (b *spoolBench) probe(ctx context.Context, s *benchSpool) (waits []time.Duration, err error) {
	for i := 0; err == nil && ctx.Err() == nil; i++ {
		_ = sleepFor(ctx, time.Duration(i%7)*time.Millisecond) // cut short, one more is put, and that is the last
		begin := time.Now()
		err = s.Put(telemetry.Events, b.topic, b.payload)
		waits = append(waits, time.Since(begin))
	}
	return waits, err
}

// each has every record durable before it counts.
func (b *spoolBench) each(_ context.Context, r *bench.SpoolReport) (err error) {
	s, err := b.open("each", 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.remove("each")) }()
	begin := time.Now()
	for range spoolOne {
		if err := s.Put(telemetry.Detections, b.topic, b.payload); err != nil {
			return err
		}
	}
	r.OnePerSecond = spoolOne / time.Since(begin).Seconds()
	var writers sync.WaitGroup
	errs := make([]error, spoolWriters)
	begin = time.Now()
	for i := range spoolWriters {
		writers.Go(func() {
			for range spoolEach {
				if errs[i] = s.Put(telemetry.Detections, b.topic, b.payload); errs[i] != nil {
					return
				}
			}
		})
	}
	writers.Wait()
	r.EachPerSecond = spoolWriters * spoolEach / time.Since(begin).Seconds()
	return errors.Join(errs...)
}

// few dequeues while there are only a few records in the spool.
func (b *spoolBench) few(ctx context.Context, r *bench.SpoolReport) (err error) {
	s, err := b.open("few", 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.remove("few")) }()
	if err := s.fill(ctx, 2*spoolRound); err != nil {
		return err
	}
	r.Dequeue.Few, err = s.dequeue(ctx, spoolRound)
	return err
}

// many fills a spool, opens it anew, and dequeues.
func (b *spoolBench) many(ctx context.Context, r *bench.SpoolReport) (err error) {
	s, err := b.open("many", spool.DefaultCommitEvery)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.remove("many")) }()
	begin := time.Now()
	if err := s.fill(ctx, b.records); err != nil {
		return err
	}
	r.GroupPerSecond = float64(b.records) / time.Since(begin).Seconds()
	if err := s.close(); err != nil {
		return err
	}
	begin = time.Now()
	again, err := b.open("many", 0)
	if err != nil {
		return err
	}
	*s = *again
	r.ReopenSeconds = time.Since(begin).Seconds()
	if n := s.Depth()[telemetry.Detections]; n != b.records {
		return fmt.Errorf("%d records were put, and %d are there when the spool is opened again", b.records, n)
	}
	r.FileMB = float64(s.Stats().FileBytes) / 1e6
	r.Dequeue.Many, err = s.dequeue(ctx, 0)
	return err
}

// dequeue takes, acknowledges and removes records, and puts so many back each time. It returns what one usually costs
// in microseconds.
func (s *benchSpool) dequeue(ctx context.Context, back int) (float64, error) {
	var costs []float64
	for range spoolRounds {
		begin, n := time.Now(), 0
		for n < spoolRound {
			records := s.Take(telemetry.Detections)
			if records == nil {
				return 0, errors.New("the spool is empty too early")
			}
			n += len(records)
			s.Ack(records)
		}
		// What removes is the next commit.
		if err := s.Put(telemetry.Events, s.b.topic, s.b.payload); err != nil {
			return 0, err
		}
		costs = append(costs, float64(time.Since(begin).Microseconds())/float64(n))
		if err := s.fill(ctx, min(back, n)); err != nil {
			return 0, err
		}
	}
	slices.Sort(costs)
	return costs[len(costs)/2], nil
}
