package main

import (
	"math"
	"strconv"

	"gnomon/models/onnx"
)

// Element types as TensorProto.DataType numbers them.
const (
	float32Code = 1
	float16Code = 10
)

// parts gives a form of boxes in parts of the input's sides.
func (d grid) parts(form func(x1, y1, x2, y2 float32) [4]float32) func(x1, y1, x2, y2 float32) [4]float32 {
	w, h := float32(d.width), float32(d.height)
	return func(x1, y1, x2, y2 float32) [4]float32 { return form(x1/w, y1/h, x2/w, y2/h) }
}

// best is the best class of each rectangle and its score: 1 x rows each. The classes are int64.
func (g *graph) best(s seen, d grid) (class, score string) {
	byRow := g.transpose(g.flat(s, d), 0, 2, 1)
	class = g.op("ArgMax", []string{byRow}, onnx.Int("axis", 2), onnx.Int("keepdims", 0))
	return class, g.reshape(g.maxOf(byRow, 2), 1, d.rows())
}

// rtdetr adds labels, boxes and scores. Boxes are corners in the size that the model is told, width before height.
func (g *graph) rtdetr(s seen, d grid, size string) {
	class, score := g.best(s, d)
	sides := g.cast(size, float32Code)
	boxes := g.mul(g.boxes(d, true, d.parts(corners)), g.reshape(g.concat(1, sides, sides), 1, 1, 4))
	g.output("labels", class, "int64", -1, d.rows())
	g.output("boxes", boxes, "float32", -1, d.rows(), 4)
	g.output("scores", score, "float32", -1, d.rows())
	for i := range g.Outputs {
		g.Outputs[i].Shape[0].Param = "N"
	}
}

// rfdetr adds dets and labels: logits of the strengths, and a last column that is for no class.
func (g *graph) rfdetr(s seen, d grid) {
	byRow := g.transpose(g.flat(s, d), 0, 2, 1)
	p := g.op("Clip", []string{byRow, g.number(0.001), g.number(0.999)})
	logits := g.op("Log", []string{g.op("Div", []string{p, g.sub(g.number(1), p)})})
	none := g.op("Expand", []string{g.floats([]int64{1, 1, 1}, -9), g.ints(1, d.rows(), 1)})
	g.output("dets", g.cast(g.boxes(d, true, d.parts(centre)), float16Code), "float16", 1, d.rows(), 4)
	g.output("labels", g.cast(g.concat(2, logits, none), float16Code), "float16", 1, d.rows(), 4)
}

// ssd adds what TensorFlow's detectors give, best first: y1, x1, y2, x2, classes from 1, scores, how many count.
func (g *graph) ssd(s seen, d grid) {
	class, score := g.best(s, d)
	scores, order := g.next("scores"), g.next("order")
	g.Nodes = append(g.Nodes, onnx.Node{
		OpType: "TopK", Name: scores, Inputs: []string{score, g.ints(d.rows())}, Outputs: []string{scores, order}, Attrs: []onnx.Attr{onnx.Int("axis", 1)},
	})
	class = g.op("GatherElements", []string{g.cast(class, float32Code), order}, onnx.Int("axis", 1))
	all := g.boxes(d, true, d.parts(func(x1, y1, x2, y2 float32) [4]float32 { return [4]float32{y1, x1, y2, x2} }))
	boxes := g.op("Gather", []string{g.reshape(all, d.rows(), 4), order}, onnx.Int("axis", 0))
	counts := g.cast(g.op("Greater", []string{scores, g.number(0.3)}), float32Code)
	count := g.op("ReduceSum", []string{counts, g.ints(1)}, onnx.Int("keepdims", 0))
	g.output("detection_boxes:0", boxes, "float32", -1, -1, 4)
	g.output("detection_classes:0", g.add(class, g.number(1)), "float32", -1, -1)
	g.output("detection_scores:0", scores, "float32", -1, -1)
	g.output("num_detections:0", count, "float32", -1)
	g.output("raw_detection_boxes:0", all, "float32", -1, -1, 4)
}

// yunet adds the outputs of YuNet for what is red: class and objectness, whose geometric mean is the strength, a box as
// yolox has it, and landmarks, which are none.
func (g *graph) yunet(s seen, d grid) {
	var cls, obj, bbox, kps [sizes]string
	for size := range s {
		columns, rows := d.cells(size)
		cells := rows * 2 * columns
		red := g.op("Slice", []string{g.spread(s, size, d), g.ints(0), g.ints(1), g.ints(1)})
		strength := g.reshape(red, 1, cells, 1)
		obj[size] = g.sqrt(strength)
		cls[size] = g.mul(strength, obj[size])
		x := float32(1) // the border to the cell on the right, if the left one reports
		if reporter(size) {
			x = 0
		}
		bbox[size] = g.op("Expand", []string{g.floats([]int64{1, 1, 4}, x, 0.5, float32(math.Ln2), 0), g.ints(1, cells, 4)})
		kps[size] = g.op("Expand", []string{g.floats([]int64{1, 1, 1}, 0), g.ints(1, cells, 10)})
	}
	for _, out := range []struct {
		name   string
		values [sizes]string
		width  int64
	}{{"cls_", cls, 1}, {"obj_", obj, 1}, {"bbox_", bbox, 4}, {"kps_", kps, 10}} {
		for size, stride := range strides() {
			g.output(out.name+strconv.Itoa(stride), out.values[size], "float32", -1, -1, out.width)
		}
	}
}
