package detect

import (
	"fmt"
	"slices"
	"strings"
)

// nanoBinsLimit is the most distance bins of a row: 64 for each side, four times the largest reg_max in use.
const nanoBinsLimit = 4 * 64

// nanoHead is how the outputs of a nanodet model are to be read, as far as shapes tell.
type nanoHead struct {
	pairs   []nanoPair // one: all strides joined; three or four: one for each stride, in no order
	classes int64      // 0: the shapes do not tell, and the pairs may stand the wrong way round
	bins    int64      // 4*(reg_max+1); 0 when classes is
	alike   bool       // the two tensors of a pair have one shape, and names that do not tell them apart
}

// nanoPair is the indexes of the outputs with the scores and the distance bins of the same rows. They are the same
// where one tensor holds both.
type nanoPair struct{ scores, boxes int }

// usualBins tells whether w is the width of the distance bins in the models the authors published, or in others
// with the same head: reg_max 7, 10 and 16.
func usualBins(w int64) bool { return w == 4*(7+1) || w == 4*(10+1) || w == 4*(16+1) }

// possibleBins tells whether w can be the width of four distances of two bins or more.
func possibleBins(w int64) bool { return w%4 == 0 && w >= 8 && w <= nanoBinsLimit }

// nanoHeadOf reads the shapes of the outputs; classes is 0 when unknown.
func nanoHeadOf(outputs []TensorInfo, classes int) (nanoHead, error) {
	for i := range outputs {
		if _, err := bindPin(NanoDet, outputs, i); err != nil {
			return nanoHead{}, err
		}
	}
	if len(outputs) == 1 {
		return nanoJoined(outputs[0], int64(classes))
	}
	pairs, ok := nanoPairs(outputs)
	if !ok {
		return nanoHead{}, fmt.Errorf("outputs %s do not pair up as those of a nanodet head, which are (1, N, classes) and "+
			"(1, N, 4*(reg_max+1)) for each of 3 or 4 strides or joined; check the manifest's `family`", describeAll(outputs))
	}
	h := nanoHead{pairs: pairs}
	u, v := outputs[pairs[0].scores].Shape[2], outputs[pairs[0].boxes].Shape[2]
	scores, bins := nanoWidths(u, v, int64(classes))
	if scores == 0 && classes > 0 {
		return nanoHead{}, fmt.Errorf("outputs %s do not fit a nanodet head of %d classes, which has tensors of %d columns and of "+
			"4*(reg_max+1); give one label for each class in the manifest's `labels`, or check `family`",
			describeAll(outputs), classes, classes)
	}
	h.classes, h.bins = scores, bins
	for i := range h.pairs {
		pair := &h.pairs[i]
		swapped := outputs[pair.scores].Shape[2] != scores
		if u == v {
			swapped = namedBoxes(outputs[pair.scores].Name)
			h.alike = h.alike || swapped == namedBoxes(outputs[pair.boxes].Name)
		}
		if swapped {
			pair.scores, pair.boxes = pair.boxes, pair.scores
		}
	}
	return h, nil
}

// nanoWidths tells which of two widths is that of the scores and which that of the bins; 0, 0 when that is unclear.
func nanoWidths(u, v, classes int64) (scores, bins int64) {
	if classes > 0 {
		switch {
		case u == classes && possibleBins(v):
			return u, v
		case v == classes && possibleBins(u):
			return v, u
		}
		return 0, 0
	}
	switch {
	case u < 1 || v < 1:
		return 0, 0
	case usualBins(v) && (!usualBins(u) || u == v):
		return u, v
	case usualBins(u) && !usualBins(v):
		return v, u
	}
	return 0, 0
}

// nanoJoined reads the shape of the one tensor that holds scores and bins.
func nanoJoined(o TensorInfo, classes int64) (nanoHead, error) {
	h := nanoHead{pairs: []nanoPair{{}}}
	if classes == 0 {
		return h, nil
	}
	h.classes, h.bins = classes, o.Shape[2]-classes
	if !possibleBins(h.bins) {
		return nanoHead{}, fmt.Errorf("output %s does not fit a nanodet head of %d classes, which has %d + 4*(reg_max+1) columns; "+
			"give one label for each class in the manifest's `labels`, or check `family`", describe(o), classes, classes)
	}
	return h, nil
}

// nanoPairs puts the two outputs of each number of rows together: one pair, or one for each of 3 or 4 strides, all
// of the same two widths. False when they do not come out that way.
func nanoPairs(outputs []TensorInfo) ([]nanoPair, bool) {
	const alone = -1
	var pairs []nanoPair
	for i, o := range outputs {
		j := slices.IndexFunc(pairs, func(p nanoPair) bool { return outputs[p.scores].Shape[1] == o.Shape[1] })
		switch {
		case j < 0:
			pairs = append(pairs, nanoPair{scores: i, boxes: alone})
		case pairs[j].boxes == alone:
			pairs[j].boxes = i
		default:
			return nil, false
		}
	}
	if n := len(pairs); n != 1 && n != 3 && n != 4 {
		return nil, false
	}
	for _, p := range pairs {
		if p.boxes == alone || nanoWidthsOf(outputs, p) != nanoWidthsOf(outputs, pairs[0]) {
			return nil, false
		}
		if len(pairs) > 1 && outputs[p.scores].Shape[1] == anyDim { // nothing tells which stride it is
			return nil, false
		}
	}
	return pairs, true
}

// nanoWidthsOf is the two widths of a pair, the smaller first.
func nanoWidthsOf(outputs []TensorInfo, p nanoPair) [2]int64 {
	u, v := outputs[p.scores].Shape[2], outputs[p.boxes].Shape[2]
	return [2]int64{min(u, v), max(u, v)}
}

// namedBoxes tells whether an output's name says that it holds distances, for heads with as many classes as bins.
func namedBoxes(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"dis", "reg", "box"}, func(s string) bool { return strings.Contains(name, s) })
}
