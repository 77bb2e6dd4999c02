package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gnomon/bench"
	"gnomon/models"
)

// meter measures. What it makes lies in a directory of its own that close removes.
type meter struct {
	o      options
	dir    string
	broker string // mqtt://…; empty: there is none, for brokerErr
	ended  func()
	report report

	brokerErr error
}

func newMeter(o options) (*meter, error) {
	if _, err := os.Stat(o.gnomon); err != nil {
		return nil, fmt.Errorf("there is no gnomon to measure; make build makes it: %w", err)
	}
	dir, err := os.MkdirTemp("", "benchtable-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for videos: %w", err)
	}
	m := &meter{o: o, dir: dir, ended: func() {}}
	m.report = report{Schema: schema, At: time.Now().UTC(), Bench: map[string]*bench.SpeedReport{}, Peers: map[string]string{}}
	return m, nil
}

func (m *meter) close() {
	m.ended()
	_ = os.RemoveAll(m.dir) // a directory of the system's for such things
}

// contender is a model with the targets that it is held to.
type contender struct {
	name     string  // as the targets call it
	files    string  // pattern of its files
	manifest string  // what gnomon needs to know beside the file
	e2e      float64 // least share of the bare speed
	memory   float64 // likewise, with frames that are decoded already
	video    [2]int  // size of the video for cpu
	cpu      float64 // most processor time outside Run and decoding, ms a frame
}

func contenders() []contender {
	return []contender{
		{"yolox_nano 416", "yolox_nano*.onnx", "family: yolox\nlabels: coco80\n", 0.90, 0.93, [2]int{640, 480}, 1.5},
		{"yolov8n 640", "yolov8n*.onnx", "", 0.95, 0.97, [2]int{1920, 1080}, 3.5},
	}
}

// entry is a model that is there.
type entry struct {
	name           string
	path, manifest string // as gnomon takes them; manifest empty: none, or beside the file
	file           string // the ONNX file, for the peers
	spec           models.Spec
}

// everything measures line by line, in the order of the table.
func (m *meter) everything(ctx context.Context) {
	m.report.Load[0] = load()
	m.startBroker(ctx)
	var entries []entry
	for _, c := range contenders() {
		e, err := m.enter(c)
		if err == nil {
			entries = append(entries, e)
		}
		m.speed(ctx, c, e, err)
	}
	if e, err := m.builtIn(); err == nil && len(entries) == 0 { // what follows holds for any model
		entries = append(entries, e)
	}
	for _, e := range entries {
		m.peers(ctx, e)
	}
	m.preprocessing(ctx)
	m.decoding(ctx)
	m.allocations(ctx)
	for _, e := range entries {
		m.start(ctx, e)
	}
	for _, e := range entries {
		m.memory(ctx, e)
	}
	m.report.Load[1] = load()
}

// enter finds a contender's file and reads it.
func (m *meter) enter(c contender) (entry, error) {
	e := entry{name: c.name}
	if m.o.models == "" {
		return e, fmt.Errorf("no model: BENCH_MODELS=DIR names the folder of %s", c.files)
	}
	found, err := filepath.Glob(filepath.Join(m.o.models, c.files))
	if err != nil || len(found) == 0 {
		return e, fmt.Errorf("no model: BENCH_MODELS has no %s", c.files)
	}
	slices.Sort(found)
	e.path, e.file = found[0], found[0]
	beside := strings.TrimSuffix(e.path, ".onnx") + ".yaml"
	if _, err := os.Stat(beside); errors.Is(err, os.ErrNotExist) && c.manifest != "" {
		e.manifest = filepath.Join(m.dir, filepath.Base(beside))
		if err := os.WriteFile(e.manifest, []byte(c.manifest), 0o600); err != nil {
			return e, fmt.Errorf("write the manifest: %w", err)
		}
	}
	return m.read(e, e.manifest)
}

// builtIn is the model inside gnomon.
func (m *meter) builtIn() (entry, error) {
	e := entry{name: "default model", path: "default", file: m.o.defaultModel}
	return m.read(e, m.o.defaultManifest)
}

func (m *meter) read(e entry, manifest string) (entry, error) {
	model, err := models.Load(e.file, manifest)
	if err != nil {
		return e, fmt.Errorf("read the model: %w", err)
	}
	e.spec = *model.Spec
	return e, nil
}

// say tells whoever waits what is being done.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "gnomon: "+format+"\n", args...)
}

// load is the machine's load of the last minute as the system prints it.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(data), " ")
	if err != nil || first == "" {
		return "unknown"
	}
	return first
}
