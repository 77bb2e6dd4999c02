package bench

import "fmt"

// reportPage is what the template of the report gets.
type reportPage struct {
	*SpeedReport
	Bars     *plot
	Sections []reportSection
}

// reportSection is one result.
type reportSection struct {
	*SpeedResult
	Title          string
	Rounds, Stages *plot
}

// title names a result in the report.
func (r *SpeedResult) title() string {
	return fmt.Sprintf("%s on %s, %d sessions x %d threads", r.Model, r.Provider, r.Sessions, r.Threads)
}

// F is a figure with so many decimals, for the template.
func (reportPage) F(decimals int, v float64) string { return fmt.Sprintf("%.*f", decimals, v) }

// P is F for a figure that may not have been measured.
func (reportPage) P(decimals int, v *float64) string {
	if v == nil {
		return "–"
	}
	return fmt.Sprintf("%.*f", decimals, *v)
}

// reportHTML is written so that it is well-formed XML too.
const reportHTML = `{{define "report"}}<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>gnomon bench</title>
<style>
:root { --page: #ffffff; --ink: #1b1f24; --soft: #59636e; --rule: #d8dee4; --raw: #8c959f; --e2e: #0a66c2; --memory: #b35900; --stage: #0a66c2 }
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
</style>
</head>
<body>
<h1>gnomon bench</h1>
<p>{{.At.Format "2006-01-02 15:04 MST"}}, source {{.Source}}, broker {{.Broker}}</p>
<figure>{{template "plot" .Bars}}
<figcaption>Frames a second, medians of the rounds. Raw is the best arrangement of bare session.Run loops.</figcaption></figure>
<div class="scroll"><table>
<tr><th>model</th><th>raw fps</th><th>of</th><th>e2e fps</th><th>ratio</th><th>in memory</th><th>ratio</th><th>CPU ms a frame</th><th>outside</th><th>allocations</th><th>RSS MB</th><th>frames</th><th>lost</th></tr>
{{range .Sections}}<tr><td>{{.Title}}</td><td>{{$.F 1 .RawFPS}}</td><td>{{.RawArrangement}}</td><td>{{$.F 1 .E2EFPS}}</td><td>{{$.F 3 .Ratio}}</td><td>{{$.P 1 .MemoryFPS}}</td><td>{{$.P 3 .MemoryRatio}}</td><td>{{$.F 2 .CPU.Frame}}</td><td>{{$.F 2 .CPU.Outside}}</td><td>{{$.F 1 .Allocs}}</td><td>{{$.F 0 .RSS}}</td><td>{{.Frames}}</td><td>{{.Dropped}}</td></tr>
{{end}}</table></div>
{{range .Sections}}<h2>{{.Title}}</h2>
<h3>Rounds</h3>
<figure>{{template "plot" .Rounds}}
<figcaption><span class="key raw"></span>raw {{.RawArrangement}}<span class="key e2e"></span>end to end{{if .MemoryFPS}}<span class="key memory"></span>from memory{{end}}; frames a second by round</figcaption></figure>
<h3>Stages</h3>
<figure>{{template "plot" .Stages}}
<figcaption>Time of one frame in each stage: half, 90 % and 99 % of the frames are within the large, the middle and the small dot.</figcaption></figure>
<div class="scroll"><table>
<tr><th>stage</th><th>p50 ms</th><th>p90 ms</th><th>p99 ms</th></tr>
{{range .SpeedResult.Stages.List}}<tr><td>{{.Name}}</td><td>{{$.F 3 .P50}}</td><td>{{$.F 3 .P90}}</td><td>{{$.F 3 .P99}}</td></tr>
{{end}}</table></div>
<h3>Arrangements of the bare loops</h3>
<div class="scroll"><table>
<tr><th>sessions x threads</th><th>fps in the trial</th><th>fps in the rounds</th></tr>
{{range .Arrangements}}<tr><td>{{.Arrangement}}</td><td>{{$.F 1 .Trial}}</td><td>{{if .FPS}}{{$.F 1 .FPS}}{{else}}left out{{end}}</td></tr>
{{end}}</table></div>
{{end}}<h2>Machine</h2>
<div class="scroll"><table>
<tr><th>processor</th><td>{{.Host.CPU}}, {{.Host.Cores}} cores</td></tr>
<tr><th>memory</th><td>{{.F 0 .Host.Memory}} MB</td></tr>
<tr><th>kernel</th><td>{{.Host.Kernel}}</td></tr>
{{range .Host.GPUs}}<tr><th>GPU</th><td>{{.Name}}, driver {{.Driver}}, {{$.F 0 .Memory}} MB</td></tr>
{{end}}<tr><th>load before</th><td>{{.F 2 .Host.Load}}</td></tr>
<tr><th>cores that others kept busy</th><td>{{.F 2 .Host.Others}}</td></tr>
<tr><th>gnomon</th><td>{{.Versions.Gnomon}}, commit {{.Versions.Commit}}</td></tr>
<tr><th>built with</th><td>{{.Versions.Go}}, {{.Versions.Platform}}</td></tr>
<tr><th>OpenCV</th><td>{{.Versions.OpenCV}}</td></tr>
<tr><th>ONNX Runtime</th><td>{{.Versions.ONNXRuntime}}, {{.Versions.Library}}</td></tr>
</table></div>
</body>
</html>
{{end}}`
