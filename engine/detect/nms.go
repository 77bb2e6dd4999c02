package detect

import (
	"math"
	"slices"
)

// maxCandidates is how many boxes go into NMS at most: those of the best scores, ties in the order of the rows. With
// one class for each row it is above the 25,200 rows of a 640x640 YOLOv5, the largest usual head, and so changes
// nothing there even with a threshold of 0. With several classes for each row it is what Ultralytics allows
// (max_nms), and changes the result only where the best 30,000 do not yield MaxDetections. Beyond it the worst
// scores are given up: that bounds the time and memory of a run.
const maxCandidates = 30000

// candidates collects the boxes of one run and picks the detections among them. Its memory is reused.
type candidates struct {
	found []Detection // in the order of the model's rows
	keys  []uint64    // one for each found: score descending, then index ascending
	heads []int32     // by class: 1 + index of the latest kept detection; all 0 between runs
	next  []int32     // by kept detection: the same for the one before it in its class
	bar   float32     // a score up to here is not among the best any more; below 0 before a prune
}

// newCandidates makes room for boxes, the most that a run may find, 0 when unknown.
func newCandidates(boxes, classes, limit int) candidates {
	room := min(boxes, 2*maxCandidates)
	return candidates{
		found: make([]Detection, 0, room),
		keys:  make([]uint64, 0, room),
		heads: make([]int32, classes),
		next:  make([]int32, limit),
		bar:   -1,
	}
}

func (c *candidates) reset() {
	c.found = c.found[:0]
	c.keys = c.keys[:0]
	c.bar = -1
}

// add takes a box with a score in 0..1; calls are in the order of the model's rows.
func (c *candidates) add(box Box, score float32, class int) {
	if score <= c.bar { // also on a tie: those found have the earlier rows
		return
	}
	if len(c.found) == 2*maxCandidates {
		c.prune()
	}
	c.keys = append(c.keys, candidateKey(score, len(c.found)))
	c.found = append(c.found, Detection{Box: box, Score: score, ClassID: class})
}

// candidateKey orders by score descending, then by index. Bits of numbers from 0 up order as the numbers do, so one
// integer sort serves both.
func candidateKey(score float32, index int) uint64 {
	return uint64(^math.Float32bits(score))<<32 | uint64(uint32(index))
}

// prune drops all but the maxCandidates best of those found, which stay in the order of the rows.
func (c *candidates) prune() {
	slices.Sort(c.keys)
	worst := c.keys[maxCandidates-1]
	c.bar = c.found[uint32(worst)].Score
	kept := c.found[:0]
	c.keys = c.keys[:0]
	for i, d := range c.found {
		if candidateKey(d.Score, i) > worst {
			continue
		}
		c.keys = append(c.keys, candidateKey(d.Score, len(kept)))
		kept = append(kept, d)
	}
	c.found = kept
}

// best appends the limit best to dst, as they are.
func (c *candidates) best(dst []Detection, limit int) []Detection {
	slices.Sort(c.keys)
	for _, k := range c.keys[:min(limit, len(c.keys))] {
		dst = append(dst, c.found[uint32(k)])
	}
	return dst
}

// suppress appends the limit best to dst by greedy non-maximum suppression within each class: from the best score
// down, a box is kept unless it overlaps a kept box of its class by more than iou. Since boxes are kept in the
// order of their scores, stopping at the limit gives what cutting the full result would.
func (c *candidates) suppress(dst []Detection, iou float32, limit int) []Detection {
	slices.Sort(c.keys)
	first := len(dst)
	for _, k := range c.keys[:min(maxCandidates, len(c.keys))] {
		kept := dst[first:]
		if len(kept) == limit {
			break
		}
		d := &c.found[uint32(k)]
		if c.covered(kept, d, iou) {
			continue
		}
		c.next[len(kept)] = c.heads[d.ClassID]
		c.heads[d.ClassID] = int32(len(kept) + 1)
		dst = append(dst, *d)
	}
	for _, d := range dst[first:] {
		c.heads[d.ClassID] = 0
	}
	return dst
}

// covered tells whether a kept box of d's class overlaps d by more than iou.
func (c *candidates) covered(kept []Detection, d *Detection, iou float32) bool {
	for i := c.heads[d.ClassID]; i != 0; i = c.next[i-1] {
		if kept[i-1].Box.IoU(d.Box) > iou {
			return true
		}
	}
	return false
}
