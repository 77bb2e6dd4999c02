package detect

import (
	"fmt"
	"math"
)

// The columns of a row before the classes.
const (
	objectness = 4
	rowHead    = 5
)

// objectnessHead reads (1, n, 5+nc), the head of yolov5 and yolox: four numbers of the box, objectness, a score for
// each class.
type objectnessHead struct {
	base
	pin  pin
	raw  bool // yolox as exported by default: boxes are relative to the cells of grid
	grid grid
}

func newObjectness(p Params, outputs []TensorInfo) (Decoder, error) {
	f := p.Family
	o, err := objectnessPin(f, outputs)
	if err != nil {
		return nil, err
	}
	info := outputs[o.index]
	rows, width := o.dims[0], o.dims[1]
	d := &objectnessHead{raw: f == YOLOX && !p.Decoded, grid: newGrid(p.InputWidth, p.InputHeight, 8, 16, 32)}
	if d.raw && rows != anyDim && rows != int64(d.grid.rows()) {
		return nil, fmt.Errorf("output %s has %d rows, a yolox head for a %dx%d input has %d (strides 8, 16, 32); "+
			"check the manifest's `family` and `input`, or write `decoded: true` if the export applied the grid",
			describe(info), rows, p.InputWidth, p.InputHeight, d.grid.rows())
	}
	if d.raw {
		rows = int64(d.grid.rows())
	}
	classes := p.Classes
	if width != anyDim {
		if classes, err = objectnessClasses(f, info, classes); err != nil {
			return nil, err
		}
	}
	if classes == 0 {
		return nil, fmt.Errorf("output %s does not tell the classes of a %s head, which is (1, n, 5+classes); "+
			"list the manifest's `labels`", describe(info), f)
	}
	o.dims[1] = int64(classes) + rowHead
	d.base = newBase(p, classes, rows)
	if d.raw {
		o.dims[0] = rows
	}
	d.pin = o
	return d, nil
}

// objectnessClasses is the number of classes by the width of the rows, which must agree with labelled unless that
// is 0.
func objectnessClasses(f Family, o TensorInfo, labelled int) (int, error) {
	width := o.Shape[2]
	if width <= rowHead {
		return 0, fmt.Errorf("output %s has rows of %d, a %s head has rows of 5+classes: box, objectness, classes; "+
			"check the manifest's `family`", describe(o), width, f)
	}
	return agree(f, o, width-rowHead, labelled)
}

// objectnessPin finds the output of the decoded rows: early yolov5 exports have the raw feature maps, of five
// dimensions, beside it.
func objectnessPin(f Family, outputs []TensorInfo) (pin, error) {
	if i, ok := besideFeatureMaps(outputs); ok && f == YOLOv5 {
		return bindPin(f, outputs, i)
	}
	return only(f, outputs)
}

// besideFeatureMaps finds the only output of three dimensions when all the others have five and rows as wide.
func besideFeatureMaps(outputs []TensorInfo) (int, bool) {
	found := -1
	for i, o := range outputs {
		if len(o.Shape) == 3 {
			if found >= 0 {
				return 0, false
			}
			found = i
		}
	}
	if found < 0 || len(outputs) < 2 {
		return 0, false
	}
	for i, o := range outputs {
		if i != found && (len(o.Shape) != 5 || o.Shape[4] != outputs[found].Shape[2]) {
			return 0, false
		}
	}
	return found, true
}

// Decode implements Decoder.
func (d *objectnessHead) Decode(outputs []Tensor, dst []Detection) ([]Detection, error) {
	data, rows, width, err := d.pin.values(outputs)
	if err != nil {
		return dst, err
	}
	d.begin()
	for i := range rows {
		v := data[i*width:][:width]
		// The score is at most the objectness, so most rows end here.
		bits := math.Float32bits(v[objectness])
		if bits < d.threshold {
			continue
		}
		if bits >= infBits {
			d.faults.odd(bits)
			continue
		}
		d.take(i, v, bits)
	}
	return d.finish(dst)
}

// take looks at the classes of row i, whose objectness reaches the threshold.
func (d *objectnessHead) take(i int, v []float32, objectnessBits uint32) {
	r := row{scores: v[rowHead:], stride: 1}
	if r.best, r.class = d.faults.argmax(r.scores, d.threshold); r.best < d.threshold {
		return
	}
	var ok bool
	if r.weight, ok = d.faults.score01(objectnessBits); !ok {
		return
	}
	score, ok := d.score(&r)
	if !ok || !d.sound(v[0], v[1], v[2], v[3]) {
		return
	}
	cx, cy, w, h := v[0], v[1], v[2], v[3]
	if d.raw {
		x, y, stride := d.grid.cell(i)
		cx, cy = (cx+x)*stride, (cy+y)*stride
		w, h = exp(w)*stride, exp(h)*stride
	}
	if box, ok := d.bounds.center(cx, cy, w, h); ok {
		d.add(box, score, &r)
	}
}

// exp is e to the v; infinite where float32 ends, which bounds then cuts.
func exp(v float32) float32 { return float32(math.Exp(float64(v))) }
