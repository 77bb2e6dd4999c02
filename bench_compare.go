package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gnomon/bench"
)

func benchCompareCommand() *cobra.Command {
	var asJSON bool
	var failSlower float64
	c := &cobra.Command{
		Use:   "compare A.json B.json",
		Short: "Say what got faster or slower between two runs, beyond the noise",
		Long: "Compare two outputs of gnomon bench --json, round by round: a figure has changed when its medians differ by more\n" +
			"than the rounds of both runs scatter and than equal runs differ. With --fail-slower the exit code is 1 when\n" +
			"the speed end to end fell by more than so many per cent.",
		Example: "  gnomon bench compare before.json after.json --fail-slower 5",
		Args:    exactly(2, "two outputs of gnomon bench --json"),
		RunE: func(c *cobra.Command, args []string) error {
			const all = 100
			if c.Flags().Changed("fail-slower") && !(failSlower > 0 && failSlower <= all) {
				return usage("--fail-slower must be above 0 and at most 100 per cent")
			}
			a, err := bench.LoadSpeedReport(args[0])
			if err != nil {
				return err
			}
			b, err := bench.LoadSpeedReport(args[1])
			if err != nil {
				return err
			}
			cmp, err := bench.Compare(a, b)
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(c.OutOrStdout()).Encode(cmp)
			} else {
				renderComparison(c.OutOrStdout(), cmp)
			}
			if by := cmp.SlowerBy() * all; err == nil && failSlower > 0 && by > failSlower {
				return fmt.Errorf("%.1f %% slower end to end; %g %% are allowed", by, failSlower)
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().Float64Var(&failSlower, "fail-slower", 0, "fail when more than so many per cent slower end to end")
	return c
}

func renderComparison(out io.Writer, c *bench.Comparison) {
	for _, p := range c.Pairs {
		t := newTable(out)
		t.AppendHeader(table.Row{fmt.Sprintf("%s on %s, %s then %s", p.Model, p.Provider, p.A, p.B), "before", "after", "change", "99 % sure", ""})
		for _, x := range p.Changes {
			t.AppendRow(table.Row{
				x.Figure, fmt.Sprintf("%.4g", x.A), fmt.Sprintf("%.4g", x.B), percent(x.Change), percent(x.Low) + " to " + percent(x.High), x.Verdict,
			})
		}
		t.Render()
		_, _ = fmt.Fprintln(out) // beside a table, whose writer cannot report either
	}
	for _, name := range c.OnlyA {
		_, _ = fmt.Fprintf(out, "only in the first run: %s\n", name)
	}
	for _, name := range c.OnlyB {
		_, _ = fmt.Fprintf(out, "only in the second run: %s\n", name)
	}
	for _, note := range c.Notes {
		_, _ = fmt.Fprintf(out, "note: %s\n", note)
	}
}

func percent(v float64) string { return fmt.Sprintf("%+.1f %%", 100*v) }
