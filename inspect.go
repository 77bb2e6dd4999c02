package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gnomon/models"
	"gnomon/models/onnx"
)

func modelsCommand() *cobra.Command {
	return group("models", "Look at model files, and pack them for deployment", "  gnomon models inspect yolo11n.onnx\n  gnomon models pack yolo11n.onnx --release 2", inspectCommand(), packCommand())
}

// inspection is what `gnomon models inspect --json` prints.
type inspection struct {
	Path     string                   `json:"path"`
	SHA256   string                   `json:"sha256"`
	Bytes    int                      `json:"bytes"`
	Producer string                   `json:"producer"`
	Opset    int64                    `json:"opset"`
	Inputs   []string                 `json:"inputs"`
	Outputs  []string                 `json:"outputs"`
	Labels   []string                 `json:"labels"`
	Values   map[string]models.Origin `json:"values"`
	Unclear  []string                 `json:"unclear"`
}

func inspectCommand() *cobra.Command {
	var asJSON bool
	var manifest string
	c := &cobra.Command{
		Use:     "inspect MODEL",
		Short:   "Show what a model is, how gnomon will read it, and why",
		Long:    "Show family, inputs, outputs, labels and preprocessing of a model, where each was found, and what is\nunclear. Nothing is run. \"default\" is the model inside the binary.",
		Example: "  gnomon models inspect default\n  gnomon models inspect --json yolox_nano.onnx",
		Args:    exactly(1, "one model file, or default"),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := readModel(args[0], manifest)
			if err != nil {
				return err
			}
			i := inspect(args[0], m)
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(i)
			}
			renderInspection(c.OutOrStdout(), i)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().StringVar(&manifest, "manifest", "", "manifest of the model (default: the .yaml beside it)")
	return c
}

func inspect(path string, m *models.Model) inspection {
	i := inspection{
		Path: path, SHA256: m.SHA256, Bytes: len(m.Bytes), Opset: m.Info.Opsets[""],
		Producer: strings.TrimSpace(m.Info.Producer + " " + m.Info.ProducerVersion),
		Labels:   m.Spec.Labels, Values: m.Spec.Origins, Unclear: m.Spec.Unclear,
	}
	for _, v := range m.Info.Inputs {
		i.Inputs = append(i.Inputs, valueText(v))
	}
	for _, v := range m.Info.Outputs {
		i.Outputs = append(i.Outputs, valueText(v))
	}
	return i
}

// valueText writes an input or output as name, shape and type.
func valueText(v onnx.Value) string {
	var dims []string
	for _, d := range v.Shape {
		switch {
		case d.Value >= 0:
			dims = append(dims, fmt.Sprint(d.Value))
		case d.Param != "":
			dims = append(dims, d.Param)
		default:
			dims = append(dims, "?")
		}
	}
	return fmt.Sprintf("%s %s %s", v.Name, strings.Join(dims, "x"), v.Type)
}

// shownLabels is how many labels the table shows before it only counts them.
const shownLabels = 6

func renderInspection(out io.Writer, i inspection) {
	t := newTable(out)
	t.AppendHeader(table.Row{"model", i.Path})
	t.AppendRows([]table.Row{
		{"sha256", i.SHA256},
		{"size", fmt.Sprintf("%.1f MB, opset %d, by %s", float64(i.Bytes)/1e6, i.Opset, i.Producer)},
		{"inputs", strings.Join(i.Inputs, "\n")},
		{"outputs", strings.Join(i.Outputs, "\n")},
		{"labels", labelsText(i.Labels)},
	})
	t.Render()
	_, _ = fmt.Fprintln(out) // a table follows, whose writer cannot report either
	v := newTable(out)
	v.AppendHeader(table.Row{"key", "value", "from", "because"})
	for _, key := range slices.Sorted(maps.Keys(i.Values)) {
		o := i.Values[key]
		v.AppendRow(table.Row{key, o.Value, o.Where, o.Why})
	}
	v.SetColumnConfigs([]table.ColumnConfig{{Number: 2, WidthMax: 48}, {Number: 4, WidthMax: 60}})
	v.Render()
	for _, u := range i.Unclear {
		_, _ = fmt.Fprintf(out, "\nUnclear: %s\n", u)
	}
}

func labelsText(labels []string) string {
	if len(labels) <= shownLabels {
		return strings.Join(labels, ", ")
	}
	return fmt.Sprintf("%s … (%d)", strings.Join(labels[:shownLabels], ", "), len(labels))
}
