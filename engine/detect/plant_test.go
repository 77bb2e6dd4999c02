package detect

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// The tests build the outputs of a model that sees given objects, by the inverse of each family's formula.

// object is something to be found. level, x and y are the cell that sees it in the families with a grid; row is
// the row or column in the others.
type object struct {
	Detection
	row         int
	level, x, y int
}

func obj(row, class int, score, x1, y1, x2, y2 float32) object {
	return object{Detection: Detection{Box: Box{x1, y1, x2, y2}, Score: score, ClassID: class}, row: row}
}

func cellObj(level, x, y, class int, score, x1, y1, x2, y2 float32) object {
	o := obj(0, class, score, x1, y1, x2, y2)
	o.level, o.x, o.y = level, x, y
	return o
}

func newTensor(name string, shape ...int64) Tensor {
	size := int64(1)
	for _, d := range shape {
		size *= d
	}
	return Tensor{Name: name, Shape: shape, Data: make([]float32, size)}
}

// infos is what a session would declare for the tensors.
func infos(tensors ...Tensor) []TensorInfo {
	var out []TensorInfo
	for _, t := range tensors {
		out = append(out, TensorInfo{Name: t.Name, Shape: slices.Clone(t.Shape), Type: Float32})
	}
	return out
}

func info(name string, shape ...int64) TensorInfo {
	return TensorInfo{Name: name, Shape: shape, Type: Float32}
}

// noise is a background score: below every threshold that the planted tests use.
func noise(rng *rand.Rand) float32 { return rng.Float32() * 0.1 }

func cxcywh(b Box) [4]float32 {
	return [4]float32{(b.X1 + b.X2) / 2, (b.Y1 + b.Y2) / 2, b.X2 - b.X1, b.Y2 - b.Y1}
}

func plantYOLOv8(n, classes int, transposed bool, objects ...object) Tensor {
	rng := rand.New(rand.NewPCG(1, 8))
	t := newTensor("output0", 1, int64(4+classes), int64(n))
	at := func(c, i int) *float32 { return &t.Data[c*n+i] }
	if transposed {
		t = newTensor("output0", 1, int64(n), int64(4+classes))
		at = func(c, i int) *float32 { return &t.Data[i*(4+classes)+c] }
	}
	for i := range n {
		for c := range 4 + classes {
			*at(c, i) = noise(rng)
		}
	}
	for _, o := range objects {
		for c, v := range cxcywh(o.Box) {
			*at(c, o.row) = v
		}
		*at(4+o.ClassID, o.row) = o.Score
	}
	return t
}

// plantRows is yolov5, or yolox decoded.
func plantRows(n, classes int, objects ...object) Tensor {
	rng := rand.New(rand.NewPCG(1, 5))
	width := 5 + classes
	t := newTensor("output", 1, int64(n), int64(width))
	for i := range t.Data {
		t.Data[i] = noise(rng)
	}
	for _, o := range objects {
		row := t.Data[o.row*width:][:width]
		box := cxcywh(o.Box)
		copy(row, box[:])
		row[4] = 0.96
		row[5+o.ClassID] = o.Score / 0.96
	}
	return t
}

// cellSize is how many cells a stride has along a side.
func cellSize(side, stride int) int { return (side + stride - 1) / stride }

// joinedRow is the row of a cell when the levels are joined.
func joinedRow(w, h int, strides []int, level, x, y int) int {
	row := 0
	for _, s := range strides[:level] {
		row += cellSize(w, s) * cellSize(h, s)
	}
	return row + y*cellSize(w, strides[level]) + x
}

func cells(w, h int, strides ...int) int {
	n := 0
	for _, s := range strides {
		n += cellSize(w, s) * cellSize(h, s)
	}
	return n
}

func plantYOLOX(w, h, classes int, objects ...object) Tensor {
	strides := []int{8, 16, 32}
	var raw []object
	for _, o := range objects {
		o.row = joinedRow(w, h, strides, o.level, o.x, o.y)
		raw = append(raw, o)
	}
	t := plantRows(cells(w, h, strides...), classes, raw...)
	for _, o := range raw {
		row := t.Data[o.row*(5+classes):]
		s := float32(strides[o.level])
		row[0] = row[0]/s - float32(o.x)
		row[1] = row[1]/s - float32(o.y)
		row[2] = float32(math.Log(float64(row[2] / s)))
		row[3] = float32(math.Log(float64(row[3] / s)))
	}
	return t
}

// plantNanoDet is the pairs of tensors, one pair for each stride.
func plantNanoDet(w, h, classes, bins int, strides []int, anchor float32, objects ...object) (scores, boxes []Tensor) {
	rng := rand.New(rand.NewPCG(1, 416))
	for level, s := range strides {
		n := cellSize(w, s) * cellSize(h, s)
		cls := newTensor("cls_"+string('a'+rune(level)), 1, int64(n), int64(classes))
		box := newTensor("dis_"+string('a'+rune(level)), 1, int64(n), int64(4*bins))
		for i := range cls.Data {
			cls.Data[i] = noise(rng)
		}
		for i := range box.Data {
			box.Data[i] = rng.Float32()*8 - 4
		}
		for _, o := range objects {
			if o.level != level {
				continue
			}
			row := o.y*cellSize(w, s) + o.x
			cls.Data[row*classes+o.ClassID] = o.Score
			cx, cy, f := (float32(o.x)+anchor)*float32(s), (float32(o.y)+anchor)*float32(s), float32(s)
			for side, d := range [4]float32{(cx - o.Box.X1) / f, (cy - o.Box.Y1) / f, (o.Box.X2 - cx) / f, (o.Box.Y2 - cy) / f} {
				plantDistance(box.Data[row*4*bins+side*bins:][:bins], d)
			}
		}
		scores, boxes = append(scores, cls), append(boxes, box)
	}
	return scores, boxes
}

// plantDistance writes logits whose softmax has the expectation d: all weight on the two whole numbers around it.
func plantDistance(bins []float32, d float32) {
	if d < 0 || d > float32(len(bins)-1) {
		panic("the planted box does not fit the bins of its cell")
	}
	for i := range bins {
		bins[i] = -60 + 7 // the largest logit need not be 0
	}
	low := int(d)
	part := float64(d) - float64(low)
	bins[low] = float32(math.Log(1-part)) + 7
	if part > 0 {
		bins[low+1] = float32(math.Log(part)) + 7
	}
}

// joinRows puts the tensors of all strides under each other.
func joinRows(name string, tensors []Tensor) Tensor {
	out := Tensor{Name: name, Shape: []int64{1, 0, tensors[0].Shape[2]}}
	for _, t := range tensors {
		out.Shape[1] += t.Shape[1]
		out.Data = append(out.Data, t.Data...)
	}
	return out
}

// joinColumns puts two tensors of the same rows beside each other.
func joinColumns(name string, a, b Tensor) Tensor {
	out := Tensor{Name: name, Shape: []int64{1, a.Shape[1], a.Shape[2] + b.Shape[2]}}
	for r := range int(a.Shape[1]) {
		out.Data = append(out.Data, a.Data[r*int(a.Shape[2]):][:a.Shape[2]]...)
		out.Data = append(out.Data, b.Data[r*int(b.Shape[2]):][:b.Shape[2]]...)
	}
	return out
}

func plantEndToEnd(n int, objects ...object) Tensor {
	t := newTensor("output0", 1, int64(n), 6)
	for _, o := range objects {
		copy(t.Data[o.row*6:], []float32{o.Box.X1, o.Box.Y1, o.Box.X2, o.Box.Y2, o.Score, float32(o.ClassID)})
	}
	return t
}

// plantTables is the outputs of rtdetr, or of ssd, in the order that each exporter writes.
func plantTables(f Family, n, w, h int, objects ...object) []Tensor {
	names := tableNames(f)
	classes, boxes, scores := newTensor(names[0], 1, int64(n)), newTensor(names[1], 1, int64(n), 4), newTensor(names[2], 1, int64(n))
	for _, o := range objects {
		b := o.Box
		corners := []float32{b.X1, b.Y1, b.X2, b.Y2}
		classes.Data[o.row] = float32(o.ClassID)
		if f == SSD {
			corners = []float32{b.Y1 / float32(h), b.X1 / float32(w), b.Y2 / float32(h), b.X2 / float32(w)}
			classes.Data[o.row]++
		}
		copy(boxes.Data[4*o.row:], corners)
		scores.Data[o.row] = o.Score
	}
	if f != SSD {
		return []Tensor{classes, boxes, scores}
	}
	count := newTensor(ssdCount, 1)
	count.Data[0] = float32(n)
	return []Tensor{boxes, classes, scores, count}
}

// plantRFDETR is dets and labels; several objects may share a row, and the last one's box.
func plantRFDETR(n, columns, w, h int, objects ...object) []Tensor {
	rng := rand.New(rand.NewPCG(1, 300))
	dets, labels := newTensor("dets", 1, int64(n), 4), newTensor("labels", 1, int64(n), int64(columns))
	for i := range dets.Data {
		dets.Data[i] = rng.Float32()
	}
	for i := range labels.Data {
		labels.Data[i] = -4 - 3*rng.Float32()
	}
	for _, o := range objects {
		for c, v := range cxcywh(o.Box) {
			dets.Data[4*o.row+c] = v / float32([]int{w, h}[c%2])
		}
		labels.Data[o.row*columns+o.ClassID] = float32(math.Log(float64(o.Score) / (1 - float64(o.Score))))
	}
	return []Tensor{dets, labels}
}

// plantYuNet is the twelve outputs, in the exporter's order.
func plantYuNet(w, h int, objects ...object) []Tensor {
	rng := rand.New(rand.NewPCG(1, 2023))
	strides := []int{8, 16, 32}
	var out []Tensor
	for k, kind := range []string{"cls", "obj", "bbox", "kps"} {
		width := []int64{1, 1, 4, 10}[k]
		for level, s := range strides {
			t := newTensor(kind+"_"+strconv.Itoa(s), 1, int64(cells(w, h, s)), width)
			for i := range t.Data {
				t.Data[i] = noise(rng)
			}
			for _, o := range objects {
				if o.level != level {
					continue
				}
				row := o.y*cellSize(w, s) + o.x
				box := cxcywh(o.Box)
				f := float32(s)
				values := [][]float32{
					{o.Score * o.Score / 0.98},
					{0.98},
					{box[0]/f - float32(o.x), box[1]/f - float32(o.y), float32(math.Log(float64(box[2] / f))), float32(math.Log(float64(box[3] / f)))},
					{},
				}[k]
				copy(t.Data[row*int(width):], values)
			}
			out = append(out, t)
		}
	}
	return out
}

func params(f Family, classes, w, h int) Params {
	return Params{
		Family: f, Classes: classes, InputWidth: w, InputHeight: h,
		ScoreThreshold: 0.25, IoUThreshold: 0.5, MaxDetections: 100,
	}
}

func mustDecoder(t testing.TB, p Params, outputs []TensorInfo) Decoder {
	t.Helper()
	d, err := NewDecoder(p, outputs)
	if err != nil {
		t.Fatalf("NewDecoder: %v", err)
	}
	return d
}

// same compares detections: boxes to a tolerance in pixels, scores to one of float32 arithmetic.
func same(t *testing.T, got []Detection, want []object, pixels float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d detections %v, want %d", len(got), got, len(want))
	}
	near := func(a, b, tolerance float32) bool { return float32(math.Abs(float64(a-b))) <= tolerance }
	for i, g := range got {
		w := want[i]
		if g.ClassID != w.ClassID || !near(g.Score, w.Score, 1e-6) ||
			!near(g.Box.X1, w.Box.X1, pixels) || !near(g.Box.Y1, w.Box.Y1, pixels) ||
			!near(g.Box.X2, w.Box.X2, pixels) || !near(g.Box.Y2, w.Box.Y2, pixels) {
			t.Errorf("detection %d is %+v, want %+v", i, g, w.Detection)
		}
	}
}
