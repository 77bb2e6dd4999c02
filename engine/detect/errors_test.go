package detect

import (
	"strings"
	"testing"
)

func TestNewDecoderErrors(t *testing.T) {
	with := func(p Params, change func(*Params)) Params {
		change(&p)
		return p
	}
	v8 := params(YOLOv8, 80, 640, 640)
	sound := []TensorInfo{info("output0", 1, 84, 8400)}
	typed := func(e ElementType) []TensorInfo {
		return []TensorInfo{{Name: "output0", Shape: []int64{1, 84, 8400}, Type: e}}
	}
	for _, c := range []struct {
		name    string
		p       Params
		outputs []TensorInfo
		want    string
	}{
		{
			"family", with(v8, func(p *Params) { p.Family = "yolo" }), sound,
			`family "yolo" is unknown; use one of: yolov8, yolov5, end-to-end, yolox, nanodet, rtdetr, rfdetr, yunet, ssd`,
		},
		{"classes", with(v8, func(p *Params) { p.Classes = -1 }), sound, "-1 classes: must be from 1 to 65535, or 0 to take the number from the model"},
		{"classes", with(v8, func(p *Params) { p.Classes = 65536 }), sound, "65536 classes: must be from 1 to 65535, or 0 to take the number from the model"},
		{"width", with(v8, func(p *Params) { p.InputWidth = 0 }), sound, "an input of 0x640 pixels: both sides must be from 1 to 32768"},
		{"height", with(v8, func(p *Params) { p.InputHeight = 40000 }), sound, "an input of 640x40000 pixels: both sides must be from 1 to 32768"},
		{"score", with(v8, func(p *Params) { p.ScoreThreshold = nan }), sound, "a score threshold of NaN: must be from 0 to 1"},
		{"score", with(v8, func(p *Params) { p.ScoreThreshold = 25 }), sound, "a score threshold of 25: must be from 0 to 1"},
		{"iou", with(v8, func(p *Params) { p.IoUThreshold = -0.5 }), sound, "an IoU threshold of -0.5: must be from 0 to 1"},
		{"detections", with(v8, func(p *Params) { p.MaxDetections = 0 }), sound, "at most 0 detections: must be from 1 to 3000"},
		{"detections", with(v8, func(p *Params) { p.MaxDetections = 3001 }), sound, "at most 3001 detections: must be from 1 to 3000"},
		{"decoded", with(v8, func(p *Params) { p.Decoded = true }), sound, "`decoded` is for family yolox only, this is yolov8: leave it out"},

		{
			"no outputs", v8, nil,
			"a yolov8 head has 1 output, this model has none; export it again",
		},
		{
			"masks", v8,
			[]TensorInfo{info("output0", 1, 116, 8400), info("output1", 1, 32, 160, 160)},
			`a yolov8 head has 1 output, this model has 2: "output0" [1,116,8400], "output1" [1,32,160,160]; ` +
				"export the detection head alone (no masks, keypoints or raw feature maps), or check the manifest's `family`",
		},
		{
			"type", v8, typed(Int8),
			`output "output0" [1,84,8400] holds int8, a yolov8 head has float32 or float16; export the model with float outputs`,
		},
		{
			"no type", v8, typed(""),
			`output "output0" [1,84,8400] holds an unknown element type, a yolov8 head has float32 or float16; export the model with float outputs`,
		},
		{
			"rank", v8,
			[]TensorInfo{info("output0", 84, 8400)},
			`output "output0" [84,8400] has 2 dimensions, a yolov8 head has 3 (batch and two more); check the manifest's ` + "`family`",
		},
		{
			"batch", v8,
			[]TensorInfo{info("output0", 4, 84, 8400)},
			`output "output0" [4,84,8400] has a batch of 4; export the model with a batch of 1 or a dynamic one`,
		},
		{
			"dimension", v8,
			[]TensorInfo{info("output0", 1, 84, 0)},
			`output "output0" [1,84,0] has a dimension of 0; it must be from 1 to 1048576`,
		},
		{
			"dimension", v8,
			[]TensorInfo{info("output0", 1, 84, 1<<62)},
			`output "output0" [1,84,4611686018427387904] has a dimension of 4611686018427387904; it must be from 1 to 1048576`,
		},

		{
			"yolov8 labels", params(YOLOv8, 3, 640, 640), sound,
			`output "output0" [1,84,8400] does not fit a yolov8 head of 3 classes, which is (1, 7, n); give one label for each class in the manifest's ` +
				"`labels`, or check `family`",
		},
		{
			"yolov8 end-to-end", params(YOLOv8, 2, 640, 640),
			[]TensorInfo{info("output0", 1, 300, 6)},
			`output "output0" [1,300,6] has the shape of an end-to-end head, which a transposed yolov8 head of 2 classes shares; ` +
				"write `family: end-to-end`, or export as (1, 4+classes, n)",
		},
		{
			"yolov8 end-to-end", params(YOLOv8, 2, 640, 640),
			[]TensorInfo{info("output0", 1, -1, 6)},
			`output "output0" [1,?,6] has the shape of an end-to-end head, which a transposed yolov8 head of 2 classes shares; ` +
				"write `family: end-to-end`, or export as (1, 4+classes, n)",
		},
		{
			"yolov8 rows that are labels", params(YOLOv8, 332, 128, 128),
			[]TensorInfo{info("output0", 1, 1207, 336)},
			`output "output0" [1,1207,336] does not fit a yolov8 head of 332 classes, which is (1, 336, n); give one label for each class in the manifest's ` +
				"`labels`, or check `family`",
		},
		{
			"yolov8 unclear", params(YOLOv8, 0, 640, 640),
			[]TensorInfo{info("output0", 1, 300, 84)},
			`output "output0" [1,300,84] does not tell the classes of a yolov8 head, which is (1, 4+classes, n); list the manifest's ` +
				"`labels`, or check `family`",
		},
		{
			"yolov8 symbolic", params(YOLOv8, 0, 640, 640),
			[]TensorInfo{info("output0", 1, 8400, -1)},
			`output "output0" [1,8400,?] does not tell the classes of a yolov8 head, which is (1, 4+classes, n); list the manifest's ` +
				"`labels`, or check `family`",
		},
		{
			"yolov8 too many", params(YOLOv8, 0, 640, 640),
			[]TensorInfo{info("output0", 1, 70000, 90000)},
			`output "output0" [1,70000,90000] of a yolov8 head has 69996 classes, more than the 65535 that are supported; check ` + "`family`",
		},
		{
			"yolov5 narrow", params(YOLOv5, 0, 640, 640),
			[]TensorInfo{info("output", 1, 25200, 5)},
			`output "output" [1,25200,5] has rows of 5, a yolov5 head has rows of 5+classes: box, objectness, classes; check the manifest's ` + "`family`",
		},
		{
			"yolov5 labels", params(YOLOv5, 79, 640, 640),
			[]TensorInfo{info("output", 1, 25200, 85)},
			`output "output" [1,25200,85] of a yolov5 head has 80 classes, but the manifest's ` + "`labels` are 79; give one label for each class, or check `family`",
		},
		{
			"yolov5 symbolic", params(YOLOv5, 0, 640, 640),
			[]TensorInfo{info("output", 1, 25200, -1)},
			`output "output" [1,25200,?] does not tell the classes of a yolov5 head, which is (1, n, 5+classes); list the manifest's ` + "`labels`",
		},
		{
			"yolox rows", params(YOLOX, 80, 640, 640),
			[]TensorInfo{info("output", 1, 3549, 85)},
			`output "output" [1,3549,85] has 3549 rows, a yolox head for a 640x640 input has 8400 (strides 8, 16, 32); check the manifest's ` +
				"`family` and `input`, or write `decoded: true` if the export applied the grid",
		},
		{
			"yolox maps", params(YOLOX, 80, 640, 640),
			[]TensorInfo{info("output", 1, 8400, 85), info("p3", 1, 1, 80, 80, 85)},
			`a yolox head has 1 output, this model has 2: "output" [1,8400,85], "p3" [1,1,80,80,85]; ` +
				"export the detection head alone (no masks, keypoints or raw feature maps), or check the manifest's `family`",
		},
		{
			"end-to-end", params(EndToEnd, 80, 640, 640), sound,
			`output "output0" [1,84,8400] does not fit an end-to-end head, which is (1, n, 6): x1 y1 x2 y2 score class; check the manifest's ` + "`family`",
		},
		{
			"nanodet rows", params(NanoDet, 80, 320, 320),
			[]TensorInfo{info("s", 1, 3549, 80), info("d", 1, 3549, 44)},
			`output "s" [1,3549,80] has 3549 rows; a nanodet head for this input has 1600, 400, 100 and, for nanodet-plus, 25 at strides 8, 16, 32 and 64, ` +
				"or 2100 or 2125 joined; check the manifest's `family` and `input`",
		},
		{
			"nanodet level rows", params(NanoDet, 80, 416, 416),
			[]TensorInfo{
				info("a", 1, 2704, 80), info("b", 1, 676, 80), info("c", 1, 49, 80),
				info("d", 1, 2704, 44), info("e", 1, 676, 44), info("f", 1, 49, 44),
			},
			`output "c" [1,49,80] has 49 rows; a nanodet head for this input has 2704, 676, 169 and, for nanodet-plus, 49 at strides 8, 16, 32 and 64, ` +
				"or 3549 or 3598 joined; check the manifest's `family` and `input`",
		},
		{
			"nanodet labels", params(NanoDet, 3, 416, 416),
			[]TensorInfo{info("s", 1, 3549, 80), info("d", 1, 3549, 44)},
			`outputs "s" [1,3549,80], "d" [1,3549,44] do not fit a nanodet head of 3 classes, which has tensors of 3 columns and of 4*(reg_max+1); ` +
				"give one label for each class in the manifest's `labels`, or check `family`",
		},
		{
			"nanodet joined labels", params(NanoDet, 3, 416, 416),
			[]TensorInfo{info("o", 1, 3549, 112)},
			`output "o" [1,3549,112] does not fit a nanodet head of 3 classes, which has 3 + 4*(reg_max+1) columns; ` +
				"give one label for each class in the manifest's `labels`, or check `family`",
		},
		{
			"nanodet unclear", params(NanoDet, 0, 416, 416),
			[]TensorInfo{info("s", 1, 3549, 32), info("d", 1, 3549, 44)},
			`outputs "s" [1,3549,32], "d" [1,3549,44] do not tell the classes of a nanodet head from its distance bins; list the manifest's ` + "`labels`",
		},
		{
			"nanodet alike", params(NanoDet, 44, 416, 416),
			[]TensorInfo{info("s", 1, 3549, 44), info("d", 1, 3549, 44)},
			`outputs "s" [1,3549,44], "d" [1,3549,44] cannot be told apart; one is the class scores of a nanodet head and the other its distances: ` +
				`export them with "cls" and "dis" in their names, or joined in one tensor`,
		},
		{
			"nanodet odd", params(NanoDet, 80, 416, 416),
			[]TensorInfo{info("a", 1, 2704, 80), info("b", 1, 676, 44)},
			`outputs "a" [1,2704,80], "b" [1,676,44] do not pair up as those of a nanodet head, which are (1, N, classes) and (1, N, 4*(reg_max+1)) ` +
				"for each of 3 or 4 strides or joined; check the manifest's `family`",
		},
		{
			"nanodet type", params(NanoDet, 80, 416, 416),
			[]TensorInfo{info("a", 1, 2704, 80), {Name: "b", Shape: []int64{1, 2704, 44}, Type: Int64}},
			`output "b" [1,2704,44] holds int64, a nanodet head has float32 or float16; export the model with float outputs`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := NewDecoder(c.p, c.outputs)
			if err == nil {
				t.Fatalf("no error, want %q", c.want)
			}
			if d != nil {
				t.Errorf("a decoder besides the error: %v", d)
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestFloat16IsAccepted(t *testing.T) {
	mustDecoder(t, params(YOLOv8, 80, 640, 640), []TensorInfo{{Name: "o", Shape: []int64{1, 84, 8400}, Type: Float16}})
}

// Outputs of a run that are not those that were promised are refused, and dst comes back as it was.
func TestDecodeRefuses(t *testing.T) {
	sound := plantYOLOv8(42, 3, false, good)
	promised := infos(sound)
	edit := func(change func(*Tensor)) []Tensor {
		c := sound
		change(&c)
		return []Tensor{c}
	}
	for _, c := range []struct {
		name     string
		p        Params
		promised []TensorInfo
		outputs  []Tensor
		want     string
	}{
		{"none", params(YOLOv8, 3, 64, 32), promised, nil, `the run gave 0 outputs, output "output0" is number 1; give Decode all outputs of the model in its order`},
		{
			"name", params(YOLOv8, 3, 64, 32), promised, edit(func(t *Tensor) { t.Name = "x" }),
			`output 1 of the run is "x", the model declares "output0" there; give Decode the outputs in the model's order`,
		},
		{"rank", params(YOLOv8, 3, 64, 32), promised, edit(func(t *Tensor) { t.Shape = []int64{7, 42} }), `output "output0" came as [7,42], expected [1,7,42] with a batch of 1`},
		{"batch", params(YOLOv8, 3, 64, 32), promised, edit(func(t *Tensor) { t.Shape = []int64{2, 7, 42} }), `output "output0" came as [2,7,42], expected [1,7,42] with a batch of 1`},
		{"columns", params(YOLOv8, 3, 64, 32), promised, edit(func(t *Tensor) { t.Shape = []int64{1, 7, 43} }), `output "output0" came as [1,7,43], expected [1,7,42] with a batch of 1`},
		{"short", params(YOLOv8, 3, 64, 32), promised, edit(func(t *Tensor) { t.Data = t.Data[:293] }), `output "output0" came as [1,7,42], 294 values, but holds only 293`},
		{
			"huge", params(YOLOv8, 3, 64, 32),
			[]TensorInfo{info("output0", -1, 7, -1)},
			edit(func(t *Tensor) { t.Shape = []int64{1, 7, 1 << 61} }),
			`output "output0" came as [1,7,2305843009213693952], expected [1,7,?] with a batch of 1`,
		},
		{
			"negative", params(YOLOv8, 3, 64, 32),
			[]TensorInfo{info("output0", -1, 7, -1)},
			edit(func(t *Tensor) { t.Shape = []int64{1, 7, -1} }),
			`output "output0" came as [1,7,?], expected [1,7,?] with a batch of 1`,
		},
		{
			"classes", params(YOLOv8, 3, 64, 32),
			[]TensorInfo{info("output0", -1, -1, -1)},
			edit(func(t *Tensor) { t.Shape = []int64{1, 6, 42} }),
			`output "output0" came as [1,6,42], which does not fit 3 classes; check the manifest's ` + "`labels` and `family`",
		},
		{
			"yolox rows", params(YOLOX, 3, 64, 32),
			[]TensorInfo{info("o", -1, -1, -1)},
			[]Tensor{newTensor("o", 1, 43, 8)},
			`output "o" came as [1,43,8], expected [1,42,8] with a batch of 1`,
		},
		{
			"nanodet rows", params(NanoDet, 3, 64, 32),
			[]TensorInfo{info("s", 1, -1, 3), info("d", 1, -1, 32)},
			[]Tensor{newTensor("s", 1, 42, 3), newTensor("d", 1, 41, 32)},
			`outputs "s" and "d" came with 42 and 41 rows; a nanodet head for this input has 42 or 43 in each, check the manifest's ` + "`input`",
		},
		{
			"nanodet grid", params(NanoDet, 3, 64, 32),
			[]TensorInfo{info("s", 1, -1, 3), info("d", 1, -1, 32)},
			[]Tensor{newTensor("s", 1, 41, 3), newTensor("d", 1, 41, 32)},
			`outputs "s" and "d" came with 41 and 41 rows; a nanodet head for this input has 42 or 43 in each, check the manifest's ` + "`input`",
		},
		{
			"end-to-end width", params(EndToEnd, 3, 64, 32),
			[]TensorInfo{info("o", 1, -1, -1)},
			[]Tensor{newTensor("o", 1, 10, 7)},
			`output "o" came as [1,10,7], expected [1,?,6] with a batch of 1`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := []Detection{{Score: 0.5}}
			got, err := mustDecoder(t, c.p, c.promised).Decode(c.outputs, dst)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if len(got) != 1 || got[0] != dst[0] {
				t.Errorf("dst came back as %v", got)
			}
		})
	}
	// More data than the shape says is no harm: the session's buffer may be the larger one.
	long := sound
	long.Data = append(long.Data[:len(long.Data):len(long.Data)], nan, nan)
	got, err := mustDecoder(t, params(YOLOv8, 3, 64, 32), promised).Decode([]Tensor{long}, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, []object{good}, 1e-4)
}

// The messages of bad numbers, each with what to do.
func TestFaultMessages(t *testing.T) {
	for _, c := range []struct {
		f    faults
		want []string
	}{
		{faults{notFinite: 2}, []string{"the model's output is not finite: left out 2 values", "float32"}},
		{faults{class: 3}, []string{"names a class out of range: left out 3 rows", "from 0 to 79", "`labels`"}},
		{faults{score: 4}, []string{"scores above 1: left out 4 rows", "sigmoid"}},
		{faults{1, 1, 1}, []string{"not finite", "; the model's output names a class", "; the model's output has scores above 1"}},
	} {
		got := c.f.err(80, 0).Error()
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%+v: %q lacks %q", c.f, got, w)
			}
		}
		if strings.Contains(got, "\n") {
			t.Errorf("%q is more than one line", got)
		}
	}
	if err := (faults{}).err(80, 0); err != nil {
		t.Errorf("no faults give %v", err)
	}
}
