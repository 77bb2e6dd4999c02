package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"gnomon/camera"
)

// Waiting times double from half a second to half a minute, begin anew after a good run, and are long after a wrong
// password; the same trouble is logged once.
func TestReopening(t *testing.T) {
	var r reopening
	about := func(got, want time.Duration) {
		t.Helper()
		if got < want*3/4 || got > want*5/4 {
			t.Errorf("waits %v, want about %v", got, want)
		}
	}
	away := errors.New("no route")
	want := reopenFirst
	for range 10 {
		about(r.failed(away, time.Second), want)
		want = min(2*want, reopenMax)
	}
	about(r.failed(away, steady), reopenFirst)
	about(r.failed(fmt.Errorf("open: %w", camera.ErrAuth), 0), reopenSlow)
	about(r.failed(away, 0), 4*reopenFirst)
	if d := r.failed(fmt.Errorf("read: %w", camera.ErrChanged), 2*time.Second); d != 0 {
		t.Errorf("waits %v for a picture of another size", d)
	}
	about(r.failed(fmt.Errorf("read: %w", camera.ErrChanged), 0), 16*reopenFirst)

	now := time.Now()
	if !r.news(away, now) || r.news(away, now.Add(time.Minute)) || !r.news(errors.New("another"), now) || !r.news(away, now) || !r.news(away, now.Add(sameTrouble)) {
		t.Error("the same trouble is logged too often, or too rarely")
	}
}
