package detect

import (
	"fmt"
	"slices"
)

// symbolicRowsLimit is where a first dimension stops being a count of classes when the second is symbolic: it may
// then be the rows of another family.
const symbolicRowsLimit = 1000

// GuessFamily tells the family of a model by the names and shapes of all its outputs, and why. It returns an error that says
// what to write in the manifest where two families have the same shape, and one that lists the shapes and the
// families where none has. The guess is about the layout only: yolov5 and yolox in particular differ in nothing
// that a shape shows.
func GuessFamily(outputs []TensorInfo) (f Family, why string, err error) {
	if len(outputs) == 0 {
		return "", "", fmt.Errorf("the model has no outputs, so it is no detector; known families: %s", familiesText())
	}
	if f, why := guessByName(outputs); f != "" {
		return f, why, nil
	}
	if i, ok := besideFeatureMaps(outputs); ok {
		return YOLOv5, fmt.Sprintf("%s beside its raw feature maps", describe(outputs[i])), nil
	}
	if len(outputs) == 1 && len(outputs[0].Shape) == 3 {
		return guessSingle(outputs[0])
	}
	if nanoByShape(outputs) {
		return NanoDet, fmt.Sprintf("outputs pair up as class scores and distance bins: %s", describeAll(outputs)), nil
	}
	return "", "", unknownHead(outputs)
}

// guessByName guesses by the names that exporters give several outputs; "" for none. Others give some of the same names
// to outputs of other forms, so the dimensions have to be right as well.
func guessByName(outputs []TensorInfo) (f Family, why string) {
	// has tells whether an output has so many dimensions and the last of them is such.
	has := func(name string, rank int, last int64) bool {
		i, _ := byName(outputs, name)
		s := outputs[i].Shape
		return len(s) == rank && (last == anyDim || s[rank-1] == last || s[rank-1] == anyDim)
	}
	ssd := tableNames(SSD)
	switch {
	case named(outputs, "labels", "boxes", "scores") && has("labels", 2, anyDim) && has("boxes", 3, 4) && has("scores", 2, anyDim):
		return RTDETR, "RT-DETR and D-FINE call their outputs labels, boxes and scores, with these dimensions"
	case named(outputs, "dets", "labels") && has("dets", 3, 4) && has("labels", 3, anyDim):
		return RFDETR, "RF-DETR calls its outputs dets and labels, with these dimensions"
	case looksYuNet(outputs):
		return YuNet, "YuNet calls its outputs cls, obj and bbox, with the strides 8, 16 and 32"
	case allNamed(outputs, ssd[:]...): // there may be more: the boxes before NMS
		return SSD, "TensorFlow's detectors call their outputs detection_boxes, detection_classes and detection_scores"
	}
	return "", ""
}

// guessSingle guesses by the only output, (1, a, b).
func guessSingle(o TensorInfo) (Family, string, error) {
	a, b := o.Shape[1], o.Shape[2]
	switch {
	case looksFinal(a, b):
		return EndToEnd, fmt.Sprintf("%s is at most %d rows of x1 y1 x2 y2 score class", describe(o), finalRowsLimit), nil
	case b == finalWidth && a == anyDim:
		return "", "", fmt.Errorf("output %s may be an end-to-end head, or a yolov5 or yolox head of one class; "+
			"write `family: end-to-end`, `family: yolov5` or `family: yolox` in the manifest", describe(o))
	case a > 4 && (a < b || b == anyDim && a <= symbolicRowsLimit):
		return YOLOv8, fmt.Sprintf("%s is 4 rows of boxes and %d of class scores", describe(o), a-4), nil
	case b == 5 && a > b:
		return YOLOv8, fmt.Sprintf("%s is rows of a box and 1 class score", describe(o)), nil
	case b > 5 && (a > b || a == anyDim):
		return "", "", fmt.Errorf("output %s fits yolov5 and yolox alike; write `family: yolov5` or `family: yolox` in the "+
			"manifest (or the family it is, if that is another)", describe(o))
	}
	return "", "", unknownHead([]TensorInfo{o})
}

// nanoByShape tells whether the outputs pair up as a nanodet head whose bins have a usual width.
func nanoByShape(outputs []TensorInfo) bool {
	if len(outputs) < 2 || slices.ContainsFunc(outputs, func(o TensorInfo) bool { return len(o.Shape) != 3 }) {
		return false
	}
	pairs, ok := nanoPairs(outputs)
	if !ok {
		return false
	}
	w := nanoWidthsOf(outputs, pairs[0])
	return w[0] > 0 && (usualBins(w[0]) || usualBins(w[1]))
}

// unknownHead says what was seen, and its name where it is a head that many will try.
func unknownHead(outputs []TensorInfo) error {
	var hint string
	switch {
	case named(outputs, "boxes", "labels", "scores"):
		hint = " (RT-DETR and D-FINE have these names, but with a batch in front: [1,n], [1,n,4], [1,n])"
	case named(outputs, "dets", "labels"):
		hint = " (RF-DETR has these names, but as [1,n,4] and [1,n,classes])"
	case named(outputs, "logits", "pred_boxes"):
		hint = " (this looks like a DETR as Transformers exports it; an RT-DETR or D-FINE among them can be read with " +
			"`family: rfdetr`, `mean: 0` and `std: 1`)"
	case named(outputs, "loc", "conf", "iou"):
		hint = " (this looks like YuNet of 2022; use that of 2023 or later)"
	case slices.ContainsFunc(outputs, func(o TensorInfo) bool { return len(o.Shape) == 4 }):
		hint = " (this looks like a segmentation model or raw feature maps)"
	}
	return fmt.Errorf("the outputs %s are those of no known family%s; known families: %s; export the model as one of them, "+
		"or write `family: ...` in the manifest if it is one", describeAll(outputs), hint, familiesText())
}

// named tells whether the outputs have just these names, in any order.
func named(outputs []TensorInfo, names ...string) bool {
	return len(outputs) == len(names) && allNamed(outputs, names...)
}

// ClassesFromShape is the number of classes of a model of family f by the shapes of all its outputs; 0 where they
// do not tell: end-to-end, rtdetr and ssd always, the others where a dimension is symbolic or two readings are possible. It
// returns an error when the outputs cannot be those of the family.
func ClassesFromShape(f Family, outputs []TensorInfo) (int, error) {
	switch f {
	case YOLOv8:
		o, err := only(f, outputs)
		if err != nil {
			return 0, err
		}
		return yolov8Classes(outputs[o.index])
	case YOLOv5, YOLOX:
		o, err := objectnessPin(f, outputs)
		if err != nil {
			return 0, err
		}
		if o.dims[1] == anyDim {
			return 0, nil
		}
		return objectnessClasses(f, outputs[o.index], 0)
	case NanoDet:
		h, err := nanoHeadOf(outputs, 0)
		if err != nil {
			return 0, err
		}
		return agree(f, outputs[h.pairs[0].scores], h.classes, 0)
	case EndToEnd:
		_, err := endToEndPin(outputs)
		return 0, err
	case RTDETR, SSD:
		_, err := new(tables).bind(f, outputs)
		return 0, err
	case RFDETR:
		h, err := rfdetrHeadOf(outputs)
		if err != nil || h.labels.dims[1] == anyDim {
			return 0, err
		}
		return agree(f, outputs[h.labels.index], h.labels.dims[1], 0)
	case YuNet:
		for _, stride := range yunetStrides() {
			if _, err := bindYuNet(outputs, stride); err != nil {
				return 0, err
			}
		}
		return 1, nil
	}
	return 0, fmt.Errorf("family %q is unknown; use one of: %s", f, familiesText())
}

// yolov8Classes reads a yolov8 shape without knowing the input: the longer dimension is the boxes.
func yolov8Classes(o TensorInfo) (int, error) {
	a, b := o.Shape[1], o.Shape[2]
	switch {
	case a != anyDim && a < 5 && b != anyDim && b < 5:
		return 0, fmt.Errorf("output %s does not fit a yolov8 head, which is (1, 4+classes, n); check the manifest's `family`", describe(o))
	case a > 4 && (a < b || b == anyDim && a <= symbolicRowsLimit):
		return agree(YOLOv8, o, a-4, 0)
	case b > 4 && a > b && !looksFinal(a, b):
		return agree(YOLOv8, o, b-4, 0)
	}
	return 0, nil
}
