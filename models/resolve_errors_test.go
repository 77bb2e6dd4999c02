package models

import (
	"slices"
	"strings"
	"testing"

	"gnomon/models/onnx"
)

// named gives the outputs of a model names.
func named(info *onnx.Info, names ...string) *onnx.Info {
	for i, name := range names {
		info.Outputs[i].Name = name
	}
	return info
}

// sized adds the input of the sizes to a model.
func sized(info *onnx.Info) *onnx.Info {
	info.Inputs = append(info.Inputs, onnx.Value{Name: "orig_target_sizes", Type: "int64", Shape: fixed(-1, 2)})
	return info
}

func sizesOf(info *onnx.Info, typ string) *onnx.Info {
	info.Inputs[1].Type = typ
	return info
}

// detr is RT-DETR as its exporter writes it.
func detr(withSizes bool) *onnx.Info {
	info := named(testInfo(fixed(-1, 3, 640, 640), fixed(-1, 300), fixed(-1, 300, 4), fixed(-1, 300)), "labels", "boxes", "scores")
	info.Outputs[0].Type = "int64"
	if !withSizes {
		return info
	}
	return sized(info)
}

func TestResolveErrors(t *testing.T) {
	v8 := func() *onnx.Info { return testInfo(square, fixed(1, 6, 8400)) }
	ultralytics := func(pairs ...string) *onnx.Info {
		return with(with(v8(), "names", "{0: 'cat', 1: 'dog'}", "stride", "32"), pairs...)
	}
	twoInputs := v8()
	twoInputs.Inputs = append(twoInputs.Inputs, onnx.Value{Name: "im_shape"})
	noInput := v8()
	noInput.Inputs = nil
	noShape := v8()
	noShape.Inputs[0].Shape = nil
	tests := []struct {
		name, manifest string
		info           *onnx.Info
		want           string
	}{
		{"segmentation", "", ultralytics("task", "segment"), `the model's metadata says that its task is "segment", and gnomon runs detectors: export one whose task is detect`},
		{"grey", "", ultralytics("channels", "1"), `the model's metadata says that it takes pictures of 1 channel, and gnomon feeds 3: export it for colour pictures`},
		{"two inputs", "", twoInputs, `the model has 2 inputs ("images", "im_shape"), and gnomon feeds one, the picture: export the model so that it needs nothing else`},
		{"no input", "", noInput, `the model has no input to put a picture in`},
		{"unknown shape", "", noShape, `the model's input "images" has the shape unknown, and a picture needs 4 dimensions (batch, channels, height, width): export the model with a picture as its input`},
		{"flat input", "", testInfo(fixed(1, 768), fixed(1, 6, 8400)), `the model's input "images" has the shape [1,768], and a picture needs 4 dimensions (batch, channels, height, width): export the model with a picture as its input`},
		{"batch of 4", "", testInfo(fixed(4, 3, 640, 640), fixed(4, 6, 8400)), `the model takes batches of 4 pictures (input "images" [4,3,640,640]): export it with a batch of 1 or a dynamic one`},
		{"int64 input", "", typed(v8(), "int64"), `the model's input "images" holds elements of int64, and gnomon fills float32, float16 and uint8: export the model with one of these`},
		{"input without a type", "", typed(v8(), ""), `the model's input "images" holds elements of an unknown type, and gnomon fills float32, float16 and uint8: export the model with one of these`},
		{"grey by shape", "", testInfo(fixed(1, 1, 640, 640), fixed(1, 6, 8400)), `the model's input "images" has the shape [1,1,640,640], and neither its second nor its last dimension is 3, the colour channels that gnomon feeds: export the model for colour pictures`},
		{"huge input", "", testInfo(fixed(1, 3, 640, 5000), fixed(1, 6, 8400)), `the model's input "images" has the shape [1,3,640,5000]; its sides must be from 1 to 4096 pixels`},
		{"dynamic size", "", testInfo(fixed(1, 3, -1, -1), fixed(1, 6, 8400)), `the model takes pictures of any size (input "images" [1,3,?,?]): write in the manifest which to use, for example input: {width: 640, height: 640}`},
		{"yolov5 or yolox", "", testInfo(square, fixed(1, 8400, 7)), "find out its family: output \"output0\" [1,8400,7] fits yolov5 and yolox alike; write `family: yolov5` or `family: yolox` in the manifest (or the family it is, if that is another) (8400 rows are one for each cell, as yolox has them)"},
		{"yolov5 or yolox, by the rows", "", testInfo(square, fixed(1, 25200, 7)), "find out its family: output \"output0\" [1,25200,7] fits yolov5 and yolox alike; write `family: yolov5` or `family: yolox` in the manifest (or the family it is, if that is another) (25200 rows are three for each cell, as yolov5 has them)"},
		{"names and shape disagree", "", ultralytics("names", "['cat']"), `the metadata names 1 class, but the model's output has 2: write labels in the manifest, or family if yolov8 is wrong`},

		{"input name", "input: {name: data}", v8(), `m.yaml:1:15: input.name is "data", but the model's input is called "images"`},
		{"input type", "input: {type: uint8}", v8(), `m.yaml:1:15: input.type is uint8, but the model's input "images" is float32`},
		{"input layout", "input: {layout: nhwc}", v8(), `m.yaml:1:17: input.layout is nhwc, but the model's input "images" has the shape [1,3,640,640]`},
		{"input size", "input:\n  width: 416\n  height: 320", v8(), "m.yaml:2:10: input.width is 416, but the model's input \"images\" takes 640 (nchw [1,3,640,640])\nm.yaml:3:11: input.height is 320, but the model's input \"images\" takes 640 (nchw [1,3,640,640])"},
		{"stride", "input: {width: 500, height: 640}", with(testInfo(fixed(1, 3, -1, -1), fixed(1, 6, -1)), "names", "['a', 'b']", "stride", "32"), `m.yaml:1:16: input.width is 500, but must be a multiple of the model's stride, 32`},
		{"too few labels", "name: x\nlabels: [cat]", v8(), `m.yaml:2:9: labels has 1 label, but the model has 2 classes; write one label for each class, in the model's order`},
		{"too many labels", "labels: coco80", v8(), `m.yaml:1:9: labels has 80 labels, but the model has 2 classes; write one label for each class, in the model's order`},
		{"labels_file in memory", "labels_file: x.txt", v8(), `m.yaml:1:14: labels_file is read only beside a manifest in a file; write labels instead`},
		{"bytes and scale", "scale: 0.5\nmean: 1\nstd: 2", typed(v8(), "uint8"), "m.yaml:1:8: scale is 0.5, but the model's input takes bytes (uint8) as they are; remove it\nm.yaml:2:7: mean is set, but the model's input takes bytes (uint8) as they are; remove it\nm.yaml:3:6: std is set, but the model's input takes bytes (uint8) as they are; remove it"},
		{"decoded without yolox", "decoded: true", v8(), `m.yaml:1:10: decoded is for family yolox only, and this model is yolov8; remove it`},
		{"rtdetr without sizes", "", detr(false), "read it as rtdetr, by its shape: it has no input orig_target_sizes (int64, [1,2]), so nothing says whether its boxes are in pixels: export it with its postprocessor, as the family's export_onnx.py does"},
		{"rtdetr without sizes, by the manifest", "family: rtdetr", detr(false), "m.yaml:1:9: family is rtdetr, but the model does not fit: it has no input orig_target_sizes (int64, [1,2]), so nothing says whether its boxes are in pixels: export it with its postprocessor, as the family's export_onnx.py does"},
		{"sizes without rtdetr", "", sized(v8()), "read it as yolov8, by its shape: it has an input orig_target_sizes, which only models of family rtdetr have: export it without"},
		{"sizes of another type", "", sizesOf(detr(true), "int32"), `the model has 2 inputs ("images", "orig_target_sizes"), and gnomon feeds one, the picture: export the model so that it needs nothing else (orig_target_sizes would be fed too if it were int64 [1,2])`},
		{"nothing but sizes", "", &onnx.Info{Inputs: detr(true).Inputs[1:]}, `the model has no input to put a picture in`},
		{"rfdetr with the labels of 80 classes", "labels: coco80", named(testInfo(square, fixed(1, 300, 4), fixed(1, 300, 91)), "dets", "labels"), "m.yaml:1:9: labels has 80 labels, but the model has 91 classes; its classes are COCO's category ids: write labels: coco91"},
		{"rfdetr with the labels of ssd", "labels: coco90", named(testInfo(square, fixed(1, 300, 4), fixed(1, 300, 91)), "dets", "labels"), "m.yaml:1:9: labels has 90 labels, but the model has 91 classes; its classes are COCO's category ids: write labels: coco91"},
		{"rfdetr with too many labels", "labels: [a, b, c]", named(testInfo(square, fixed(1, 300, 4), fixed(1, 300, 2)), "dets", "labels"), "m.yaml:1:9: labels has 3 labels, but the model has 2 classes; write one label for each class, in the model's order"},
		{"nanodet-plus, by the rows", "", testInfo(fixed(1, 3, 320, 320), fixed(1, 2125, 112)), "find out its family: output \"output0\" [1,2125,112] fits yolov5 and yolox alike; write `family: yolov5` or `family: yolox` in the manifest (or the family it is, if that is another) (2125 rows are one for each cell of strides 8 to 64, as nanodet-plus has them: write family: nanodet and labels)"},
		{"iou_threshold with final boxes", "iou_threshold: 0.5", testInfo(square, fixed(1, 300, 6)), `m.yaml:1:16: iou_threshold has no use with family end-to-end, whose boxes are final; remove it`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Resolve(parse(t, tt.manifest), tt.info, nil)
			if err == nil || err.Error() != tt.want {
				t.Errorf("\ngot  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestResolveUnfit checks that the decoder's own objections come through, at the line that chose the family.
func TestResolveUnfit(t *testing.T) {
	for manifest, want := range map[string]string{
		"family: nanodet": "m.yaml:1:9: family is nanodet, but the model does not fit: ",
		"name: a\nfamily: end-to-end\nlabels: [a, b]": "m.yaml:2:9: family is end-to-end, but the model does not fit: ",
	} {
		_, err := Resolve(parse(t, manifest), testInfo(square, fixed(1, 6, 8400)), nil)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got  %v\nwant %s…", err, want)
		}
	}
	integers := testInfo(square, fixed(1, 6, 8400))
	integers.Outputs[0].Type = "int64"
	const want = "read it as yolov8, by its shape: "
	if _, err := Resolve(nil, integers, nil); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s…", err, want)
	}
}

func TestResolveManifestMadeInGo(t *testing.T) {
	_, err := Resolve(&Manifest{Color: "grey"}, testInfo(square, fixed(1, 6, 8400)), nil)
	if want := `manifest: color must be one of rgb, bgr, not "grey"`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	s, err := Resolve(&Manifest{Labels: Labels{"a", "b"}}, testInfo(square, fixed(1, 6, 8400)), nil)
	if err != nil || !slices.Equal(s.Labels, []string{"a", "b"}) {
		t.Errorf("%+v, %v", s, err)
	}
}

// FuzzMetadata asks that whatever a model file says about itself gives a whole Spec or an error of one line.
func FuzzMetadata(f *testing.F) {
	f.Add("{0: 'cat', 1: 'dog'}", "[640, 640]", "32", "{'nms': True}", "False", int64(1), int64(6), int64(8400), int64(640))
	f.Add("['cat']", "320", "32", "{}", "True", int64(1), int64(300), int64(6), int64(-1))
	f.Add("", "", "", "", "", int64(-1), int64(25200), int64(85), int64(0))
	f.Fuzz(func(t *testing.T, names, imgsz, stride, args, end2end string, d0, d1, d2, side int64) {
		info := testInfo(fixed(1, 3, side, side), fixed(d0, d1, d2))
		with(info, "names", names, "imgsz", imgsz, "stride", stride, "args", args, "end2end", end2end)
		s, err := Resolve(nil, info, nil)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("an error of more than one line: %q", err)
			}
			return
		}
		if s.Family == "" || s.Width < 1 || s.Width > maxSide || len(s.Labels) != s.Classes && s.Classes > 0 || s.MaxDetections < 1 {
			t.Fatalf("%+v", s)
		}
	})
}
