package supervise

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// safeCrashes within safeWindow start safe mode: what goes wrong that often goes wrong by itself. systemd waits two
	// seconds before each start, so a crash within the first ten seconds of a start is seen.
	safeCrashes = 5
	safeWindow  = time.Minute
	// goodAfter is how long a start has to last to count as good: models, cameras and the connection have been used by
	// then, and what leaks fast has shown.
	goodAfter = 10 * time.Minute
	// maxSafe is the longest safe mode. Each that follows another without a good start between lasts twice as long as the
	// one before, so that a trouble that stays costs a few crashes now and then, and one that somebody has ended is over
	// soon.
	maxSafe = 6 * time.Hour
	// maxReason bounds why a run has ended, in bytes.
	maxReason = 400
	// maxVersion bounds the agent's version, in bytes.
	maxVersion = 64
)

// Kind says how a run of the agent has ended.
type Kind string

// The kinds.
const (
	Stopped Kind = "stopped" // as it was asked to
	Failed  Kind = "failed"  // it gave up, and said why
	Crashed Kind = "crashed" // without a word, but perhaps with Go's last one: a panic, a fatal signal, kill -9
	Power   Kind = "power"   // the machine went down, or was restarted, while it ran
)

// bad reports whether such an end speaks against starting in the same way again.
func (k Kind) bad() bool { return k == Failed || k == Crashed }

// End is how a run of the agent has ended.
type End struct {
	Kind    Kind      `json:"kind"`             // empty: there was none before
	Reason  string    `json:"reason,omitempty"` // a sentence for a person, without secrets
	Started time.Time `json:"started"`          // by the clock of then
	Ended   time.Time `json:"ended"`            // Crashed and Power: when that was noticed
	Version string    `json:"version,omitempty"`
}

// Verdict is what the record says about a start.
type Verdict struct {
	Safe    bool          // start with what is known to work: see docs/operations.md
	Crashes int           // within the last minute
	Last    End           // of the run before this one
	Good    time.Duration // after which this start has proved good: then call Starts.Good
}

// Options is what Open needs beside a directory.
type Options struct {
	Version string // the agent's

	// For tests; nil and empty stand for the system's.
	now    func() time.Time
	uptime func() (time.Duration, error) // CLOCK_BOOTTIME
	boot   string                        // the kernel's boot id
	step   func(name string) error       // before each step of writing
}

// Starts keeps the record of starts and ends of one agent, in a directory of its own. Its methods may be called from any
// goroutine. After an error it goes on with what it knows: a record that cannot be kept never stops a start. A nil one
// keeps nothing.
type Starts struct {
	o    Options
	dir  string
	root *os.Root // nil: nothing is kept
	lock *os.File

	mu     sync.Mutex
	record record
	begun  bool
	safe   bool // this run is in safe mode
	ended  bool
}

// Open reads the record in dir, which is made if it does not exist, and locks it until Close. What it returns is never
// nil; after an error it keeps nothing, or begins a new record in place of a damaged one. ErrRunning: another agent has it.
func Open(dir string, o Options) (*Starts, error) {
	if o.now == nil {
		o.now = time.Now
	}
	if o.uptime == nil {
		o.uptime = uptime
	}
	if o.step == nil {
		o.step = func(string) error { return nil }
	}
	var bootErr error
	if o.boot == "" {
		o.boot, bootErr = bootID()
	}
	o.Version = oneLine(o.Version, maxVersion)
	s := &Starts{o: o, dir: dir}
	err := s.open()
	if err = errors.Join(err, bootErr); err != nil {
		return s, fmt.Errorf("the record of starts: %w", err)
	}
	return s, nil
}

// Begin notes a start and says how to start. Call it once, as early as possible. The verdict holds whatever the error: that
// is about noting it.
func (s *Starts) Begin() (Verdict, error) {
	if s == nil {
		return Verdict{Good: goodAfter}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		return Verdict{}, errors.New("the record of starts: this start is noted already")
	}
	s.begun = true
	now := s.moment()
	last := s.finish(now)
	crashes := s.record.crashes(now)
	v := Verdict{Crashes: crashes, Last: last, Good: goodAfter}
	if !s.record.Safe && crashes >= safeCrashes {
		s.record.Safe = true
		s.record.Rounds = min(s.record.Rounds+1, maxRounds)
	}
	if s.record.Safe {
		v.Safe, v.Good = true, min(goodAfter<<max(0, s.record.Rounds-1), maxSafe)
	}
	s.safe = v.Safe
	s.record.Runs = append(s.record.Runs, run{Started: now, Version: s.o.Version, PID: os.Getpid(), Safe: v.Safe})
	return v, s.save("note a start")
}

// finish ends the run before, if nobody else has: it did not come to that.
func (s *Starts) finish(now moment) End {
	if len(s.record.Runs) == 0 {
		return End{}
	}
	last := &s.record.Runs[len(s.record.Runs)-1]
	if last.End == nil {
		e := &end{At: now, Kind: Crashed, Reason: s.lastWords()}
		if !last.Started.before(now) {
			e.Kind, e.Reason = Power, "the machine was restarted, or lost its power"
		}
		last.End = e
	}
	return last.ended()
}

// End notes that this run ends and why. Orderly: it was asked to end by a person or a signal, which ends safe mode as well;
// else the run has failed. Only the first call counts.
func (s *Starts) End(reason string, orderly bool) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun || s.ended {
		return nil
	}
	s.ended = true
	kind := Failed
	if orderly {
		kind = Stopped
		s.record.Safe = false
	}
	s.record.Runs[len(s.record.Runs)-1].End = &end{At: s.moment(), Kind: kind, Reason: cleaned(reason)}
	return s.save("note the end of this run")
}

// Good notes that this start has proved good: call it when Verdict.Good has passed since. After a start in safe mode the
// next one is made without, so the agent should end (orderly) and be started again.
func (s *Starts) Good() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun {
		return nil
	}
	if !s.safe {
		s.record.Rounds = 0
	}
	s.record.Safe = false
	// What ended before this start is over: crashes that may follow are counted by themselves.
	s.record.Runs = s.record.Runs[len(s.record.Runs)-1:]
	return s.save("note a good start")
}

// Close gives the record free. It is idempotent, and notes no end by itself.
func (s *Starts) Close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	if s.root != nil {
		errs = append(errs, s.root.Close())
	}
	s.lock, s.root = nil, nil
	return errors.Join(errs...)
}

// moment is now by both clocks. Without the second one the machine seems to have just started, so that every run before
// ended with it: no crash is counted that may be none.
func (s *Starts) moment() moment {
	up, err := s.o.uptime()
	if err != nil {
		up = 0
	}
	return moment{Time: s.o.now().UTC(), Boot: s.o.boot, Up: up}
}

// uptime is how long the machine runs, with the time that it was suspended; no step of the clock changes it.
func uptime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, fmt.Errorf("read the machine's uptime: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("tell a restart of the machine from a crash: %w", err)
	}
	return oneLine(strings.TrimSpace(string(data)), maxVersion), nil
}
