// Package bench measures detectors: average precision against COCO annotations, and agreement between two runs of
// what should be the same model. It also has the arithmetic, the forms and the report of gnomon's benchmarks
// (docs/bench.md); the measuring itself is done by the commands.
//
// Accuracy works on COCO's own file forms, so that its results can be scored by other tools and theirs by it. Boxes here
// are COCO's: x, y, width, height in pixels of the source picture, from its top left corner. Pure Go; every
// function may be called from any number of goroutines as long as nobody changes the arguments meanwhile.
package bench

import "math"

// MaxFileBytes bounds annotation and result files. The largest COCO instances file (train2017, with its masks) has
// 448 MB; anything larger is not one, and would only fill the memory.
const MaxFileBytes = 512 << 20

// MaxCoordinate bounds the sides of pictures and every number of a box, in pixels. No picture is larger, and the
// product of two sides stays within 1e10, where the published protocol's area range "all" ends.
const MaxCoordinate = 1e5

// boxIoU is the intersection over union of two xywh boxes. When crowd is set the second box is a region that holds
// many objects, and the overlap is measured against the first box's own area, as the COCO protocol has it.
//
// The conversions around the products keep a compiler from fusing multiplication and addition: with boxes on the
// edge of a threshold, amd64 and arm64 would disagree.
func boxIoU(a, b [4]float64, crowd bool) float64 {
	w := min(a[0]+a[2], b[0]+b[2]) - max(a[0], b[0])
	h := min(a[1]+a[3], b[1]+b[3]) - max(a[1], b[1])
	inter := float64(max(w, 0) * max(h, 0))
	union := float64(a[2] * a[3])
	if !crowd {
		union = union + float64(b[2]*b[3]) - inter
	}
	return inter / max(union, minUnion)
}

// minUnion keeps boxes without area from dividing by zero; they overlap nothing.
const minUnion = 1e-9

// checkBox says what is wrong with an xywh box, or nothing.
func checkBox(box [4]float64) string {
	for i, v := range box {
		name := [...]string{"x", "y", "width", "height"}[i]
		switch {
		case math.IsNaN(v) || math.Abs(v) > MaxCoordinate:
			return "bbox " + name + " must be a number of pixels within ±" + number(MaxCoordinate) + ", not " + number(v)
		case i >= 2 && v < 0:
			return "bbox " + name + " is " + number(v) + "; bbox is [x, y, width, height] with sizes of 0 or more (not corners)"
		}
	}
	return ""
}
