package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"gnomon/bench"
)

// Where the shared reference data are, seen from the repository.
var shared = filepath.Join("..", "shared")

// gnomon finds what an independent pipeline finds: four models, 79 annotated pictures, agreement as the reference
// data define it (AP within 0.003; 99 % of the boxes of score 0.25 and up with IoU 0.95 and a score within 0.02, or
// 0.05 for int8 models).
func TestReference(t *testing.T) {
	annotations := filepath.Join(shared, "coco", "instances.json")
	if _, err := os.Stat(annotations); err != nil {
		t.Skip("needs the shared reference data beside the repository: ", err)
	}
	rows := []struct {
		model, reference, manifest string
		ap, ap50, scoreTol         float64
	}{
		{"yolox_nano.onnx", "yolox_nano.json", "name: yolox-nano\nfamily: yolox\nlabels: coco80\n", 0.3231, 0.5120, 0.02},
		{"yolov8n_int8.onnx", "yolov8n_int8.json", "", 0.4224, 0.5817, 0.05},
		{"yolo11n_int8_320.onnx", "yolo11n_int8_320.json", "", 0.3500, 0.5102, 0.05},
		{"default", "nanodet_g.json", "", 0.2878, 0.4695, 0.02},
	}
	for _, row := range rows {
		t.Run(row.model, func(t *testing.T) {
			dir := t.TempDir()
			results := filepath.Join(dir, "results.json")
			args := []string{"eval", "--json", "--annotations", annotations, "--images", filepath.Join(shared, "coco", "val2017"), "--results", results}
			if row.model == "default" {
				args = append(args, "--model", row.model)
			} else {
				args = append(args, "--model", filepath.Join(shared, "models", row.model))
			}
			if row.manifest != "" {
				args = append(args, "--manifest", write(t, filepath.Join(dir, "model.yaml"), []byte(row.manifest)))
			}
			var e evaluation
			if err := json.Unmarshal([]byte(good(t, args...)), &e); err != nil {
				t.Fatal(err)
			}
			const apTol = 0.003
			if math.Abs(e.AP-row.ap) > apTol || math.Abs(e.AP50-row.ap50) > 2*apTol || e.Images != 79 {
				t.Errorf("AP %.4f and AP50 %.4f on %d pictures, want %.4f and %.4f", e.AP, e.AP50, e.Images, row.ap, row.ap50)
			}
			ours, ref := readResults(t, results), readResults(t, filepath.Join(shared, "reference", row.reference))
			report := bench.Agreement(ref, ours, 0.25, 0.95, row.scoreTol)
			if report.Share < 0.99 {
				t.Errorf("%d of %d reference boxes agree (%.4f); the worst: %v", report.Found, report.Reference, report.Share, report.Misses)
			}
			t.Logf("AP %.4f, %d of %d boxes agree", e.AP, report.Found, report.Reference)
		})
	}
}

func readResults(t *testing.T, path string) []bench.Result {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r, err := bench.ReadResults(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
