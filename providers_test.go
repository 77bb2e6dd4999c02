package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gnomon/config"
	"gnomon/engine/ort"
)

// A model says for itself where it runs, unless the command line insists; and a load is told of in words.
func TestProviders(t *testing.T) {
	needParts(t)
	m, err := readModel("testdata/models/yolov8.onnx", write(t, filepath.Join(t.TempDir(), "m.yaml"), []byte("providers: [tensorrt, cuda, cpu]\n")))
	if err != nil {
		t.Fatal(err)
	}
	log, lines := observer.New(zap.InfoLevel)
	rt, err := openEngine(config.Engine{Plugins: []string{"/none.so"}}, zap.New(log))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rt.Close() }()
	if said := lines.TakeAll(); len(said) != 1 || said[0].Message != "plugin of no use; models run without it" {
		t.Errorf("of the plugin it says %+v", said)
	}
	for _, row := range []struct {
		o      loadOptions
		fallen []string
		want   string // an error
	}{
		{loadOptions{Providers: providersOf(config.Engine{Providers: []string{"cpu"}})}, []string{"tensorrt", "cuda"}, ""},
		{loadOptions{Providers: providersOf(config.Engine{Providers: []string{"cpu"}}), Insist: true}, nil, ""},
		{loadOptions{Providers: providersOf(config.Engine{Providers: []string{"npu", "cpu"}}), Insist: true}, []string{"npu"}, ""},
		{loadOptions{Providers: providersOf(config.Engine{Providers: []string{"cpu"}, Strict: true})}, nil, "execution provider tensorrt cannot be used: set engine.library to a GPU build of ONNX Runtime"},
		{loadOptions{Providers: providersOf(config.Engine{Providers: []string{"npu"}}), Insist: true}, nil, "plugin /none.so: "},
	} {
		var where ort.Placement
		row.o.Lanes, row.o.Placed = lanes{1, 1}, func(p ort.Placement) { where = p }
		model, err := loadModel(rt, m, row.o)
		switch {
		case row.want != "":
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v, want …%s…", err, row.want)
			}
			continue
		case err != nil:
			t.Fatal(err)
		}
		var fallen []string
		for _, f := range where.Fallen {
			fallen = append(fallen, f.Name)
		}
		if !slices.Equal(fallen, row.fallen) || !strings.HasPrefix(where.String(), "cpu: ") {
			t.Errorf("%s, fallen %q, want %q", where, fallen, row.fallen)
		}
		placed(zap.New(log), where)
		if said := lines.TakeAll(); len(said) != len(fallen) {
			t.Errorf("%d lines about %q", len(said), fallen)
		}
		if err := model.Close(); err != nil {
			t.Error(err)
		}
	}

	building(zap.New(log))(ort.TensorRT, 30*time.Second)
	building(zap.New(log))(ort.CPU, 10*time.Second)
	onCPU := ort.Placement{Providers: []string{"cuda", "cpu"}, Nodes: map[string]int{"cuda": 9, "cpu": 2}, Notes: []string{"a note"}}
	placed(zap.New(log), onCPU)
	var said []string
	for _, l := range lines.TakeAll() {
		said = append(said, l.Message)
	}
	if want := []string{"building the TensorRT engine, 30 s so far", "loading the model, 10 s so far", "nodes of the model run on the CPU, which another provider was asked for", "execution provider"}; !slices.Equal(said, want) {
		t.Errorf("got  %q\nwant %q", said, want)
	}
	if got, want := warnings(onCPU), []string{"warning: 2 nodes of the model run on the CPU (cuda: 9 nodes, cpu: 2 nodes)", "warning: a note"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	// Strict, a plugin of no use ends it before a model is looked at; one runtime at a time, so the other goes first.
	if err := rt.Close(); err != nil {
		t.Error(err)
	}
	var wrong *usageError
	if _, err := openEngine(config.Engine{Plugins: []string{"/none.so"}, Strict: true}, zap.New(log)); !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), "plugin /none.so: ") {
		t.Errorf("strict: %v", err)
	}
}
