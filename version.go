package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gnomon/camera"
)

// versionInfo is what `gnomon version --json` prints.
type versionInfo struct {
	Version     string            `json:"version"`
	Commit      string            `json:"commit"`
	Go          string            `json:"go"`
	Platform    string            `json:"platform"`
	OpenCV      string            `json:"opencv"`
	ONNXRuntime string            `json:"onnxruntime"`
	Library     string            `json:"onnxruntime_library"`
	Providers   map[string]string `json:"providers"` // "available", or why not
}

func versionCommand() *cobra.Command {
	var asJSON bool
	var library string
	var plugins []string
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of everything inside, and the execution providers",
		Example: "  gnomon version --json",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			v, err := versions(library, plugins)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(v)
			}
			t := newTable(c.OutOrStdout())
			t.AppendRows([]table.Row{
				{"gnomon", v.Version},
				{"commit", v.Commit},
				{"platform", v.Platform + ", " + v.Go},
				{"OpenCV", v.OpenCV},
				{"ONNX Runtime", fmt.Sprintf("%s (%s)", v.ONNXRuntime, v.Library)},
			})
			for _, name := range providerNames(v.Providers) {
				t.AppendRow(table.Row{"provider " + name, v.Providers[name]})
			}
			t.Render()
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().StringVar(&library, "library", "", "ONNX Runtime library to load instead of the embedded one")
	c.Flags().StringArrayVar(&plugins, "plugin", nil, "plugin provider library to register; may be given several times")
	return c
}

func versions(library string, plugins []string) (versionInfo, error) {
	v := versionInfo{
		Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		OpenCV: camera.Version(), Providers: map[string]string{},
	}
	rt, err := openRuntime(library, plugins...)
	if err != nil {
		return v, err
	}
	v.ONNXRuntime, v.Library = rt.Version(), rt.Library()
	for _, p := range rt.Providers() {
		v.Providers[p.Name] = "available"
		if p.Err != nil {
			v.Providers[p.Name] = "not available: " + firstLine(p.Err.Error())
		}
	}
	return v, rt.Close()
}
