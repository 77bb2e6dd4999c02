package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"gnomon/bench"
)

// schema names the form of the JSON. The number goes up when a reader of the old form would misread the new.
const schema = "gnomon.targets/1"

// verdict is what became of a target.
type verdict string

const (
	met         verdict = "met"
	missedIt    verdict = "MISSED"
	notMeasured verdict = "not measured"
)

// target is a bound that a figure has to keep.
type target struct {
	AtLeast bool    `json:"at_least"` // otherwise the figure may be Bound at most
	Bound   float64 `json:"bound"`
	Unit    string  `json:"unit,omitempty"` // none: a ratio
}

func atLeast(bound float64) target             { return target{AtLeast: true, Bound: bound} }
func atMost(bound float64, unit string) target { return target{Bound: bound, Unit: unit} }

func (t target) String() string {
	sign := "≤"
	if t.AtLeast {
		sign = "≥"
	}
	return fmt.Sprintf("%s %s", sign, t.value(t.Bound))
}

// value is a figure in the target's unit, with what of it can be told from noise.
func (t target) value(v float64) string {
	digits := 2
	if t.Unit == "MB" || t.Unit == "allocations" {
		digits = 0
	}
	return strings.TrimSpace(fmt.Sprintf("%.*f %s", digits, v, t.Unit))
}

func (t target) keeps(v float64) bool {
	if t.AtLeast {
		return v >= t.Bound
	}
	return v <= t.Bound
}

// round is what one round measured, by name.
type round map[string]float64

// row is one line of the table.
type row struct {
	What     string   `json:"what"`
	Target   target   `json:"target"`
	Measured *float64 `json:"measured"` // null: not measured
	Verdict  verdict  `json:"verdict"`
	Detail   string   `json:"detail"`           // what the figure is made of, or why there is none
	Rounds   []round  `json:"rounds,omitempty"` // where gnomon bench does not have them
}

// report is what was measured.
type report struct {
	Schema string    `json:"schema"`
	At     time.Time `json:"at"`
	Load   [2]string `json:"load"` // of the machine's last minute, before and after
	Rows   []row     `json:"rows"`
	// Bench are the reports of gnomon bench behind the rows, by what was measured; docs/bench.md explains them.
	Bench map[string]*bench.SpeedReport `json:"bench"`
	Peers map[string]string             `json:"peers"` // versions of the other programs
}

// got adds a line with a figure.
func (r *report) got(what string, t target, v float64, detail string, rounds []round) {
	x := row{What: what, Target: t, Measured: &v, Verdict: missedIt, Detail: detail, Rounds: rounds}
	if t.keeps(v) {
		x.Verdict = met
	}
	r.Rows = append(r.Rows, x)
}

// lacks adds a line without one.
func (r *report) lacks(what string, t target, why error) {
	r.Rows = append(r.Rows, row{What: what, Target: t, Verdict: notMeasured, Detail: why.Error()})
}

func (r *report) missed() int {
	n := 0
	for _, x := range r.Rows {
		if x.Verdict == missedIt {
			n++
		}
	}
	return n
}

// columnWidth is where text in the table is wrapped: with two such columns a line stays below 160 characters.
const columnWidth = 60

// render prints the table.
func (r *report) render(out io.Writer) error {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.Options{SeparateHeader: true}
	style.Format.Header = 0
	t.SetStyle(style)
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 1, WidthMax: columnWidth, WidthMaxEnforcer: text.WrapSoft}, {Number: 5, WidthMax: columnWidth, WidthMaxEnforcer: text.WrapSoft}})
	t.AppendHeader(table.Row{"target", "wanted", "measured", "verdict", ""})
	for _, x := range r.Rows {
		measured := "-"
		if x.Measured != nil {
			measured = x.Target.value(*x.Measured)
		}
		t.AppendRow(table.Row{x.What, x.Target.String(), measured, string(x.Verdict), x.Detail})
	}
	_, err := fmt.Fprintf(out, "%s\n\nload of the machine in the minute before: %s, in the last one: %s\n", t.Render(), r.Load[0], r.Load[1])
	return err
}

// write writes the JSON to a file.
func (r *report) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	const readable = 0o644 // like any file that a program is told to write
	return os.WriteFile(path, append(data, '\n'), readable)
}
