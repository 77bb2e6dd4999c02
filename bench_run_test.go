package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gnomon/bench"
	"gnomon/engine"
)

const benchModel = "testdata/models/yolov8.onnx"

// decodeOne reads one JSON object without unknown fields.
func decodeOne(t *testing.T, text string, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil || d.More() {
		t.Fatalf("%v in %s", err, text)
	}
}

// A short run, of two combinations, for its form: how fast this machine is, is nothing to test.
func TestBench(t *testing.T) {
	t.Parallel()
	html := filepath.Join(t.TempDir(), "report.html")
	stdout := good(t, "bench", "--model", benchModel+",testdata/models/yolov5.onnx", "--source", "testdata/pictures", "--duration", "1s",
		"--source-in-memory", "--json", "--report", html)
	var r bench.SpeedReport
	decodeOne(t, stdout, &r)
	if r.Schema != bench.SpeedSchema || len(r.Results) != 2 || r.Source != "pictures" || r.Broker != "embedded" || r.Host.Cores < 1 || r.Versions.ONNXRuntime == "" {
		t.Errorf("%+v", r)
	}
	if diff := cmp.Diff(r.Results[0].SpeedFigures, r.SpeedFigures); diff != "" {
		t.Errorf("the figures at the top are not those of the first result: %s", diff)
	}
	for _, x := range r.Results {
		for what, v := range map[string]float64{
			"raw_fps": x.RawFPS, "e2e_fps": x.E2EFPS, "ratio": x.Ratio, "memory_fps": *x.MemoryFPS, "memory_ratio": *x.MemoryRatio, "cpu": x.CPU.Frame,
			"rss_mb": x.RSS, "decode": x.Stages.Decode.P50, "preprocess": x.Stages.Preprocess.P50, "infer": x.Stages.Infer.P50,
			"postprocess": x.Stages.Postprocess.P50, "publish": x.Stages.Publish.P99,
		} {
			if !(v > 0) {
				t.Errorf("%s: %s is %v", x.Model, what, v)
			}
		}
		if len(x.Rounds) < minRounds || x.Frames < minRounds || x.Dropped > 0 || x.Sessions*x.Threads < 1 {
			t.Errorf("%s: %d rounds, %d frames, %d lost, %dx%d", x.Model, len(x.Rounds), x.Frames, x.Dropped, x.Sessions, x.Threads)
		}
		// The ratio is against the best that the bare loops gave, whichever arrangement that is.
		for _, a := range x.Arrangements {
			if a.Trial <= 0 || a.FPS > x.RawFPS || a.Arrangement == x.RawArrangement && a.FPS != x.RawFPS {
				t.Errorf("%s: raw is %v in %s, but %+v", x.Model, x.RawFPS, x.RawArrangement, a)
			}
		}
	}
	if page := string(read(t, html)); !strings.HasPrefix(page, "<!DOCTYPE html>") || !strings.Contains(page, "<svg") {
		t.Errorf("the report is %.200s", page)
	}
	same := write(t, filepath.Join(t.TempDir(), "same.json"), []byte(stdout))
	var c bench.Comparison
	decodeOne(t, good(t, "bench", "compare", same, same, "--json", "--fail-slower", "1"), &c)
	if len(c.Pairs) != 2 || c.SlowerBy() != 0 || len(c.Pairs[0].Changes) != 11 {
		t.Errorf("a run compared with itself: %+v", c)
	}
	if table := good(t, "bench", "compare", same, same); !strings.Contains(table, bench.NoChange) || strings.Contains(table, bench.Faster) {
		t.Errorf("a run compared with itself:\n%s", table)
	}
	with := func(name string, fps float64) string {
		for i := range r.Results[1].Rounds {
			r.Results[1].Rounds[i].E2E = fps
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return write(t, filepath.Join(t.TempDir(), name), data)
	}
	a, b := with("a.json", 100), with("b.json", 50)
	if _, stderr, code := gnomon(t, "bench", "compare", a, b, "--fail-slower", "20"); code != exitFailed || !strings.Contains(stderr, "50.0 % slower end to end; 20 % are allowed") {
		t.Errorf("half the speed: exit code %d, %s", code, stderr)
	}
	good(t, "bench", "compare", b, a, "--fail-slower", "20")
}

func TestBenchTable(t *testing.T) {
	t.Parallel()
	table := good(t, "bench", "--model", benchModel, "--source", "testdata/pictures", "--duration", "1s", "--threads", "1")
	for _, want := range []string{"raw fps", "e2e fps", "ratio", "decode", "publish", "cores"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %s in\n%s", want, table)
		}
	}
}

// What is wrong with the arguments is said before anything is measured.
func TestBenchRefuses(t *testing.T) {
	for _, row := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"fast"}, exitUsage, "unknown command"},
		{[]string{"--duration", "1ms"}, exitUsage, "--duration must be between 1s and 1h"},
		{[]string{"--threads", "-1"}, exitUsage, "--threads must be between"},
		{[]string{"--sessions", "0"}, exitUsage, "--sessions must be between"},
		{[]string{"--model", benchModel + "," + benchModel, "--manifest", "m.yaml"}, exitUsage, "--manifest is for one model"},
		{[]string{"--threads", strings.Repeat("1,", 64) + "1"}, exitUsage, "65 combinations"},
		{[]string{"--report", "no/such/dir/r.html"}, exitUsage, "there is no such directory"},
		{[]string{"--model", benchModel + ",no.onnx", "--source", "testdata/pictures"}, exitFailed, "no.onnx"},
		{[]string{"--model", benchModel, "--source", "no.avi"}, exitFailed, "no.avi: no such file"},
		{[]string{"--model", benchModel, "--source", "testdata/pictures", "--broker", "ftp://x"}, exitUsage, "--broker"},
		{[]string{"cameras", "--from", "3", "--to", "2"}, exitUsage, "--from not above --to"},
		{[]string{"cameras", "--to", "257"}, exitUsage, "between 1 and 256"},
		{[]string{"cameras", "--fps", "0"}, exitUsage, "--fps must be above 0"},
		{[]string{"cameras", "--duration", "1ms"}, exitUsage, "--duration must be between"},
		{[]string{"cameras", "--soak", "1s"}, exitUsage, "--soak must be between 6s and"},
		{[]string{"compare", "a.json"}, exitUsage, "takes two outputs"},
		{[]string{"compare", "a.json", "b.json", "--fail-slower", "0"}, exitUsage, "--fail-slower must be above 0"},
		{[]string{"compare", "no.json", "no.json"}, exitFailed, "no.json"},
	} {
		if _, code, err := inProcess(t, append([]string{"bench"}, row.args...)...); code != row.code || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v: exit code %d, %v; want %d, %s", row.args, code, err, row.code, row.want)
		}
	}
}

func TestBenchRefusesProviders(t *testing.T) {
	t.Parallel()
	_, stderr, code := gnomon(t, "bench", "--model", benchModel, "--source", "testdata/pictures", "--provider", "cpu,abacus")
	if code != exitUsage || !strings.Contains(stderr, "--provider abacus is not known; there are cpu, cuda, tensorrt") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// nvidia-smi's lines, with one of a board that does not know its memory.
func TestParseGraphics(t *testing.T) {
	got := parseGraphics([]byte("NVIDIA H100 80GB HBM3, 550.54.15, 1000, 500, 37\nOrin (nvgpu), 540.4.0, [N/A], [N/A], [N/A]\n"))
	want := []bench.GPU{{Name: "NVIDIA H100 80GB HBM3", Driver: "550.54.15", Memory: 1048.576, Used: 524.288, Percent: 37}, {Name: "Orin (nvgpu)", Driver: "540.4.0"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := parseGraphics([]byte("No devices were found\n")); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestProcField(t *testing.T) {
	path := filepath.Join(t.TempDir(), "info")
	if err := os.WriteFile(path, []byte("Models: 3\nModel\t: Raspberry Pi 5\ncpu  1 2 3\ncpu0 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Model": "Raspberry Pi 5", "cpu": "1 2 3", "none": ""} {
		if got := procField(path, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// numbered gives frames without pixels until n are read.
type numbered struct{ left int }

func (n *numbered) Name() string { return "numbered" }
func (n *numbered) Live() bool   { return false }
func (n *numbered) Close() error { return nil }
func (n *numbered) Read(_ context.Context, f *engine.Frame) error {
	if n.left == 0 {
		return io.EOF
	}
	n.left--
	f.Pix, f.Width, f.Height = []byte{byte(n.left)}, 1, 1
	return nil
}

// A closed gate holds the reader, an open one lets it through, and the end of the source is passed on.
func TestGatedSource(t *testing.T) {
	g := newGatedSource(&numbered{left: 2})
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var f engine.Frame
	if err := g.Read(short, &f); !errors.Is(err, context.DeadlineExceeded) || g.reading {
		t.Errorf("closed: %v", err)
	}
	g.open()
	if err := g.Read(t.Context(), &f); err != nil {
		t.Error(err)
	}
	g.shut()
	done := make(chan error)
	go func() { done <- g.Read(t.Context(), &f) }()
	g.open()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := g.Read(t.Context(), &f); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if g.read != 2 || g.reading || g.times.Quantiles().P99 <= 0 {
		t.Errorf("%d read, reading %v", g.read, g.reading)
	}
}

// Frames in memory come round again, numbered on.
func TestMemorySource(t *testing.T) {
	m, err := newMemorySource(t.Context(), &numbered{left: 5}, 3)
	if err != nil || len(m.frames) != 3 {
		t.Fatal(err)
	}
	var f engine.Frame
	for i := range uint64(7) {
		if err := m.Read(t.Context(), &f); err != nil || f.Seq != i || f.Pix[0] != byte(4-i%3) || f.CapturedAt.IsZero() {
			t.Errorf("frame %d: %+v, %v", i, f, err)
		}
	}
	if _, err := newMemorySource(t.Context(), &numbered{}, 3); err == nil {
		t.Error("a source without frames")
	}
}

// A camera gives its frames at its rate, and leaves out those that it is too late for.
func TestPacedSource(t *testing.T) {
	const every = 10 * time.Millisecond
	start := time.Now()
	p := &pacedSource{Source: &numbered{left: 100}, every: every, start: start.Add(every)}
	var f engine.Frame
	var at []time.Duration
	for i := range 4 {
		if i == 3 {
			time.Sleep(3 * every) // nobody took frames for a while
		}
		if err := p.Read(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
		at = append(at, f.CapturedAt.Sub(start))
	}
	for i, d := range at {
		if d < time.Duration(i+1)*every {
			t.Errorf("frame %d came after %v", i, d)
		}
	}
	if left := p.due.Sub(f.CapturedAt); left <= 0 || left > every || math.Abs(float64(p.due.Sub(p.start)%every)) > 0 {
		t.Errorf("the next is due in %v, %v after the first", left, p.due.Sub(p.start))
	}
	if !p.Live() {
		t.Error("not live")
	}
}
