// Package detect turns the output tensors of a detector into boxes: one decoder per model family, non-maximum
// suppression, and the rule that tells families apart by the shapes of their outputs.
//
// It is pure Go, imports nothing of gnomon, and works in the pixels of the model's input; mapping boxes back to
// the source picture is engine/letterbox's work.
package detect

// Box is an axis-aligned rectangle by its corners, in pixels, X1 <= X2 and Y1 <= Y2. Pixel edges, not centres:
// a box that covers the whole of a 640x480 picture is {0, 0, 640, 480}.
type Box struct {
	X1, Y1, X2, Y2 float32
}

// Width is the horizontal extent in pixels.
func (b Box) Width() float32 { return b.X2 - b.X1 }

// Height is the vertical extent in pixels.
func (b Box) Height() float32 { return b.Y2 - b.Y1 }

// Area is the area in square pixels; 0 for a degenerate box.
func (b Box) Area() float32 {
	if b.X2 <= b.X1 || b.Y2 <= b.Y1 {
		return 0
	}
	return b.Width() * b.Height()
}

// IoU is the intersection over union of two boxes, in 0..1; 0 when either is degenerate.
func (b Box) IoU(o Box) float32 {
	w := min(b.X2, o.X2) - max(b.X1, o.X1)
	h := min(b.Y2, o.Y2) - max(b.Y1, o.Y1)
	if w <= 0 || h <= 0 {
		return 0
	}
	inter := w * h
	union := b.Area() + o.Area() - inter
	if union <= 0 {
		return 0
	}
	return inter / union
}

// Detection is one found object.
type Detection struct {
	Box     Box
	Score   float32 // confidence in 0..1
	ClassID int     // index into the model's labels, from 0
}

// Tensor is a read-only view of one output of a model: row-major float32 values. The memory belongs to the
// session and is overwritten by its next run.
type Tensor struct {
	Name  string
	Shape []int64
	Data  []float32
}

// TensorInfo describes an input or output before any run. A dimension of -1 is symbolic (unknown until run time).
type TensorInfo struct {
	Name  string
	Shape []int64
	Type  ElementType
}

// ElementType is the type of a tensor's elements, named as ONNX names them.
type ElementType string

// The element types that detectors use.
const (
	Float32 ElementType = "float32"
	Float16 ElementType = "float16"
	Uint8   ElementType = "uint8"
	Int8    ElementType = "int8"
	Int32   ElementType = "int32"
	Int64   ElementType = "int64"
)

// Family names a way of laying out a detector's outputs.
type Family string

// The families. See docs/models.md for what each expects and yields.
const (
	YOLOv5   Family = "yolov5"     // (1, n, 5+nc): cxcywh in pixels, objectness times class
	YOLOv8   Family = "yolov8"     // (1, 4+nc, n): transposed, no objectness; v8, v9, 11, 26 one-to-many
	EndToEnd Family = "end-to-end" // (1, n, 6): x1 y1 x2 y2 score class, final; v10, 26, any export with NMS inside
	YOLOX    Family = "yolox"      // (1, n, 5+nc): raw grid offsets at strides 8, 16, 32, objectness times class
	NanoDet  Family = "nanodet"    // per stride: class scores and 4*(reg_max+1) distance bins
	RTDETR   Family = "rtdetr"     // labels (1, n), boxes (1, n, 4), scores (1, n), final; RT-DETR, D-FINE
	RFDETR   Family = "rfdetr"     // dets (1, n, 4), labels (1, n, nc): boxes from 0 to 1 and logits, no NMS
	YuNet    Family = "yunet"      // faces; per stride: class, objectness, offsets in a grid cell
	SSD      Family = "ssd"        // TensorFlow's detection_boxes, _classes, _scores and num_detections, final
)

// Families lists all families, in the order in which help texts show them.
func Families() []Family {
	return []Family{YOLOv8, YOLOv5, EndToEnd, YOLOX, NanoDet, RTDETR, RFDETR, YuNet, SSD}
}

// Final tells whether the family's boxes go through no NMS: the model has done it, or was trained to need none.
func (f Family) Final() bool {
	return f == EndToEnd || f == RTDETR || f == RFDETR || f == SSD
}

// SizesInput is the name of the second input of RTDETR models, int64 (batch, 2): width and height in pixels of the
// picture that boxes shall be in. It is given the size of the model's own input, so boxes come as those of every other
// family do. Source: export_onnx.py of RT-DETR and of D-FINE.
const SizesInput = "orig_target_sizes"

// IsSizes tells whether an input is that of the sizes.
func IsSizes(in TensorInfo) bool {
	batch := func(d int64) bool { return d == 1 || d == anyDim }
	return in.Name == SizesInput && in.Type == Int64 && len(in.Shape) == 2 && batch(in.Shape[0]) &&
		(in.Shape[1] == 2 || in.Shape[1] == anyDim)
}

// Limits on Params. They bound the memory that a decoder takes before it has seen a picture.
const (
	// ClassesLimit is the largest number of classes: three times the largest label set in use (21,841 of ImageNet).
	ClassesLimit = 65535
	// DetectionsLimit is the largest MaxDetections: more than the densest pictures of the public aerial sets hold.
	// It also bounds the work of NMS, which compares each candidate with at most so many kept boxes.
	DetectionsLimit = 3000
	// SideLimit is the largest side of a model's input, in pixels.
	SideLimit = 1 << 15
)

// Params is what a decoder needs to know besides the outputs' shapes.
type Params struct {
	Family         Family
	Classes        int     // number of classes, at most ClassesLimit; 0: take it from the shapes
	InputWidth     int     // pixels of the model's input, 1..SideLimit
	InputHeight    int     // pixels of the model's input, 1..SideLimit
	ScoreThreshold float32 // detections below are dropped, 0..1; at 0 those with a score of 0 still are
	IoUThreshold   float32 // NMS: boxes of one class overlapping more than this are the same object, 0..1
	MaxDetections  int     // at most this many a picture, best first, 1..DetectionsLimit
	Decoded        bool    // yolox: exported with the grid already applied (cxcywh in pixels)
	// MultiLabel makes every class of a row that reaches the threshold a candidate, not the best one alone: one
	// object may then be reported under several labels. It is for measuring average precision, which is usually
	// counted this way and comes out about 0.01 lower without. Families that are Final do as they do anyway.
	MultiLabel bool
}

// Decoder turns the outputs of one run into detections. It keeps scratch memory: one goroutine at a time.
type Decoder interface {
	// Decode appends this run's detections to dst and returns it: sorted by score, best first, ties in the order
	// of the model's rows (strides ascending where there is a tensor for each) and then of the classes. Boxes are
	// in pixels of the model's input and not clipped to it, though cut where they reach more than four input sides
	// beyond it; boxes without area are left out. After the first few runs it does not allocate as long as dst has
	// room. It keeps no reference to outputs or dst.
	//
	// outputs are those of one run, in the order of the TensorInfos that NewDecoder got; outputs that do not have
	// the shapes promised there, or less data than their shape says, are an error and dst comes back as it was.
	//
	// Values that are not finite never become detections; a run in which any score was NaN or infinite, or a
	// coordinate of a box worth keeping, returns an error that wraps ErrNotFinite along with the detections that
	// were sound. ErrClassRange and ErrScoreRange work the same way. Scores that decide nothing, as those of the
	// classes where the objectness is already below the threshold, are not looked at.
	Decode(outputs []Tensor, dst []Detection) ([]Detection, error)

	// Classes is the number of classes the decoder settled on: every ClassID is below it. 0: the family's shapes
	// do not tell (end-to-end, rtdetr, ssd) and Params.Classes did not say.
	Classes() int
}
