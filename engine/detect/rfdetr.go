package detect

import (
	"fmt"
	"math"
)

// rfdetr reads dets (1, n, 4), cx cy w h as parts of the input's sides, and labels (1, n, nc), a logit for each class.
// There is no objectness and no NMS: of all pairs of a row and a class those with the best scores are the detections,
// as PostProcess in the authors' code selects them.
type rfdetr struct {
	base
	dets, labels pin
	least        float32 // a logit below has a score below the threshold
}

// rfdetrHead is where the two outputs are.
type rfdetrHead struct{ dets, labels pin }

func newRFDETR(p Params, outputs []TensorInfo) (Decoder, error) {
	h, err := rfdetrHeadOf(outputs)
	if err != nil {
		return nil, err
	}
	info := outputs[h.labels.index]
	classes, columns := p.Classes, h.labels.dims[1]
	switch {
	case columns == anyDim && classes == 0:
		return nil, fmt.Errorf("output %s does not tell the classes of an rfdetr head, which is (1, n, classes); list the manifest's `labels`", describe(info))
	case columns == anyDim:
	case classes == 0:
		if classes, err = agree(RFDETR, info, columns, 0); err != nil {
			return nil, err
		}
	case int64(classes) != columns && int64(classes) != columns-1:
		return nil, fmt.Errorf("output %s of an rfdetr head has %d columns, but the manifest's `labels` are %d; give one label for each column "+
			"(that of a last column which was not trained may be left out), or check `family`", describe(info), columns, classes)
	}
	d := &rfdetr{
		base: newBase(p, classes, max(h.dets.dims[0], 0)*int64(classes)),
		dets: h.dets, labels: h.labels, least: leastLogit(p.ScoreThreshold),
	}
	d.unit = [2]float32{float32(p.InputWidth), float32(p.InputHeight)}
	return d, nil
}

// rfdetrHeadOf finds the outputs: by name, else by the 4 columns that one of two has.
func rfdetrHeadOf(outputs []TensorInfo) (rfdetrHead, error) {
	dets, ok := byName(outputs, "dets")
	labels, both := byName(outputs, "labels")
	if !ok || !both {
		if len(outputs) != 2 {
			return rfdetrHead{}, fmt.Errorf("an rfdetr head has the outputs dets and labels, this model has %d: %s; check the manifest's `family`",
				len(outputs), describeAll(outputs))
		}
		dets, labels = 0, 1
		if s := outputs[1].Shape; len(s) == 3 && s[2] == 4 {
			dets, labels = 1, 0
		}
	}
	var h rfdetrHead
	var err error
	if h.dets, err = bindPin(RFDETR, outputs, dets); err != nil {
		return h, err
	}
	if h.labels, err = bindPin(RFDETR, outputs, labels); err != nil {
		return h, err
	}
	rows, others := h.dets.dims[0], h.labels.dims[0]
	if h.dets.dims[1] != 4 && h.dets.dims[1] != anyDim || rows != others && rows != anyDim && others != anyDim {
		return h, fmt.Errorf("outputs %s and %s do not fit an rfdetr head, which is (1, n, 4) and (1, n, classes); check the manifest's `family`",
			describe(outputs[dets]), describe(outputs[labels]))
	}
	h.dets.dims[1] = 4
	if rows == anyDim {
		h.dets.dims[0] = others
	}
	h.labels.dims[0] = h.dets.dims[0]
	return h, nil
}

// Decode implements Decoder.
func (d *rfdetr) Decode(outputs []Tensor, dst []Detection) ([]Detection, error) {
	dets, rows, _, err := d.dets.values(outputs)
	if err != nil {
		return dst, err
	}
	labels, labelRows, columns, err := d.labels.values(outputs)
	if err != nil {
		return dst, err
	}
	if labelRows != rows || columns != d.classes && columns != d.classes+1 {
		return dst, fmt.Errorf("outputs %q and %q came with %d and %d rows, the second with %d columns for %d classes; check the manifest's `labels` and `family`",
			d.dets.name, d.labels.name, rows, labelRows, columns, d.classes)
	}
	d.begin()
	for i := range rows {
		d.take(dets[4*i:][:4], labels[i*columns:][:d.classes])
	}
	return d.finishFinal(dst)
}

// take adds the classes of a row that reach the threshold. Few do, so the box is made for the first that does, and
// the exponential is computed for those alone.
func (d *rfdetr) take(v, logits []float32) {
	var box Box
	var made, good bool
	for class, logit := range logits {
		if !finite(logit) {
			d.faults.notFinite++
			continue
		}
		if logit < d.least {
			continue
		}
		score := sigmoid(logit)
		if math.Float32bits(score) < d.threshold {
			continue
		}
		if !made {
			made = true
			if d.sound(v[0], v[1], v[2], v[3]) {
				box, good = d.bounds.center(v[0]*d.unit[0], v[1]*d.unit[1], v[2]*d.unit[0], v[3]*d.unit[1])
			}
		}
		if !good {
			return
		}
		d.cands.add(box, score, class)
	}
}

func sigmoid(v float32) float32 { return float32(1 / (1 + math.Exp(-float64(v)))) }

// leastLogit is a logit a little below that of a score.
func leastLogit(score float32) float32 {
	const (
		slack = 1e-3 // more than a step of float32 is, in the score or in the logit,
		steep = 8    // up to here: beyond it the sigmoid is so flat that a step of the score is a long way
	)
	return float32(min(math.Log(float64(score)/(1-float64(score))), steep) - slack)
}
