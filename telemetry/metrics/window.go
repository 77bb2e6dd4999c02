package metrics

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// sourceCounts is a copy of a source's counters.
type sourceCounts struct {
	input                 SourceInput
	frames, unsent, found uint64
	failures              [failureCount]uint64
	stages                *[stageCount]durations
}

// Snapshot ends the window and begins the next one. It also reads and writes references of models, so it may wait for the
// disk.
func (r *Registry) Snapshot(in Inputs) *Snapshot {
	r.window.Lock()
	defer r.window.Unlock()
	r.learn()
	now := r.o.Now()
	window := max(now.Sub(r.since), time.Millisecond)
	r.since = now
	r.seq++
	snap := &Snapshot{Device: r.o.Device, BootID: r.o.BootID, Seq: r.seq, Time: now, Window: window, Inputs: in}
	inputs := map[string]SourceInput{}
	for _, s := range in.Sources {
		inputs[s.Name] = s
		r.Source(s.Name) // one that has had no frame yet is a source too
	}
	for _, s := range r.all() {
		input, known := inputs[s.name]
		if !known { // not told of this time: nothing new
			input = r.before[s.name].input
		}
		after, models := s.end(input)
		snap.Sources = append(snap.Sources, difference(s.name, window, r.before[s.name], after, models))
		r.before[s.name] = after
	}
	r.mu.Lock()
	r.last = snap
	r.mu.Unlock()
	if err := r.keep(false); err != nil {
		r.o.Log.Warn("what a model is compared with cannot be kept; it is learnt anew after a restart", zap.Error(err))
	}
	return snap
}

// end copies the counters and ends the models' windows.
func (s *Source) end(input SourceInput) (sourceCounts, []ModelSnapshot) {
	stages := new([stageCount]durations)
	s.mu.Lock()
	defer s.mu.Unlock()
	*stages = s.stages
	c := sourceCounts{input: input, frames: s.frames, unsent: s.unsent, found: s.found, failures: s.failures, stages: stages}
	models := []ModelSnapshot{}
	for _, m := range s.replaced {
		models = append(models, m.end())
	}
	s.replaced = nil
	if s.model != nil {
		models = append(models, s.model.end())
	}
	return c, models
}

// modelWindow is how far a model's counters were told of.
type modelWindow struct {
	frames               uint64
	classes              []uint64
	confidence, perFrame spread
}

func (m *modelCounts) end() ModelSnapshot {
	now := modelWindow{m.frames, slices.Clone(m.classes), m.confidence.clone(), m.perFrame.clone()}
	out := ModelSnapshot{ModelRef: m.ref, Threshold: m.threshold, Frames: now.frames - m.told.frames, Classes: []ClassCount{}, Drift: m.drift.compare()}
	for class, n := range now.classes {
		if m.told.classes != nil {
			n -= m.told.classes[class]
		}
		if n == 0 {
			continue
		}
		id := class
		if class == len(now.classes)-1 {
			id = -1
		}
		out.Classes = append(out.Classes, ClassCount{id, m.label(class), n})
	}
	slices.SortStableFunc(out.Classes, func(a, b ClassCount) int { return cmp.Compare(b.Count, a.Count) })
	confidence, perFrame := now.confidence.less(&m.told.confidence), now.perFrame.less(&m.told.perFrame)
	out.Confidence = spreadOf(&confidence, (*spread).shareQuantile)
	if out.Confidence != nil {
		out.Confidence.Bins = confidence.Bins
	}
	out.PerFrame = spreadOf(&perFrame, (*spread).countQuantile)
	m.told = now
	return out
}

func spreadOf(s *spread, quantile func(*spread, float64) float64) *Spread {
	if s.N == 0 {
		return nil
	}
	q := func(q float64) float64 { return round(quantile(s, q), decimals) }
	return &Spread{Mean: round(s.mean(), decimals), P10: q(0.1), P50: q(0.5), P90: q(0.9)}
}

// difference tells of one source what happened between two copies of its counters.
func difference(name string, window time.Duration, before, after sourceCounts, models []ModelSnapshot) SourceSnapshot {
	if before.stages == nil {
		before.stages = new([stageCount]durations)
	}
	frames := after.frames - before.frames
	out := SourceSnapshot{
		Name: name, State: after.input.State, Frames: frames, FPS: round(float64(frames)/window.Seconds(), 2),
		Captured: since(after.input.Captured, before.input.Captured),
		Dropped:  Drops{FrameDrops: after.input.Dropped.since(before.input.Dropped), Unsent: after.unsent - before.unsent},
		Failed:   failures(after.failures).less(failures(before.failures)), Detections: after.found - before.found,
		Models: models,
		Totals: Totals{
			Captured: after.input.Captured, Frames: after.frames, Dropped: after.input.Dropped.Lost(),
			Failed: failures(after.failures).Sum(), Detections: after.found, Restarts: after.input.Restarts,
		},
	}
	to := [stageCount]**Quantiles{&out.Latency.Capture, &out.Latency.Preprocess, &out.Latency.Infer, &out.Latency.Postprocess, &out.Latency.Publish}
	for i := range to {
		if d := after.stages[i].less(&before.stages[i]); d.n > 0 {
			ms := func(q float64) float64 { return round(d.quantile(q).Seconds()*1e3, 3) }
			*to[i] = &Quantiles{N: d.n, P50: ms(0.5), P90: ms(0.9), P99: ms(0.99)}
		}
	}
	return out
}

// since is for counters of others, which may begin anew.
func since(after, before uint64) uint64 {
	if after < before {
		return after
	}
	return after - before
}

func failures(n [failureCount]uint64) Failures {
	return Failures{Deadline: n[Deadline], NotFinite: n[NotFinite], Other: n[Other]}
}

func (f Failures) less(o Failures) Failures {
	return Failures{Deadline: f.Deadline - o.Deadline, NotFinite: f.NotFinite - o.NotFinite, Other: f.Other - o.Other}
}

func itoa(n int) string { return strconv.Itoa(n) }
