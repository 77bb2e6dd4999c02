package detect

import (
	"slices"
	"testing"
)

// symbolic makes dimensions unknown before the run; which are indexes into the shape.
func symbolic(in []TensorInfo, which ...int) []TensorInfo {
	for i := range in {
		for _, d := range which {
			in[i].Shape[d] = -1
		}
	}
	return in
}

func TestPlanted(t *testing.T) {
	// Best first; the two that share a place have different classes, so both stay.
	free := []object{
		obj(8399, 79, 0.91, 600, 500, 640, 640),
		obj(1024, 3, 0.8, 100.5, 50.25, 300, 220),
		obj(0, 0, 0.6, 0, 0, 40, 20),
		obj(1023, 4, 0.5, 101, 50, 300, 220),
	}
	duplicate := obj(1025, 3, 0.7, 102, 51, 301, 222) // of the second, by a neighbouring cell
	withDuplicate := append(slices.Clone(free), duplicate)

	// A 640x384 input: 80x48, 40x24 and 20x12 cells.
	wide := []object{
		cellObj(0, 79, 47, 2, 0.9, 620, 370, 640, 384),
		cellObj(2, 19, 0, 0, 0.85, 560, 2, 639, 60),
		cellObj(1, 3, 20, 1, 0.7, 40, 300, 70, 350),
		cellObj(0, 0, 0, 2, 0.3, 1, 2, 13, 12),
	}
	wideRows := make([]object, len(wide))
	for i, o := range wide {
		o.row = joinedRow(640, 384, []int{8, 16, 32}, o.level, o.x, o.y)
		wideRows[i] = o
	}
	square := []object{
		cellObj(0, 51, 51, 79, 0.95, 400, 396, 416, 416),
		cellObj(1, 10, 4, 0, 0.8, 100.5, 20, 240, 130.75),
		cellObj(2, 6, 7, 41, 0.6, 50, 100, 380, 400),
	}
	nano3, nano4 := []int{8, 16, 32}, []int{8, 16, 32, 64}
	gScores, gBoxes := plantNanoDet(416, 416, 80, 11, nano3, 0.5, square...)
	wScores, wBoxes := plantNanoDet(640, 384, 3, 8, nano3, 0.5, wide...)
	plusObjects := append(slices.Clone(square), cellObj(3, 6, 6, 7, 0.5, 300, 310, 410, 415.5))
	pScores, pBoxes := plantNanoDet(416, 416, 80, 8, nano4, 0, plusObjects...)
	plusSmall := []object{
		cellObj(1, 19, 19, 79, 0.9, 300, 290, 320, 320), cellObj(3, 0, 4, 2, 0.7, 0, 250, 100, 300), cellObj(0, 0, 0, 5, 0.6, 0, 0, 20.5, 30.25),
	}
	sScores, sBoxes := plantNanoDet(320, 320, 80, 8, nano4, 0, plusSmall...)
	v8 := plantYOLOv8(8400, 80, false, withDuplicate...)
	v5 := plantRows(25200, 80, withDuplicate...)
	maps := []Tensor{newTensor("p3", 1, 3, 80, 80, 85), newTensor("p4", 1, 3, 40, 40, 85), newTensor("p5", 1, 3, 20, 20, 85)}

	runPlanted(t, []planted{
		{name: "yolov8", p: params(YOLOv8, 80, 640, 640), tensors: []Tensor{v8}, want: free, classes: 80},
		{name: "yolov8 classes by shape", p: params(YOLOv8, 0, 640, 640), tensors: []Tensor{v8}, want: free, classes: 80},
		{name: "yolov8 all symbolic", p: params(YOLOv8, 80, 640, 640), outputs: symbolic(infos(v8), 0, 1, 2), tensors: []Tensor{v8}, want: free, classes: 80},
		{
			name: "yolov8 transposed", p: params(YOLOv8, 0, 640, 640),
			tensors: []Tensor{plantYOLOv8(8400, 80, true, withDuplicate...)}, want: free, classes: 80,
		},
		{
			name: "yolov8 transposed by labels", p: params(YOLOv8, 80, 1000, 1000),
			tensors: []Tensor{plantYOLOv8(8400, 80, true, withDuplicate...)}, want: free, classes: 80,
		},
		{
			name: "yolov8 two classes", p: params(YOLOv8, 0, 640, 384),
			tensors: []Tensor{plantYOLOv8(cells(640, 384, 8, 16, 32), 2, false, obj(17, 1, 0.5, 8, 9, 200, 100))},
			want:    []object{obj(17, 1, 0.5, 8, 9, 200, 100)}, classes: 2,
		},
		{
			name: "yolov8 rectangular", p: params(YOLOv8, 0, 640, 384),
			tensors: []Tensor{plantYOLOv8(cells(640, 384, 8, 16, 32), 3, false, wideRows...)}, want: wide, classes: 3,
		},
		{name: "yolov5", p: params(YOLOv5, 0, 640, 640), tensors: []Tensor{v5}, want: free, classes: 80},
		{name: "yolov5 beside feature maps", p: params(YOLOv5, 80, 640, 640), tensors: []Tensor{maps[0], maps[1], v5, maps[2]}, want: free, classes: 80},
		{name: "yolov5 symbolic", p: params(YOLOv5, 80, 640, 640), outputs: symbolic(infos(v5), 0, 1, 2), tensors: []Tensor{v5}, want: free, classes: 80},
		{
			name: "yolov5 rectangular", p: params(YOLOv5, 3, 640, 384),
			tensors: []Tensor{plantRows(3*cells(640, 384, 8, 16, 32), 3, wideRows...)}, want: wide, classes: 3,
		},
		{name: "yolox", p: params(YOLOX, 80, 416, 416), tensors: []Tensor{plantYOLOX(416, 416, 80, square...)}, want: square, classes: 80},
		{
			name: "yolox symbolic", p: params(YOLOX, 80, 416, 416), outputs: []TensorInfo{info("output", -1, -1, -1)},
			tensors: []Tensor{plantYOLOX(416, 416, 80, square...)}, want: square, classes: 80,
		},
		{name: "yolox rectangular", p: params(YOLOX, 0, 640, 384), tensors: []Tensor{plantYOLOX(640, 384, 3, wide...)}, want: wide, classes: 3},
		{
			name: "yolox decoded", p: params(YOLOX, 0, 640, 384), decoded: true,
			tensors: []Tensor{plantRows(cells(640, 384, 8, 16, 32), 3, wideRows...)}, want: wide, classes: 3,
		},
		{
			name: "nanodet per stride", p: params(NanoDet, 80, 416, 416), want: square, classes: 80,
			tensors: []Tensor{gScores[0], gScores[1], gScores[2], gBoxes[0], gBoxes[1], gBoxes[2]},
		},
		{
			name: "nanodet per stride shuffled", p: params(NanoDet, 0, 416, 416), want: square, classes: 80,
			tensors: []Tensor{gBoxes[2], gScores[0], gBoxes[0], gScores[2], gScores[1], gBoxes[1]},
		},
		{
			name: "nanodet joined pair", p: params(NanoDet, 0, 416, 416), want: square, classes: 80,
			tensors: []Tensor{joinRows("boxes", gBoxes), joinRows("scores", gScores)},
		},
		{
			name: "nanodet joined pair symbolic", p: params(NanoDet, 80, 416, 416), want: square, classes: 80,
			outputs: symbolic(infos(joinRows("boxes", gBoxes), joinRows("scores", gScores)), 0, 1),
			tensors: []Tensor{joinRows("boxes", gBoxes), joinRows("scores", gScores)},
		},
		{
			name: "nanodet one tensor", p: params(NanoDet, 80, 416, 416), want: square, classes: 80,
			tensors: []Tensor{joinColumns("out", joinRows("", gScores), joinRows("", gBoxes))},
		},
		{
			name: "nanodet rectangular", p: params(NanoDet, 3, 640, 384), want: wide, classes: 3,
			tensors: []Tensor{wBoxes[2], wBoxes[1], wBoxes[0], wScores[0], wScores[1], wScores[2]},
		},
		{
			name: "nanodet-plus one tensor", p: params(NanoDet, 80, 416, 416), want: plusObjects, classes: 80,
			tensors: []Tensor{joinColumns("out", joinRows("", pScores), joinRows("", pBoxes))},
		},
		{
			name: "nanodet-plus one tensor symbolic", p: params(NanoDet, 80, 416, 416), want: plusObjects, classes: 80,
			outputs: []TensorInfo{info("out", 1, -1, 112)},
			tensors: []Tensor{joinColumns("out", joinRows("", pScores), joinRows("", pBoxes))},
		},
		{
			name: "nanodet-plus of 320", p: params(NanoDet, 80, 320, 320), want: plusSmall, classes: 80,
			tensors: []Tensor{joinColumns("output", joinRows("", sScores), joinRows("", sBoxes))},
		},
		{
			name: "nanodet-plus per stride", p: params(NanoDet, 80, 416, 416), want: plusObjects, classes: 80,
			tensors: []Tensor{pScores[3], pScores[0], pScores[1], pScores[2], pBoxes[3], pBoxes[1], pBoxes[0], pBoxes[2]},
		},
		{
			// No NMS: the duplicate stays, in its place by score.
			name: "end-to-end", p: params(EndToEnd, 80, 640, 640), classes: 80,
			tensors: []Tensor{plantEndToEnd(300, obj(2, 3, 0.7, 102, 51, 301, 222), obj(7, 3, 0.8, 100, 50, 300, 220), obj(9, 0, 0.2, 1, 1, 9, 9))},
			want:    []object{obj(7, 3, 0.8, 100, 50, 300, 220), obj(2, 3, 0.7, 102, 51, 301, 222)},
		},
		{
			name: "end-to-end symbolic, classes unknown", p: params(EndToEnd, 0, 640, 640), classes: 0,
			outputs: []TensorInfo{info("output0", -1, -1, 6)},
			tensors: []Tensor{plantEndToEnd(1, obj(0, 4000, 0.8, 100, 50, 300, 220))},
			want:    []object{obj(7, 4000, 0.8, 100, 50, 300, 220)},
		},
		{
			name: "end-to-end nothing found", p: params(EndToEnd, 80, 640, 640), classes: 80,
			outputs: []TensorInfo{info("output0", 1, -1, 6)}, tensors: []Tensor{plantEndToEnd(0)},
		},
	})
}

// planted is a model with objects in its outputs.
type planted struct {
	name    string
	p       Params
	outputs []TensorInfo // nil: as the tensors are
	tensors []Tensor
	want    []object
	classes int
	decoded bool
}

func runPlanted(t *testing.T, cases []planted) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.outputs == nil {
				c.outputs = infos(c.tensors...)
			}
			c.p.Decoded = c.decoded
			d := mustDecoder(t, c.p, c.outputs)
			if d.Classes() != c.classes {
				t.Errorf("Classes() = %d, want %d", d.Classes(), c.classes)
			}
			for range 2 { // the second run must not see anything of the first
				got, err := d.Decode(c.tensors, nil)
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, c.want, 2e-3)
			}
		})
	}
}

// The anchors of nanodet differ between the two generations by half a cell; a decoder that mixed them up would
// still find everything, half a cell off.
func TestNanoDetAnchors(t *testing.T) {
	for _, c := range []struct {
		name    string
		strides []int
		want    Box // of distance 1, 2, 3, 4 strides around the cell (5, 6) of stride 16
	}{
		{"centre", []int{8, 16, 32}, Box{88 - 16, 104 - 32, 88 + 48, 104 + 64}},
		{"corner", []int{8, 16, 32, 64}, Box{80 - 16, 96 - 32, 80 + 48, 96 + 64}},
	} {
		t.Run(c.name, func(t *testing.T) {
			scores, boxes := plantNanoDet(320, 256, 2, 8, c.strides, 0)
			row := 6*20 + 5
			scores[1].Data[row*2+1] = 0.9
			for side := range 4 {
				plantDistance(boxes[1].Data[row*32+side*8:][:8], float32(side+1))
			}
			out := slices.Concat(scores, boxes)
			got, err := mustDecoder(t, params(NanoDet, 2, 320, 256), infos(out...)).Decode(out, nil)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, []object{{Detection: Detection{Box: c.want, Score: 0.9, ClassID: 1}}}, 1e-3)
		})
	}
}

func TestDecodeAppends(t *testing.T) {
	out := []Tensor{plantEndToEnd(3, obj(1, 0, 0.9, 1, 2, 3, 4))}
	before := Detection{Box: Box{9, 9, 10, 10}, Score: 0.3, ClassID: 5}
	got, err := mustDecoder(t, params(EndToEnd, 1, 64, 64), infos(out...)).Decode(out, []Detection{before})
	if err != nil || len(got) != 2 || got[0] != before || got[1].Score != 0.9 {
		t.Errorf("got %v, %v: want what was there, then the detection", got, err)
	}
	tensor := plantYOLOv8(21, 3, false, obj(1, 2, 0.9, 1, 2, 30, 40))
	got, err = mustDecoder(t, params(YOLOv8, 3, 32, 32), infos(tensor)).Decode([]Tensor{tensor}, []Detection{{Box: Box{1, 2, 30, 40}, Score: 1, ClassID: 2}})
	if err != nil || len(got) != 2 || got[1].Score != 0.9 {
		t.Errorf("got %v, %v: what was there must not suppress", got, err)
	}
}
