package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// message is a detection message as a stranger reads it: unknown keys are an error.
type message struct {
	Schema     string  `json:"schema"`
	Device     string  `json:"device"`
	BootID     string  `json:"boot_id"`
	Source     string  `json:"source"`
	Seq        uint64  `json:"seq"`
	CapturedAt string  `json:"captured_at"`
	Monotonic  int64   `json:"monotonic_ms"`
	Synced     *bool   `json:"clock_synced"`
	PTS        float64 `json:"pts_ms"`
	Frame      struct {
		Width  int `json:"width"`
		Height int `json:"height"`
	} `json:"frame"`
	Model struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		SHA256  string `json:"sha256"`
	} `json:"model"`
	Detections []found `json:"detections"`
}

type found struct {
	ClassID int        `json:"class_id"`
	Label   string     `json:"label"`
	Score   float64    `json:"score"`
	Box     [4]float64 `json:"box"`
}

// messages reads JSON lines.
func messages(t *testing.T, lines string) []message {
	t.Helper()
	var out []message
	s := bufio.NewScanner(strings.NewReader(lines))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		out = append(out, parseMessage(t, s.Bytes()))
	}
	return out
}

func parseMessage(t *testing.T, line []byte) message {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	var m message
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return m
}

// expectation is testdata/expect.json.
type expectation struct {
	ScoreTolerance float64 `json:"score_tolerance"`
	BoxTolerance   float64 `json:"box_tolerance"` // pixels of the model's input
	Pictures       []struct {
		File      string   `json:"file"`
		Width     int      `json:"width"`
		Height    int      `json:"height"`
		Objects   []found  `json:"objects"`
		Models    []string `json:"models"`
		NotFinite []string `json:"not_finite"`
	} `json:"pictures"`
}

// Every family, layout, colour order and element type finds exactly the objects that were painted into the
// pictures: through the real decoder of pictures, the real preprocessing, ONNX Runtime and the real decoders.
func TestModelsSee(t *testing.T) {
	var e expectation
	if err := json.Unmarshal(read(t, filepath.Join("testdata", "expect.json")), &e); err != nil {
		t.Fatal(err)
	}
	models, err := filepath.Glob(filepath.Join("testdata", "models", "*.onnx"))
	if err != nil || len(models) < 10 {
		t.Fatalf("%d models, %v", len(models), err)
	}
	pairs := 0
	for _, path := range models {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		if name == "unknown_head" { // see TestBadInput
			continue
		}
		t.Run(name, func(t *testing.T) {
			args := []string{"detect", "--json", "--model", path}
			var want [][]found
			var files []string
			var bright bool
			for _, p := range e.Pictures {
				if !contains(p.Models, name) {
					continue
				}
				bright = bright || contains(p.NotFinite, name)
				files = append(files, filepath.Join("testdata", "pictures", p.File))
				want = append(want, p.Objects)
			}
			pairs += len(files)
			stdout, stderr, code := gnomon(t, append(args, files...)...)
			if bright != (code == exitFailed && strings.Contains(stderr, "not finite")) || !bright && code != exitDone {
				t.Errorf("exit code %d, values that are not finite expected: %v\n%s", code, bright, stderr)
			}
			got := messages(t, stdout)
			if len(got) != len(files) {
				t.Fatalf("%d messages for %d pictures", len(got), len(files))
			}
			for i, m := range got {
				if m.Source != files[i] || m.Schema != "gnomon.detections/1" || m.Model.SHA256 == "" || m.Device != "" || m.CapturedAt != "" {
					t.Errorf("message %+v for %s", m, files[i])
				}
				// What a pixel of the model's input is in the picture: the inputs are 64 pixels high or more.
				scale := math.Max(1, math.Max(float64(m.Frame.Width)/64, float64(m.Frame.Height)/64))
				if err := same(want[i], m.Detections, e.ScoreTolerance, e.BoxTolerance*scale); err != nil {
					t.Errorf("%s: %v", files[i], err)
				}
			}
		})
	}
	if pairs < 80 {
		t.Errorf("only %d pairs of model and picture were tried", pairs)
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// same compares what was found with what was painted, in any order.
func same(want, got []found, scoreTol, boxTol float64) error {
	if len(want) != len(got) {
		return fmt.Errorf("%d objects, want %d: %+v", len(got), len(want), got)
	}
next:
	for _, w := range want {
		for _, g := range got {
			close := g.ClassID == w.ClassID && g.Label == w.Label && math.Abs(g.Score-w.Score) <= scoreTol
			for i := range w.Box {
				close = close && math.Abs(g.Box[i]-w.Box[i]) <= boxTol
			}
			if close {
				continue next
			}
		}
		return fmt.Errorf("%+v is missing from %+v", w, got)
	}
	return nil
}

// The same video gives the same bytes, with frames in work side by side; people are seen in it.
func TestSampleTwice(t *testing.T) {
	needSample(t)
	first := good(t, "detect", "--json", "sample")
	if second := good(t, "detect", "--json", "--sessions", "3", "--threads", "1", "sample"); first != second {
		t.Error("two runs over the sample video differ")
	}
	ms := messages(t, first)
	if len(ms) != 795 {
		t.Fatalf("%d frames, want 795", len(ms))
	}
	people := 0
	for i, m := range ms {
		if m.Seq != uint64(i) || m.PTS != float64(100*i) || m.Frame.Width != 768 || m.Frame.Height != 576 || m.Model.Name != "nanodet-g" {
			t.Fatalf("frame %d: %+v", i, m)
		}
		for _, d := range m.Detections {
			if d.Label == "person" {
				people++
				break
			}
		}
	}
	if people < 700 { // there is somebody in every frame; a few at the edge may be missed
		t.Errorf("people in %d of 795 frames", people)
	}
}

// What people look at: tables, annotated pictures and video.
func TestAnnotateAndTables(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join("testdata", "models", "yolov8.onnx")
	picture := filepath.Join("testdata", "pictures", "wide_256x128.png")
	out := good(t, "detect", "--model", model, "--annotate", filepath.Join(dir, "out.png"), picture)
	for _, want := range []string{"gardener's green", "red", "0.90", "128,0 to 192,32"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
	img, err := png.Decode(bytes.NewReader(read(t, filepath.Join(dir, "out.png"))))
	if err != nil || img.Bounds().Dx() != 256 || img.Bounds().Dy() != 128 {
		t.Errorf("annotated picture: %v", err)
	}
	// Several pictures into a directory, then those as a folder into a video, then the video into a video.
	pictures := filepath.Join(dir, "pictures")
	if err := os.Mkdir(pictures, 0o700); err != nil {
		t.Fatal(err)
	}
	good(t, "detect", "--model", model, "--annotate", pictures, picture, filepath.Join("testdata", "pictures", "native_128x64.png"))
	video := filepath.Join(dir, "out.mp4")
	out = good(t, "detect", "--model", model, "--annotate", video, pictures)
	if !strings.Contains(out, "of 2 frames") {
		t.Errorf("the table does not count frames:\n%s", out)
	}
	if lines := good(t, "detect", "--json", "--model", model, video); len(messages(t, lines)) != 2 {
		t.Errorf("the annotated video does not have two frames:\n%s", lines)
	}
	if out := good(t, "detect", "--model", model, filepath.Join("testdata", "pictures", "empty_256x128.png")); !strings.Contains(out, "nothing") {
		t.Errorf("an empty picture:\n%s", out)
	}
}

// The commands that only tell.
func TestTelling(t *testing.T) {
	var v versionInfo
	if err := json.Unmarshal([]byte(good(t, "version", "--json")), &v); err != nil || v.OpenCV != "4.10.0" || !strings.HasPrefix(v.ONNXRuntime, "1.") || v.Providers["cpu"] != "available" || v.Providers["cuda"] == "" {
		t.Errorf("version: %+v, %v", v, err)
	}
	if out := good(t, "version"); !strings.Contains(out, "ONNX Runtime") || !strings.Contains(out, "provider cpu") {
		t.Errorf("version:\n%s", out)
	}
	out := good(t, "models", "inspect", "default")
	for _, want := range []string{"nanodet", "person", "stretch", "manifest", "family default", "416"} {
		if !strings.Contains(out, want) {
			t.Errorf("inspect lacks %q:\n%s", want, out)
		}
	}
	var i inspection
	if err := json.Unmarshal([]byte(good(t, "models", "inspect", "--json", filepath.Join("testdata", "models", "yolov8.onnx"))), &i); err != nil || i.Values["family"].Value != "yolov8" || len(i.Labels) != 3 {
		t.Errorf("inspect: %+v, %v", i, err)
	}
	yaml := write(t, filepath.Join(t.TempDir(), "gnomon.yaml"), []byte(good(t, "config", "default")))
	if out := good(t, "config", "check", yaml); !strings.Contains(out, "good") {
		t.Errorf("the default configuration: %s", out)
	}
	if !json.Valid([]byte(good(t, "config", "schema"))) {
		t.Error("the schema is not JSON")
	}
	for _, c := range [][]string{{}, {"run"}, {"detect"}, {"models"}, {"models", "inspect"}, {"eval"}, {"config"}, {"config", "check"}, {"config", "default"}, {"config", "schema"}, {"version"}} {
		if out := good(t, append(c, "--help")...); !strings.Contains(out, "Examples:") {
			t.Errorf("gnomon %s --help has no example", strings.Join(c, " "))
		}
	}
}
