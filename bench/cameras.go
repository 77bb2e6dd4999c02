package bench

// CamerasSchema names the form of a CamerasReport.
const CamerasSchema = "gnomon.bench.cameras/1"

// CamerasReport is what `gnomon bench cameras --json` prints.
type CamerasReport struct {
	Schema   string       `json:"schema"`
	Model    string       `json:"model"`
	Sessions int          `json:"sessions"`
	Threads  int          `json:"threads"`
	FPS      float64      `json:"fps_per_camera"` // that each camera delivers
	Seconds  float64      `json:"seconds"`        // that each step was measured for
	Broker   string       `json:"broker"`
	Host     Host         `json:"host"`
	Versions Versions     `json:"versions"`
	Steps    []CamerasRow `json:"steps"`
}

// CamerasRow is one number of cameras.
type CamerasRow struct {
	Cameras  int       `json:"cameras"`
	Wanted   float64   `json:"wanted_fps"`   // of all cameras together
	Captured float64   `json:"captured_fps"` // delivered by the sources
	FPS      float64   `json:"fps"`          // taken through the model and published
	Dropped  uint64    `json:"dropped"`      // replaced by a newer frame, or messages that got lost
	Failed   uint64    `json:"failed"`
	Jain     float64   `json:"jain"`      // fairness between the cameras, 1/cameras to 1
	Least    float64   `json:"least_fps"` // of the camera that got least
	Most     float64   `json:"most_fps"`  // of the camera that got most
	Latency  Quantiles `json:"latency"`   // from the grab to the detections
	CPU      float64   `json:"cpu_ms_per_frame"`
	Cores    float64   `json:"cores"` // how many were busy
	RSS      float64   `json:"rss_mb"`
}

// Doubling is from, twice that, and so on, and to at the end.
func Doubling(from, to int) []int {
	var out []int
	for n := from; n < to; n *= 2 {
		out = append(out, n)
	}
	return append(out, to)
}
