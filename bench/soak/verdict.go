package main

import (
	"fmt"
	"slices"
	"time"

	"gnomon/bench/soak/trend"
)

// check is one row of the verdict.
type check struct {
	What   string `json:"what"`
	Value  string `json:"value"`
	Limit  string `json:"limit"`
	Passed bool   `json:"passed"`
	Note   string `json:"note,omitempty"`
}

// result is all that was measured.
type result struct {
	At      time.Time `json:"at"`
	Plan    plan      `json:"plan"`
	Checks  []check   `json:"checks"`
	Events  []event   `json:"events"`
	Samples []sample  `json:"samples"`
	Rates   []rate    `json:"rates"` // frames a second of each source, second by second
	Passed  bool      `json:"passed"`
}

// rate is the frames of one source that were looked at.
type rate struct {
	Source string `json:"source"`
	Frames []int  `json:"frames"` // by second since the end of the warm-up, by when they were captured
}

// series is one of the numbers that must not grow.
type series struct {
	name, unit string
	scale      float64
	of         func(*sample) float64
	// What it may grow over the measured time: a fixed part, for caches that fill and threads that come and go, and
	// a part for each hour.
	fixed, hourly float64
}

// allSeries are the slopes of the verdict. The fixed parts are what a run of a few minutes needs; of a leak that is worth
// the name an hour shows more.
func allSeries() []series {
	const mega = 1 << 20
	return []series{
		{"resident memory", "MB", mega, func(s *sample) float64 { return s.RSS }, 10 * mega, 4 * mega},
		{"open files", "", 1, func(s *sample) float64 { return s.Files }, 3, 0},
		{"threads", "", 1, func(s *sample) float64 { return s.Threads }, 4, 0},
		{"goroutines", "", 1, func(s *sample) float64 { return s.Goroutines }, 5, 0},
		{"open pictures of OpenCV", "", 1, func(s *sample) float64 { return s.Mats }, 3, 0},
	}
}

// slopes judges the series over the measured time.
func slopes(samples []sample, measured time.Duration) []check {
	var out []check
	hours := measured.Hours()
	for _, s := range allSeries() {
		var x, y []float64
		for i := range samples {
			if v := s.of(&samples[i]); v >= 0 {
				x, y = append(x, samples[i].At/time.Hour.Seconds()), append(y, v/s.scale)
			}
		}
		c := check{What: s.name}
		slope, err := trend.Of(x, y)
		if err != nil {
			c.Value, c.Note = "not told", err.Error()
			out = append(out, c)
			continue
		}
		limit := (s.fixed/hours + s.hourly) / s.scale
		c.Passed = !slope.Grows(limit)
		c.Value = fmt.Sprintf("%+.1f %s an hour (95 %%: %+.1f to %+.1f)", slope.Value, s.unit, slope.Low, slope.High)
		c.Limit = fmt.Sprintf("≤ %.1f", limit)
		c.Note = fmt.Sprintf("%.1f %s in the middle", trend.Median(y), s.unit)
		out = append(out, c)
	}
	return out
}

// between counts the moments in a window.
func between(times []time.Time, from, to time.Time) int {
	first, _ := slices.BinarySearchFunc(times, from, time.Time.Compare)
	last, _ := slices.BinarySearchFunc(times, to, time.Time.Compare)
	return last - first
}

// undisturbedBy compares the speed of a source while another camera was away with that before.
func undisturbedBy(name string, times []time.Time, before [2]time.Time, pulls []event) check {
	c := check{What: name + " while another camera is away", Limit: fmt.Sprintf("≥ %.2f", undisturbed)}
	usual := float64(between(times, before[0], before[1])) / before[1].Sub(before[0]).Seconds()
	frames, seconds := 0, 0.0
	for _, e := range pulls {
		frames += between(times, e.from, e.to)
		seconds += e.to.Sub(e.from).Seconds()
	}
	if usual == 0 || seconds == 0 {
		c.Value, c.Note = "not measured", "no frames before, or no pulls"
		return c
	}
	ratio := float64(frames) / seconds / usual
	c.Value, c.Passed = fmt.Sprintf("%.3f", ratio), ratio >= undisturbed
	c.Note = fmt.Sprintf("%.2f frames a second before", usual)
	return c
}

// comesBack tells how long the camera took to deliver after its return.
func comesBack(name string, times []time.Time, pulls []event) check {
	c := check{What: name + " is back after its return", Limit: fmt.Sprintf("≤ %v", backWithin), Passed: len(pulls) > 0}
	var took []float64
	for _, e := range pulls {
		at, _ := slices.BinarySearchFunc(times, e.to, time.Time.Compare)
		if at == len(times) {
			c.Passed, c.Value = false, fmt.Sprintf("never after pull %d", len(took)+1)
			return c
		}
		took = append(took, times[at].Sub(e.to).Seconds())
	}
	if len(took) == 0 {
		c.Value = "not measured"
		return c
	}
	worst := slices.Max(took)
	c.Passed = worst <= backWithin.Seconds()
	c.Value, c.Note = fmt.Sprintf("%.1f s at most", worst), fmt.Sprintf("%d times, %.1f s in the middle", len(took), trend.Median(took))
	return c
}

// conserved checks that what was captured was looked at or counted as dropped, and that each frame that was looked at was
// told of.
func conserved(source string, v values, arrived int) []check {
	label := fmt.Sprintf("source=%q", source)
	captured, processed := v.sum("gnomon_frames_captured_total", label), v.sum("gnomon_frames_processed_total", label)
	dropped := v.sum("gnomon_frames_dropped_total", label) - v.sum("gnomon_frames_dropped_total", label, `cause="unsent"`)
	unsent := v.sum("gnomon_frames_dropped_total", label, `cause="unsent"`)
	given := max(0, v.get("gnomon_mqtt_dropped_total")) + unsent
	// Each reopening of a camera gives up what was on its way: the frame being read, one waiting, and those in the model.
	const onItsWay = 6
	slack := onItsWay * (1 + v.sum("gnomon_source_restarts_total", label))
	left := captured - processed - dropped
	missing := processed - float64(arrived)
	return []check{
		{
			What: source + ": frames captured − looked at − dropped", Value: fmt.Sprintf("%.0f − %.0f − %.0f = %.0f", captured, processed, dropped, left),
			Limit: fmt.Sprintf("0 to %.0f", slack), Passed: captured > 0 && left >= 0 && left <= slack,
		},
		{
			What: source + ": results looked at − arrived", Value: fmt.Sprintf("%.0f − %d = %.0f", processed, arrived, missing),
			Limit: fmt.Sprintf("≤ %.0f that were given up", given), Passed: missing <= given,
		},
	}
}

// ratesOf counts frames second by second.
func ratesOf(source string, times []time.Time, begin time.Time, measured time.Duration) rate {
	r := rate{Source: source, Frames: make([]int, int(measured.Seconds())+1)}
	for _, at := range times {
		if s := int(at.Sub(begin).Seconds()); !at.Before(begin) && s < len(r.Frames) {
			r.Frames[s]++
		}
	}
	return r
}
