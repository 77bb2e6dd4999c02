package bench

import (
	"bufio"
	"fmt"
	"html"
	"io"
)

// page writes HTML. It is written out by hand: with the template packages the linker can leave out no method of any type,
// which makes the program a tenth larger. Everything but formats is escaped.
type page struct{ w *bufio.Writer }

// put writes a format whose verbs are all %v or %s, with the values escaped. The writer keeps the first error.
func (p page) put(format string, values ...any) {
	for i, v := range values {
		values[i] = html.EscapeString(fmt.Sprint(v))
	}
	_, _ = fmt.Fprintf(p.w, format, values...)
}

// row writes a row of a table: the first cell is what the others are about.
func (p page) row(tag string, cells ...any) {
	p.put("<tr>")
	for _, c := range cells {
		p.put("<"+tag+">%s</"+tag+">", c)
	}
	p.put("</tr>\n")
}

// fact writes a row of one value with its name.
func (p page) fact(name string, value any) { p.put("<tr><th>%s</th><td>%s</td></tr>\n", name, value) }

const (
	tableBegin = "<div class=\"scroll\"><table>\n"
	tableEnd   = "</table></div>\n"
)

// title names a result in the report.
func (r *SpeedResult) title() string {
	return fmt.Sprintf("%s on %s, %d sessions x %d threads", r.Model, r.Provider, r.Sessions, r.Threads)
}

// decimals is a figure with so many decimals.
func decimals(n int, v float64) string { return fmt.Sprintf("%.*f", n, v) }

// measured is decimals for a figure that may not have been measured.
func measured(n int, v *float64) string {
	if v == nil {
		return "–"
	}
	return decimals(n, *v)
}

// reportStyle is the style sheet, for light and for dark.
const reportStyle = `:root { --page: #ffffff; --ink: #1b1f24; --soft: #59636e; --rule: #d8dee4; --raw: #8c959f; --e2e: #0a66c2; --memory: #b35900; --stage: #0a66c2 }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171b; --ink: #e6e9ed; --soft: #9aa4af; --rule: #333a42; --raw: #8b949e; --e2e: #58a6ff; --memory: #f0a050; --stage: #58a6ff }
}
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem } h3 { font-size: 1rem; margin: 1.5rem 0 .25rem }
p, figcaption { color: var(--soft) } p { margin: .25rem 0 1rem } figure { margin: 0; overflow-x: auto } svg { max-width: 100%; height: auto }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .75rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: 0 } th { font-weight: 600; color: var(--soft) }
text { font: 12px system-ui, sans-serif; fill: var(--soft) } text.name { font-weight: 600; fill: var(--ink) } text.value { fill: var(--ink) }
line.grid { stroke: var(--rule) } line.range { stroke: var(--stage); stroke-width: 2; opacity: .5 } polyline { fill: none; stroke-width: 1.5 }
rect.raw, circle.raw { fill: var(--raw) } rect.e2e, circle.e2e { fill: var(--e2e) } rect.memory, circle.memory { fill: var(--memory) }
polyline.raw { stroke: var(--raw) } polyline.e2e { stroke: var(--e2e) } polyline.memory { stroke: var(--memory) } circle.stage { fill: var(--stage) }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 1em }
.key.raw { background: var(--raw) } .key.e2e { background: var(--e2e) } .key.memory { background: var(--memory) }
`

// WriteHTML writes the report as one page that needs nothing else: no script, no network, no font. It is well-formed XML
// too.
func WriteHTML(w io.Writer, r *SpeedReport) error {
	p := page{bufio.NewWriter(w)}
	p.put("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n" +
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<meta name=\"color-scheme\" content=\"light dark\"/>\n" +
		"<title>gnomon bench</title>\n<style>\n")
	_, _ = p.w.WriteString(reportStyle)
	p.put("</style>\n</head>\n<body>\n<h1>gnomon bench</h1>\n<p>%s, source %s, broker %s</p>\n", r.At.Format("2006-01-02 15:04 MST"), r.Source, r.Broker)
	p.put("<figure>")
	speedBars(r.Results).write(p)
	p.put("<figcaption>Frames a second, medians of the rounds. Raw is the best arrangement of bare session.Run loops.</figcaption></figure>\n" + tableBegin)
	p.row("th", "model", "raw fps", "of", "e2e fps", "ratio", "in memory", "ratio", "CPU ms a frame", "outside", "allocations", "RSS MB", "frames", "lost")
	for i := range r.Results {
		x := &r.Results[i]
		p.row("td", x.title(), decimals(1, x.RawFPS), x.RawArrangement, decimals(1, x.E2EFPS), decimals(3, x.Ratio), measured(1, x.MemoryFPS), measured(3, x.MemoryRatio),
			decimals(2, x.CPU.Frame), decimals(2, x.CPU.Outside), decimals(1, x.Allocs), decimals(0, x.RSS), x.Frames, x.Dropped)
	}
	p.put(tableEnd)
	for i := range r.Results {
		p.result(&r.Results[i])
	}
	p.machine(r)
	p.put("</body>\n</html>\n")
	return p.w.Flush()
}

// result writes what there is to see of one combination.
func (p page) result(x *SpeedResult) {
	p.put("<h2>%s</h2>\n<h3>Rounds</h3>\n<figure>", x.title())
	roundLines(x).write(p)
	p.put("<figcaption><span class=\"key raw\"></span>raw %s<span class=\"key e2e\"></span>end to end", x.RawArrangement)
	if x.MemoryFPS != nil {
		p.put("<span class=\"key memory\"></span>from memory")
	}
	p.put("; frames a second by round</figcaption></figure>\n<h3>Stages</h3>\n<figure>")
	stageDots(x).write(p)
	_, _ = p.w.WriteString("<figcaption>Time of one frame in each stage: half, 90 % and 99 % of the frames are within the large, the middle and the small dot.</figcaption></figure>\n")
	p.put(tableBegin)
	p.row("th", "stage", "p50 ms", "p90 ms", "p99 ms")
	for _, s := range x.Stages.List() {
		p.row("td", s.Name, decimals(3, s.P50), decimals(3, s.P90), decimals(3, s.P99))
	}
	p.put(tableEnd + "<h3>Arrangements of the bare loops</h3>\n" + tableBegin)
	p.row("th", "sessions x threads", "fps in the trial", "fps in the rounds")
	for _, a := range x.Arrangements {
		rounds := "left out"
		if a.FPS != 0 {
			rounds = decimals(1, a.FPS)
		}
		p.row("td", a.Arrangement, decimals(1, a.Trial), rounds)
	}
	p.put(tableEnd)
}

// machine writes where all this was measured.
func (p page) machine(r *SpeedReport) {
	p.put("<h2>Machine</h2>\n" + tableBegin)
	p.fact("processor", fmt.Sprintf("%s, %d cores", r.Host.CPU, r.Host.Cores))
	p.fact("memory", decimals(0, r.Host.Memory)+" MB")
	p.fact("kernel", r.Host.Kernel)
	for _, g := range r.Host.GPUs {
		p.fact("GPU", fmt.Sprintf("%s, driver %s, %s MB", g.Name, g.Driver, decimals(0, g.Memory)))
	}
	p.fact("load before", decimals(2, r.Host.Load))
	p.fact("cores that others kept busy", decimals(2, r.Host.Others))
	p.fact("gnomon", fmt.Sprintf("%s, commit %s", r.Versions.Gnomon, r.Versions.Commit))
	p.fact("built with", fmt.Sprintf("%s, %s", r.Versions.Go, r.Versions.Platform))
	p.fact("OpenCV", r.Versions.OpenCV)
	p.fact("ONNX Runtime", fmt.Sprintf("%s, %s", r.Versions.ONNXRuntime, r.Versions.Library))
	p.put(tableEnd)
}
