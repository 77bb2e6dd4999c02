// Package logs sends log lines to the cloud: the agent's own, through a zap core, and the system's, from the journal,
// the kernel and log files.
//
// A Shipper takes the lines, redacts and bounds them, and hands them over in batches. Its Core never blocks: what is too
// much is left out, counted, and told in one line. A System reads the system's logs and goes only as fast as the
// Shipper takes them; where it is, it keeps on the disk, so that a restart loses nothing and repeats little.
//
// A batch is {"batch":[…]} of at most 128 KB; each record in it is
//
//	{"schema":"gnomon.log/1","device":"thing-1","boot_id":"…","source":"agent","seq":17,
//	 "time":"2026-11-22T10:00:00.123456Z","level":"warn","message":"…","logger":"…","fields":{…}}
//
// with source agent, journal, kernel or the name of a file, and seq counting from 0 for each source. Without a level
// (in log files), a logger or fields these are left out.
package logs

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"go.uber.org/zap/zapcore"

	"gnomon/telemetry/redact"
)

const (
	// maxBatch is the largest payload: AWS IoT Core's limit.
	maxBatch = 128 << 10
	// batchEvery is how long a line waits for others.
	batchEvery = 2 * time.Second
	// reportEvery is how often it is told that lines were left out: often enough to be near its cause.
	reportEvery = 10 * time.Second
	// ownQueue and systemQueue bound the lines that wait. A usual line has 300 bytes; with the largest ones the agent's
	// queue is 12 MB.
	ownQueue    = 1024
	systemQueue = 256
	// Waiting times between attempts to hand a batch over: the spool is on the same machine, so trouble with it is
	// either short or a full disk.
	retryFirst = time.Second
	retryMax   = 30 * time.Second
)

// sourceAgent is the source of the agent's own lines.
const sourceAgent = "agent"

// Options configures New.
type Options struct {
	Device string // the thing's name
	BootID string // of this process

	// Level is what a line must have to be sent, the agent's and the system's alike; nil: info. A zap.AtomicLevel may
	// be changed while it is used.
	Level zapcore.LevelEnabler

	// Rate is how many of the agent's own lines a second are sent; 0: 50. Twice as many may come at once.
	Rate float64

	// Redactor takes secrets out of all that is sent; nil: those that are recognised by their form.
	Redactor *redact.Redactor

	// Publish takes a batch, to be sent on the topic of logs. The payload is the Shipper's again when it returns. After
	// an error the same batch is offered again, later. It is never called twice at once, and it must not log through
	// Core.
	Publish func(payload []byte) error
}

// Shipper sends log lines. Create it with New; all its methods may be called from any goroutine.
type Shipper struct {
	opts   Options
	limits *limiter
	own    chan record
	system chan record
	hurry  chan struct{} // one slot: hand over what there is
	every  time.Duration // batchEvery; shorter in tests

	ran      atomic.Bool
	limited  atomic.Uint64
	overflow atomic.Uint64
	sent     atomic.Uint64
	batches  atomic.Uint64
	waiting  atomic.Pointer[string] // why the batch that waits was not taken

	// These belong to Run.
	batch batch
	seq   map[string]uint64
	told  uint64 // of what was left out
}

// Stats are a Shipper's numbers since New.
type Stats struct {
	Sent     uint64 // lines that Publish has taken
	Batches  uint64 // and in how many payloads
	Limited  uint64 // lines of the agent left out because there were too many a second
	Overflow uint64 // lines of the agent left out because the queue was full
	Queued   int    // lines that wait
	Trouble  string // why Publish does not take what waits; empty: it does
}

// New checks the options. It starts no goroutine; lines may be logged at once, Run sends them.
func New(o Options) (*Shipper, error) {
	switch {
	case o.Publish == nil:
		return nil, errors.New("logs: Publish is missing")
	case o.Rate < 0:
		return nil, fmt.Errorf("logs: the rate must not be negative: %v", o.Rate)
	case len(o.Device) > maxName || len(o.BootID) > maxName:
		return nil, fmt.Errorf("logs: the names of the device and of its boot may have %d bytes", maxName)
	}
	if o.Level == nil {
		o.Level = zapcore.InfoLevel
	}
	return &Shipper{
		opts: o, limits: newLimiter(o.Rate, maphash.MakeSeed()),
		own: make(chan record, ownQueue), system: make(chan record, systemQueue), hurry: make(chan struct{}, 1),
		every: batchEvery, seq: map[string]uint64{},
	}, nil
}

// SetRate changes how many of the agent's lines a second are sent; 0: 50.
func (s *Shipper) SetRate(rate float64) { s.limits.set(rate) }

// Stats returns the numbers.
func (s *Shipper) Stats() Stats {
	st := Stats{
		Sent: s.sent.Load(), Batches: s.batches.Load(), Limited: s.limited.Load(), Overflow: s.overflow.Load(),
		Queued: len(s.own) + len(s.system),
	}
	if why := s.waiting.Load(); why != nil {
		st.Trouble = *why
	}
	return st
}

// Run hands lines over until ctx ends, and then what still waits, once. Its error tells how many lines nobody took.
// It may be called once.
func (s *Shipper) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return errors.New("logs: Run was called before")
	}
	tick, report := time.NewTicker(s.every), time.NewTicker(reportEvery)
	defer tick.Stop()
	defer report.Stop()
	for {
		select {
		case r := <-s.own:
			s.add(ctx, r)
		case r := <-s.system:
			s.add(ctx, r)
		case <-tick.C:
			s.flush(ctx)
		case <-s.hurry:
			s.catchUp(ctx)
			s.flush(ctx)
		case <-report.C:
			s.tell(ctx)
		case <-ctx.Done():
			return s.finish(ctx)
		}
	}
}

// catchUp adds what is queued now.
func (s *Shipper) catchUp(ctx context.Context) {
	for range len(s.own) + len(s.system) {
		select {
		case r := <-s.own:
			s.add(ctx, r)
		case r := <-s.system:
			s.add(ctx, r)
		default:
			return
		}
	}
}

func (s *Shipper) finish(ctx context.Context) error {
	before := s.overflow.Load()
	s.catchUp(ctx)
	s.tell(ctx)
	s.flush(ctx)
	if why := s.waiting.Load(); why != nil {
		return fmt.Errorf("logs: %d lines were not sent: %s", uint64(s.batch.lines)+s.overflow.Load()-before, *why)
	}
	return nil
}

// tell adds a line about those that were left out since the last time.
func (s *Shipper) tell(ctx context.Context) {
	limited, overflow := s.limited.Load(), s.overflow.Load()
	left := limited + overflow
	if left == s.told {
		return
	}
	s.add(ctx, record{
		source: sourceAgent, at: time.Now(), level: zapcore.WarnLevel.String(), logger: "logs",
		message: fmt.Sprintf("%d log lines were left out: there were too many", left-s.told),
		fields:  fmt.Appendf(nil, `{"limited_total":%d,"overflow_total":%d}`, limited, overflow),
	})
	s.told = left
}

// add puts a line into the batch, after the batch was handed over if it is full.
func (s *Shipper) add(ctx context.Context, r record) {
	n := s.seq[r.source]
	data := r.appendJSON(nil, s.opts.Device, s.opts.BootID, n)
	if !s.batch.fits(data) {
		if ctx.Err() == nil || s.waiting.Load() == nil {
			s.flush(ctx)
		}
		if s.batch.lines > 0 { // nobody takes it, and ctx has ended
			s.overflow.Add(1)
			return
		}
	}
	s.seq[r.source] = n + 1
	s.batch.add(data, r.done)
}

// flush hands the batch over. It tries again until ctx ends, and once if it has ended.
func (s *Shipper) flush(ctx context.Context) {
	if s.batch.lines == 0 {
		return
	}
	payload := s.batch.payload()
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		err := s.opts.Publish(payload)
		if err == nil {
			break
		}
		why := s.opts.Redactor.Text(err.Error())
		s.waiting.Store(&why)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
	s.waiting.Store(nil)
	s.sent.Add(uint64(s.batch.lines))
	s.batches.Add(1)
	s.batch.taken()
}

// put queues a line of the system. It waits for room, until ctx ends.
func (s *Shipper) put(ctx context.Context, r record) error {
	select {
	case s.system <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flushSoon makes Run hand over what there is.
func (s *Shipper) flushSoon() {
	select {
	case s.hurry <- struct{}{}:
	default:
	}
}
