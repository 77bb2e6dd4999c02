package detect

import (
	"fmt"
	"math"
	"slices"
)

// NewDecoder makes the decoder of p.Family for a model with the given outputs, which are all of the model's
// outputs in its own order. It finds the outputs that it reads by their shapes, whatever their order, and checks
// them once: an error names the output, its shape and what was expected instead. Dimensions of -1 are checked at
// each run.
//
// The boxes of the families, in the words of their own exporters and demos:
//
//   - yolov8: the columns of a (1, 4+nc, n) tensor are cx cy w h and the class scores; the transposed form
//     (1, n, 4+nc) is taken where the shape leaves no doubt.
//   - yolov5: the rows of (1, n, 5+nc) are cx cy w h, objectness and class scores; score = objectness x class.
//   - yolox: the same rows, but cx = (x+column)*stride, cy = (y+line)*stride, w = exp(w)*stride, h = exp(h)*stride
//     over the cells of strides 8, 16, 32 unless p.Decoded.
//   - nanodet: distances to the four sides, each the expectation of a softmax over reg_max+1 bins, times the
//     stride, from an anchor: the centre of the cell with strides 8, 16, 32 (NanoDet), its top left corner with
//     strides 8, 16, 32, 64 (NanoDet-Plus).
//   - yunet: cx = (column+x)*stride, cy = (line+y)*stride, w = exp(w)*stride, h = exp(h)*stride over the cells of
//     strides 8, 16, 32; score = sqrt(class x objectness); one class.
//   - end-to-end: the rows of (1, n, 6) are x1 y1 x2 y2 score class, final: only sorted and thresholded.
//   - rtdetr: the same in three outputs, labels (1, n), boxes (1, n, 4) and scores (1, n), in pixels of the size that
//     the model was told by its input SizesInput: see there.
//   - rfdetr: dets (1, n, 4) are cx cy w h as parts of the input's sides, labels (1, n, nc) a logit for each class;
//     every class of a row that reaches the threshold is a detection. A last column beyond p.Classes is ignored.
//   - ssd: detection_boxes (1, n, 4) are y1 x1 y2 x2 as parts of the input's sides, detection_classes (1, n) count
//     from 1, of which ClassID 0 is made, detection_scores (1, n); num_detections says how many rows count.
//
// A row yields its best class only, the first of equals, unless p.MultiLabel or the family says otherwise. The boxes
// of a family that is Final go through no NMS.
func NewDecoder(p Params, outputs []TensorInfo) (Decoder, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	switch p.Family {
	case YOLOv8:
		return newYOLOv8(p, outputs)
	case YOLOv5, YOLOX:
		return newObjectness(p, outputs)
	case EndToEnd:
		return newEndToEnd(p, outputs)
	case RTDETR, SSD:
		return newTables(p, outputs)
	case RFDETR:
		return newRFDETR(p, outputs)
	case YuNet:
		return newYuNet(p, outputs)
	default: // NanoDet: validate knows no other
		return newNanoDet(p, outputs)
	}
}

func (p Params) validate() error {
	if !slices.Contains(Families(), p.Family) {
		return fmt.Errorf("family %q is unknown; use one of: %s", p.Family, familiesText())
	}
	if p.Classes < 0 || p.Classes > ClassesLimit {
		return fmt.Errorf("%d classes: must be from 1 to %d, or 0 to take the number from the model", p.Classes, ClassesLimit)
	}
	for _, side := range [...]int{p.InputWidth, p.InputHeight} {
		if side < 1 || side > SideLimit {
			return fmt.Errorf("an input of %dx%d pixels: both sides must be from 1 to %d", p.InputWidth, p.InputHeight, SideLimit)
		}
	}
	if !(p.ScoreThreshold >= 0 && p.ScoreThreshold <= 1) { // also NaN
		return fmt.Errorf("a score threshold of %v: must be from 0 to 1", p.ScoreThreshold)
	}
	if !(p.IoUThreshold >= 0 && p.IoUThreshold <= 1) {
		return fmt.Errorf("an IoU threshold of %v: must be from 0 to 1", p.IoUThreshold)
	}
	if p.MaxDetections < 1 || p.MaxDetections > DetectionsLimit {
		return fmt.Errorf("at most %d detections: must be from 1 to %d", p.MaxDetections, DetectionsLimit)
	}
	if p.Decoded && p.Family != YOLOX {
		return fmt.Errorf("`decoded` is for family yolox only, this is %s: leave it out", p.Family)
	}
	return nil
}

// base is what all decoders share.
type base struct {
	classes   int
	first     int    // the number that the model itself gives the first class
	threshold uint32 // see thresholdBits
	iou       float32
	limit     int
	multi     bool       // see Params.MultiLabel
	unit      [2]float32 // what the model counts final boxes in, in pixels of the input: 1 or its sides
	bounds    bounds
	cands     candidates
	faults    faults
}

// newBase prepares for a head of so many rows, anyDim when only the run tells.
func newBase(p Params, classes int, rows int64) base {
	boxes := max(rows, 0)
	if p.MultiLabel && !p.Family.Final() {
		boxes *= int64(classes)
	}
	return base{
		classes:   classes,
		threshold: thresholdBits(p.ScoreThreshold),
		iou:       p.IoUThreshold,
		limit:     p.MaxDetections,
		multi:     p.MultiLabel,
		unit:      [2]float32{1, 1},
		bounds:    newBounds(p.InputWidth, p.InputHeight),
		cands:     newCandidates(int(min(boxes, 2*maxCandidates)), classes, p.MaxDetections),
	}
}

// Classes implements Decoder.
func (b *base) Classes() int { return b.classes }

// begin forgets the run before.
func (b *base) begin() {
	b.cands.reset()
	b.faults = faults{}
}

// finish is NMS and the tally of the run.
func (b *base) finish(dst []Detection) ([]Detection, error) {
	return b.cands.suppress(dst, b.iou, b.limit), b.faults.err(b.classes, b.first)
}

// finishFinal is finish without NMS.
func (b *base) finishFinal(dst []Detection) ([]Detection, error) {
	return b.cands.best(dst, b.limit), b.faults.err(b.classes, b.first)
}

// row is one place of a head that may see an object.
type row struct {
	scores []float32 // of class c at c*stride
	stride int
	weight float32 // objectness, 0..1; 1 in families without
	best   uint32  // bits of the best score, which reaches the threshold
	class  int     // its class
}

// score is the score of the row's best class; false when it is none to keep.
func (b *base) score(r *row) (float32, bool) {
	best, ok := b.faults.score01(r.best)
	best *= r.weight
	return best, ok && math.Float32bits(best) >= b.threshold
}

// add takes the row's candidates, all with the same box: its best class with the given score, or with MultiLabel
// all classes that reach the threshold.
func (b *base) add(box Box, score float32, r *row) {
	if !b.multi {
		b.cands.add(box, score, r.class)
		return
	}
	for c := range b.classes {
		// What is not finite was counted when the best was found, and nothing is above the best.
		bits := math.Float32bits(r.scores[c*r.stride])
		if bits < b.threshold || bits >= infBits {
			continue
		}
		if s := min(math.Float32frombits(bits), 1) * r.weight; math.Float32bits(s) >= b.threshold {
			b.cands.add(box, s, c)
		}
	}
}

// sound tells whether all four raw coordinates of a candidate are finite, and counts those that are not.
func (b *base) sound(v0, v1, v2, v3 float32) bool {
	before := b.faults.notFinite
	for _, v := range [...]float32{v0, v1, v2, v3} {
		if !finite(v) {
			b.faults.notFinite++
		}
	}
	return b.faults.notFinite == before
}

// only is the one output of a head that has one.
func only(f Family, outputs []TensorInfo) (pin, error) {
	if len(outputs) == 0 {
		return pin{}, fmt.Errorf("%s head has 1 output, this model has none; export it again", withArticle(f))
	}
	if len(outputs) != 1 {
		return pin{}, fmt.Errorf("%s head has 1 output, this model has %d: %s; export the detection head alone "+
			"(no masks, keypoints or raw feature maps), or check the manifest's `family`", withArticle(f), len(outputs), describeAll(outputs))
	}
	return bindPin(f, outputs, 0)
}

// agree is the number of classes by the shape, unless the labels say something else.
func agree(f Family, o TensorInfo, byShape int64, labelled int) (int, error) {
	if labelled != 0 && byShape != int64(labelled) {
		return 0, fmt.Errorf("output %s of %s head has %d classes, but the manifest's `labels` are %d; "+
			"give one label for each class, or check `family`", describe(o), withArticle(f), byShape, labelled)
	}
	if byShape > ClassesLimit {
		return 0, fmt.Errorf("output %s of %s head has %d classes, more than the %d that are supported; check `family`",
			describe(o), withArticle(f), byShape, ClassesLimit)
	}
	return int(byShape), nil
}
