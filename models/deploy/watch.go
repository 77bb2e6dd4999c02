package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Probation says how long a new model is watched, and what it is sent back for.
type Probation struct {
	// Time is how long the model is watched at least; a desired entry may say otherwise.
	Time time.Duration
	// MinFrames is how many frames it must have answered to pass. In a slot that gets no frames, because its cameras
	// are off, it passes once there was nothing for Time, untried.
	MinFrames uint64
	// LatencyFactor is how many times slower than the old model it may be; 0 switches the rule off.
	LatencyFactor float64
	// DetectionsFloor is the part of the old model's detections per frame that it must reach; 0 switches the rule off.
	DetectionsFloor float64
	// Stall is how long it may be busy without finishing a frame; 0 switches the rule off.
	Stall time.Duration
}

// DefaultProbation is a minute and 30 frames.
func DefaultProbation() Probation {
	return Probation{Time: time.Minute, MinFrames: 30, LatencyFactor: 3, DetectionsFloor: 0.1, Stall: 20 * time.Second}
}

func (p Probation) check() error {
	if p.Time <= 0 || p.Stall < 0 || p.LatencyFactor < 0 || !(p.DetectionsFloor >= 0 && p.DetectionsFloor < 1) {
		return errors.New("the probation needs a time above 0, and no negative limits; the floor of detections is below 1")
	}
	return nil
}

// What the rules need before they judge. The numbers are small enough to act within seconds at a few frames a second,
// and large enough that one odd frame decides nothing.
const (
	watchEvery     = time.Second
	minErrors      = 3
	moreErrors     = 0.05 // of all frames, above what the old model had: a camera's bad frames fail with any model
	minNotFinite   = 3
	latencyFrames  = 20
	latencyFloor   = 5 * time.Millisecond // below it a factor is noise, and nobody minds
	detectFrames   = 100
	detectionsRate = 0.2 // per frame: with fewer the scene is too empty to compare
)

// guard judges one model in its probation.
type guard struct {
	rules    Probation
	old      Health // of the model before
	begun    time.Time
	progress time.Time // when a frame was last finished, or none was in work
	quiet    time.Time // since when there was nothing to do
	last     Health
}

func newGuard(rules Probation, old Health, now time.Time) *guard {
	return &guard{rules: rules, old: old, begun: now, progress: now, quiet: now}
}

// look judges the model by its health now. It returns why the model has to go, or whether it has passed.
func (g *guard) look(now time.Time, h Health) (passed bool, why *failure) {
	busy, moved := h.Begun > h.Frames, h.Frames != g.last.Frames
	if moved || !busy {
		g.progress = now
	}
	if moved || busy {
		g.quiet = now
	}
	g.last = h
	if why := g.fault(now, h); why != nil {
		return false, why
	}
	if now.Sub(g.begun) < g.rules.Time || (busy && !moved) {
		return false, nil
	}
	return h.Frames >= g.rules.MinFrames || now.Sub(g.quiet) >= g.rules.Time, nil
}

func (g *guard) fault(now time.Time, h Health) *failure {
	switch {
	case h.NotFinite >= minNotFinite:
		return because(CodeProbationNotFinite, "%d of %d frames had NaN or infinities in the model's output", h.NotFinite, h.Frames)
	case h.Errors >= minErrors && rate(h.Errors, h.Frames) > rate(g.old.Errors, g.old.Frames)+moreErrors:
		return because(CodeProbationErrors, "%d of %d frames failed; with the model before %d of %d", h.Errors, h.Frames, g.old.Errors, g.old.Frames)
	case g.rules.Stall > 0 && now.Sub(g.progress) >= g.rules.Stall:
		return because(CodeProbationStalled, "a frame has been in work for %v; %d were finished before", now.Sub(g.progress), h.Frames)
	case g.slow(h):
		return because(CodeProbationSlow, "a frame takes %v; with the model before %v", h.Median, g.old.Median)
	case g.blind(h):
		return because(CodeProbationDetections, "%.3f detections per frame; with the model before %.3f",
			rate(h.Detections, h.Frames), rate(g.old.Detections, g.old.Frames))
	}
	return nil
}

func (g *guard) slow(h Health) bool {
	limit := time.Duration(float64(g.old.Median) * g.rules.LatencyFactor)
	return limit > 0 && h.Frames >= latencyFrames && g.old.Frames >= latencyFrames && h.Median > max(limit, latencyFloor)
}

func (g *guard) blind(h Health) bool {
	before := rate(g.old.Detections, g.old.Frames)
	return h.Frames >= detectFrames && g.old.Frames >= detectFrames && before >= detectionsRate &&
		rate(h.Detections, h.Frames) < before*g.rules.DetectionsFloor
}

func rate(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

func because(code Code, format string, args ...any) *failure {
	return fail(StateProbation, code, fmt.Errorf(format, args...))
}

// watch returns nil when the model has passed its probation.
func (w *worker) watch(ctx context.Context, j *job, before Health) error {
	rules := w.probation
	if j.want.Probation > 0 {
		rules.Time = j.want.Probation
	}
	g := newGuard(rules, before, time.Now())
	every := max(min(watchEvery, rules.Time/4), time.Millisecond)
	for sleep(ctx, every) {
		passed, why := g.look(time.Now(), w.host.Health(w.s.name))
		if why != nil {
			return why
		}
		if passed {
			return nil
		}
	}
	return ctx.Err()
}
