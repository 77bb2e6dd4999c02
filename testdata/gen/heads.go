package main

import (
	"math"
	"strconv"

	"gnomon/models/onnx"
)

// strides of the families that report by cells of their own, squares of 8, 16 and 32 pixels: two side by side make
// a rectangle of each size that the models see.
func strides() [sizes]int { return [sizes]int{8, 16, 32} }

// rows is the number of rectangles of all sizes.
func (d grid) rows() int64 {
	var n int64
	for size := range sizes {
		columns, rows := d.cells(size)
		n += columns * rows
	}
	return n
}

// flat joins what is seen of all sizes: 1 x 3 x rows.
func (g *graph) flat(s seen, d grid) string {
	var parts []string
	for size := range s {
		columns, rows := d.cells(size)
		parts = append(parts, g.reshape(s[size], 1, 3, columns*rows))
	}
	return g.concat(2, parts...)
}

// boxes is a constant with the rectangles in the order of flat: 1 x 4 x rows, or 1 x rows x 4 if byRow. form
// gives the four numbers of a rectangle from its corners.
func (g *graph) boxes(d grid, byRow bool, form func(x1, y1, x2, y2 float32) [4]float32) string {
	var list [][4]float32
	for size := range sizes {
		columns, rows := d.cells(size)
		w, h := float32(d.width)/float32(columns), float32(d.height)/float32(rows)
		for y := range rows {
			for x := range columns {
				list = append(list, form(float32(x)*w, float32(y)*h, float32(x+1)*w, float32(y+1)*h))
			}
		}
	}
	var values []float32
	if byRow {
		for _, b := range list {
			values = append(values, b[:]...)
		}
		return g.floats([]int64{1, d.rows(), 4}, values...)
	}
	for i := range 4 {
		for _, b := range list {
			values = append(values, b[i])
		}
	}
	return g.floats([]int64{1, 4, d.rows()}, values...)
}

func corners(x1, y1, x2, y2 float32) [4]float32 { return [4]float32{x1, y1, x2, y2} }

func centre(x1, y1, x2, y2 float32) [4]float32 {
	return [4]float32{(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1}
}

// yolov8 is cx, cy, w, h and a score for each class: 1 x 7 x rows.
func (g *graph) yolov8(s seen, d grid) string {
	return g.concat(1, g.boxes(d, false, centre), g.flat(s, d))
}

// yolov5 is rows of cx, cy, w, h, objectness and a score for each class, which are to be multiplied: 1 x rows x 8.
// Both are the root of the strength, so that leaving either out shows in the score.
func (g *graph) yolov5(s seen, d grid) string {
	strengths := g.flat(s, d)
	scores := g.concat(1, g.boxes(d, false, centre), g.sqrt(g.maxOf(strengths, 1)), g.sqrt(strengths))
	return g.transpose(scores, 0, 2, 1)
}

// endToEnd is rows of x1, y1, x2, y2, score and class: 1 x rows x 6.
func (g *graph) endToEnd(s seen, d grid) string {
	byRow := g.transpose(g.flat(s, d), 0, 2, 1)
	class := g.op("ArgMax", []string{byRow}, onnx.Int("axis", 2), onnx.Int("keepdims", 1))
	return g.concat(2, g.boxes(d, true, corners), g.maxOf(byRow, 2), g.cast(class, float32Code))
}

// reporter says which of the two square cells that make a rectangle reports it: the left or the right one. It
// alternates, so that mixing up left and right shows.
func reporter(size int) (right bool) { return size == 1 }

// spread brings the strengths of one size to the square cells of a stride: the reporting one of the two has the
// strength, the other 0. The result has twice the columns.
func (g *graph) spread(s seen, size int, d grid) string {
	columns, _ := d.cells(size)
	mask := make([]float32, 2*columns)
	for i := range mask {
		if (i%2 == 1) == reporter(size) {
			mask[i] = 1
		}
	}
	return g.mul(g.repeat(s[size], 1, 2), g.floats([]int64{1, 1, 1, 2 * columns}, mask...))
}

// yolox is rows of x, y, w, h, objectness and a score for each class, the first four as YOLOX trains them:
// (x + column) * stride is the centre, exp(w) * stride the width. 1 x cells of all strides x 8.
func (g *graph) yolox(s seen, d grid) string {
	var parts []string
	for size := range s {
		columns, rows := d.cells(size)
		strengths := g.spread(s, size, d)
		x := float32(1) // the border to the cell on the right, if the left one reports
		if reporter(size) {
			x = 0
		}
		box := g.floats([]int64{1, 4, 1, 1}, x, 0.5, float32(math.Ln2), 0)
		boxes := g.op("Expand", []string{box, g.ints(1, 4, rows, 2*columns)})
		all := g.concat(1, boxes, g.sqrt(g.maxOf(strengths, 1)), g.sqrt(strengths))
		parts = append(parts, g.reshape(all, 1, 8, rows*2*columns))
	}
	return g.transpose(g.concat(2, parts...), 0, 2, 1)
}

// nanodet adds the six outputs of NanoDet: for each stride scores, 1 x cells x 3, and 4 times 8 logits, whose
// expectation after a softmax is how many strides the left, top, right and bottom are away from the cell's centre.
func (g *graph) nanodet(s seen, d grid) {
	const bins = nanodetBins
	var regressions [sizes]string
	for size, stride := range strides() {
		columns, rows := d.cells(size)
		cells := rows * 2 * columns
		left, right := float32(0.5), float32(1.5) // the rectangle reaches over the cell on the right
		if reporter(size) {
			left, right = right, left
		}
		var logits []float32
		for _, distance := range []float32{left, 0.5, right, 0.5} {
			for bin := range bins {
				// Half way between two bins: both equal, all others negligible.
				logit := float32(-12)
				if math.Abs(float64(distance)-float64(bin)) < 1 {
					logit = 12
				}
				logits = append(logits, logit)
			}
		}
		regressions[size] = g.op("Expand", []string{g.floats([]int64{1, 1, 4 * bins}, logits...), g.ints(1, cells, 4*bins)})
		scores := g.transpose(g.reshape(g.spread(s, size, d), 1, 3, cells), 0, 2, 1)
		g.output("cls_"+strconv.Itoa(stride), scores, "float32", 1, cells, 3)
	}
	for size, stride := range strides() {
		columns, rows := d.cells(size)
		g.output("reg_"+strconv.Itoa(stride), regressions[size], "float32", 1, rows*2*columns, 4*bins)
	}
}

// nanodetBins is how many bins a distance has.
const nanodetBins = 8

// nanodetPlus is scores and bins of all strides in rows, from the corners of the cells: 1 x cells x 35. The fourth
// stride, 64, has two cells that see nothing.
func (g *graph) nanodetPlus(s seen, d grid) string {
	var parts []string
	for size := range s {
		columns, rows := d.cells(size)
		cells := rows * 2 * columns
		left, right := 0, 2 // the rectangle reaches over the cell on the right
		if reporter(size) {
			left, right = 1, 1
		}
		var logits []float32
		for _, distance := range []int{left, 0, right, 1} {
			for bin := range nanodetBins {
				logit := float32(-12)
				if bin == distance {
					logit = 12
				}
				logits = append(logits, logit)
			}
		}
		bins := g.op("Expand", []string{g.floats([]int64{1, 1, 4 * nanodetBins}, logits...), g.ints(1, cells, 4*nanodetBins)})
		scores := g.transpose(g.reshape(g.spread(s, size, d), 1, 3, cells), 0, 2, 1)
		parts = append(parts, g.concat(2, scores, bins))
	}
	return g.concat(1, append(parts, g.op("Expand", []string{g.floats([]int64{1, 1, 1}, 0), g.ints(1, 2, 3+4*nanodetBins)}))...)
}

// dynamic is yolov8 for pictures of any size: the rectangles are counted from the shape at run time.
func (g *graph) dynamic(s seen, d grid) string {
	var parts []string
	for size := range s {
		w, h := float32(d.scale*cellWidth<<size), float32(d.scale*cellHeight<<size)
		shape := g.op("Shape", []string{g.maxOf(s[size], 1)})
		ones := g.op("ConstantOfShape", []string{shape}, onnx.Constant("value", onnx.Float32s("", []int64{1}, 1)))
		middle := func(axis int64, side float32) string {
			count := g.op("CumSum", []string{ones, g.axis(axis)}) // 1, 2, 3 and so on
			return g.mul(g.sub(count, g.number(0.5)), g.number(side))
		}
		all := g.concat(1, middle(3, w), middle(2, h), g.mul(ones, g.number(w)), g.mul(ones, g.number(h)), s[size])
		parts = append(parts, g.reshape(all, 0, 7, -1))
	}
	return g.concat(2, parts...)
}

// dazzled makes the strengths of bright cells NaN: the root of what is left to a brightness of 0.8 has no value
// there, and is taken off again everywhere else.
func (g *graph) dazzled(s seen, x string, d grid) seen {
	third := g.floats([]int64{1, 3, 1, 1}, 1./3, 1./3, 1./3)
	brightness := g.op("Conv", []string{g.means(x, d), third})
	root := g.sqrt(g.sub(g.number(0.8), brightness))
	s[0] = g.sub(g.add(s[0], root), root)
	return s
}
