package bench

import (
	"fmt"
	"slices"
	"time"
)

// Targets for exchanging models, as ratios within one run: absolute times are those of the machine.
const (
	SwapGapTarget     = 3.0  // longest gap between results, in steady p99 gaps
	SwapLoadTarget    = 0.6  // speed while a model is being loaded, of the steady speed
	SwapRSSLateTarget = 1.10 // memory after the last exchange, of that after 20
	SwapRSSTarget     = 1.35 // memory after the last exchange, of that after 3
)

// The exchanges after which memory is looked at, beside the last.
const (
	SwapsEarly = 3
	SwapsLate  = 20
)

// SwapReport is what exchanging models again and again, while frames of a lossless source flow, came to. Its JSON is
// what `gnomon bench swap --json` prints.
type SwapReport struct {
	Swaps      int         `json:"swaps"`
	Frames     uint64      `json:"frames"`
	FramesLost uint64      `json:"frames_lost"`
	Failed     uint64      `json:"frames_failed"`
	Gap        Gap         `json:"gap_ms"`    // between results, while models are exchanged
	Steady     Steady      `json:"steady_ms"` // between results, with one model alone
	FPS        SwapFPS     `json:"fps"`
	Load       Gap         `json:"load_ms"` // from the file to a warm model
	RSS        SwapRSS     `json:"rss_mb"`
	Naive      *SwapReport `json:"naive,omitempty"` // the same without any care: create, exchange, destroy
}

// Gap is the usual and the longest of some times in milliseconds.
type Gap struct {
	P50 float64 `json:"p50"`
	Max float64 `json:"max"`
}

// Steady is the usual and the nearly longest of some times in milliseconds.
type Steady struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// SwapFPS is results a second while another model is being loaded, and what the models that ran then give alone.
type SwapFPS struct {
	Steady  float64 `json:"steady"`
	Loading float64 `json:"loading"`
}

// SwapRSS is the resident memory of the process in MB (10^6 bytes) after so many exchanges.
type SwapRSS struct {
	After3    float64 `json:"after_3"`
	After20   float64 `json:"after_20"`
	AfterLast float64 `json:"after_last"`
}

// Percentile is the smallest of the durations that at least the part p, 0..1, of them do not exceed, in milliseconds; 0
// for none. It sorts ds.
func Percentile(ds []time.Duration, p float64) float64 {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	i := int(p*float64(len(ds))+0.999999) - 1
	return ds[min(max(i, 0), len(ds)-1)].Seconds() * 1000
}

// Gaps are the times between the moments, which are in order.
func Gaps(at []time.Time) []time.Duration {
	var out []time.Duration
	for i := 1; i < len(at); i++ {
		out = append(out, at[i].Sub(at[i-1]))
	}
	return out
}

// Verdict is one target, what was measured, and whether it was met.
type Verdict struct {
	What     string
	Target   string
	Measured string
	Met      bool
}

// Verdicts holds the report against the targets. Those on memory need SwapsLate exchanges at least.
func (r *SwapReport) Verdicts() []Verdict {
	ratio := func(what string, v, limit float64, most bool) Verdict {
		sign, met := "≤", v <= limit
		if !most {
			sign, met = "≥", v >= limit
		}
		return Verdict{what, fmt.Sprintf("%s %.2f", sign, limit), fmt.Sprintf("%.2f", v), met}
	}
	out := []Verdict{
		{"frames lost or failed", "0", fmt.Sprint(r.FramesLost + r.Failed), r.FramesLost+r.Failed == 0},
		ratio("longest gap ÷ steady p99", over(r.Gap.Max, r.Steady.P99), SwapGapTarget, true),
		ratio("speed while loading ÷ steady", over(r.FPS.Loading, r.FPS.Steady), SwapLoadTarget, false),
	}
	if r.Swaps > SwapsLate {
		out = append(out,
			ratio(fmt.Sprintf("memory after %d ÷ after %d", r.Swaps, SwapsLate), over(r.RSS.AfterLast, r.RSS.After20), SwapRSSLateTarget, true),
			ratio(fmt.Sprintf("memory after %d ÷ after %d", r.Swaps, SwapsEarly), over(r.RSS.AfterLast, r.RSS.After3), SwapRSSTarget, true))
	}
	return out
}

func over(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
