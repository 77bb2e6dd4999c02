package detect

import (
	"fmt"
	"math"
)

// columnBlock is how many columns of a yolov8 head are scanned together: their running maxima stay in the
// first-level cache while the classes pass by, each a contiguous stretch of memory.
const columnBlock = 1024

// yolov8 reads (1, 4+nc, n): row 0 to 3 cx cy w h in pixels, then a row of scores for each class. There is no
// objectness.
type yolov8 struct {
	base
	pin        pin
	transposed bool                // (1, n, 4+nc)
	best       [columnBlock]uint32 // scratch: bits of a column's best score so far
	class      [columnBlock]int32  // scratch: its class
}

func newYOLOv8(p Params, outputs []TensorInfo) (Decoder, error) {
	o, err := only(YOLOv8, outputs)
	if err != nil {
		return nil, err
	}
	grids := yolov8Grids(p.InputWidth, p.InputHeight)
	l, err := yolov8LayoutOf(outputs[o.index], p.Classes, func(rows int64) bool {
		for _, g := range grids {
			if int64(g.rows()) == rows {
				return true
			}
		}
		return false
	})
	if err != nil {
		return nil, err
	}
	classes, err := agree(YOLOv8, outputs[o.index], l.classes, p.Classes)
	if err != nil {
		return nil, err
	}
	return &yolov8{base: newBase(p, classes, l.rows), pin: o, transposed: l.transposed}, nil
}

// yolov8Grids are the feature maps that the family comes with: plain, with a stride of 4 (p2) or of 64 (p6). They
// only help to tell the dimensions apart: a decoder needs no grid.
func yolov8Grids(w, h int) []grid {
	return []grid{newGrid(w, h, 8, 16, 32), newGrid(w, h, 4, 8, 16, 32), newGrid(w, h, 8, 16, 32, 64)}
}

// yolov8Layout is how the two dimensions are to be read.
type yolov8Layout struct {
	transposed bool
	classes    int64
	rows       int64 // boxes; anyDim when only the run tells
}

// yolov8LayoutOf reads the shape of a yolov8 output. classes is 0 when unknown; onGrid tells whether a number is
// the count of cells of the input's feature maps.
func yolov8LayoutOf(o TensorInfo, classes int, onGrid func(int64) bool) (yolov8Layout, error) {
	a, b := o.Shape[1], o.Shape[2]
	usual := yolov8Layout{classes: a - 4, rows: b}
	transposed := yolov8Layout{transposed: true, classes: b - 4, rows: a}
	if classes > 0 {
		want := int64(classes) + 4
		switch {
		case a == want:
			return usual, nil
		case b == want && want == finalWidth && a <= finalRowsLimit && !onGrid(a):
			return yolov8Layout{}, fmt.Errorf("output %s has the shape of an end-to-end head, which a transposed yolov8 head "+
				"of 2 classes shares; write `family: end-to-end`, or export as (1, 4+classes, n)", describe(o))
		case b == want && (onGrid(a) || !onGrid(b)):
			return transposed, nil
		case a == anyDim:
			return yolov8Layout{classes: int64(classes), rows: b}, nil
		}
		return yolov8Layout{}, fmt.Errorf("output %s does not fit a yolov8 head of %d classes, which is (1, %d, n); "+
			"give one label for each class in the manifest's `labels`, or check `family`", describe(o), classes, want)
	}
	aGrid, bGrid := a != anyDim && onGrid(a), b != anyDim && onGrid(b)
	switch {
	case a >= 5 && !aGrid && (b == anyDim || bGrid || a < b):
		return usual, nil
	case a >= 5 && aGrid && bGrid && a < b:
		return usual, nil
	case b >= 5 && aGrid && !bGrid:
		return transposed, nil
	}
	return yolov8Layout{}, fmt.Errorf("output %s does not tell the classes of a yolov8 head, which is (1, 4+classes, n); "+
		"list the manifest's `labels`, or check `family`", describe(o))
}

// Decode implements Decoder.
func (d *yolov8) Decode(outputs []Tensor, dst []Detection) ([]Detection, error) {
	data, a, b, err := d.pin.values(outputs)
	if err != nil {
		return dst, err
	}
	d.begin()
	if d.transposed { // b was fixed by the shape
		d.scanRows(data, a, b)
		return d.finish(dst)
	}
	if a != d.classes+4 {
		return dst, fmt.Errorf("output %q came as [1,%d,%d], which does not fit %d classes; check the manifest's `labels` and `family`",
			d.pin.name, a, b, d.classes)
	}
	for lo := 0; lo < b; lo += columnBlock {
		d.scanColumns(data, b, lo, min(lo+columnBlock, b))
	}
	return d.finish(dst)
}

// scanColumns takes the candidates among the columns lo..hi of n.
func (d *yolov8) scanColumns(data []float32, n, lo, hi int) {
	best := d.best[:hi-lo]
	class := d.class[:hi-lo]
	for i := range best {
		best[i] = d.threshold - 1
	}
	for c := range d.classes {
		scores := data[(4+c)*n+lo:][:len(best)]
		class := class[:len(scores)]
		for i, v := range scores {
			if b := math.Float32bits(v); b > best[i] {
				if b >= infBits {
					d.faults.odd(b)
					continue
				}
				best[i], class[i] = b, int32(c)
			}
		}
	}
	for i, bits := range best {
		if bits < d.threshold {
			continue
		}
		at := lo + i
		d.take(data[at], data[n+at], data[2*n+at], data[3*n+at],
			&row{scores: data[4*n+at:], stride: n, weight: 1, best: bits, class: int(class[i])})
	}
}

// scanRows takes the candidates of the transposed form: n rows of the given width.
func (d *yolov8) scanRows(data []float32, n, width int) {
	for i := range n {
		v := data[i*width:][:width]
		if bits, class := d.faults.argmax(v[4:], d.threshold); bits >= d.threshold {
			d.take(v[0], v[1], v[2], v[3], &row{scores: v[4:], stride: 1, weight: 1, best: bits, class: class})
		}
	}
}

func (d *yolov8) take(cx, cy, w, h float32, r *row) {
	score, ok := d.score(r)
	if !ok || !d.sound(cx, cy, w, h) {
		return
	}
	if box, ok := d.bounds.center(cx, cy, w, h); ok {
		d.add(box, score, r)
	}
}
