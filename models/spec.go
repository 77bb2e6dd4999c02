package models

import (
	"fmt"

	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// Spec is everything there is to know about reading a model: the manifest, the metadata, the shapes and the family's
// defaults in one. It is immutable once Resolve has returned it.
type Spec struct {
	Name    string // for people and messages
	Version string
	Release int64 // counts up with the model's releases; 0 when the manifest does not say
	Licence string

	InputName     string
	Width, Height int    // of the input, in pixels
	Layout        Layout // of the input's dimensions
	Type          detect.ElementType
	Color         Color
	Scale         float64        // a byte v becomes (v*Scale - Mean) / Std
	Mean, Std     [3]float32     // in the order of Color
	Resize        letterbox.Mode // how a picture is fitted into the input
	Pad           [3]uint8       // what the picture does not cover, in the order of Color

	Family         detect.Family
	Decoded        bool     // yolox: the grid is applied inside the model
	Labels         []string // by class; empty when neither names nor the number of classes are known
	Classes        int      // 0 when only the detections will tell (without labels: end-to-end, rtdetr and ssd)
	ScoreThreshold float32  // 0..1
	IoUThreshold   float32  // 0..1, of NMS
	MaxDetections  int      // in a picture

	// Providers are the execution providers to run it on, in order of preference; empty: the device decides.
	Providers []string

	// Origins says for each key of the manifest (input.width, labels, …), and for classes, where its value is from.
	Origins map[string]Origin
	// Unclear are sentences about what was assumed or ignored; each says what to write in the manifest to settle it.
	Unclear []string
}

// Origin is where a value of a Spec came from.
type Origin struct {
	Value string // as text for people
	Where Where
	Why   string // what in that place decided, may be empty
}

// Where is a source of knowledge about a model.
type Where string

// The sources, in the order in which they are asked.
const (
	FromManifest Where = "manifest"
	FromMetadata Where = "metadata"
	FromShape    Where = "shape"
	FromFamily   Where = "family default"
	FromFile     Where = "file" // the file's name or digest
)

// Params is what the model's decoder needs.
func (s *Spec) Params() detect.Params {
	return detect.Params{
		Family:         s.Family,
		Classes:        s.Classes,
		InputWidth:     s.Width,
		InputHeight:    s.Height,
		ScoreThreshold: s.ScoreThreshold,
		IoUThreshold:   s.IoUThreshold,
		MaxDetections:  s.MaxDetections,
		Decoded:        s.Decoded,
	}
}

// maxDetections is the default of max_detections: what the YOLO families keep of a picture.
const maxDetections = 300

// defaults is how a family wants its input, and the thresholds of its own demo.
type defaults struct {
	color      Color
	scale      float64
	mean, std  [3]float32
	resize     letterbox.Mode
	pad        [3]uint8
	score, iou float32
}

// defaultsOf is the table in docs/models.md. The thresholds are those that the families' own demo programs start with.
func defaultsOf(f detect.Family) defaults {
	d := defaults{color: RGB, scale: 1.0 / 255, std: [3]float32{1, 1, 1}, resize: letterbox.Center, pad: [3]uint8{114, 114, 114}, score: 0.25, iou: 0.45}
	switch f {
	case detect.YOLOv8:
		d.iou = 0.7
	case detect.RTDETR:
		d.resize, d.pad, d.score = letterbox.Stretch, [3]uint8{}, 0.6
	case detect.RFDETR:
		d.resize, d.pad, d.score = letterbox.Stretch, [3]uint8{}, 0.5
		d.mean, d.std = [3]float32{0.485, 0.456, 0.406}, [3]float32{0.229, 0.224, 0.225}
	case detect.SSD:
		d.scale, d.resize, d.pad, d.score = 1, letterbox.Stretch, [3]uint8{}, 0.5
	case detect.YuNet:
		d.color, d.scale, d.resize, d.pad = BGR, 1, letterbox.TopLeft, [3]uint8{}
		d.score, d.iou = 0.9, 0.3
	case detect.YOLOX:
		d.color, d.scale, d.resize, d.score = BGR, 1, letterbox.TopLeft, 0.3
	case detect.NanoDet:
		d.color, d.scale, d.resize, d.pad = BGR, 1, letterbox.Stretch, [3]uint8{}
		d.mean, d.std = [3]float32{103.53, 116.28, 123.675}, [3]float32{57.375, 57.12, 58.395}
		d.score, d.iou = 0.35, 0.6
	}
	if f.Final() {
		d.iou = 1 // none is suppressed
	}
	return d
}

// plain writes the same three numbers as one, and others side by side.
func plain[T comparable](v [3]T) string {
	if v[0] == v[1] && v[1] == v[2] {
		return fmt.Sprint(v[0])
	}
	return fmt.Sprintf("%v %v %v", v[0], v[1], v[2])
}
