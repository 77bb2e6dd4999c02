package deploy

import (
	"testing"
	"time"
)

func TestWatch(t *testing.T) {
	const ms = time.Millisecond
	// The old model: one frame in ten fails, one object per frame.
	before := Health{Begun: 1000, Frames: 1000, Errors: 100, Detections: 1000, Median: 10 * ms}
	fine := Health{Begun: 10, Frames: 10, Detections: 10, Median: 12 * ms} // in each second
	for name, c := range map[string]struct {
		before func(*Health)
		second func(h *Health, n uint64) // changes what is seen after n seconds
		rules  func(*Probation)
		code   Code
		after  int // seconds until it is judged
	}{
		"good":               {after: 60},
		"errors":             {second: func(h *Health, n uint64) { h.Errors = 3 * n }, code: CodeProbationErrors, after: 1},
		"as many as before":  {second: func(h *Health, n uint64) { h.Errors = n }, after: 60},
		"two errors":         {second: func(h *Health, n uint64) { h.Begun, h.Frames, h.Errors = n, n, min(n, 2) }, after: 60},
		"errors, none known": {before: func(h *Health) { *h = Health{} }, second: func(h *Health, n uint64) { h.Errors = n }, code: CodeProbationErrors, after: 3},
		"not finite":         {second: func(h *Health, n uint64) { h.NotFinite = n }, code: CodeProbationNotFinite, after: 3},
		"slow":               {second: func(h *Health, _ uint64) { h.Median = 31 * ms }, code: CodeProbationSlow, after: 2},
		"slower":             {second: func(h *Health, _ uint64) { h.Median = 30 * ms }, after: 60},
		"slow, off":          {second: func(h *Health, _ uint64) { h.Median = time.Second }, rules: func(p *Probation) { p.LatencyFactor = 0 }, after: 60},
		"slow, few before":   {before: func(h *Health) { h.Frames = 19 }, second: func(h *Health, _ uint64) { h.Median = time.Second }, after: 60},
		"below the floor":    {before: func(h *Health) { h.Median = ms }, second: func(h *Health, _ uint64) { h.Median = 5 * ms }, after: 60},
		"above the floor":    {before: func(h *Health) { h.Median = ms }, second: func(h *Health, _ uint64) { h.Median = 6 * ms }, code: CodeProbationSlow, after: 2},
		"blind":              {second: func(h *Health, _ uint64) { h.Detections = 1 }, code: CodeProbationDetections, after: 10},
		"blind, off":         {second: func(h *Health, _ uint64) { h.Detections = 0 }, rules: func(p *Probation) { p.DetectionsFloor = 0 }, after: 60},
		"empty scene":        {before: func(h *Health) { h.Detections = 190 }, second: func(h *Health, _ uint64) { h.Detections = 0 }, after: 60},
		"few objects":        {second: func(h *Health, n uint64) { h.Detections = n }, after: 60},
		"no cameras":         {second: func(h *Health, _ uint64) { *h = Health{} }, after: 60},
		"cameras go off":     {second: func(h *Health, n uint64) { *h = Health{Begun: min(n, 20), Frames: min(n, 20)} }, after: 80},
		"a frame in 10 s":    {second: func(h *Health, n uint64) { *h = Health{Begun: n / 10, Frames: n / 10} }, after: 300},
		"hangs at once":      {second: func(h *Health, _ uint64) { *h = Health{Begun: 1} }, code: CodeProbationStalled, after: 20},
		"hangs late":         {second: func(h *Health, n uint64) { h.Frames = min(h.Frames, 590); h.Begun = h.Frames + n/59 }, code: CodeProbationStalled, after: 79},
		"busy and slow":      {second: func(h *Health, n uint64) { *h = Health{Begun: n/2 + 1, Frames: n / 2} }, after: 60},
	} {
		t.Run(name, func(t *testing.T) {
			rules, old := DefaultProbation(), before
			if c.before != nil {
				c.before(&old)
			}
			if c.rules != nil {
				c.rules(&rules)
			}
			now := time.Now()
			g := newGuard(rules, old, now)
			for n := uint64(1); n < 1000; n++ {
				h := Health{Begun: fine.Begun * n, Frames: fine.Frames * n, Detections: fine.Detections * n, Median: fine.Median}
				if c.second != nil {
					c.second(&h, n)
				}
				passed, why := g.look(now.Add(time.Duration(n)*time.Second), h)
				if !passed && why == nil {
					continue
				}
				var code Code
				if why != nil {
					code = why.code
				}
				if code != c.code || int(n) != c.after {
					t.Errorf("%q after %d s: %v; want %q after %d s", code, n, why, c.code, c.after)
				}
				return
			}
			t.Error("never judged")
		})
	}
}
