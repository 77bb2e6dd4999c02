package main

import (
	"strings"
	"testing"

	"gnomon/bench"
)

// A short run, for its form: how fast this machine is and whether targets are met, and so the exit code, is nothing to
// test here.
func TestBenchCameras(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := gnomon(t, "bench", "cameras", "--model", benchModel, "--source", "testdata/pictures", "--from", "1", "--to", "3",
		"--duration", "1s", "--fps", "10", "--soak", "6s", "--rss", "--threads", "1", "--json")
	if code != exitDone && code != exitFailed || code == exitFailed && !strings.Contains(stderr, "target missed: ") {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	var r bench.CamerasReport
	decodeOne(t, stdout, &r)
	if r.Schema != bench.CamerasSchema || r.FPS != 10 || r.Full <= 0 || len(r.Steps) != 3 || r.Soak == nil || len(r.Memory) < 2 {
		t.Fatalf("%+v", r)
	}
	for i, s := range r.Steps {
		if s.Cameras != i+1 || s.Wanted != 10*float64(i+1) {
			t.Errorf("%+v", s)
		}
	}
	if s := r.Soak; s.Seconds != 6 || s.FPS <= 0 {
		t.Errorf("%+v", s)
	}
	for _, s := range append(r.Steps, r.Soak.First, r.Soak.Last) {
		if s.FPS <= 0 || s.FPS > s.Captured+2 || s.Jain <= 0 || s.Jain > 1+1e-9 || s.Least > s.Most || s.Failed > 0 || s.Latency.P50 <= 0 || s.Overhead <= 0 || s.Overhead > s.CPU*s.FPS/s.Captured {
			t.Errorf("%+v", s)
		}
	}
	for _, m := range r.Memory {
		if m.Cameras != 3 || m.Source == "" || m.One <= 0 || m.All < m.One/2 {
			t.Errorf("%+v", m)
		}
	}
	if n := len(r.Verdicts()); n != 4+len(r.Memory) {
		t.Errorf("%d targets", n)
	}
}
