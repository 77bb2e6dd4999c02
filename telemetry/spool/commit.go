package spool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

const (
	// A disk that takes nothing is tried again after retryFirst, then at twice the distance each time.
	retryFirst = time.Second
	retryMax   = 30 * time.Second
	// idle is how long nothing must have been written before it is considered whether to make the file smaller.
	idle = 10 * time.Second
)

// Run commits until ctx ends, which ends with a last commit, or Close is called. Trouble with the disk is in Stats,
// never returned; an error says that Run was called twice, or after Close.
func (s *Spool) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.closed || s.running {
		s.mu.Unlock()
		return errors.New("run the spool: it is closed, or runs already; open it anew")
	}
	s.running = true
	s.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.flush(true)
			return nil
		case <-s.ended:
			return nil
		case <-s.wake:
		case <-timer.C:
		}
		wait := s.due()
		if wait <= 0 {
			s.flush(false)
			wait = s.due()
		}
		timer.Reset(max(wait, 0))
	}
}

// Close commits what waits and closes the file. It may be called more than once, before, during and after Run.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.ended)
	s.mu.Unlock()
	s.flush(true)
	s.committing.Lock()
	defer s.committing.Unlock()
	s.mu.Lock()
	left, fault := s.unsaved, s.fault
	s.mu.Unlock()
	err := errors.Join(s.detach(), s.lock.release())
	if left > 0 && fault != nil {
		err = errors.Join(err, fmt.Errorf("%d bytes of records could not be written: %w", left, fault))
	}
	if err != nil {
		return fmt.Errorf("close the spool: %w", err)
	}
	return nil
}

// due is how long the next commit may wait.
func (s *Spool) due() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.fault != nil {
		return s.faultAt.Sub(now)
	}
	at := s.last.Add(idle)
	if s.broken != nil || s.unsaved >= s.commitBytes() {
		return 0
	}
	if !s.since.IsZero() {
		// Begun so early that it will have ended in time, even if it takes somewhat longer than those before.
		every := s.opts.CommitEvery
		at = s.since.Add(every - min(max(2*s.took, every/10), every/2))
	}
	if len(s.deletes) > 0 && s.freed.Add(deletesEvery).Before(at) {
		at = s.freed.Add(deletesEvery)
	}
	return at.Sub(now)
}

// commitBytes bounds one commit. On a disk that is full a small one may find room where a large one doesn't.
func (s *Spool) commitBytes() int {
	n := int(min(maxCommit, s.opts.MaxBytes/16))
	if s.fault != nil {
		n /= 16
	}
	return n
}

// flush commits what waits, as far as the disk takes it; last also what would otherwise be lost by ending.
func (s *Spool) flush(last bool) {
	s.committing.Lock()
	defer s.committing.Unlock()
	defer s.announce()
	begin := time.Now()
	wrote, err := s.attempt(last)
	if isDamage(err) {
		s.mu.Lock()
		s.broken = err
		s.mu.Unlock()
		wrote, err = s.attempt(last)
	}
	if err != nil {
		s.failed(err)
		return
	}
	s.worked(time.Since(begin), wrote)
	if !wrote && !last {
		s.compact()
	}
}

// attempt commits what waits, and reports whether there was anything.
func (s *Spool) attempt(last bool) (wrote bool, err error) {
	if err := s.repair(); err != nil {
		return false, err
	}
	if last {
		s.tidy()
	}
	for {
		p := s.plan()
		if len(p.deletes)+len(p.writes) == 0 {
			return wrote, nil
		}
		wrote = true
		if err := s.commit(p); err != nil || !p.more {
			return wrote, err
		}
	}
}

// announce wakes those who wait for a commit.
func (s *Spool) announce() {
	s.mu.Lock()
	close(s.settled)
	s.settled = make(chan struct{})
	s.mu.Unlock()
}

// failed notes that the disk doesn't take anything.
func (s *Spool) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		s.opts.Log.Warn("the spool can't be written: records are kept in memory until it can", zap.Error(err))
		s.retry = retryFirst / 2
	}
	s.retry = min(2*s.retry, retryMax)
	s.fault, s.faultAt = err, time.Now().Add(s.retry)
}

// worked notes that it does, and how long a commit takes.
func (s *Spool) worked(took time.Duration, wrote bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		s.opts.Log.Info("the spool can be written again")
		s.fault = nil
	}
	s.last = time.Now()
	if wrote {
		s.took = max(took, s.took*7/8) // so that one that takes longer is reckoned with for a while
	}
}
