package models

import (
	"strings"
	"testing"

	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
	"gnomon/models/onnx"
)

// The families whose outputs have names: what is taken for granted, and what is said about it.
func TestResolveByName(t *testing.T) {
	rf := func(columns int64) *onnx.Info {
		return named(testInfo(fixed(1, 3, 560, 560), fixed(1, 300, 4), fixed(1, 300, columns)), "dets", "labels")
	}
	ssd := named(typed(testInfo(fixed(-1, -1, -1, 3), fixed(-1, -1, 4), fixed(-1, -1), fixed(-1, -1), fixed(-1)), "uint8"),
		"detection_boxes:0", "detection_classes:0", "detection_scores:0", "num_detections:0")
	for _, c := range []struct {
		name, manifest string
		info           *onnx.Info
		family         detect.Family
		classes        int
		labels         string // some of them, after each other
		unclear        string // part of the only sentence, or none
		want           defaults
	}{
		{
			"rtdetr", "labels: coco80", detr(true), detect.RTDETR, 80, "person,bicycle,car", "",
			defaults{color: RGB, scale: 1.0 / 255, std: [3]float32{1, 1, 1}, resize: letterbox.Stretch, score: 0.6, iou: 1},
		},
		{
			"rtdetr without labels", "", detr(true), detect.RTDETR, 0, "", "a model that was trained on COCO needs labels: coco80",
			defaults{color: RGB, scale: 1.0 / 255, std: [3]float32{1, 1, 1}, resize: letterbox.Stretch, score: 0.6, iou: 1},
		},
		{
			"rfdetr of COCO", "", rf(91), detect.RFDETR, 91, "category 0,person,bicycle", "91 columns are taken for COCO's category ids",
			defaults{color: RGB, scale: 1.0 / 255, mean: [3]float32{0.485, 0.456, 0.406}, std: [3]float32{0.229, 0.224, 0.225}, resize: letterbox.Stretch, score: 0.5, iou: 1},
		},
		{
			"rfdetr of two classes", "labels: [cat, dog]", rf(3), detect.RFDETR, 2, "cat,dog", "if its class ids began at 1, write a label for column 0 too",
			defaults{color: RGB, scale: 1.0 / 255, mean: [3]float32{0.485, 0.456, 0.406}, std: [3]float32{0.229, 0.224, 0.225}, resize: letterbox.Stretch, score: 0.5, iou: 1},
		},
		{
			"yunet", "", yunetInfo(), detect.YuNet, 1, "face", "",
			defaults{color: BGR, scale: 1, std: [3]float32{1, 1, 1}, resize: letterbox.TopLeft, score: 0.9, iou: 0.3},
		},
		{
			"ssd", "input: {width: 300, height: 300}\nlabels: coco90", ssd, detect.SSD, 90, "person,bicycle,car", "",
			defaults{color: RGB, scale: 1, std: [3]float32{1, 1, 1}, resize: letterbox.Stretch, score: 0.5, iou: 1},
		},
		{
			"ssd with the labels of others", "input: {width: 300, height: 300}\nlabels: coco80", ssd, detect.SSD, 80, "person,bicycle,car", "if this is one, write labels: coco90",
			defaults{color: RGB, scale: 1, std: [3]float32{1, 1, 1}, resize: letterbox.Stretch, score: 0.5, iou: 1},
		},
		{
			"ssd without labels", "input: {width: 300, height: 300}", ssd, detect.SSD, 0, "", "TensorFlow's zoo that was trained on COCO needs labels: coco90",
			defaults{color: RGB, scale: 1, std: [3]float32{1, 1, 1}, resize: letterbox.Stretch, score: 0.5, iou: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Resolve(parse(t, c.manifest), c.info, nil)
			if err != nil {
				t.Fatal(err)
			}
			if s.Family != c.family || s.Origins["family"].Where != FromShape || !strings.Contains(s.Origins["family"].Why, "outputs") {
				t.Errorf("family %s, %+v", s.Family, s.Origins["family"])
			}
			got := defaults{color: s.Color, scale: s.Scale, mean: s.Mean, std: s.Std, resize: s.Resize, pad: s.Pad, score: s.ScoreThreshold, iou: s.IoUThreshold}
			if got != c.want {
				t.Errorf("preprocessing %+v, want %+v", got, c.want)
			}
			if s.Classes != c.classes || len(s.Labels) != c.classes || !strings.HasPrefix(strings.Join(s.Labels, ","), c.labels) {
				t.Errorf("%d classes, labels %v", s.Classes, s.Labels)
			}
			if text := strings.Join(s.Unclear, "\n"); c.unclear == "" && text != "" || !strings.Contains(text, c.unclear) || len(s.Unclear) > 1 {
				t.Errorf("unclear: %q, want …%s…", s.Unclear, c.unclear)
			}
			if why := s.Origins["input.name"].Why; (c.family == detect.RTDETR) != strings.Contains(why, detect.SizesInput) {
				t.Errorf("input.name is %q", why)
			}
		})
	}
}

// yunetInfo is YuNet for pictures of 320x320.
func yunetInfo() *onnx.Info {
	info := &onnx.Info{Inputs: []onnx.Value{{Name: "input", Type: "float32", Shape: fixed(1, 3, 320, 320)}}}
	for _, kind := range []struct {
		name  string
		width int64
	}{{"cls", 1}, {"obj", 1}, {"bbox", 4}, {"kps", 10}} {
		for stride, rows := range map[string]int64{"8": 1600, "16": 400, "32": 100} {
			info.Outputs = append(info.Outputs, onnx.Value{Name: kind.name + "_" + stride, Type: "float32", Shape: fixed(1, rows, kind.width)})
		}
	}
	return info
}
