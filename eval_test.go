package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// Two models on the same pictures, below each other with what they differ by; each keeps its own decoder and manifest.
func TestEvalCompares(t *testing.T) {
	annotations := write(t, filepath.Join(t.TempDir(), "a.json"), []byte(`{"images":[{"id":7,"file_name":"wide_256x128.png","width":256,"height":128}],
"categories":[{"id":1,"name":"red"},{"id":2,"name":"gardener's green"},{"id":3,"name":"blue"}],
"annotations":[{"id":1,"image_id":7,"category_id":1,"bbox":[32,16,32,16],"area":512,"iscrowd":0}]}`))
	args := []string{
		"eval", "--annotations", annotations, "--images", "testdata/pictures",
		"--model", "testdata/models/yolov8.onnx", "--compare", "testdata/models/yolox.onnx", "--compare", "testdata/models/unknown_head.onnx",
	}
	table := good(t, append(args[:len(args)-2:len(args)-2], "--per-class")...)
	for _, want := range []string{"yolov8.onnx ", "yolox.onnx ", "yolox.onnx - yolov8.onnx", "+0.0000", "yolox.onnx AP50"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	lines := strings.Split(strings.TrimSpace(good(t, append(args[:len(args)-2:len(args)-2], "--json")...)), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines of JSON, want one for each model", len(lines))
	}
	for i, want := range []string{"yolov8.onnx", "yolox.onnx"} {
		var e evaluation
		if err := json.Unmarshal([]byte(lines[i]), &e); err != nil || e.File != want || e.AP != 1 || e.Objects != 1 {
			t.Errorf("line %d: %+v, %v; want %s with an AP of 1", i, e, err, want)
		}
	}
	if _, stderr, code := gnomon(t, args...); code != exitFailed || !strings.Contains(stderr, "unknown_head.onnx") {
		t.Errorf("a model that cannot be read: exit code %d, %s", code, stderr)
	}
	if _, stderr, code := gnomon(t, append(args, "--results", "r.json")...); code != exitUsage || !strings.Contains(stderr, "leave --compare out") {
		t.Errorf("--results with --compare: exit code %d, %s", code, stderr)
	}
}
