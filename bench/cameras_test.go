package bench

import (
	"strings"
	"testing"
)

// Each target decides by itself, and those that need something the run had not are left out.
func TestCamerasVerdicts(t *testing.T) {
	good := func() *CamerasReport {
		row := CamerasRow{Jain: 1, Latency: Quantiles{P99: 50}, Overhead: 2}
		one, all := row, row
		one.Cameras, one.Wanted, one.FPS = 1, 5, 5
		all.Cameras, all.Wanted, all.FPS = 16, 80, 79
		return &CamerasReport{
			Threads: 1, Full: 120, Steps: []CamerasRow{one, all}, Soak: &CamerasSoak{Seconds: 600, First: row, Last: row},
			Memory: []CamerasMemory{{"a test card", 8, 100, 180}},
		}
	}
	for _, row := range []struct {
		name   string
		change func(*CamerasReport)
		missed string // a part of the only target that is missed; empty: none is
		count  int
	}{
		{"all met", func(*CamerasReport) {}, "", 5},
		{"the model is the limit", func(r *CamerasReport) { r.Full, r.Steps[1].FPS = 60, 58 }, "", 5},
		{"slow", func(r *CamerasReport) { r.Steps[1].FPS = 75 }, "frames a second of 16 cameras", 5},
		{"slower than one", func(r *CamerasReport) { r.Full, r.Steps[1].FPS = 60, 56 }, "frames a second of 16 cameras", 5},
		{"nothing came", func(r *CamerasReport) { r.Full, r.Steps[1].FPS = 0, 0 }, "frames a second of 16 cameras", 5},
		{"unfair", func(r *CamerasReport) { r.Steps[1].Jain = 0.98 }, "fairness", 5},
		{"unfair in the long run", func(r *CamerasReport) { r.Soak.Last.Jain = 0.98 }, "fairness", 5},
		{"costly", func(r *CamerasReport) { r.Steps[1].Overhead = 2.3 }, "overhead", 5},
		{"more threads", func(r *CamerasReport) { r.Threads, r.Steps[1].Overhead = 2, 2.3 }, "", 4},
		{"without one camera", func(r *CamerasReport) { r.Steps = r.Steps[1:] }, "", 4},
		{"ever later", func(r *CamerasReport) { r.Soak.Last.Latency.P99 = 60 }, "latency p99 at 3 times what fits, end ÷ beginning of 600 s", 5},
		{"large", func(r *CamerasReport) { r.Memory[0].All = 241 }, "a test card", 5},
		{"short", func(r *CamerasReport) { r.Soak, r.Memory = nil, nil }, "", 3},
		{"interrupted", func(r *CamerasReport) { r.Steps = nil }, "", 0},
	} {
		r := good()
		row.change(r)
		all := r.Verdicts()
		if len(all) != row.count {
			t.Errorf("%s: %d targets, want %d", row.name, len(all), row.count)
		}
		var missed []string
		for _, v := range all {
			if !v.Met {
				missed = append(missed, v.What)
			}
		}
		if row.missed == "" && len(missed) > 0 || row.missed != "" && (len(missed) != 1 || !strings.Contains(missed[0], row.missed)) {
			t.Errorf("%s: missed %v, want %q", row.name, missed, row.missed)
		}
	}
}
