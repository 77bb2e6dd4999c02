package bench

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// SpeedSchema names the form of a SpeedReport. The number goes up when a reader of the old form would misread the new.
const SpeedSchema = "gnomon.bench/1"

// SpeedReport is what `gnomon bench --json` prints; docs/bench.md explains the fields. The figures at the top are those
// of the first result, so that one measurement can be read without an index.
type SpeedReport struct {
	Schema string    `json:"schema"`
	At     time.Time `json:"at"`
	SpeedFigures
	Source  string        `json:"source"`
	Broker  string        `json:"broker"`
	Host    Host          `json:"host"`
	Results []SpeedResult `json:"results"`
}

// SpeedFigures are the stable figures of one model on one provider. Speeds are frames a second, medians of rounds.
type SpeedFigures struct {
	Model          string   `json:"model"`
	Provider       string   `json:"provider"`
	RawFPS         float64  `json:"raw_fps"`         // of the best arrangement of bare session.Run loops
	RawArrangement string   `json:"raw_arrangement"` // which, sessions x threads
	E2EFPS         float64  `json:"e2e_fps"`         // from the video file to the broker's acknowledgement
	Ratio          float64  `json:"ratio"`           // the median of the rounds' e2e ÷ raw
	MemoryFPS      *float64 `json:"memory_fps"`      // as e2e, of frames that are decoded already; null: not measured
	MemoryRatio    *float64 `json:"memory_ratio"`
	Stages         Stages   `json:"stages"`  // of e2e
	Frames         uint64   `json:"frames"`  // of e2e, all rounds
	Dropped        uint64   `json:"dropped"` // frames or messages of e2e that got lost on the way
	RSS            float64  `json:"rss_mb"`  // MB (10^6 bytes) of the process before the bare sessions were opened
	Allocs         float64  `json:"allocs_per_frame"`
	CPU            CPUUse   `json:"cpu"`
	Versions       Versions `json:"versions"`
}

// Stages are the times of each stage for one frame.
type Stages struct {
	Decode      Quantiles `json:"decode"`
	Preprocess  Quantiles `json:"preprocess"`
	Infer       Quantiles `json:"infer"`
	Postprocess Quantiles `json:"postprocess"`
	Publish     Quantiles `json:"publish"`
}

// Stage is one stage with its name.
type Stage struct {
	Name string
	Quantiles
}

// List is every stage in the order of the pipeline.
func (s *Stages) List() []Stage {
	return []Stage{{"decode", s.Decode}, {"preprocess", s.Preprocess}, {"infer", s.Infer}, {"postprocess", s.Postprocess}, {"publish", s.Publish}}
}

// CPUUse is processor time of the process in ms a frame: medians of rounds.
type CPUUse struct {
	Frame   float64 `json:"ms_per_frame"`
	Outside float64 `json:"outside_ms_per_frame"` // without the model's runs and decoding: what gnomon itself costs
	Cores   float64 `json:"cores"`                // how many were busy
}

// Versions are those of everything that was measured.
type Versions struct {
	Gnomon      string `json:"gnomon"`
	Commit      string `json:"commit"`
	Go          string `json:"go"`
	Platform    string `json:"platform"`
	OpenCV      string `json:"opencv"`
	ONNXRuntime string `json:"onnxruntime"`
	Library     string `json:"onnxruntime_library"`
}

// Host is the machine, and how busy others kept it.
type Host struct {
	CPU      string  `json:"cpu"`
	Cores    int     `json:"cores"` // that the process may use
	Memory   float64 `json:"memory_mb"`
	Kernel   string  `json:"kernel"`
	Load     float64 `json:"load_before"`  // of the minute before
	Others   float64 `json:"others_cores"` // cores that others kept busy meanwhile: other processes, a broker of its own, the host of a virtual machine
	GPUs     []GPU   `json:"gpus"`
	Duration float64 `json:"seconds"` // everything, with loading
}

// GPU is one graphics processor. MB are 10^6 bytes.
type GPU struct {
	Name    string  `json:"name"`
	Driver  string  `json:"driver"`
	Memory  float64 `json:"memory_mb"`
	Used    float64 `json:"memory_used_mb"`  // by everybody, at the time
	Percent float64 `json:"utilisation_pct"` // at the time
}

// SpeedResult is one combination of model, provider and threads, with everything that its figures come from.
type SpeedResult struct {
	SpeedFigures
	SHA256       string             `json:"model_sha256"`
	Sessions     int                `json:"sessions"`       // of gnomon's side
	Threads      int                `json:"threads"`        // of each
	AskedSession int                `json:"asked_sessions"` // 0: chosen by gnomon
	AskedThreads int                `json:"asked_threads"`  // 0: chosen by gnomon
	Arrangements []ArrangementSpeed `json:"arrangements"`
	Nodes        map[string]int     `json:"nodes"` // of the model's graph by the provider that runs them; null: not known
	GPUs         []GPU              `json:"gpus"`  // while e2e ran on another provider than the CPU
	Rounds       []Round            `json:"rounds"`
}

// ArrangementSpeed is what the bare loops gave in one arrangement.
type ArrangementSpeed struct {
	Arrangement string  `json:"arrangement"`
	Trial       float64 `json:"trial_fps"` // before the rounds, measured for a short time
	FPS         float64 `json:"fps"`       // median of the rounds; 0: clearly worse in the trial and left out of them
}

// Round is one round: every bare arrangement, then gnomon.
type Round struct {
	Bare        map[string]float64 `json:"bare_fps"` // by arrangement
	E2E         float64            `json:"e2e_fps"`
	Ratio       float64            `json:"ratio"`
	Memory      float64            `json:"memory_fps,omitempty"`
	MemoryRatio float64            `json:"memory_ratio,omitempty"`
	Frames      uint64             `json:"frames"`
	StagesP50   StageMedians       `json:"stages_p50_ms"`
	CPU         float64            `json:"cpu_ms_per_frame"`
	RunCPU      float64            `json:"run_cpu_ms"`    // of one bare run in the arrangement that gnomon uses
	DecodeCPU   float64            `json:"decode_cpu_ms"` // a frame
	Cores       float64            `json:"cores"`
	Allocs      float64            `json:"allocs_per_frame"`
}

// StageMedians are the medians of a round.
type StageMedians struct {
	Decode      float64 `json:"decode"`
	Preprocess  float64 `json:"preprocess"`
	Infer       float64 `json:"infer"`
	Postprocess float64 `json:"postprocess"`
	Publish     float64 `json:"publish"`
}

// Medians are the P50 of the stages.
func (s *Stages) Medians() StageMedians {
	return StageMedians{s.Decode.P50, s.Preprocess.P50, s.Infer.P50, s.Postprocess.P50, s.Publish.P50}
}

// Each is one figure of every round.
func (r *SpeedResult) Each(of func(*Round) float64) []float64 {
	var out []float64
	for i := range r.Rounds {
		out = append(out, of(&r.Rounds[i]))
	}
	return out
}

// Summarise works out the figures that come from Rounds: speeds, ratios, processor time, allocations. The best
// arrangement is the one with the best median, and is then the measure of every round: the best of each round would be
// luck. trial has the speeds before the rounds, of all arrangements.
func (r *SpeedResult) Summarise(all []Arrangement, trial map[Arrangement]float64) {
	r.Arrangements = nil
	for _, a := range all {
		s := ArrangementSpeed{Arrangement: a.String(), Trial: trial[a]}
		s.FPS = Median(r.bare(s.Arrangement))
		r.Arrangements = append(r.Arrangements, s)
	}
	best := slices.MaxFunc(r.Arrangements, func(a, b ArrangementSpeed) int { return cmp.Compare(a.FPS, b.FPS) })
	r.RawFPS, r.RawArrangement = best.FPS, best.Arrangement
	for i := range r.Rounds {
		x := &r.Rounds[i]
		x.Ratio = over(x.E2E, x.Bare[best.Arrangement])
		x.MemoryRatio = over(x.Memory, x.Bare[best.Arrangement])
	}
	median := func(of func(*Round) float64) float64 { return Median(r.Each(of)) }
	r.E2EFPS = median(func(x *Round) float64 { return x.E2E })
	r.Ratio = median(func(x *Round) float64 { return x.Ratio })
	if memory := median(func(x *Round) float64 { return x.Memory }); memory > 0 {
		ratio := median(func(x *Round) float64 { return x.MemoryRatio })
		r.MemoryFPS, r.MemoryRatio = &memory, &ratio
	}
	r.CPU.Frame = median(func(x *Round) float64 { return x.CPU })
	r.CPU.Outside = median(func(x *Round) float64 { return x.CPU - x.RunCPU - x.DecodeCPU })
	r.CPU.Cores = median(func(x *Round) float64 { return x.Cores })
	r.Allocs = median(func(x *Round) float64 { return x.Allocs })
	for _, x := range r.Rounds {
		r.Frames += x.Frames
	}
}

// bare is the speed of one arrangement in the rounds that have it.
func (r *SpeedResult) bare(arrangement string) []float64 {
	var out []float64
	for _, x := range r.Rounds {
		if v, ok := x.Bare[arrangement]; ok {
			out = append(out, v)
		}
	}
	return out
}

// Measured are the arrangements that were in the rounds, sorted.
func (r *SpeedResult) Measured() []string {
	names := map[string]bool{}
	for _, x := range r.Rounds {
		for name := range x.Bare {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
