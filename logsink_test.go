package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// Nobody who logs waits for whoever takes the lines; what is too much is counted, and told once somebody takes them again.
func TestLogSink(t *testing.T) {
	r, w := io.Pipe()
	s := newLogSink(w, func(n uint64) string { return fmt.Sprintf("%d lines are lost", n) })
	writing := inBackground(s.run)
	for i := range maxLogLines + 100 {
		if n, err := fmt.Fprintf(s, "line %d\n", i); n < 7 || err != nil {
			t.Fatal(n, err)
		}
	}
	if ended, _ := writing.stopWithin(10 * time.Millisecond); ended {
		t.Fatal("somebody took the lines")
	}
	var all strings.Builder
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(&all, r) }()
	<-writing.done
	_ = w.Close()
	<-done
	text := all.String()
	lines := strings.Count(text, "\n")
	if !strings.Contains(text, "line 0\n") || !strings.Contains(text, "lines are lost\n") || strings.Contains(text, fmt.Sprintf("line %d\n", maxLogLines+99)) || lines < maxLogLines {
		t.Errorf("%d lines: %.200s", lines, text)
	}
}
