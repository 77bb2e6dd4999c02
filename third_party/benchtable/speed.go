package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gnomon/bench"
)

// speed measures a contender against its bare loops, and what gnomon costs beside the model.
func (m *meter) speed(ctx context.Context, c contender, e entry, absent error) {
	ratio, memory := c.name+": end to end ÷ best bare speed", c.name+": same, frames in memory"
	r, err := m.measured(ctx, e, absent, c.name, m.o.sample, m.o.duration, "--source-in-memory")
	if err != nil {
		m.report.lacks(ratio, atLeast(c.e2e), err)
		m.report.lacks(memory, atLeast(c.memory), err)
	} else {
		bare := fmt.Sprintf("%.1f FPS bare (%s)", r.RawFPS, r.RawArrangement)
		m.report.got(ratio, atLeast(c.e2e), r.Ratio, fmt.Sprintf("%.1f ÷ %s", r.E2EFPS, bare), nil)
		if r.MemoryRatio == nil || r.MemoryFPS == nil {
			m.report.lacks(memory, atLeast(c.memory), errors.New("gnomon bench does not say"))
		} else {
			m.report.got(memory, atLeast(c.memory), *r.MemoryRatio, fmt.Sprintf("%.1f ÷ %s", *r.MemoryFPS, bare), nil)
		}
	}
	size := fmt.Sprintf("%dx%d", c.video[0], c.video[1])
	what, most := fmt.Sprintf("%s: processor time outside Run and decoding, %s", c.name, size), atMost(c.cpu, "ms")
	video, err := "", absent
	if err == nil {
		video, err = m.video(ctx, c.video[0], c.video[1])
	}
	if r, err = m.measured(ctx, e, err, c.name+" "+size, video, m.o.duration/2); err != nil {
		m.report.lacks(what, most, err)
		return
	}
	m.report.got(what, most, r.CPU.Outside, fmt.Sprintf("of %.1f ms a frame", r.CPU.Frame), nil)
}

// measured is gnomonBench with its report kept under a name; absent is why there is nothing to measure.
func (m *meter) measured(ctx context.Context, e entry, absent error, name, video string, d time.Duration, flags ...string) (*bench.SpeedReport, error) {
	if absent != nil {
		return nil, absent
	}
	say("gnomon bench, %s: about %.0f s", name, d.Seconds()+20)
	r, err := m.gnomonBench(ctx, e, video, d, flags...)
	if err == nil {
		m.report.Bench[name] = r
	}
	return r, err
}

// gnomonBench runs gnomon bench on a video.
func (m *meter) gnomonBench(ctx context.Context, e entry, video string, d time.Duration, flags ...string) (*bench.SpeedReport, error) {
	if m.broker == "" {
		return nil, m.brokerErr
	}
	args := append([]string{"bench", "--json", "--model", e.path, "--source", video, "--broker", m.broker, "--duration", d.String()}, flags...)
	if e.manifest != "" {
		args = append(args, "--manifest", e.manifest)
	}
	out, err := output(ctx, d, nil, m.o.gnomon, args...)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(m.dir, "bench.json")
	if err := os.WriteFile(path, out, 0o600); err != nil {
		return nil, fmt.Errorf("keep the report of gnomon bench: %w", err)
	}
	r, err := bench.LoadSpeedReport(path)
	if err != nil {
		return nil, err
	}
	if len(r.Results) != 1 || r.Frames == 0 {
		return nil, fmt.Errorf("gnomon bench measured %d models and %d frames", len(r.Results), r.Frames)
	}
	return r, nil
}

// allocations runs the tests that hold each part between capture and decoding to no allocation.
func (m *meter) allocations(ctx context.Context) {
	const what = "Go heap allocations a frame, capture to decoding"
	none := atMost(0, "allocations")
	parts := []struct{ pkg, test string }{
		{"./camera", "TestReadDoesNotAllocate"},
		{"./engine", "TestSteadyStateDoesNotAllocate"},
		{"./engine/tensor", "TestProcessDoesNotAllocate"},
		{"./engine/ort", "TestRun"},
		{"./engine/detect", "TestNoAllocations"},
	}
	say("allocations: the tests of %d parts", len(parts))
	for _, p := range parts {
		out, err := output(ctx, 0, nil, "go", "test", "-count=1", "-v", "-run", "^"+p.test+"$", p.pkg)
		switch text := string(out); {
		case err != nil:
			m.report.lacks(what, none, fmt.Errorf("%s of %s: %w", p.test, p.pkg, err))
			return
		case !strings.Contains(text, "--- PASS: "+p.test): // skipped, or gone
			m.report.lacks(what, none, fmt.Errorf("%s of %s was not run; it needs what make build makes", p.test, p.pkg))
			return
		}
	}
	m.report.got(what, none, 0, "each part has a test that allows none; publishing is not in it", nil)
}
