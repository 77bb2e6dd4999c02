package main

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"

	"gnomon/bench"
)

func renderCameras(out io.Writer, r *bench.CamerasReport) {
	t := newTable(out)
	t.AppendHeader(table.Row{"cameras", "wanted fps", "fps", "least", "most", "jain", "dropped", "latency p50", "p90", "p99 ms", "cpu ms/frame", "beside the model", "cores", "rss MB"})
	for i := range r.Steps {
		t.AppendRow(cameraCells(fmt.Sprint(r.Steps[i].Cameras), &r.Steps[i]))
	}
	if s := r.Soak; s != nil {
		t.AppendSeparator()
		t.AppendRow(cameraCells("soak, beginning", &s.First))
		t.AppendRow(cameraCells("soak, end", &s.Last))
	}
	t.Render()
	_, _ = fmt.Fprintf(out, "\n%s, %s, %g frames a second each; one source at full speed: %.1f\n", r.Model, lanes{r.Sessions, r.Threads}, r.FPS, r.Full)
	for _, m := range r.Memory {
		_, _ = fmt.Fprintf(out, "%d cameras of 1920x1080, %s: %.0f MB; with one: %.0f MB\n", m.Cameras, m.Source, m.All, m.One)
	}
	_, _ = fmt.Fprintln(out) // a table follows, whose writer cannot report either
	renderVerdicts(out, r.Verdicts())
	renderHost(out, r.Host, r.Versions)
}

func cameraCells(name string, s *bench.CamerasRow) table.Row {
	one := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	return table.Row{
		name, one(s.Wanted), one(s.FPS), fmt.Sprintf("%.2f", s.Least), fmt.Sprintf("%.2f", s.Most), fmt.Sprintf("%.3f", s.Jain), s.Dropped,
		one(s.Latency.P50), one(s.Latency.P90), one(s.Latency.P99), one(s.CPU), one(s.Overhead), fmt.Sprintf("%.2f", s.Cores), fmt.Sprintf("%.0f", s.RSS),
	}
}
