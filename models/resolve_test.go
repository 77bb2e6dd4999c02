package models

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
	"gnomon/models/onnx"
)

// fixed is a shape; -1 stands for a symbolic dimension.
func fixed(dims ...int64) []onnx.Dim {
	shape := make([]onnx.Dim, len(dims))
	for i, d := range dims {
		shape[i] = onnx.Dim{Value: d}
		if d < 0 {
			shape[i].Param = "n"
		}
	}
	return shape
}

// testInfo is a model with one float32 input and float32 outputs.
func testInfo(input []onnx.Dim, outputs ...[]onnx.Dim) *onnx.Info {
	info := &onnx.Info{
		Inputs:   []onnx.Value{{Name: "images", Type: "float32", Shape: input}},
		Metadata: map[string]string{},
	}
	for i, shape := range outputs {
		info.Outputs = append(info.Outputs, onnx.Value{Name: "output" + strconv.Itoa(i), Type: "float32", Shape: shape})
	}
	return info
}

// with adds metadata, as key, value, key, value, ….
func with(info *onnx.Info, pairs ...string) *onnx.Info {
	for i := 0; i < len(pairs); i += 2 {
		info.Metadata[pairs[i]] = pairs[i+1]
	}
	return info
}

func typed(info *onnx.Info, t string) *onnx.Info {
	info.Inputs[0].Type = t
	return info
}

var square = fixed(1, 3, 640, 640)

func TestResolve(t *testing.T) {
	yolo := func(f detect.Family, classes ...string) *Spec {
		return &Spec{
			Family: f, InputName: "images", Width: 640, Height: 640, Layout: NCHW, Type: detect.Float32,
			Color: RGB, Scale: 1.0 / 255, Std: [3]float32{1, 1, 1}, Resize: letterbox.Center, Pad: [3]uint8{114, 114, 114},
			Labels: classes, Classes: len(classes), ScoreThreshold: 0.25, IoUThreshold: 0.45, MaxDetections: 300,
		}
	}
	change := func(s *Spec, f func(*Spec)) *Spec { f(s); return s }
	yolox := func(s *Spec) {
		s.Color, s.Scale, s.Resize, s.ScoreThreshold = BGR, 1, letterbox.TopLeft, 0.3
	}
	rawNote := "the boxes are assumed to be raw, as YOLOX exports them; if the model was exported with decoding inside, write decoded: true"
	tests := []struct {
		name     string
		manifest string
		info     *onnx.Info
		outs     []detect.TensorInfo
		want     *Spec
		unclear  []string
		origins  map[string]Where
	}{
		{
			name: "yolov8 by its metadata",
			info: with(testInfo(square, fixed(1, 6, 8400)), "names", "{0: 'cat', 1: 'dog'}", "stride", "32", "task", "detect", "imgsz", "[640, 640]",
				"license", "AGPL-3.0", "version", "8.4.14", "end2end", "False", "channels", "3", "batch", "1", "args", "{'nms': False}"),
			want:    change(yolo(detect.YOLOv8, "cat", "dog"), func(s *Spec) { s.IoUThreshold, s.Licence = 0.7, "AGPL-3.0" }),
			origins: map[string]Where{"family": FromMetadata, "labels": FromMetadata, "classes": FromShape, "input.width": FromShape, "pad": FromFamily, "licence": FromMetadata},
		},
		{
			name:    "yolov8 by its shape",
			info:    testInfo(square, fixed(1, 6, 8400)),
			want:    change(yolo(detect.YOLOv8, "class 0", "class 1"), func(s *Spec) { s.IoUThreshold = 0.7 }),
			unclear: []string{"the classes have no names: write labels"},
			origins: map[string]Where{"family": FromShape, "labels": FromShape, "classes": FromShape},
		},
		{
			name: "80 classes without names may be COCO",
			info: testInfo(square, fixed(1, 84, 8400)),
			want: change(yolo(detect.YOLOv8), func(s *Spec) {
				s.IoUThreshold, s.Classes = 0.7, 80
				for i := range 80 {
					s.Labels = append(s.Labels, "class "+strconv.Itoa(i))
				}
			}),
			unclear: []string{"the classes have no names: write labels; 80 classes may be those of COCO, then write labels: coco80"},
		},
		{
			name: "dynamic size from imgsz, which is height first",
			info: with(testInfo(fixed(-1, 3, -1, -1), fixed(-1, 6, -1)), "names", "['cat', 'dog']", "stride", "32", "imgsz", "[320, 640]"),
			want: change(yolo(detect.YOLOv8, "cat", "dog"), func(s *Spec) { s.IoUThreshold, s.Height = 0.7, 320 }),
			origins: map[string]Where{
				"input.width": FromMetadata, "input.height": FromMetadata, "family": FromMetadata,
			},
		},
		{
			name:     "dynamic size from the manifest",
			manifest: "input: {width: 640, height: 320}",
			info:     with(testInfo(fixed(1, 3, -1, -1), fixed(1, 6, -1)), "names", "['cat', 'dog']", "stride", "32", "imgsz", "[640, 640]"),
			want:     change(yolo(detect.YOLOv8, "cat", "dog"), func(s *Spec) { s.IoUThreshold, s.Height = 0.7, 320 }),
			origins:  map[string]Where{"input.width": FromManifest, "input.height": FromManifest},
		},
		{
			name: "yolov5 by its metadata",
			info: with(testInfo(square, fixed(1, 25200, 7)), "names", "{0: 'cat', 1: 'dog'}", "stride", "32"),
			want: yolo(detect.YOLOv5, "cat", "dog"),
		},
		{
			name: "yolov5 of one class by its rows",
			info: with(testInfo(fixed(1, 3, 64, 64), fixed(1, 252, 6)), "names", "{0: 'cat'}", "stride", "32"),
			want: change(yolo(detect.YOLOv5, "cat"), func(s *Spec) { s.Width, s.Height = 64, 64 }),
		},
		{
			name:    "end-to-end of one class by its shape",
			info:    with(testInfo(square, fixed(1, 300, 6)), "names", "{0: 'cat'}", "stride", "32"),
			want:    change(yolo(detect.EndToEnd, "cat"), func(s *Spec) { s.IoUThreshold = 1 }),
			origins: map[string]Where{"family": FromShape, "classes": FromMetadata, "labels": FromMetadata},
		},
		{
			name:    "end-to-end by its metadata, rows dynamic",
			info:    with(testInfo(square, fixed(1, -1, 6)), "names", "{0: 'cat', 1: 'dog'}", "stride", "32", "end2end", "True"),
			want:    change(yolo(detect.EndToEnd, "cat", "dog"), func(s *Spec) { s.IoUThreshold = 1 }),
			origins: map[string]Where{"family": FromMetadata},
		},
		{
			name:    "NMS exported along",
			info:    with(testInfo(square, fixed(-1, -1, 6)), "author", "Ultralytics", "names", "{0: 'cat', 1: 'dog'}", "args", "{'nms': True, 'batch': 1}"),
			want:    change(yolo(detect.EndToEnd, "cat", "dog"), func(s *Spec) { s.IoUThreshold = 1 }),
			origins: map[string]Where{"family": FromMetadata},
		},
		{
			name:    "end-to-end without names",
			info:    testInfo(square, fixed(1, 300, 6)),
			want:    change(yolo(detect.EndToEnd), func(s *Spec) { s.IoUThreshold = 1 }),
			unclear: []string{"the classes have no names, and the output does not tell how many there are: write labels"},
		},
		{
			name:     "yolox by the manifest",
			manifest: "family: yolox\nlabels: [cat, dog]",
			info:     testInfo(square, fixed(1, 8400, 7)),
			want:     change(yolo(detect.YOLOX, "cat", "dog"), yolox),
			unclear:  []string{rawNote},
			origins:  map[string]Where{"family": FromManifest, "labels": FromManifest, "decoded": FromFamily},
		},
		{
			name: "everything by the manifest",
			manifest: `
name: n
version: "1"
release: 3
licence: l
family: yolox
decoded: true
input: {name: images, width: 640, height: 640, layout: nchw, type: float32}
color: rgb
scale: 0.5
mean: 1
std: [2, 3, 4]
resize: stretch
pad: [7, 8, 9]
labels: [cat, dog]
score_threshold: 0.5
iou_threshold: 0.6
max_detections: 9
`,
			info: with(testInfo(square, fixed(1, 8400, 7)), "names", "{0: 'x', 1: 'y'}", "stride", "32", "license", "other"),
			want: &Spec{
				Name: "n", Version: "1", Release: 3, Licence: "l", Family: detect.YOLOX, Decoded: true, InputName: "images", Width: 640, Height: 640,
				Layout: NCHW, Type: detect.Float32, Color: RGB, Scale: 0.5, Mean: [3]float32{1, 1, 1}, Std: [3]float32{2, 3, 4}, Resize: letterbox.Stretch,
				Pad: [3]uint8{7, 8, 9}, Labels: []string{"cat", "dog"}, Classes: 2, ScoreThreshold: 0.5, IoUThreshold: 0.6, MaxDetections: 9,
			},
			origins: map[string]Where{
				"name": FromManifest, "version": FromManifest, "release": FromManifest, "licence": FromManifest, "family": FromManifest, "decoded": FromManifest,
				"input.name": FromManifest, "input.width": FromManifest, "input.height": FromManifest, "input.layout": FromManifest, "input.type": FromManifest,
				"color": FromManifest, "scale": FromManifest, "mean": FromManifest, "std": FromManifest, "resize": FromManifest, "pad": FromManifest,
				"labels": FromManifest, "score_threshold": FromManifest, "iou_threshold": FromManifest, "max_detections": FromManifest,
			},
		},
		{
			name:     "nanodet, joined strides",
			manifest: "labels: [cat, dog]",
			info:     testInfo(fixed(1, 3, 416, 416), fixed(1, 3549, 2), fixed(1, 3549, 44)),
			want: change(yolo(detect.NanoDet, "cat", "dog"), func(s *Spec) {
				s.Width, s.Height, s.Color, s.Scale, s.Resize, s.Pad = 416, 416, BGR, 1, letterbox.Stretch, [3]uint8{}
				s.Mean, s.Std = [3]float32{103.53, 116.28, 123.675}, [3]float32{57.375, 57.12, 58.395}
				s.ScoreThreshold, s.IoUThreshold = 0.35, 0.6
			}),
			unclear: []string{"NanoDet models are trained on stretched pictures, which is assumed here; if this one was tested with bars instead, write resize: letterbox and pad: 0"},
			origins: map[string]Where{"family": FromShape},
		},
		{
			name: "bytes, channels last",
			info: typed(testInfo(fixed(1, 320, 640, 3), fixed(1, 5, 4200)), "uint8"),
			want: change(yolo(detect.YOLOv8, "class 0"), func(s *Spec) {
				s.Height, s.Layout, s.Type, s.Scale, s.IoUThreshold = 320, NHWC, detect.Uint8, 1, 0.7
			}),
			unclear: []string{"the classes have no names: write labels"},
			origins: map[string]Where{"input.layout": FromShape, "scale": FromFamily},
		},
		{
			name:     "half precision, all dimensions symbolic",
			manifest: "input: {width: 640, height: 640}",
			info:     typed(testInfo(fixed(-1, -1, -1, -1), fixed(1, 5, 8400)), "float16"),
			want:     change(yolo(detect.YOLOv8, "class 0"), func(s *Spec) { s.Type, s.IoUThreshold = detect.Float16, 0.7 }),
			unclear: []string{
				"the order of the input's dimensions is assumed to be nchw: write input: {layout: nchw} or nhwc",
				"the classes have no names: write labels",
			},
			origins: map[string]Where{"input.layout": FromFamily},
		},
		{
			name:    "shapes that the runtime told",
			info:    testInfo(square, fixed(-1, -1, -1)),
			outs:    []detect.TensorInfo{{Name: "output0", Type: detect.Float32, Shape: []int64{1, 5, 8400}}},
			want:    change(yolo(detect.YOLOv8, "class 0"), func(s *Spec) { s.IoUThreshold = 0.7 }),
			unclear: []string{"the classes have no names: write labels"},
		},
		{
			name: "metadata that makes no sense is left aside",
			info: with(testInfo(square, fixed(1, 5, 8400)), "names", "{0: open('x')}", "stride", "[32]", "imgsz", "[640]", "batch", "-1", "channels", "RGB", "end2end", "1", "args", "[]"),
			want: change(yolo(detect.YOLOv8, "class 0"), func(s *Spec) { s.IoUThreshold = 0.7 }),
			unclear: []string{
				"the metadata key names is ignored: not a Python literal: at character 5: expected text in quotes, a number, a list, a dict, True, False or None",
				"the metadata key imgsz is ignored: it is not [height, width]",
				"the metadata key stride is ignored: it is not a whole number",
				"the metadata key batch is ignored: it is not a whole number",
				"the metadata key channels is ignored: not a Python literal: at character 1: expected text in quotes, a number, a list, a dict, True, False or None",
				"the metadata key end2end is ignored: it is not True or False",
				"the metadata key args is ignored: it is not a dict",
				"the classes have no names: write labels",
			},
		},
		{
			name:     "names with a hole are left aside",
			manifest: "labels: [cat]",
			info:     with(testInfo(square, fixed(1, 5, 8400)), "names", "{0: 'a', 2: 'b'}"),
			want:     change(yolo(detect.YOLOv8, "cat"), func(s *Spec) { s.IoUThreshold = 0.7 }),
			unclear:  []string{"the metadata key names is ignored: it is not a list of names, or a dict from 0 up"},
		},
		{
			name:     "a fixed shape wins over imgsz",
			manifest: "labels: [cat]",
			info:     with(testInfo(square, fixed(1, 5, 8400)), "imgsz", "320"),
			want:     change(yolo(detect.YOLOv8, "cat"), func(s *Spec) { s.IoUThreshold = 0.7 }),
			unclear: []string{
				"the metadata key imgsz says that input.width is 320, but the model's shape says 640, which is used",
				"the metadata key imgsz says that input.height is 320, but the model's shape says 640, which is used",
			},
		},
		{
			name:     "another exporter's task is its own affair",
			manifest: "labels: [cat]",
			info:     with(testInfo(square, fixed(1, 5, 8400)), "task", "object-detection"),
			want:     change(yolo(detect.YOLOv8, "cat"), func(s *Spec) { s.IoUThreshold = 0.7 }),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Resolve(parse(t, tt.manifest), tt.info, tt.outs)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Spec{}, "Origins", "Unclear"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if diff := cmp.Diff(tt.unclear, got.Unclear); diff != "" {
				t.Errorf("unclear: -want +got\n%s", diff)
			}
			for key, where := range tt.origins {
				if got.Origins[key].Where != where {
					t.Errorf("%s is from %q, want %q", key, got.Origins[key].Where, where)
				}
			}
			for _, key := range []string{
				"family", "input.name", "input.width", "input.height", "input.layout", "input.type", "color", "scale", "mean", "std", "resize", "pad",
				"score_threshold", "iou_threshold", "max_detections",
			} {
				if o := got.Origins[key]; o.Value == "" || o.Where == "" {
					t.Errorf("%s has no origin: %+v", key, o)
				}
			}
			if _, err := detect.NewDecoder(got.Params(), nil); err == nil {
				t.Error("a decoder without outputs")
			}
		})
	}
}

// parse reads a manifest; "" is none.
func parse(t *testing.T, text string) *Manifest {
	t.Helper()
	if text == "" {
		return nil
	}
	m, err := ParseManifest("m.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}
