package main

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"

	"gnomon/bench"
)

// renderSpeed prints one row for each combination, then where the time of a frame goes.
func renderSpeed(out io.Writer, r *bench.SpeedReport) {
	t := newTable(out)
	header := table.Row{"model", "provider", "gnomon", "raw fps", "of", "e2e fps", "ratio"}
	memory := r.MemoryFPS != nil
	if memory {
		header = append(header, "in memory", "ratio")
	}
	t.AppendHeader(append(header, "cpu ms", "outside", "allocs", "rss MB", "frames", "lost"))
	for i := range r.Results {
		x := &r.Results[i]
		row := table.Row{
			x.Model, x.Provider,
			bench.Arrangement{Sessions: x.Sessions, Threads: x.Threads},
			fmt.Sprintf("%.1f", x.RawFPS), x.RawArrangement,
			fmt.Sprintf("%.1f", x.E2EFPS), fmt.Sprintf("%.3f", x.Ratio),
		}
		if memory {
			row = append(row, fmt.Sprintf("%.1f", *x.MemoryFPS), fmt.Sprintf("%.3f", *x.MemoryRatio))
		}
		t.AppendRow(append(row, fmt.Sprintf("%.2f", x.CPU.Frame), fmt.Sprintf("%.2f", x.CPU.Outside), fmt.Sprintf("%.1f", x.Allocs),
			fmt.Sprintf("%.0f", x.RSS), x.Frames, x.Dropped))
	}
	t.Render()
	for i := range r.Results {
		_, _ = fmt.Fprintln(out) // a table follows, whose writer cannot report either
		renderStages(out, &r.Results[i])
	}
	renderHost(out, r.Host, r.Versions)
}

// renderHost says on what it was measured, and whether that was quiet enough.
func renderHost(out io.Writer, h bench.Host, v bench.Versions) {
	_, _ = fmt.Fprintf(out, "\n%s, %d cores; gnomon %s, OpenCV %s, ONNX Runtime %s\n", h.CPU, h.Cores, v.Gnomon, v.OpenCV, v.ONNXRuntime)
	if h.Others > bench.BusyOthers {
		_, _ = fmt.Fprintf(out, "others kept %.1f cores busy meanwhile: measure again when the machine is quiet\n", h.Others)
	}
}

func renderStages(out io.Writer, x *bench.SpeedResult) {
	t := newTable(out)
	t.AppendHeader(table.Row{x.Model + ", ms", "p50", "p90", "p99"})
	for _, s := range x.Stages.List() {
		t.AppendRow(table.Row{s.Name, fmt.Sprintf("%.3f", s.P50), fmt.Sprintf("%.3f", s.P90), fmt.Sprintf("%.3f", s.P99)})
	}
	t.Render()
}
