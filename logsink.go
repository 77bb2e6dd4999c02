package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

const (
	// maxLogLines is how many lines of the log wait for whoever takes them: a burst of a second.
	maxLogLines = 1000
	// lastLines is how long the end waits for them.
	lastLines = 200 * time.Millisecond
)

// logSink stands between the log and where it goes. A pipe that nobody reads, or a disk that hangs, must not stop who has
// something to say: it may hold a lock that others need. Lines that nobody takes are counted, and the count told when
// somebody does again. Any goroutine may write.
type logSink struct {
	out   io.Writer
	lost  func(lines uint64) string // the line that says so
	lines chan []byte
	gone  atomic.Uint64
}

func newLogSink(out io.Writer, lost func(lines uint64) string) *logSink {
	return &logSink{out: out, lost: lost, lines: make(chan []byte, maxLogLines)}
}

// Write never blocks and never fails.
func (s *logSink) Write(p []byte) (int, error) {
	select {
	case s.lines <- append([]byte(nil), p...):
	default:
		s.gone.Add(1)
	}
	return len(p), nil
}

// run writes until ctx ends and nothing waits any more.
func (s *logSink) run(ctx context.Context) error {
	for {
		select {
		case line := <-s.lines:
			s.put(line)
			continue
		default:
		}
		select {
		case line := <-s.lines:
			s.put(line)
		case <-ctx.Done():
			return nil
		}
	}
}

// put writes a line, after word of those that are lost. Whoever cannot be written to cannot be told so.
func (s *logSink) put(line []byte) {
	if n := s.gone.Swap(0); n > 0 {
		_, _ = fmt.Fprintln(s.out, s.lost(n))
	}
	_, _ = s.out.Write(line)
}
