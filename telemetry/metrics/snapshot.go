package metrics

import (
	"time"

	"gnomon/telemetry/host"
)

// Inputs are what others count. Counters run from the start of the process.
type Inputs struct {
	Sources   []SourceInput
	Swaps     uint64 // models exchanged
	RollBacks uint64 // of these, taken back
	Restarts  uint64 // of the agent since the machine started, where that is known
	Health    string // ok, degraded, failed; empty: not known
	Link      *Link
	Spool     *Spool
	Process   *Process
	Host      *host.Snapshot
}

// Process is what the agent holds, which must not grow for ever.
type Process struct {
	Goroutines uint64 `json:"goroutines"`
	Mats       uint64 `json:"open_mats"`         // pictures of OpenCV
	Abandoned  uint64 `json:"abandoned_readers"` // of cameras, that do not come back from a native call
}

// SourceInput is what the pipelines of one source count.
type SourceInput struct {
	Name     string
	State    string // in a word: running, retrying, ended
	Captured uint64 // frames delivered
	Dropped  FrameDrops
	Restarts uint64 // times that the source was opened again
}

// FrameDrops are frames that were not looked at, by cause.
type FrameDrops struct {
	Busy  uint64 `json:"busy"`  // a newer one came before the model was free
	Stale uint64 `json:"stale"` // too old when the model was free
	Paced uint64 `json:"paced"` // more a second than are wanted
	Still uint64 `json:"still"` // nothing had moved
}

// Lost are those that would have been looked at.
func (d FrameDrops) Lost() uint64 { return d.Busy + d.Stale }

// since is what was dropped after before.
func (d FrameDrops) since(before FrameDrops) FrameDrops {
	return FrameDrops{since(d.Busy, before.Busy), since(d.Stale, before.Stale), since(d.Paced, before.Paced), since(d.Still, before.Still)}
}

// Link is the connection to the broker.
type Link struct {
	Connected  bool   `json:"connected"`
	Published  uint64 `json:"published"`
	Acked      uint64 `json:"acked"`
	Dropped    uint64 `json:"dropped"`
	Refused    uint64 `json:"refused"`
	Queued     int    `json:"queued"`
	InFlight   int    `json:"in_flight"`
	Reconnects uint64 `json:"reconnects"`
}

// Spool is what waits on the disk, by class of data in the order of their priority.
type Spool struct {
	Bytes    uint64       `json:"bytes"`
	MaxBytes uint64       `json:"max_bytes"`
	Classes  []SpoolClass `json:"classes"`
}

// SpoolClass is one class of data.
type SpoolClass struct {
	Name    string `json:"name"`
	Records uint64 `json:"records"` // waiting
	Bytes   uint64 `json:"bytes"`
	Dropped uint64 `json:"dropped"` // since the start
}

// Snapshot is what happened in one window, and the state at its end.
type Snapshot struct {
	Device, BootID string
	Seq            uint64
	Time           time.Time // the end of the window
	Window         time.Duration
	Sources        []SourceSnapshot // by name
	Inputs         Inputs
}

// SourceSnapshot is one source's part. Numbers are those of the window, but for those in Totals.
type SourceSnapshot struct {
	Name       string          `json:"name"`
	State      string          `json:"state,omitempty"`
	FPS        float64         `json:"fps"` // frames taken through the model
	Captured   uint64          `json:"captured"`
	Frames     uint64          `json:"frames"`
	Dropped    Drops           `json:"dropped"`
	Failed     Failures        `json:"failed"`
	Detections uint64          `json:"detections"`
	Latency    Latencies       `json:"latency"`
	Models     []ModelSnapshot `json:"models"` // in the order in which they ran; the last one is in use
	Totals     Totals          `json:"totals"`
}

// Drops are frames and messages that were given up, by cause.
type Drops struct {
	FrameDrops
	Unsent uint64 `json:"unsent"` // messages: no room to wait for the connection, or too large
}

// Failures are frames that the model failed on, by cause.
type Failures struct {
	Deadline  uint64 `json:"deadline"`
	NotFinite uint64 `json:"not_finite"`
	Other     uint64 `json:"other"`
}

// Sum is all of them.
func (f Failures) Sum() uint64 { return f.Deadline + f.NotFinite + f.Other }

// Latencies are by Stage; nil: nothing was measured.
type Latencies struct {
	Capture     *Quantiles `json:"capture,omitempty"`
	Preprocess  *Quantiles `json:"preprocess,omitempty"`
	Infer       *Quantiles `json:"infer,omitempty"`
	Postprocess *Quantiles `json:"postprocess,omitempty"`
	Publish     *Quantiles `json:"publish,omitempty"`
}

// Quantiles are in milliseconds, right to within 3 %.
type Quantiles struct {
	N   uint64  `json:"n"`
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
}

// Totals run from the start of the process.
type Totals struct {
	Captured   uint64 `json:"captured"`
	Frames     uint64 `json:"frames"`
	Dropped    uint64 `json:"dropped"`
	Failed     uint64 `json:"failed"`
	Detections uint64 `json:"detections"`
	Restarts   uint64 `json:"restarts"`
}

// ModelSnapshot is what one model found on one source.
type ModelSnapshot struct {
	ModelRef
	Threshold  float32      `json:"score_threshold"`
	Frames     uint64       `json:"frames"`
	Classes    []ClassCount `json:"classes"` // most frequent first
	Rest       *ClassRest   `json:"classes_rest,omitempty"`
	Confidence *Spread      `json:"confidence,omitempty"` // nil: nothing was found
	PerFrame   *Spread      `json:"per_frame,omitempty"`  // detections in a frame; nil: no frames
	Drift      Drift        `json:"drift"`
}

// ClassCount is how often a class was found.
type ClassCount struct {
	ClassID int    `json:"class_id"` // -1: beyond those that are told apart
	Label   string `json:"label"`
	Count   uint64 `json:"count"`
}

// ClassRest sums up classes that the message has no room for.
type ClassRest struct {
	Classes int    `json:"classes"`
	Count   uint64 `json:"count"`
}

// Spread is how values were spread.
type Spread struct {
	Mean float64  `json:"mean"`
	P10  float64  `json:"p10"`
	P50  float64  `json:"p50"`
	P90  float64  `json:"p90"`
	Bins []uint64 `json:"bins,omitempty"` // of confidence: 20 from 0 to 1
}
