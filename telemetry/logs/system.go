package logs

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"

	"gnomon/telemetry/redact"
)

const (
	// saveEvery is how often positions are written. After a power cut the lines of that time come twice.
	saveEvery = 5 * time.Second
	// pollEvery is how often a log file is looked at.
	pollEvery = time.Second
	// leaveAfter is how long the end waits for lines to be handed over.
	leaveAfter = 2 * time.Second
	// Waiting times between attempts to read a log that cannot be read.
	againFirst = time.Second
	againMax   = time.Minute
	// maxLogs bounds the units and the files: each file has a goroutine.
	maxLogs = 64
)

// errAbsent is wrapped by errors about logs that this machine doesn't have.
var errAbsent = errors.New("not on this machine")

// SystemOptions configures NewSystem.
type SystemOptions struct {
	// Positions is the file that keeps where reading has come to; its folder exists. Empty: after a restart reading
	// begins with what is new.
	Positions string

	Units  []string // of systemd, whose lines in the journal are sent
	Kernel bool     // whether the kernel's messages are sent
	Files  []string // absolute paths of log files

	// Rate is how many lines a second are read from each log; 0: 50. What is more waits where it is.
	Rate float64

	// Log is told of trouble with the logs; nil: nobody is.
	Log *zap.Logger
}

// System sends the system's logs through a Shipper. Create it with NewSystem. Where a log was never read before,
// reading begins at its end; for the kernel with all that it still has. Lines arrive at least once.
type System struct {
	ship      *Shipper
	opts      SystemOptions
	positions *positions
	lost      error // what became of the file of positions
	ran       atomic.Bool

	// For tests.
	journal      func() *journal
	kernelDevice string
	poll         time.Duration
}

// NewSystem checks the options and reads the positions. It opens no log and starts no goroutine.
func NewSystem(s *Shipper, o SystemOptions) (*System, error) {
	if len(o.Units) > maxLogs || len(o.Files) > maxLogs {
		return nil, fmt.Errorf("logs: at most %d journal units and %d files are allowed", maxLogs, maxLogs)
	}
	unit := regexp.MustCompile(`^[A-Za-z0-9:_.@\\*?][A-Za-z0-9:_.@\\*?-]*$`)
	for _, u := range o.Units {
		if !unit.MatchString(u) {
			return nil, fmt.Errorf("logs: %.100q is not the name of a unit; write one such as nvargus-daemon.service", u)
		}
	}
	for i, path := range o.Files {
		if !filepath.IsAbs(path) || len(filepath.Base(path)) > maxName {
			return nil, fmt.Errorf("logs: %.100q is not the path of a log file from the root; write one such as /var/log/syslog", path)
		}
		if slices.Contains(o.Files[:i], path) {
			return nil, fmt.Errorf("logs: %.100q is there twice", path)
		}
	}
	if o.Rate < 0 {
		return nil, fmt.Errorf("logs: the rate must not be negative: %v", o.Rate)
	}
	if o.Rate == 0 {
		o.Rate = defaultRate
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	y := &System{ship: s, opts: o, kernelDevice: "/dev/kmsg", poll: pollEvery}
	y.positions, y.lost = openPositions(o.Positions)
	y.journal = func() *journal { return &journal{command: "journalctl", units: o.Units} }
	return y, nil
}

// reader reads a log until ctx ends or it can't.
type reader interface {
	run(ctx context.Context, f *feed) error
}

// Run reads until ctx ends; then it waits a while until what was read has been handed over, and writes the positions.
// So end it before the Shipper. It may be called once.
func (y *System) Run(ctx context.Context) error {
	if y.ran.Swap(true) {
		return errors.New("logs: Run was called before")
	}
	if y.lost != nil {
		y.opts.Log.Warn("reading the logs begins anew", zap.Error(y.lost))
	}
	var readers sync.WaitGroup
	start := func(source string, r reader) {
		f := &feed{
			ship: y.ship, positions: y.positions, source: source, log: y.opts.Log,
			limit: rate.NewLimiter(rate.Limit(y.opts.Rate), max(1, int(burst*y.opts.Rate))),
		}
		readers.Go(func() { y.keep(ctx, f, r) })
	}
	if len(y.opts.Units) > 0 {
		start("journal", y.journal())
	}
	if y.opts.Kernel {
		start("kernel", &kernel{device: y.kernelDevice})
	}
	for _, path := range y.opts.Files {
		start(filepath.Base(path), &file{path: path, poll: y.poll})
	}
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-tick.C:
			err := y.positions.save()
			if err != nil && !failed { // once, and not every time
				y.opts.Log.Warn("after a restart lines of the logs may come twice", zap.Error(err))
			}
			failed = err != nil
		case <-ctx.Done():
			readers.Wait()
			y.settle()
			return y.positions.save()
		}
	}
}

// settle waits until all that was read has been handed over, or not much longer.
func (y *System) settle() {
	const look = 20 * time.Millisecond
	for end := time.Now().Add(leaveAfter); !y.positions.idle() && time.Now().Before(end); time.Sleep(look) {
		y.ship.flushSoon()
	}
}

// keep runs a reader again and again, and tells once of each kind of trouble.
func (y *System) keep(ctx context.Context, f *feed, r reader) {
	told := ""
	for wait := againFirst; ; wait = min(2*wait, againMax) {
		begin := time.Now()
		err := r.run(ctx, f)
		if ctx.Err() != nil || err == nil {
			return
		}
		if errors.Is(err, errAbsent) {
			y.opts.Log.Error("a log cannot be read; going on without it", zap.String("log", f.source), zap.Error(err))
			return
		}
		if time.Since(begin) > againMax {
			told, wait = "", againFirst
		}
		if err.Error() != told {
			told = err.Error()
			y.opts.Log.Warn("a log cannot be read; trying again", zap.String("log", f.source), zap.Error(err))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// feed is how one reader hands its lines over.
type feed struct {
	ship      *Shipper
	positions *positions
	source    string
	limit     *rate.Limiter
	log       *zap.Logger
}

// line hands a line over, redacted by stream and bounded. It waits until there is room, or ctx has ended. note is told
// when the line has been taken; nil: the position is not one to begin at.
func (f *feed) line(ctx context.Context, r record, stream *redact.Stream, note func(*saved)) error {
	r.source = f.source
	r.message = cut(stream.Line(clip(r.message)), maxMessage)
	if level, err := zapcore.ParseLevel(r.level); err == nil && r.level != "" && !f.ship.opts.Level.Enabled(level) {
		return nil // its position is that of a later line
	}
	if err := f.limit.Wait(ctx); err != nil {
		return err
	}
	r.done = f.positions.read(note)
	if err := f.ship.put(ctx, r); err != nil {
		f.positions.unread()
		return err
	}
	return nil
}

// stream makes what redacts the lines of one writer.
func (f *feed) stream() *redact.Stream { return redact.NewStream(f.ship.opts.Redactor) }
