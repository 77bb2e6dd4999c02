package telemetry

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	b := backoff{start: time.Second, limit: 128 * time.Second}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 128, 128} {
		if got := b.ceiling(); got != want*time.Second {
			t.Errorf("attempt %d: up to %v, want %v s", i, got, int(want))
		}
		if d := b.next(); d < 0 || d > want*time.Second {
			t.Errorf("attempt %d: %v, want between 0 and %v s", i, d, int(want))
		}
	}
	b.reset()
	if got := b.ceiling(); got != time.Second {
		t.Errorf("after reset: up to %v, want 1s", got)
	}
}

func TestBackoffIsFullJitter(t *testing.T) {
	b := backoff{start: time.Second, limit: time.Second}
	var low, high int
	for range 2000 {
		switch d := b.next(); {
		case d < 250*time.Millisecond:
			low++
		case d > 750*time.Millisecond:
			high++
		}
	}
	// 500 each on average; 350 is more than seven standard deviations away.
	if low < 350 || high < 350 {
		t.Errorf("of 2000 delays %d are in the first quarter and %d in the last", low, high)
	}
}

func TestBackoffNeverOverflows(t *testing.T) {
	b := backoff{start: time.Second, limit: 1<<63 - 1}
	for range 200 {
		if c := b.ceiling(); c <= 0 {
			t.Fatalf("ceiling %v", c)
		}
		b.attempt++
	}
	odd := backoff{start: 3 * time.Second, limit: 10 * time.Second}
	for range 5 {
		odd.next()
	}
	if c := odd.ceiling(); c != 10*time.Second {
		t.Errorf("ceiling %v, want 10s", c)
	}
}
