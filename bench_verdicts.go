package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"

	"gnomon/bench"
)

// renderVerdicts prints targets and whether they were met.
func renderVerdicts(out io.Writer, all []bench.Verdict) {
	t := newTable(out)
	t.AppendHeader(table.Row{"target", "wanted", "measured", ""})
	for _, v := range all {
		mark := "met"
		if !v.Met {
			mark = "MISSED"
		}
		t.AppendRow(table.Row{v.What, v.Target, v.Measured, mark})
	}
	t.Render()
}

// missed is an error for each target that was not met.
func missed(all []bench.Verdict) error {
	var errs []error
	for _, v := range all {
		if !v.Met {
			errs = append(errs, fmt.Errorf("target missed: %s is %s, to be %s", v.What, v.Measured, v.Target))
		}
	}
	return errors.Join(errs...)
}
