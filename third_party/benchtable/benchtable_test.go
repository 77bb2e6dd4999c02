package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/bench"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
	"gnomon/models"
)

func TestVerdicts(t *testing.T) {
	rows := []struct {
		t        target
		v        float64
		want     verdict
		wanted   string
		measured string
	}{
		{atLeast(0.90), 0.90, met, "≥ 0.90", "0.90"},
		{atLeast(0.90), 0.8999, missedIt, "≥ 0.90", "0.90"},
		{atMost(1.5, "ms"), 1.5, met, "≤ 1.50 ms", "1.50 ms"},
		{atMost(60, "MB"), 60.4, missedIt, "≤ 60 MB", "60 MB"},
		{atMost(0, "allocations"), 0, met, "≤ 0 allocations", "0 allocations"},
	}
	for _, row := range rows {
		var r report
		r.got("x", row.t, row.v, "", nil)
		if got := r.Rows[0].Verdict; got != row.want || row.t.String() != row.wanted || row.t.value(row.v) != row.measured {
			t.Errorf("%v of %v: %s, shown as %s and %s", row.v, row.t, got, row.t, row.t.value(row.v))
		}
	}
}

// The table and the JSON say the same, and what could not be measured says why.
func TestReport(t *testing.T) {
	r := report{Schema: schema, Load: [2]string{"0.10", "1.90"}}
	r.got("fast", atLeast(1.35), 1.5, "120.0 ÷ 80.0 FPS", []round{{"ratio": 1.5}})
	r.got("slow", atMost(0.25, ""), 0.3, "", nil)
	r.lacks("absent", atLeast(4.5), errors.New("python3 is not installed"))
	var out bytes.Buffer
	if err := r.render(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"≥ 1.35", "1.50", "met", "MISSED", "not measured", "python3 is not installed", "before: 0.10, in the last one: 1.90"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	if r.missed() != 1 {
		t.Errorf("%d missed", r.missed())
	}
	path := filepath.Join(t.TempDir(), "t.json")
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Schema string
		Rows   []map[string]any
	}
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if back.Schema != "gnomon.targets/1" || back.Rows[2]["measured"] != nil || back.Rows[2]["verdict"] != "not measured" || back.Rows[0]["rounds"] == nil {
		t.Errorf("%s", data)
	}
}

func TestBenchmarks(t *testing.T) {
	out := "goos: linux\nBenchmarkCopy/640x480_to_416x416/fresh \t    1138\t    183224 ns/op\t13530.45 MB/s\nBenchmarkDecode/yolov8/10   200\t  95.5 ns/op\t 0 B/op\nPASS\n"
	got, err := benchmarks([]byte(out))
	if want := (round{"Copy/640x480_to_416x416/fresh": 0.183224, "Decode/yolov8/10": 95.5e-6}); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := benchmarks([]byte("PASS\n")); err == nil {
		t.Error("no benchmark is no error")
	}
}

// A quotient is the median of the rounds' ratios, which is not the ratio of the medians.
func TestQuotient(t *testing.T) {
	var m meter
	rounds := []round{{"a": 1, "b": 10}, {"a": 4, "b": 8}, {"a": 3, "b": 4}}
	m.quotient(rounds, nil, "x", atMost(0.5, ""), "a", "b")
	m.quotient(rounds, nil, "y", atMost(0.5, ""), "a", "c")
	if r := m.report.Rows[0]; *r.Measured != 0.5 || r.Verdict != met || r.Detail != "3.00 ÷ 8.00 ms" || len(r.Rounds) != 3 {
		t.Errorf("%+v", r)
	}
	if r := m.report.Rows[1]; r.Verdict != notMeasured || !strings.Contains(r.Detail, "no benchmark a or c") {
		t.Errorf("%+v", r)
	}
}

func TestNewJob(t *testing.T) {
	e := entry{file: "m.onnx", spec: models.Spec{
		Width: 416, Height: 416, Layout: models.NCHW, Type: detect.Float32, Color: models.RGB, Scale: 1, Std: [3]float32{1, 1, 1},
		Resize: letterbox.TopLeft, Pad: [3]uint8{114, 114, 114},
	}}
	j, err := newJob(e, "v.avi", 768, 576, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"new_w":416,"new_h":312,"pad_x":0,"pad_y":0`, `"pad":[114,114,114]`, `"seconds":2`, `"threads":0,"calm":false`, `"rgb":true`} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("the job lacks %s: %s", want, data)
		}
	}
	if !filepath.IsAbs(j.Model) {
		t.Errorf("the model is %s", j.Model)
	}
	e.spec.Layout = models.NHWC
	if _, err := newJob(e, "v.avi", 768, 576, time.Second); err == nil {
		t.Error("an input that the peers cannot fill is no error")
	}
}

func TestPrograms(t *testing.T) {
	shell := func(script string) ([]byte, error) {
		return output(t.Context(), time.Second, nil, "/bin/sh", "-c", script)
	}
	if out, err := shell("echo out; echo noise >&2"); err != nil || string(out) != "out\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := shell("echo first >&2; echo 'sh: the reason' >&2; exit 3"); err == nil || err.Error() != "sh: the reason" {
		t.Error(err)
	}
	if _, err := shell("exit 3"); err == nil || err.Error() != "sh: exit status 3" {
		t.Error(err)
	}
	if _, err := output(t.Context(), time.Second, nil, "gnomon-no-such-program"); err == nil || err.Error() != "gnomon-no-such-program is not installed" {
		t.Error(err)
	}
	if out, err := shell(`echo "$ORT_DISABLE_TELEMETRY$ORT_TELEMETRY_DISABLED"`); err != nil || string(out) != "11\n" {
		t.Errorf("the telemetry of ONNX Runtime is not switched off: %q, %v", out, err)
	}
	ms, line, err := first(t.Context(), "/bin/sh", "-c", "sleep 0.05; echo one; echo two")
	if err != nil || string(line) != "one\n" || ms < 50 {
		t.Errorf("%v ms, %q, %v", ms, line, err)
	}
	if _, _, err := first(t.Context(), "/bin/sh", "-c", "echo why >&2; exit 1"); err == nil || err.Error() != "sh: why" {
		t.Error(err)
	}
}

func TestLimited(t *testing.T) {
	var l limited
	chunk := make([]byte, maxOutput-1)
	for range 2 {
		if n, err := l.Write(chunk); n != len(chunk) || err != nil {
			t.Fatal(n, err)
		}
	}
	if l.Len() != maxOutput {
		t.Errorf("%d bytes are kept", l.Len())
	}
}

func TestParse(t *testing.T) {
	if o, err := parse(nil, io.Discard); err != nil || o.rounds != defaultRounds || o.strict {
		t.Errorf("%+v, %v", o, err)
	}
	var help bytes.Buffer
	if _, err := parse([]string{"--help"}, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "yolox_nano*.onnx") {
		t.Errorf("%v, %s", err, help.String())
	}
	for _, args := range [][]string{{"x"}, {"-rounds", "0"}, {"-duration", "1ms"}, {"-slice", "24h"}, {"-unknown"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

// script writes a program that prints text, whatever it is asked.
func script(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncat <<'END'\n"+text+"\nEND\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// The figures of gnomon bench and of a peer arrive in the lines that they belong to.
func TestSpeedAndPeers(t *testing.T) {
	memory, memoryRatio := 99.0, 0.99
	r := bench.SpeedReport{Schema: bench.SpeedSchema, SpeedFigures: bench.SpeedFigures{
		RawFPS: 100, RawArrangement: "2x1", E2EFPS: 91, Ratio: 0.91, MemoryFPS: &memory, MemoryRatio: &memoryRatio, Frames: 900,
		CPU: bench.CPUUse{Frame: 15, Outside: 1.6},
	}, Results: make([]bench.SpeedResult, 1)}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMeter(options{gnomon: script(t, t.TempDir(), "gnomon", string(data)), rounds: 3, duration: time.Second, slice: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	m.broker = "mqtt://127.0.0.1:1"
	if err := os.WriteFile(filepath.Join(m.dir, "640x480.avi"), nil, 0o600); err != nil { // as if it had been made
		t.Fatal(err)
	}
	m.speed(t.Context(), contenders()[0], entry{name: "m", path: "m.onnx"}, nil)
	for i, want := range []struct {
		v verdict
		f float64
	}{{met, 0.91}, {met, 0.99}, {missedIt, 1.6}} {
		if got := m.report.Rows[i]; got.Verdict != want.v || *got.Measured != want.f {
			t.Errorf("line %d: %+v", i, got)
		}
	}
	if m.report.Rows[0].Detail != "91.0 ÷ 100.0 FPS bare (2x1)" || len(m.report.Bench) != 2 {
		t.Errorf("%+v, %d reports", m.report.Rows[0], len(m.report.Bench))
	}
	p := peer{name: "another", command: []string{script(t, m.dir, "peer", `{"frames": 10, "fps": 45.5, "version": "7"}`)}, choice: true}
	rounds, setting, err := m.turns(t.Context(), entry{name: "m"}, p, job{})
	if err != nil || len(rounds) != 3 || rounds[2]["ratio"] != 2 || setting != " at its defaults" || m.report.Peers["another"] != "7" {
		t.Errorf("%v, %q, %v", rounds, setting, err)
	}
	p.command[0] = script(t, m.dir, "idle", `{"frames": 0}`)
	if _, _, err := m.turns(t.Context(), entry{name: "m"}, p, job{}); err == nil || err.Error() != "another took no frame in 1s" {
		t.Error(err)
	}
}

// With nothing to measure against and no models every line is there and says why it has no figure; that is no failure.
func TestNothingThere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir := t.TempDir()
	program := filepath.Join(dir, "gnomon")
	if err := os.WriteFile(program, []byte("#!/bin/false\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	m, err := newMeter(options{gnomon: program, models: dir, rounds: 1, duration: time.Second, slice: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	m.everything(t.Context())
	m.close()
	if len(m.report.Rows) < 13 || m.report.missed() != 0 {
		t.Errorf("%d lines, %d missed", len(m.report.Rows), m.report.missed())
	}
	for _, r := range m.report.Rows {
		if r.Verdict != notMeasured || r.Measured != nil || r.Detail == "" {
			t.Errorf("%+v", r)
		}
	}
	reasons := func(r row) bool { return strings.Contains(r.Detail, "BENCH_MODELS has no yolov8n*.onnx") }
	if !slices.ContainsFunc(m.report.Rows, reasons) {
		t.Error("no line says that the model is missing")
	}
	if _, err := os.Stat(m.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left behind: %v", m.dir, err)
	}
	if _, err := newMeter(options{gnomon: filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Error(err)
	}
}
