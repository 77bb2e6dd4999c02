package detect

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// typed gives an output an element type.
func typed(in []TensorInfo, name string, e ElementType) []TensorInfo {
	i, _ := byName(in, name)
	in[i].Type = e
	return in
}

func TestPlantedByName(t *testing.T) {
	// Best first. No NMS: the near duplicate stays.
	objects := []object{
		obj(299, 79, 0.91, 600, 300, 640, 384),
		obj(7, 3, 0.8, 100.5, 50.25, 300, 220),
		obj(2, 3, 0.7, 102, 51, 301, 222),
		obj(0, 0, 0.5, 0, 0, 40, 20),
	}
	missed := obj(5, 1, 0.2, 1, 1, 9, 9)
	all := append(slices.Clone(objects), missed)
	detr, ssd := plantTables(RTDETR, 300, 640, 384, all...), plantTables(SSD, 300, 640, 384, all...)
	more := []Tensor{newTensor("raw_detection_boxes:0", 1, 1917, 4), ssd[3], ssd[2], ssd[1], ssd[0]}
	for i := range more {
		more[i].Name, _, _ = strings.Cut(more[i].Name, ":")
		more[i].Name += ":0"
	}
	// Rows that do not count, with scores that would.
	some := plantTables(SSD, 100, 640, 384, obj(0, 2, 0.8, 10, 20, 30, 40), obj(1, 2, 0.9, 50, 20, 70, 40))
	some[3].Data[0] = 1
	logits := plantRFDETR(300, 91, 640, 384, all...)
	// Two classes of one row are two detections.
	both := []object{obj(4, 2, 0.9, 10, 20, 30, 40), obj(4, 0, 0.6, 10, 20, 30, 40)}
	faces := []object{
		cellObj(0, 79, 47, 0, 0.95, 620, 370, 640, 384),
		cellObj(2, 19, 0, 0, 0.85, 560, -4, 650, 60),
		cellObj(1, 3, 20, 0, 0.5, 40, 300, 70, 350),
	}
	duplicate := cellObj(1, 4, 20, 0, 0.45, 41, 301, 70, 350)
	yunet := plantYuNet(640, 384, append(slices.Clone(faces), duplicate)...)
	dynamic := symbolic(infos(yunet...), 0, 1)
	slices.Reverse(yunet)
	slices.Reverse(dynamic)

	runPlanted(t, []planted{
		{
			name: "rtdetr", p: params(RTDETR, 80, 640, 384), want: objects, classes: 80,
			outputs: typed(infos(detr...), "labels", Int64), tensors: detr,
		},
		{
			name: "rtdetr shuffled and symbolic, classes unknown", p: params(RTDETR, 0, 640, 384), want: objects,
			outputs: symbolic(infos(detr[2], detr[1], detr[0]), 0, 1), tensors: []Tensor{detr[2], detr[1], detr[0]},
		},
		{
			name: "rtdetr found nothing", p: params(RTDETR, 80, 640, 384), classes: 80,
			outputs: symbolic(infos(detr...), 0, 1), tensors: plantTables(RTDETR, 0, 640, 384),
		},
		{name: "ssd", p: params(SSD, 80, 640, 384), want: objects, classes: 80, tensors: ssd},
		{
			name: "ssd symbolic", p: params(SSD, 0, 640, 384), want: objects,
			outputs: append(symbolic(infos(ssd[:3]...), 0, 1), info(ssdCount, -1)), tensors: ssd,
		},
		{name: "ssd among other outputs", p: params(SSD, 80, 640, 384), want: objects, classes: 80, tensors: more},
		{name: "ssd without a count", p: params(SSD, 80, 640, 384), want: objects, classes: 80, tensors: ssd[:3]},
		{name: "ssd counts its rows", p: params(SSD, 80, 640, 384), want: []object{obj(0, 2, 0.8, 10, 20, 30, 40)}, classes: 80, tensors: some},
		{name: "rfdetr", p: params(RFDETR, 91, 640, 384), want: objects, classes: 91, tensors: logits},
		{name: "rfdetr classes by shape", p: params(RFDETR, 0, 640, 384), want: objects, classes: 91, tensors: logits},
		{name: "rfdetr without the last column", p: params(RFDETR, 90, 640, 384), want: objects, classes: 90, tensors: logits},
		{
			name: "rfdetr symbolic, by other names", p: params(RFDETR, 91, 640, 384), want: objects, classes: 91,
			outputs: []TensorInfo{info("logits", -1, -1, -1), info("pred_boxes", -1, -1, 4)},
			tensors: []Tensor{{"logits", logits[1].Shape, logits[1].Data}, {"pred_boxes", logits[0].Shape, logits[0].Data}},
		},
		{name: "rfdetr two classes", p: params(RFDETR, 0, 64, 64), want: both, classes: 3, tensors: plantRFDETR(300, 3, 64, 64, both...)},
		{name: "yunet", p: params(YuNet, 1, 640, 384), want: faces, classes: 1, outputs: dynamic, tensors: yunet},
	})
}

func TestByNameErrors(t *testing.T) {
	detr := func() []TensorInfo { return typed(infos(plantTables(RTDETR, 300, 640, 640)...), "labels", Int64) }
	rf := func(columns int) []TensorInfo { return infos(plantRFDETR(300, columns, 640, 640)...) }
	faces := func() []TensorInfo { return infos(plantYuNet(640, 640)...) }
	shaped := func(in []TensorInfo, name string, shape ...int64) []TensorInfo {
		i, _ := byName(in, name)
		in[i].Shape = shape
		return in
	}
	for _, c := range []struct {
		name    string
		p       Params
		outputs []TensorInfo
		want    string
	}{
		{"rtdetr names", params(RTDETR, 80, 640, 640), infos(newTensor("logits", 1, 2), newTensor("boxes", 1, 2, 4)), `an rtdetr head has the outputs labels, boxes and scores, this model has "logits" [1,2], "boxes" [1,2,4]; export it with these names`},
		{"rtdetr type", params(RTDETR, 80, 640, 640), typed(detr(), "labels", Uint8), `output "labels" [1,300] holds uint8, an rtdetr head has float32, float16, int32 or int64 there`},
		{"rtdetr box type", params(RTDETR, 80, 640, 640), typed(detr(), "boxes", Int64), `output "boxes" [1,300,4] holds int64, an rtdetr head has float32 or float16`},
		{"rtdetr rank", params(RTDETR, 80, 640, 640), shaped(detr(), "scores", 1, 300, 1), `output "scores" [1,300,1] has 3 dimensions, an rtdetr head has 2 there (batch and rows)`},
		{"rtdetr batch", params(RTDETR, 80, 640, 640), shaped(detr(), "scores", 8, 300), `output "scores" [8,300] has a batch of 8`},
		{"rtdetr rows", params(RTDETR, 80, 640, 640), shaped(detr(), "scores", 1, 299), `have different numbers of rows`},
		{"rtdetr huge", params(RTDETR, 80, 640, 640), shaped(detr(), "scores", 1, 1<<40), `has a dimension of 1099511627776`},
		{"rtdetr boxes", params(RTDETR, 80, 640, 640), shaped(detr(), "boxes", 1, 300, 5), `output "boxes" [1,300,5] of an rtdetr head has rows of 5, 4 are expected`},
		{"ssd count", params(SSD, 80, 300, 300), shaped(infos(plantTables(SSD, 100, 300, 300)...), ssdCount, 8), `output "num_detections" [8] of an ssd head is expected to be one number`},
		{"rfdetr labels", params(RFDETR, 80, 560, 560), rf(91), `output "labels" [1,300,91] of an rfdetr head has 91 columns, but the manifest's ` + "`labels` are 80; give one label for each column"},
		{"rfdetr columns", params(RFDETR, 0, 560, 560), shaped(rf(91), "labels", 1, 300, -1), `output "labels" [1,300,?] does not tell the classes of an rfdetr head`},
		{"rfdetr too many", params(RFDETR, 0, 560, 560), shaped(rf(91), "labels", 1, 300, 70000), `has 70000 classes, more than the 65535 that are supported`},
		{"rfdetr masks", params(RFDETR, 0, 560, 560), infos(newTensor("a", 1, 2, 4), newTensor("b", 1, 2, 4), newTensor("c", 1, 2, 4)), `an rfdetr head has the outputs dets and labels, this model has 3`},
		{"rfdetr boxes", params(RFDETR, 0, 560, 560), shaped(rf(91), "dets", 1, 300, 5), `"dets" [1,300,5] and "labels" [1,300,91] do not fit an rfdetr head`},
		{"rfdetr rank", params(RFDETR, 0, 560, 560), shaped(rf(91), "labels", 1, 300), `output "labels" [1,300] has 2 dimensions`},
		{"yunet size", params(YuNet, 1, 600, 640), faces(), "an input of 600x640 pixels: the sides of a yunet model's input must be multiples of 32"},
		{"yunet rows", params(YuNet, 1, 320, 320), faces(), `output "cls_8" [1,6400,1] has 6400 rows, a yunet head for a 320x320 input has 1600 at stride 8`},
		{"yunet names", params(YuNet, 1, 640, 640), faces()[1:], `and cls_8 is not among this model's`},
		{"yunet boxes", params(YuNet, 1, 640, 640), shaped(faces(), "bbox_16", 1, 1600, 5), `output "bbox_16" [1,1600,5] of a yunet head has rows of 5, 4 are expected`},
		{"yunet rank", params(YuNet, 1, 640, 640), shaped(faces(), "obj_32", 400, 1), `output "obj_32" [400,1] has 2 dimensions`},
		{"yunet labels", params(YuNet, 2, 640, 640), faces(), "of a yunet head has 1 classes, but the manifest's `labels` are 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := NewDecoder(c.p, c.outputs); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant …%s…", err, c.want)
			}
		})
	}
}

// What a run delivers may differ from what was promised where that was symbolic, and be nonsense.
func TestByNameRefuses(t *testing.T) {
	with := func(in []Tensor, name string, change func(*Tensor)) []Tensor {
		i, _ := byName(infos(in...), name)
		change(&in[i])
		return in
	}
	cut := func(t *Tensor) {
		t.Shape = append(slices.Clone(t.Shape[:1]), append([]int64{t.Shape[1] - 1}, t.Shape[2:]...)...)
	}
	short := func(t *Tensor) { t.Data = t.Data[:1] }
	for _, c := range []struct {
		name     string
		p        Params
		promised []TensorInfo
		outputs  []Tensor
		want     string
	}{
		{"tables", params(RTDETR, 3, 64, 32), symbolic(infos(plantTables(RTDETR, 20, 64, 32)...), 1), with(plantTables(RTDETR, 20, 64, 32), "boxes", cut), `came with 20, 19 and 20 rows`},
		{"flat", params(RTDETR, 3, 64, 32), infos(plantTables(RTDETR, 20, 64, 32)...), with(plantTables(RTDETR, 20, 64, 32), "scores", cut), `output "scores" came as [1,19], expected [1,20] with a batch of 1`},
		{"short", params(SSD, 3, 64, 32), infos(plantTables(SSD, 20, 64, 32)...), with(plantTables(SSD, 20, 64, 32), "detection_classes", short), `came as [1,20], 20 values, but holds only 1`},
		{"no count", params(SSD, 3, 64, 32), infos(plantTables(SSD, 20, 64, 32)...), with(plantTables(SSD, 20, 64, 32), ssdCount, func(t *Tensor) { t.Data = nil }), `output "num_detections" came as [1] without a value`},
		{"rfdetr rows", params(RFDETR, 3, 64, 32), symbolic(infos(plantRFDETR(20, 3, 64, 32)...), 1), with(plantRFDETR(20, 3, 64, 32), "labels", cut), `came with 20 and 19 rows, the second with 3 columns for 3 classes`},
		{"yunet", params(YuNet, 1, 64, 32), symbolic(infos(plantYuNet(64, 32)...), 1), with(plantYuNet(64, 32), "bbox_16", cut), `output "bbox_16" came as [1,7,4], expected [1,8,4]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := []Detection{{Score: 0.5}}
			got, err := mustDecoder(t, c.p, c.promised).Decode(c.outputs, dst)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(got) != 1 || got[0] != dst[0] {
				t.Errorf("got %v, %v; want …%s…", got, err, c.want)
			}
		})
	}
}

// A count that is no number, or beyond the rows, leaves it to the scores; classes count from 1.
func TestSSDCountAndClasses(t *testing.T) {
	for _, n := range []float32{nan, inf, 1e30, -5} {
		tensors := plantTables(SSD, 20, 64, 32, good)
		tensors[3].Data[0] = n
		got, err := mustDecoder(t, params(SSD, 3, 64, 32), infos(tensors...)).Decode(tensors, nil)
		if errors.Is(err, ErrNotFinite) != !finite(n) {
			t.Errorf("count %v: %v", n, err)
		}
		if want := n != -5; (len(got) == 1) != want {
			t.Errorf("count %v: %v", n, got)
		}
	}
	for _, class := range []float32{0, 4, 1.5, -1} {
		tensors := plantTables(SSD, 20, 64, 32, good)
		tensors[1].Data[good.row] = class
		_, err := mustDecoder(t, params(SSD, 3, 64, 32), infos(tensors...)).Decode(tensors, nil)
		if !errors.Is(err, ErrClassRange) || !strings.Contains(err.Error(), "whole number from 1 to 3") {
			t.Errorf("class %v: %v", class, err)
		}
	}
}

// Heads of a million rows, all above the threshold, cost bounded memory and give the best.
func TestMillionRows(t *testing.T) {
	if testing.Short() {
		t.Skip("needs 100 MB")
	}
	const n = rowsLimit
	best := obj(n-1, 2, 0.99, 10, 20, 50, 30)
	fill := func(values []float32, v float32) {
		for i := range values {
			values[i] = v
		}
	}
	detr := plantTables(RTDETR, n, 64, 32)
	fill(detr[1].Data, 5)
	fill(detr[2].Data, 0.5)
	for i := range n {
		copy(detr[1].Data[4*i:], []float32{1, 2, 9, 8})
	}
	copy(detr[1].Data[4*(n-1):], []float32{10, 20, 50, 30})
	detr[0].Data[n-1], detr[2].Data[n-1] = 2, 0.99
	rf := plantRFDETR(n, 3, 64, 32, best)
	for i := range 3 * (n - 1) {
		rf[1].Data[i] = 0.5
	}
	for _, c := range []struct {
		f       Family
		tensors []Tensor
	}{{RTDETR, detr}, {RFDETR, rf}} {
		p := params(c.f, 3, 64, 32)
		p.ScoreThreshold = 0
		d := mustDecoder(t, p, infos(c.tensors...))
		got, err := d.Decode(c.tensors, nil)
		if err != nil || len(got) != p.MaxDetections {
			t.Fatalf("%s: %d detections, %v", c.f, len(got), err)
		}
		same(t, got[:1], []object{best}, 1e-3)
		checkSound(t, p, got)
	}
}
