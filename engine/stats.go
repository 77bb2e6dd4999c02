package engine

import "time"

// Stats are a pipeline's counters since its start.
type Stats struct {
	Captured   uint64 // frames that the source delivered
	Dropped    uint64 // of those, not looked at: the sum of the next four
	Busy       uint64 // a newer one came before the model was free; live sources only, as Stale
	Stale      uint64 // too old when their turn came
	Paced      uint64 // left out for DetectFPS
	Still      uint64 // refused by the gate
	Processed  uint64 // of those, taken through the model
	Failed     uint64 // of those, with an error
	Detections uint64
	// Sums over Processed frames.
	Preprocess, Infer, Postprocess, Latency time.Duration
}

// Add sums two pipelines' counters.
func (s Stats) Add(o Stats) Stats {
	return Stats{
		Captured: s.Captured + o.Captured, Dropped: s.Dropped + o.Dropped, Busy: s.Busy + o.Busy, Stale: s.Stale + o.Stale,
		Paced: s.Paced + o.Paced, Still: s.Still + o.Still,
		Processed: s.Processed + o.Processed, Failed: s.Failed + o.Failed, Detections: s.Detections + o.Detections,
		Preprocess: s.Preprocess + o.Preprocess, Infer: s.Infer + o.Infer,
		Postprocess: s.Postprocess + o.Postprocess, Latency: s.Latency + o.Latency,
	}
}

// Stats reads the counters. Any goroutine may call it at any time.
func (p *Pipeline) Stats() Stats {
	s := Stats{
		Captured: p.captured.Load(), Busy: p.seat.busy.Load(), Stale: p.seat.stale.Load(),
		Paced: p.paced.Load(), Still: p.still.Load(),
		Processed: p.processed.Load(), Failed: p.failed.Load(), Detections: p.found.Load(),
		Preprocess: time.Duration(p.preprocess.Load()), Infer: time.Duration(p.infer.Load()),
		Postprocess: time.Duration(p.postprocess.Load()), Latency: time.Duration(p.latency.Load()),
	}
	s.Dropped = s.Busy + s.Stale + s.Paced + s.Still
	return s
}
