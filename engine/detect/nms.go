package detect

import (
	"math"
	"slices"
)

// maxCandidates is how many boxes go into NMS at most: those of the best scores, ties in the order of the rows. It
// is above the 25,200 rows of a 640x640 YOLOv5, the largest usual head, so it changes nothing there even with a
// threshold of 0; beyond it the worst scores of a huge head are given up to bound the time of a run.
const maxCandidates = 30000

// candidates collects the boxes of one run and picks the detections among them. Its memory is reused.
type candidates struct {
	found []Detection // in the order of the model's rows
	keys  []uint64    // one for each found: score descending, then index ascending
	heads []int32     // by class: 1 + index of the latest kept detection; all 0 between runs
	next  []int32     // by kept detection: the same for the one before it in its class
}

// newCandidates makes room for the usual: rows is how many boxes a run may find, 0 when unknown.
func newCandidates(rows, classes, limit int) candidates {
	room := min(rows, maxCandidates)
	return candidates{
		found: make([]Detection, 0, room),
		keys:  make([]uint64, 0, room),
		heads: make([]int32, classes),
		next:  make([]int32, limit),
	}
}

func (c *candidates) reset() {
	c.found = c.found[:0]
	c.keys = c.keys[:0]
}

// add takes a box with a score in 0..1; calls are in the order of the model's rows.
func (c *candidates) add(box Box, score float32, class int) {
	// Bits of numbers from 0 up order as the numbers do, so one integer sort serves both keys.
	key := uint64(^math.Float32bits(score))<<32 | uint64(uint32(len(c.found)))
	c.keys = append(c.keys, key)
	c.found = append(c.found, Detection{Box: box, Score: score, ClassID: class})
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
