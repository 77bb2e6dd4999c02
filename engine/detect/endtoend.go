package detect

import (
	"fmt"
	"math"
)

// The columns of an end-to-end row.
const (
	finalWidth = 6
	finalScore = 4
	finalClass = 5
)

// finalRowsLimit is the most rows by which a last dimension of 6 is taken for an end-to-end head: exporters keep
// 100 or 300, anything larger is a head before NMS.
const finalRowsLimit = 1000

// looksFinal tells whether an output (1, a, b) has the shape of an end-to-end head.
func looksFinal(a, b int64) bool { return b == finalWidth && a >= 1 && a <= finalRowsLimit }

// wholeTolerance is how far a class may be from a whole number: float16 holds them exactly, so anything beyond
// rounding in a conversion is another kind of number.
const wholeTolerance = 0.01

// endToEnd reads (1, n, 6): x1 y1 x2 y2 in pixels, score, class. NMS is part of the model, or it was trained to
// need none; unused rows have a score of 0.
type endToEnd struct {
	base
	pin pin
}

func newEndToEnd(p Params, outputs []TensorInfo) (Decoder, error) {
	o, err := endToEndPin(outputs)
	if err != nil {
		return nil, err
	}
	return &endToEnd{base: newBase(p, p.Classes, o.dims[0]), pin: o}, nil
}

func endToEndPin(outputs []TensorInfo) (pin, error) {
	o, err := only(EndToEnd, outputs)
	if err != nil {
		return pin{}, err
	}
	if o.dims[1] != finalWidth && o.dims[1] != anyDim {
		return pin{}, fmt.Errorf("output %s does not fit an end-to-end head, which is (1, n, %d): x1 y1 x2 y2 score class; "+
			"check the manifest's `family`", describe(outputs[0]), finalWidth)
	}
	o.dims[1] = finalWidth
	return o, nil
}

// Decode implements Decoder.
func (d *endToEnd) Decode(outputs []Tensor, dst []Detection) ([]Detection, error) {
	data, rows, _, err := d.pin.values(outputs)
	if err != nil {
		return dst, err
	}
	d.begin()
	for r := range rows {
		row := data[r*finalWidth:][:finalWidth]
		d.final(row[finalScore], row[finalClass], row[0], row[1], row[2], row[3])
	}
	return d.finishFinal(dst)
}

// final takes a row whose box is final, by its corners in units.
func (b *base) final(score, class, x1, y1, x2, y2 float32) {
	bits := math.Float32bits(score)
	if bits >= infBits {
		b.faults.odd(bits)
		return
	}
	if bits < b.threshold {
		return
	}
	score, ok := b.faults.score01(bits)
	if !ok || !b.sound(x1, y1, x2, y2) {
		return
	}
	if !finite(class) {
		b.faults.notFinite++
		return
	}
	id, ok := b.class(class)
	if !ok {
		b.faults.class++
		return
	}
	if box, ok := b.bounds.corners(x1*b.unit[0], y1*b.unit[1], x2*b.unit[0], y2*b.unit[1]); ok {
		b.cands.add(box, score, id)
	}
}

// class is the class that a finite number names.
func (b *base) class(v float32) (int, bool) {
	limit := b.classes
	if limit == 0 {
		limit = ClassesLimit
	}
	whole := math.Round(float64(v))
	id := whole - float64(b.first)
	if id < 0 || id >= float64(limit) || math.Abs(float64(v)-whole) > wholeTolerance {
		return 0, false
	}
	return int(id), true
}
