package metrics

import (
	"maps"
	"slices"
)

// exposed is a copy of what one source has counted.
type exposed struct {
	name     string
	input    *SourceInput // nil: not told of
	fps      *float64     // nil: no window has ended
	frames   uint64
	failures [failureCount]uint64
	unsent   uint64
	stages   *[stageCount]durations
	classes  map[string]uint64

	model      ModelRef // in use; without a digest there is none
	confidence spread
	drift      Drift
}

// expose copies a source's counters as they are now.
func (s *Source) expose() exposed {
	stages := new([stageCount]durations)
	s.mu.Lock()
	defer s.mu.Unlock()
	*stages = s.stages
	e := exposed{name: s.name, frames: s.frames, failures: s.failures, unsent: s.unsent, stages: stages}
	if m := s.model; m != nil {
		e.model, e.confidence, e.drift = m.ref, m.confidence.clone(), m.drift.compare()
		for class, n := range m.classes {
			if n > 0 {
				s.admit(m.label(class)) // first come, for good
			}
		}
		e.classes = maps.Clone(s.classes)
		for class, n := range m.classes {
			if n > 0 {
				e.classes[s.admit(m.label(class))] += n
			}
		}
	}
	return e
}

// Text is everything in Prometheus's text format, with what others count. Speeds are those of the last Snapshot. Series of
// what is not known are left out.
func (r *Registry) Text(in Inputs) []byte {
	r.mu.Lock()
	last := r.last
	r.mu.Unlock()
	fps := map[string]float64{}
	if last != nil {
		for i := range last.Sources {
			fps[last.Sources[i].Name] = last.Sources[i].FPS
		}
	}
	for _, s := range in.Sources {
		r.Source(s.Name) // one that has had no frame yet is a source too
	}
	var all []exposed
	for _, s := range r.all() {
		e := s.expose()
		for i := range in.Sources {
			if in.Sources[i].Name == e.name {
				e.input = &in.Sources[i]
			}
		}
		if v, known := fps[e.name]; known {
			e.fps = &v
		}
		all = append(all, e)
	}
	t := &text{}
	t.family("gnomon_agent_info", gauge, "The agent that runs; always 1.").add(1, label{"version", r.o.Version})
	t.agent(&in)
	t.frames(all)
	t.found(all)
	if in.Host != nil {
		t.host(in.Host)
	}
	return t.buf
}

func (t *text) agent(in *Inputs) {
	if in.Health != "" {
		f := t.family("gnomon_health_status", gauge, "How the agent is: 1 for the status that holds, 0 for the others.")
		for _, status := range []string{"ok", "degraded", "failed"} {
			f.add(flag(status == in.Health), label{"status", status})
		}
	}
	t.family("gnomon_agent_restarts_total", counter, "Starts of the agent after the first one, where they are known.").count(in.Restarts)
	if in.Process != nil {
		t.family("gnomon_goroutines", gauge, "Goroutines of the agent.").count(in.Process.Goroutines)
		t.family("gnomon_open_mats", gauge, "Pictures of OpenCV that the agent holds.").count(in.Process.Mats)
		t.family("gnomon_abandoned_readers", gauge, "Cameras that do not come back from being read and were left behind.").count(in.Process.Abandoned)
	}
	t.family("gnomon_model_swaps_total", counter, "Models exchanged.").count(in.Swaps)
	t.family("gnomon_model_roll_backs_total", counter, "Models that were taken back after they had run.").count(in.RollBacks)
	if l := in.Link; l != nil {
		t.family("gnomon_mqtt_connected", gauge, "1: there is a connection to the broker.").add(flag(l.Connected))
		t.family("gnomon_mqtt_published_total", counter, "Messages handed to the connection.").count(l.Published)
		t.family("gnomon_mqtt_acknowledged_total", counter, "Messages that the broker has.").count(l.Acked)
		t.family("gnomon_mqtt_dropped_total", counter, "Messages given up because too many waited.").count(l.Dropped)
		t.family("gnomon_mqtt_refused_total", counter, "Messages that were too large or came too late.").count(l.Refused)
		t.family("gnomon_mqtt_queued", gauge, "Messages that wait to be sent.").add(float64(l.Queued))
		t.family("gnomon_mqtt_in_flight", gauge, "Messages sent and not acknowledged.").add(float64(l.InFlight))
		t.family("gnomon_mqtt_reconnects_total", counter, "Connections after the first one.").count(l.Reconnects)
	}
	if s := in.Spool; s != nil {
		t.family("gnomon_spool_size_bytes", gauge, "What the spool takes on the disk.").count(s.Bytes)
		t.family("gnomon_spool_limit_bytes", gauge, "What the spool may take on the disk.").count(s.MaxBytes)
		records := t.family("gnomon_spool_records", gauge, "Records that wait on the disk, by class of data.")
		for _, c := range s.Classes {
			records.count(c.Records, label{"class", c.Name})
		}
		dropped := t.family("gnomon_spool_dropped_total", counter, "Records given up because the spool was full, by class of data.")
		for _, c := range s.Classes {
			dropped.count(c.Dropped, label{"class", c.Name})
		}
	}
}

func (t *text) frames(all []exposed) {
	// each writes one family for all sources that have a value.
	each := func(name string, k kind, help string, value func(*exposed) *float64) {
		f := t.family(name, k, help)
		for i := range all {
			f.optional(value(&all[i]), label{"source", all[i].name})
		}
	}
	// told is for what others count.
	told := func(value func(*SourceInput) float64) func(*exposed) *float64 {
		return func(e *exposed) *float64 {
			if e.input == nil {
				return nil
			}
			v := value(e.input)
			return &v
		}
	}
	each("gnomon_source_running", gauge, "1: the source is open.", told(func(s *SourceInput) float64 { return flag(s.State == "running") }))
	each("gnomon_source_restarts_total", counter, "Times that the source was opened again.", told(func(s *SourceInput) float64 { return float64(s.Restarts) }))
	each("gnomon_frames_captured_total", counter, "Frames that the source delivered.", told(func(s *SourceInput) float64 { return float64(s.Captured) }))
	each("gnomon_frames_processed_total", counter, "Frames taken through the model.", func(e *exposed) *float64 { return toFloat(&e.frames) })
	each("gnomon_frames_per_second", gauge, "Frames taken through the model each second, in the last window.", func(e *exposed) *float64 { return e.fps })
	dropped := t.family("gnomon_frames_dropped_total", counter, "Frames whose result reaches nobody: the model was busy or they had become stale, they were too many (paced) or nothing had moved (still), or their message was unsent because too many waited.")
	for _, e := range all {
		if e.input != nil {
			d := &e.input.Dropped
			for _, c := range [...]struct {
				cause string
				n     uint64
			}{{"busy", d.Busy}, {"stale", d.Stale}, {"paced", d.Paced}, {"still", d.Still}} {
				dropped.count(c.n, label{"source", e.name}, label{"cause", c.cause})
			}
		}
		dropped.count(e.unsent, label{"source", e.name}, label{"cause", "unsent"})
	}
	failed := t.family("gnomon_frames_failed_total", counter, "Frames that the model failed on, by cause.")
	for _, e := range all {
		for cause, name := range failureNames() {
			if name != "" {
				failed.count(e.failures[cause], label{"source", e.name}, label{"cause", name})
			}
		}
	}
	stages := t.family("gnomon_stage_duration_seconds", histogram, "How long frames took: capture is from the grab until the model got the frame, publish from the grab until the message was handed on.")
	var bounds []float64
	for exponent := firstBound; exponent <= lastBound; exponent++ {
		bounds = append(bounds, float64(uint64(1)<<exponent)/1e6)
	}
	for _, e := range all {
		for stage, name := range stageNames() {
			d := &e.stages[stage]
			if d.n == 0 {
				continue
			}
			var counts []uint64
			for exponent := firstBound; exponent <= lastBound; exponent++ {
				counts = append(counts, d.upTo(exponent))
			}
			stages.buckets(bounds, counts, d.sum.Seconds(), d.n, label{"source", e.name}, label{"stage", name})
		}
	}
}

func (t *text) found(all []exposed) {
	detections := t.family("gnomon_detections_total", counter, "Objects found, by class; other: classes that came when there were too many.")
	for _, e := range all {
		for _, class := range slices.Sorted(maps.Keys(e.classes)) {
			detections.count(e.classes[class], label{"source", e.name}, label{"class", class})
		}
	}
	info := t.family("gnomon_source_model_info", gauge, "The model in use; always 1.")
	for _, e := range all {
		if e.model.SHA256 != "" {
			info.add(1, label{"source", e.name}, label{"model", e.model.Name}, label{"version", e.model.Version}, label{"sha256", e.model.SHA256})
		}
	}
	confidence := t.family("gnomon_detection_confidence", histogram, "Confidence of what the model in use has found; it begins anew with another model.")
	for _, e := range all {
		s := &e.confidence
		if s.N == 0 {
			continue
		}
		var bounds []float64
		var counts []uint64
		sum := uint64(0)
		for i, n := range s.Bins[:len(s.Bins)-1] {
			sum += n
			bounds, counts = append(bounds, float64(i+1)/confidenceBins), append(counts, sum)
		}
		confidence.buckets(bounds, counts, s.Sum, s.N, label{"source", e.name})
	}
	learned := t.family("gnomon_drift_learned_ratio", gauge, "How much of the model's first day, its reference, is there.")
	for _, e := range all {
		if e.model.SHA256 != "" {
			learned.add(e.drift.Learned, label{"source", e.name})
		}
	}
	psi := t.family("gnomon_drift_psi", gauge, "Population stability index of the last day against the model's first one; from 0.1 something, from 0.25 much has changed.")
	shift := t.family("gnomon_drift_shift", gauge, "Difference of the means of the last day and the model's first one, in standard deviations.")
	for _, e := range all {
		e.comparisons(func(measure string, c *Comparison) {
			psi.optional(c.PSI, label{"source", e.name}, label{"measure", measure})
		})
	}
	for _, e := range all {
		e.comparisons(func(measure string, c *Comparison) {
			shift.optional(c.Shift, label{"source", e.name}, label{"measure", measure})
		})
	}
}

func (e *exposed) comparisons(each func(measure string, c *Comparison)) {
	if e.drift.Confidence != nil {
		each("confidence", e.drift.Confidence)
	}
	if e.drift.PerFrame != nil {
		each("per_frame", e.drift.PerFrame)
	}
}
