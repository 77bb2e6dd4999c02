package detect

import (
	"fmt"
	"math"
)

// nanoDet reads class scores, through their sigmoid already, and the bins of four distances: left, top, right and
// bottom of an anchor point, each the expectation of a softmax over reg_max+1 bins, in strides (Li et al.,
// "Generalized Focal Loss", 2020, section 3).
//
// The head comes as a pair of tensors for each stride, (1, N, nc) and (1, N, 4*(reg_max+1)), as one pair of all
// strides joined, or as one tensor of all, scores first.
//
// Strides 8, 16, 32 are NanoDet, whose anchors are the centres of the cells, ((x+0.5)*stride, (y+0.5)*stride).
// Strides 8, 16, 32, 64 are NanoDet-Plus, whose anchors are their top left corners, (x*stride, y*stride): see
// get_single_level_center_priors of the two heads in the authors' code.
type nanoDet struct {
	base
	parts []nanoPart
	plain grid // strides 8 to 32
	plus  grid // strides 8 to 64
	bins  int  // of one distance: reg_max+1
}

// nanoPart is one stride's tensors, or those of all joined.
type nanoPart struct {
	scores, boxes pin
	grid          grid // of the whole head; nil: the run's number of rows tells
	start         int  // its first row in the grid
}

func newNanoDet(p Params, outputs []TensorInfo) (Decoder, error) {
	plain := newGrid(p.InputWidth, p.InputHeight, 8, 16, 32)
	plus := newGrid(p.InputWidth, p.InputHeight, 8, 16, 32, 64)
	h, err := nanoHeadOf(outputs, p.Classes)
	if err != nil {
		return nil, err
	}
	if h.classes == 0 {
		return nil, fmt.Errorf("outputs %s do not tell the classes of a nanodet head from its distance bins; "+
			"list the manifest's `labels`", describeAll(outputs))
	}
	if h.alike {
		return nil, fmt.Errorf("outputs %s cannot be told apart; one is the class scores of a nanodet head and the other its "+
			"distances: export them with \"cls\" and \"dis\" in their names, or joined in one tensor", describeAll(outputs))
	}
	if _, err := agree(NanoDet, outputs[h.pairs[0].scores], h.classes, p.Classes); err != nil {
		return nil, err
	}
	d := &nanoDet{plain: plain, plus: plus, bins: int(h.bins) / 4}
	if len(h.pairs) == 1 {
		err = d.bindJoined(outputs, h.pairs[0])
	} else {
		err = d.bindLevels(outputs, h.pairs)
	}
	if err != nil {
		return nil, err
	}
	for i := range d.parts {
		part := &d.parts[i]
		part.scores.dims[1], part.boxes.dims[1] = h.classes, h.bins
		if part.scores.index == part.boxes.index {
			part.scores.dims[1], part.boxes.dims[1] = h.classes+h.bins, h.classes+h.bins
		}
	}
	d.base = newBase(p, int(h.classes), int64(plus.rows()))
	return d, nil
}

// bindJoined binds the tensors that hold the rows of all strides.
func (d *nanoDet) bindJoined(outputs []TensorInfo, pair nanoPair) error {
	part, err := bindNanoPart(outputs, pair)
	if err != nil {
		return err
	}
	if rows := part.scores.dims[0]; rows != anyDim {
		if part.grid = d.gridOf(rows); part.grid == nil {
			return d.misfit(outputs[pair.scores])
		}
	}
	d.parts = []nanoPart{part}
	return nil
}

// bindLevels binds a pair for each stride, in the order of the strides whatever that of the outputs.
func (d *nanoDet) bindLevels(outputs []TensorInfo, pairs []nanoPair) error {
	g := d.plain
	if len(pairs) == len(d.plus) {
		g = d.plus
	}
	d.parts = make([]nanoPart, len(g))
	for _, pair := range pairs {
		part, err := bindNanoPart(outputs, pair)
		if err != nil {
			return err
		}
		level := -1
		for i, l := range g {
			if int64(l.cells()) == part.scores.dims[0] && d.parts[i].grid == nil {
				level = i
				break
			}
		}
		if level < 0 {
			return d.misfit(outputs[pair.scores])
		}
		part.grid, part.start = g, g[level].start
		d.parts[level] = part
	}
	return nil
}

func bindNanoPart(outputs []TensorInfo, pair nanoPair) (nanoPart, error) {
	scores, err := bindPin(NanoDet, outputs, pair.scores)
	if err != nil {
		return nanoPart{}, err
	}
	boxes, err := bindPin(NanoDet, outputs, pair.boxes)
	return nanoPart{scores: scores, boxes: boxes}, err
}

// gridOf is the feature maps that have so many cells in all; nil when none do.
func (d *nanoDet) gridOf(rows int64) grid {
	switch rows {
	case int64(d.plain.rows()):
		return d.plain
	case int64(d.plus.rows()):
		return d.plus
	}
	return nil
}

func (d *nanoDet) misfit(o TensorInfo) error {
	g := d.plus
	return fmt.Errorf("output %s has %d rows; a nanodet head for this input has %d, %d, %d and, for nanodet-plus, %d at strides "+
		"8, 16, 32 and 64, or %d or %d joined; check the manifest's `family` and `input`", describe(o), o.Shape[1],
		g[0].cells(), g[1].cells(), g[2].cells(), g[3].cells(), d.plain.rows(), d.plus.rows())
}

// Decode implements Decoder.
func (d *nanoDet) Decode(outputs []Tensor, dst []Detection) ([]Detection, error) {
	d.begin()
	for i := range d.parts {
		if err := d.decodePart(&d.parts[i], outputs); err != nil {
			return dst, err
		}
	}
	return d.finish(dst)
}

func (d *nanoDet) decodePart(part *nanoPart, outputs []Tensor) error {
	scores, rows, scoreWidth, err := part.scores.values(outputs)
	if err != nil {
		return err
	}
	boxes, boxRows, boxWidth, err := part.boxes.values(outputs)
	if err != nil {
		return err
	}
	g := part.grid
	if g == nil {
		g = d.gridOf(int64(rows))
	}
	if g == nil || boxRows != rows {
		return fmt.Errorf("outputs %q and %q came with %d and %d rows; a nanodet head for this input has %d or %d in each, "+
			"check the manifest's `input`", part.scores.name, part.boxes.name, rows, boxRows, d.plain.rows(), d.plus.rows())
	}
	anchor := float32(0.5)
	if len(g) == len(d.plus) {
		anchor = 0
	}
	binsAt := boxWidth - 4*d.bins // after the scores where one tensor holds both
	for i := range rows {
		r := row{scores: scores[i*scoreWidth:][:d.classes], stride: 1, weight: 1}
		if r.best, r.class = d.faults.argmax(r.scores, d.threshold); r.best < d.threshold {
			continue
		}
		score, ok := d.score(&r)
		if !ok {
			continue
		}
		bins := boxes[i*boxWidth+binsAt:][:4*d.bins]
		left, top := d.distance(bins, 0), d.distance(bins, 1)
		right, bottom := d.distance(bins, 2), d.distance(bins, 3)
		if !d.sound(left, top, right, bottom) {
			continue
		}
		x, y, stride := g.cell(part.start + i)
		x, y = x+anchor, y+anchor
		if box, ok := d.bounds.corners((x-left)*stride, (y-top)*stride, (x+right)*stride, (y+bottom)*stride); ok {
			d.add(box, score, &r)
		}
	}
	return nil
}

// distance is the expectation of a softmax over the bins of one side, in strides; NaN when a bin is not finite.
func (d *nanoDet) distance(bins []float32, side int) float32 {
	bins = bins[side*d.bins:][:d.bins]
	top := bins[0]
	for _, v := range bins {
		if !finite(v) {
			return float32(math.NaN())
		}
		top = max(top, v)
	}
	var sum, moment float64
	for i, v := range bins {
		e := math.Exp(float64(v - top)) // at most 1, and 1 for the largest: neither overflow nor 0/0
		sum += e
		moment += float64(i) * e
	}
	return float32(moment / sum)
}
