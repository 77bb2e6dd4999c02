package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"gnomon/supervise"
)

// maxLoad is how long loading the first models may take: TensorRT builds an engine for each.
const maxLoad = 30 * time.Minute

// supervision keeps the record of starts, tells systemd how the agent is, and ends it where only a new start helps: when a
// native call never returns, or too many cameras hang in theirs.
type supervision struct {
	starts   *supervise.Starts // nil: nothing is kept, as for the demo
	verdict  supervise.Verdict
	notifier *supervise.Notifier
	dog      *supervise.Dog
	trouble  error  // to be logged once there is a log
	leave    func() // ends the process, whatever is stuck in it

	mu     sync.Mutex
	log    *zap.Logger
	stop   context.CancelFunc // ends the agent; nil: it has not begun
	reason string             // why it is to be started again
	hung   bool               // and that something in it never comes back
}

// newSupervision notes this start. Record: it is kept for the thing; without, no start is a safe one.
func newSupervision(thing string, record bool) *supervision {
	s := &supervision{log: zap.NewNop(), leave: giveUp}
	var errs []error
	if record {
		dir, err := startsDir(thing)
		if err == nil {
			s.starts, err = supervise.Open(dir, supervise.Options{Version: version})
		}
		errs = append(errs, err)
	}
	var err error
	s.verdict, err = s.starts.Begin()
	errs = append(errs, err, s.starts.CatchCrashes())
	s.notifier, err = supervise.FromEnvironment()
	errs = append(errs, err)
	s.dog, err = supervise.NewDog(supervise.DogOptions{Notifier: s.notifier, Stuck: s.stuck})
	s.trouble = errors.Join(append(errs, err)...)
	return s
}

// begin gives it the log and what ends the agent.
func (s *supervision) begin(log *zap.Logger, stop context.CancelFunc) {
	s.mu.Lock()
	s.log, s.stop = log, stop
	s.mu.Unlock()
	if s.trouble != nil {
		log.Warn("supervision", zap.Error(s.trouble))
	}
	if last := s.verdict.Last; last.Kind != "" && last.Kind != supervise.Stopped {
		log.Warn("the last run did not end as it should", zap.String("how", string(last.Kind)), zap.String("reason", last.Reason), zap.Int("crashes", s.verdict.Crashes))
	}
	if s.verdict.Safe {
		log.Error("safe mode: the agent has crashed again and again; it runs the last good model on the processor, and without settings from the cloud", zap.Duration("for", s.verdict.Good))
	}
}

// run watches over the agent until ctx ends.
func (s *supervision) run(ctx context.Context) error {
	dog := inBackground(s.dog.Run)
	defer func() { _ = dog.stop() }()
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(s.verdict.Good):
	}
	if err := s.starts.Good(); err != nil {
		s.logger().Warn("a good start cannot be noted", zap.Error(err))
	}
	if s.verdict.Safe {
		s.end("safe mode is over; the next start is an ordinary one", true, false)
	}
	<-ctx.Done()
	return nil
}

// stuck is called by the dog.
func (s *supervision) stuck(part, what string, silent time.Duration) {
	reason := part + " gives no sign of life for " + silent.Round(time.Second).String()
	if what != "" {
		reason += " (" + what + ")"
	}
	s.restart(reason)
}

// restart ends the agent, in which something never comes back, so that it is started again. Any goroutine may call it.
func (s *supervision) restart(reason string) { s.end(reason, false, true) }

func (s *supervision) end(reason string, orderly, hung bool) {
	s.mu.Lock()
	stop := s.stop
	if s.reason != "" || stop == nil {
		s.mu.Unlock()
		return
	}
	s.reason, s.hung = reason, hung
	s.mu.Unlock()
	time.AfterFunc(stopLimit, s.leave) // first: the disk may hang as well
	stop()
	s.logger().Error("the agent ends, to be started again", zap.String("reason", reason))
	if err := s.starts.End(reason, orderly); err != nil { // now: who knows how far the rest comes
		s.logger().Warn("the reason is not on record", zap.Error(err))
	}
}

func (s *supervision) logger() *zap.Logger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log
}

// loading is the part that loads the first models.
func (s *supervision) loading() *supervise.Part {
	p := s.dog.Part("the model", time.Minute)
	p.Busy("loading it", maxLoad)
	return p
}

// stopped notes that the agent ends as it was asked to, or with what went wrong then.
func (s *supervision) stopped(err error) {
	reason := "as it was asked to"
	if err != nil {
		reason = err.Error()
	}
	var wrong *usageError // starting in another way would not help
	if err := s.starts.End(reason, err == nil || errors.As(err, &wrong)); err != nil {
		s.logger().Warn("the end is not on record", zap.Error(err))
	}
}

// restarting is why the agent is to be started again, as an error; nil: it is not. Hung: something in it is not to be
// waited for.
func (s *supervision) restarting() (hung bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == "" {
		return false, nil
	}
	return s.hung, errors.New("to be started again: " + s.reason)
}

// safe reports whether this run is in safe mode.
func (s *supervision) safe() bool { return s != nil && s.verdict.Safe }

// close notes the end, with why it was if not as asked.
func (s *supervision) close(err error) error {
	s.stopped(err)
	return s.starts.Close()
}
