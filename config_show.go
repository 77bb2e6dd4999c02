package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gnomon/config"
	"gnomon/config/layers"
	"gnomon/config/yamldoc"
)

// configShowCommand prints the configuration in effect. The settings from the cloud are those that the agent has kept, so
// it neither asks anybody nor needs the agent to run.
func configShowCommand() *cobra.Command {
	var path, state string
	var origin, asJSON bool
	c := &cobra.Command{
		Use: "show", Short: "Print the configuration in effect, with the settings from the cloud",
		Long: "Print the configuration in effect: the defaults, the file over them, settings of the fleet from Parameter Store\n" +
			"over both, and those of the device's shadow over all, as the agent has received them last.",
		Example: "  gnomon config show --config gnomon.yaml\n  gnomon config show --config gnomon.yaml --origin",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			s, trouble, err := shownSettings(path, state)
			if err != nil {
				return err
			}
			if trouble != nil {
				_, _ = fmt.Fprintf(c.ErrOrStderr(), "gnomon: without the settings from the cloud: %v\n", trouble)
			}
			switch {
			case asJSON:
				return showJSON(c.OutOrStdout(), s, origin)
			case origin:
				return showOrigins(c.OutOrStdout(), s)
			}
			for _, r := range s.Refused() {
				_, _ = fmt.Fprintf(c.ErrOrStderr(), "gnomon: refused (%s, %s): %s: %s\n", r.Origin, r.Code, r.Name, r.Message)
			}
			_, err = io.WriteString(c.OutOrStdout(), layers.YAML(s.Values()))
			return err
		},
	}
	c.Flags().StringVar(&path, "config", "", "configuration file (default: none, as for gnomon run)")
	c.Flags().StringVar(&state, "state", "", "folder in which the agent keeps this device's settings (default: settings/THING where it keeps its state)")
	c.Flags().BoolVar(&origin, "origin", false, "say for each value where it came from, and what is refused")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// shownSettings puts the layers together; trouble is with what the agent has kept.
func shownSettings(path, dir string) (s *layers.Stack, trouble, err error) {
	base := config.Default()
	cfg, doc := &base, (*yamldoc.Document)(nil)
	if path != "" {
		if cfg, doc, err = config.LoadDocument(path); err != nil {
			return nil, nil, &usageError{err}
		}
	}
	var k keptSettings
	if cfg.Shadow.Enabled || cfg.AWS.Parameters.Path != "" { // others have none
		if dir == "" {
			var thing string
			if thing, trouble = cfg.Thing(); trouble == nil {
				dir, trouble = settingsDir(thing)
			}
		}
		if trouble == nil {
			k, trouble = readSettings(dir)
		}
	}
	return layers.New(layers.Options{Base: cfg, Document: doc, File: path, Kept: belonging(k.State, cfg)}), trouble, nil
}

func showOrigins(out io.Writer, s *layers.Stack) error {
	t := newTable(out)
	t.AppendHeader(table.Row{"setting", "value", "origin"})
	for _, v := range s.Values() {
		if v.Value != nil {
			t.AppendRow(table.Row{v.Name, v.Text, v.Origin})
		}
	}
	t.Render()
	refused := s.Refused()
	if len(refused) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	t = newTable(out)
	t.AppendHeader(table.Row{"refused", "origin", "code", "reason"})
	for _, r := range refused {
		from := r.Origin
		if r.From != "" {
			from += " " + r.From
		}
		t.AppendRow(table.Row{r.Name, from, r.Code, r.Message})
	}
	t.Render()
	return nil
}

// shownValue is one setting in JSON.
type shownValue struct {
	Name   string `json:"name"`
	Value  any    `json:"value"`
	Origin string `json:"origin"`
}

func showJSON(out io.Writer, s *layers.Stack, origin bool) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if origin {
		var all struct {
			Settings []shownValue     `json:"settings"`
			Refused  []layers.Refusal `json:"refused,omitempty"`
		}
		for _, v := range s.Values() {
			if v.Value != nil {
				all.Settings = append(all.Settings, shownValue{v.Name, v.Value, v.Origin})
			}
		}
		all.Refused = s.Refused()
		return e.Encode(all)
	}
	root := map[string]any{}
	for _, v := range s.Values() {
		if v.Value == nil {
			continue
		}
		at := root
		for _, name := range v.Path[:len(v.Path)-1] {
			below, ok := at[name].(map[string]any)
			if !ok {
				below = map[string]any{}
				at[name] = below
			}
			at = below
		}
		at[v.Path[len(v.Path)-1]] = v.Value
	}
	return e.Encode(root)
}
