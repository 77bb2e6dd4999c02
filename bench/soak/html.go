package main

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// Measures of a plot in pixels.
const (
	plotWidth, plotHeight = 860.0, 150.0
	plotLeft, plotBottom  = 70.0, 22.0
	plotPoints            = 860 // of one line; more would lie on each other
)

const style = `:root { --page: #fff; --ink: #1b1f24; --soft: #59636e; --rule: #d8dee4; --line: #0a66c2; --pull: #b35900; --swap: #1a7f37; --cut: #cf222e }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --ink: #e6e9ed; --soft: #9aa4af; --rule: #333a42; --line: #58a6ff; --pull: #f0a050; --swap: #56d364; --cut: #ff7b72 } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem } h2 { font-size: 1.05rem; margin: 1.5rem 0 .2rem } svg { max-width: 100%; height: auto }
table { border-collapse: collapse } th, td { padding: .2rem .7rem .2rem 0; border-bottom: 1px solid var(--rule); text-align: left }
.bad { color: var(--cut); font-weight: 600 } .pull { color: var(--pull) } .swap { color: var(--swap) } .cut { color: var(--cut) }
text { font: 12px system-ui, sans-serif; fill: var(--soft) } line { stroke: var(--rule) } polyline { fill: none; stroke: var(--line); stroke-width: 1.3 }
rect { opacity: .25 } rect.pull { fill: var(--pull) } rect.swap { fill: var(--swap) } rect.cut { fill: var(--cut) }
`

// writeHTML writes one page that needs nothing else. It is well-formed XML too. Everything but formats is escaped.
func writeHTML(to io.Writer, r *result) error {
	w := bufio.NewWriter(to)
	put := func(format string, values ...any) {
		for i, v := range values {
			values[i] = html.EscapeString(fmt.Sprint(v))
		}
		_, _ = fmt.Fprintf(w, format, values...) // the writer keeps the first error
	}
	put("<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"/><title>gnomon soak</title>\n<style>\n")
	_, _ = w.WriteString(style)
	put("</style></head>\n<body>\n")
	put("<h1>gnomon soak: %s</h1>\n<p>%s, measured for %s after %s of warming up</p>\n<table>\n", verdict(r.Passed), r.At.Format("2006-01-02 15:04 MST"), r.Plan.Measured, r.Plan.Warm)
	put("<tr><th></th><th>what</th><th>value</th><th>limit</th><th></th></tr>\n")
	for _, c := range r.Checks {
		class := "ok"
		if !c.Passed {
			class = "bad"
		}
		put("<tr><td class=\"%s\">%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", class, verdict(c.Passed), c.What, c.Value, c.Limit, c.Note)
	}
	put("</table>\n<p>In the plots: <span class=\"pull\">a camera away</span>, <span class=\"swap\">an exchange of models</span>, <span class=\"cut\">the network cut</span></p>\n")
	width := r.Plan.Measured.Seconds()
	for _, s := range allSeries() {
		var x, y []float64
		for i := range r.Samples {
			if v := s.of(&r.Samples[i]); v >= 0 {
				x, y = append(x, r.Samples[i].At), append(y, v/s.scale)
			}
		}
		put("<h2>%s %s</h2>\n", s.name, s.unit)
		plot(put, x, y, width, r.Events)
	}
	for _, rate := range r.Rates {
		var x, y []float64
		for at, n := range rate.Frames {
			x, y = append(x, float64(at)), append(y, float64(n))
		}
		put("<h2>%s: frames a second</h2>\n", rate.Source)
		plot(put, x, y, width, r.Events)
	}
	put("</body>\n</html>\n")
	return w.Flush()
}

// plot draws one line over the events. The upright axis begins at zero, so that what looks like a change is one.
func plot(put func(string, ...any), x, y []float64, width float64, events []event) {
	if len(x) == 0 {
		put("<p>not told</p>\n")
		return
	}
	most := 0.0
	for _, v := range y {
		most = max(most, v)
	}
	top := ceiling(most)
	across := func(at float64) float64 { return plotLeft + at/max(width, 1)*(plotWidth-plotLeft) }
	up := func(v float64) float64 { return (plotHeight - plotBottom) * (1 - v/top) }
	put("<svg viewBox=\"0 0 %v %v\" width=\"%v\" role=\"img\">\n", plotWidth, plotHeight+8, plotWidth)
	for _, e := range events {
		put("<rect class=\"%s\" x=\"%s\" y=\"0\" width=\"%s\" height=\"%s\"><title>%s %s</title></rect>\n", e.Kind,
			number(across(e.At)), number(max(1, across(e.End)-across(e.At))), number(plotHeight-plotBottom), e.Kind, e.Text)
	}
	for _, part := range []float64{0, 0.5, 1} {
		put("<line x1=\"%s\" y1=\"%s\" x2=\"%s\" y2=\"%s\"/><text x=\"%s\" y=\"%s\" text-anchor=\"end\">%s</text>\n", number(plotLeft), number(up(part*top)),
			number(plotWidth), number(up(part*top)), number(plotLeft-6), number(up(part*top)+10), fmt.Sprintf("%g", part*top))
		put("<text x=\"%s\" y=\"%s\" text-anchor=\"middle\">%s</text>\n", number(across(part*width)-part*24), number(plotHeight), fmt.Sprintf("%.0f s", part*width))
	}
	var points strings.Builder
	step := max(1, len(x)/plotPoints)
	for i := 0; i < len(x); i += step {
		fmt.Fprintf(&points, "%.1f,%.1f ", across(x[i]), up(y[i]))
	}
	put("<polyline points=\"%s\"/>\n</svg>\n", points.String())
}

// number keeps the file small: a tenth of a pixel is nobody's business.
func number(v float64) string { return fmt.Sprintf("%.1f", v) }

// ceiling is the next of 1, 2 and 5 times a power of ten.
func ceiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v {
			return m * power
		}
	}
	return 10 * power
}
