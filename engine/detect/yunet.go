package detect

import (
	"fmt"
	"math"
	"strconv"
)

// yunetUnit is what both sides of the family's input are a multiple of: its largest stride.
const yunetUnit = 32

// yunet reads YuNet's faces: for each of the strides 8, 16 and 32 the outputs cls and obj, (1, N, 1), and bbox,
// (1, N, 4); the landmarks in kps are not read. Source of the formula: FaceDetectorYN in OpenCV.
type yunet struct {
	base
	grid   grid
	levels []yunetLevel // as in grid
	floor  float64      // class x objectness below has a score below the threshold
}

type yunetLevel struct{ cls, obj, bbox pin }

func newYuNet(p Params, outputs []TensorInfo) (Decoder, error) {
	if p.InputWidth%yunetUnit != 0 || p.InputHeight%yunetUnit != 0 {
		return nil, fmt.Errorf("an input of %dx%d pixels: the sides of a yunet model's input must be multiples of %d, check the manifest's `input`",
			p.InputWidth, p.InputHeight, yunetUnit)
	}
	d := &yunet{grid: newGrid(p.InputWidth, p.InputHeight, yunetStrides()...)}
	for _, l := range d.grid {
		level, err := bindYuNet(outputs, l.stride)
		if err != nil {
			return nil, err
		}
		for _, o := range []*pin{&level.cls, &level.obj, &level.bbox} {
			if o.dims[0] != anyDim && o.dims[0] != int64(l.cells()) {
				return nil, fmt.Errorf("output %s has %d rows, a yunet head for a %dx%d input has %d at stride %d; check the manifest's `input`",
					describe(outputs[o.index]), o.dims[0], p.InputWidth, p.InputHeight, l.cells(), l.stride)
			}
			o.dims[0] = int64(l.cells())
		}
		d.levels = append(d.levels, level)
	}
	classes, err := agree(YuNet, outputs[d.levels[0].cls.index], 1, p.Classes)
	if err != nil {
		return nil, err
	}
	d.base = newBase(p, classes, int64(d.grid.rows()))
	d.floor = 0.9999 * float64(p.ScoreThreshold) * float64(p.ScoreThreshold)
	return d, nil
}

func yunetStrides() []int { return []int{8, 16, 32} }

// yunetNames are the outputs of one stride that are read.
func yunetNames(stride int) [3]string {
	s := strconv.Itoa(stride)
	return [3]string{"cls_" + s, "obj_" + s, "bbox_" + s}
}

// looksYuNet tells whether all outputs that are read are there.
func looksYuNet(outputs []TensorInfo) bool {
	for _, s := range yunetStrides() {
		if names := yunetNames(s); !allNamed(outputs, names[:]...) {
			return false
		}
	}
	return true
}

// bindYuNet finds the outputs of a stride.
func bindYuNet(outputs []TensorInfo, stride int) (yunetLevel, error) {
	var l yunetLevel
	for i, p := range []*pin{&l.cls, &l.obj, &l.bbox} {
		name := yunetNames(stride)[i]
		at, ok := byName(outputs, name)
		if !ok {
			return l, fmt.Errorf("a yunet head has the outputs cls, obj, bbox and kps of strides 8, 16 and 32, and %s is not among this model's: %s; "+
				"use YuNet of 2023 or later, or check the manifest's `family`", name, describeAll(outputs))
		}
		var err error
		if *p, err = bindPin(YuNet, outputs, at); err != nil {
			return l, err
		}
		width := [...]int64{1, 1, 4}[i]
		if p.dims[1] != width && p.dims[1] != anyDim {
			return l, fmt.Errorf("output %s of a yunet head has rows of %d, %d are expected; check the manifest's `family`",
				describe(outputs[at]), p.dims[1], width)
		}
		p.dims[1] = width
	}
	return l, nil
}

// Decode implements Decoder.
func (d *yunet) Decode(outputs []Tensor, dst []Detection) ([]Detection, error) {
	d.begin()
	for i := range d.levels {
		l := &d.levels[i]
		cls, _, _, err := l.cls.values(outputs)
		if err != nil {
			return dst, err
		}
		obj, _, _, err := l.obj.values(outputs)
		if err != nil {
			return dst, err
		}
		boxes, _, _, err := l.bbox.values(outputs)
		if err != nil {
			return dst, err
		}
		for row, c := range cls {
			if score, ok := d.confidence(c, obj[row]); ok {
				d.take(d.grid[i].start+row, score, boxes[4*row:][:4])
			}
		}
	}
	return d.finish(dst)
}

// confidence is the geometric mean of class and objectness, both cut to 0..1; false when it is none to keep.
func (d *yunet) confidence(class, objectness float32) (float32, bool) {
	c, o := math.Float32bits(class), math.Float32bits(objectness)
	if c >= infBits || o >= infBits {
		d.faults.odd(c)
		d.faults.odd(o)
		return 0, false
	}
	if float64(class)*float64(objectness) < d.floor {
		return 0, false
	}
	class, ok := d.faults.score01(c)
	if !ok {
		return 0, false
	}
	if objectness, ok = d.faults.score01(o); !ok {
		return 0, false
	}
	score := float32(math.Sqrt(float64(class) * float64(objectness)))
	return score, math.Float32bits(score) >= d.threshold
}

// take adds the box of a cell.
func (d *yunet) take(row int, score float32, v []float32) {
	if !d.sound(v[0], v[1], v[2], v[3]) {
		return
	}
	x, y, stride := d.grid.cell(row)
	if box, ok := d.bounds.center((x+v[0])*stride, (y+v[1])*stride, exp(v[2])*stride, exp(v[3])*stride); ok {
		d.cands.add(box, score, 0)
	}
}
