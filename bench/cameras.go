package bench

import "fmt"

// CamerasSchema names the form of a CamerasReport.
const CamerasSchema = "gnomon.bench.cameras/1"

// Targets for many cameras with one model.
const (
	CamerasSpeedTarget    = 0.95 // frames a second of all, of what one source at full speed gets, or of what they send if that is less
	CamerasJainTarget     = 0.99 // fairness, whatever the load
	CamerasOverheadTarget = 1.10 // processor time beside the model for a frame, of that with one camera
	CamerasSoakTarget     = 1.10 // latency p99 in the last minute of a soak, of that in the first
	CamerasMemoryTarget   = 20.0 // MB for each camera more, of 1920x1080 pixels
)

// CamerasSoakLoad is how many times the frames that the model can take are sent to it in a soak.
const CamerasSoakLoad = 3

// CamerasReport is what `gnomon bench cameras --json` prints.
type CamerasReport struct {
	Schema   string          `json:"schema"`
	Model    string          `json:"model"`
	Sessions int             `json:"sessions"`
	Threads  int             `json:"threads"`
	FPS      float64         `json:"fps_per_camera"` // that each camera delivers
	Seconds  float64         `json:"seconds"`        // that each step was measured for
	Broker   string          `json:"broker"`
	Host     Host            `json:"host"`
	Versions Versions        `json:"versions"`
	Full     float64         `json:"full_fps"` // of one source that gives frames as fast as they are taken
	Steps    []CamerasRow    `json:"steps"`
	Soak     *CamerasSoak    `json:"soak,omitempty"`
	Memory   []CamerasMemory `json:"memory,omitempty"`
}

// CamerasRow is one number of cameras.
type CamerasRow struct {
	Cameras  int       `json:"cameras"`
	Wanted   float64   `json:"wanted_fps"`   // of all cameras together
	Captured float64   `json:"captured_fps"` // delivered by the sources
	FPS      float64   `json:"fps"`          // taken through the model and published
	Dropped  uint64    `json:"dropped"`      // frames that were not looked at, or messages that got lost
	Failed   uint64    `json:"failed"`
	Jain     float64   `json:"jain"`      // fairness between the cameras, 1/cameras to 1
	Least    float64   `json:"least_fps"` // of the camera that got least
	Most     float64   `json:"most_fps"`  // of the camera that got most
	Latency  Quantiles `json:"latency"`   // from the grab to the detections
	CPU      float64   `json:"cpu_ms_per_frame"`
	Overhead float64   `json:"overhead_ms_per_frame"` // processor time outside the runs of the model, for a captured frame
	Cores    float64   `json:"cores"`                 // how many were busy
	RSS      float64   `json:"rss_mb"`
}

// CamerasSoak is a long time at more than the model can take.
type CamerasSoak struct {
	Seconds float64    `json:"seconds"`
	FPS     float64    `json:"fps_per_camera"`
	First   CamerasRow `json:"first"` // of the first minute, or third if that is shorter
	Last    CamerasRow `json:"last"`  // as long, at the end
}

// CamerasMemory is what cameras of 1920x1080 pixels take.
type CamerasMemory struct {
	Source  string  `json:"source"` // what they show
	Cameras int     `json:"cameras"`
	One     float64 `json:"rss_mb_one"` // with one camera
	All     float64 `json:"rss_mb_all"` // with all
}

// Each is the memory for each camera more, in MB.
func (m CamerasMemory) Each() float64 { return over(m.All-m.One, float64(m.Cameras-1)) }

// Verdicts holds the report against the targets. That on overhead needs a step with one camera, and sessions with one
// thread: what other threads do in a run cannot be told from what they do beside it.
func (r *CamerasReport) Verdicts() []Verdict {
	if len(r.Steps) == 0 {
		return nil
	}
	first, last := r.Steps[0], r.Steps[len(r.Steps)-1]
	out := []Verdict{atLeast(fmt.Sprintf("frames a second of %d cameras ÷ one source at full speed, or all that they send", last.Cameras),
		over(last.FPS, min(r.Full, last.Wanted)), CamerasSpeedTarget)}
	fair := 1.0
	for _, s := range r.Steps {
		fair = min(fair, s.Jain)
	}
	if r.Soak != nil {
		fair = min(fair, r.Soak.First.Jain, r.Soak.Last.Jain)
	}
	out = append(out, atLeast("fairness (Jain), the least", fair, CamerasJainTarget))
	if first.Cameras == 1 && last.Cameras > 1 && r.Threads == 1 {
		out = append(out, atMost(fmt.Sprintf("overhead for a frame, %d cameras ÷ one", last.Cameras), over(last.Overhead, first.Overhead), CamerasOverheadTarget))
	}
	if s := r.Soak; s != nil {
		out = append(out, atMost(fmt.Sprintf("latency p99 at %d times what fits, end ÷ beginning of %.0f s", CamerasSoakLoad, s.Seconds),
			over(s.Last.Latency.P99, s.First.Latency.P99), CamerasSoakTarget))
	}
	for _, m := range r.Memory {
		out = append(out, atMost("MB for each 1080p camera more, "+m.Source, m.Each(), CamerasMemoryTarget))
	}
	return out
}

func atMost(what string, v, limit float64) Verdict {
	return Verdict{what, fmt.Sprintf("≤ %.2f", limit), fmt.Sprintf("%.2f", v), v <= limit}
}

func atLeast(what string, v, limit float64) Verdict {
	return Verdict{what, fmt.Sprintf("≥ %.2f", limit), fmt.Sprintf("%.2f", v), v >= limit}
}

// Doubling is from, twice that, and so on, and to at the end.
func Doubling(from, to int) []int {
	var out []int
	for n := from; n < to; n *= 2 {
		out = append(out, n)
	}
	return append(out, to)
}
