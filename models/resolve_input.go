package models

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
	"gnomon/models/onnx"
)

// input settles which tensor takes the picture, and its layout, size and type.
func (r *resolver) input(info *onnx.Info) error {
	in, err := r.picture(tensorInfos(info.Inputs))
	if err != nil {
		return err
	}
	s := r.spec
	s.InputName = in.Name
	why := "the only input"
	if r.sizes {
		why = "the only input beside " + detect.SizesInput
	}
	r.origin("input.name", in.Name, FromShape, why)
	if r.m.Input.Name != "" {
		if r.m.Input.Name != in.Name {
			r.problems.Addf("input.name", "is %q, but the model's input is called %q", r.m.Input.Name, in.Name)
		}
		r.origin("input.name", in.Name, FromManifest, "")
	}
	if len(in.Shape) != 4 {
		return fmt.Errorf("the model's input %q has the shape %s, and a picture needs 4 dimensions (batch, channels, height, width): export the model with a picture as its input", in.Name, shapeText(in.Shape))
	}
	if in.Shape[0] != 1 && in.Shape[0] != -1 {
		return fmt.Errorf("the model takes batches of %d pictures (input %q %s): export it with a batch of 1 or a dynamic one", in.Shape[0], in.Name, shapeText(in.Shape))
	}
	if err := r.inputType(in); err != nil {
		return err
	}
	if err := r.layout(in); err != nil {
		return err
	}
	return r.size(in)
}

// picture is the input for the picture. The only other input that gnomon knows what to feed is that of the sizes.
func (r *resolver) picture(inputs []detect.TensorInfo) (detect.TensorInfo, error) {
	pictures := slices.DeleteFunc(slices.Clone(inputs), detect.IsSizes)
	r.sizes = len(pictures) < len(inputs)
	switch len(pictures) {
	case 0:
		return detect.TensorInfo{}, errors.New("the model has no input to put a picture in")
	case 1:
		return pictures[0], nil
	}
	names := make([]string, len(inputs))
	for i, in := range inputs {
		names[i] = fmt.Sprintf("%q", in.Name)
	}
	but := ""
	if slices.ContainsFunc(pictures, func(in detect.TensorInfo) bool { return in.Name == detect.SizesInput }) {
		but = " (" + detect.SizesInput + " would be fed too if it were int64 [1,2])"
	}
	return detect.TensorInfo{}, fmt.Errorf("the model has %d inputs (%s), and gnomon feeds one, the picture: export the model so that it needs nothing else%s", len(inputs), strings.Join(names, ", "), but)
}

// checkSizes compares the inputs with the family: without the sizes nothing says what the boxes of rtdetr are in, and
// in the other families nothing says what the sizes are for.
func (r *resolver) checkSizes() error {
	f := r.spec.Family
	var err error
	switch {
	case f == detect.RTDETR && !r.sizes:
		err = fmt.Errorf("it has no input %s (int64, [1,2]), so nothing says whether its boxes are in pixels: export it with its postprocessor, as the family's export_onnx.py does", detect.SizesInput)
	case f != detect.RTDETR && r.sizes:
		err = fmt.Errorf("it has an input %s, which only models of family %s have: export it without", detect.SizesInput, detect.RTDETR)
	default:
		return nil
	}
	if r.m.Family != "" {
		return r.unfit(err)
	}
	return fmt.Errorf("read it as %s, by its %s: %w", f, r.spec.Origins["family"].Where, err) // no manifest would help
}

func (r *resolver) inputType(in detect.TensorInfo) error {
	switch in.Type {
	case detect.Float32, detect.Float16, detect.Uint8:
	default:
		return fmt.Errorf("the model's input %q holds elements of %s, and gnomon fills float32, float16 and uint8: export the model with one of these", in.Name, elementText(in.Type))
	}
	r.spec.Type = in.Type
	r.origin("input.type", in.Type, FromShape, "the input's element type")
	if t := r.m.Input.Type; t != "" {
		if t != in.Type {
			r.problems.Addf("input.type", "is %s, but the model's input %q is %s", t, in.Name, in.Type)
		}
		r.origin("input.type", t, FromManifest, "")
	}
	return nil
}

// layout settles where the 3 colour channels are.
func (r *resolver) layout(in detect.TensorInfo) error {
	const channels = 3
	could := map[Layout]bool{
		NCHW: in.Shape[1] == channels || in.Shape[1] == -1,
		NHWC: in.Shape[3] == channels || in.Shape[3] == -1,
	}
	if !could[NCHW] && !could[NHWC] {
		return fmt.Errorf("the model's input %q has the shape %s, and neither its second nor its last dimension is 3, the colour channels that gnomon feeds: export the model for colour pictures", in.Name, shapeText(in.Shape))
	}
	s := r.spec
	if l := r.m.Input.Layout; l != "" {
		if !could[l] {
			r.problems.Addf("input.layout", "is %s, but the model's input %q has the shape %s", l, in.Name, shapeText(in.Shape))
		}
		s.Layout = l
		r.origin("input.layout", l, FromManifest, "")
		return nil
	}
	switch {
	case in.Shape[1] == channels, !could[NHWC]:
		s.Layout = NCHW
		r.origin("input.layout", NCHW, FromShape, "the second dimension is 3")
	case in.Shape[3] == channels:
		s.Layout = NHWC
		r.origin("input.layout", NHWC, FromShape, "the last dimension is 3")
	default:
		s.Layout = NCHW
		r.origin("input.layout", NCHW, FromFamily, "the dimensions are symbolic")
		r.unclear("the order of the input's dimensions is assumed to be nchw: write input: {layout: nchw} or nhwc")
	}
	return nil
}

// size settles the input's width and height.
func (r *resolver) size(in detect.TensorInfo) error {
	height, width := in.Shape[2], in.Shape[3]
	if r.spec.Layout == NHWC {
		height, width = in.Shape[1], in.Shape[2]
	}
	man := r.m.Input
	var err error
	r.spec.Width, err = r.side(in, "input.width", width, man.Width, r.md.width)
	if err != nil {
		return err
	}
	r.spec.Height, err = r.side(in, "input.height", height, man.Height, r.md.height)
	return err
}

// side settles one side of the input: fixed by the shape, else said by the manifest, else by the metadata.
func (r *resolver) side(in detect.TensorInfo, key string, byShape int64, byManifest, byMetadata int) (int, error) {
	switch {
	case byShape > maxSide || byShape == 0:
		return 0, fmt.Errorf("the model's input %q has the shape %s; its sides must be from 1 to %d pixels", in.Name, shapeText(in.Shape), maxSide)
	case byShape > 0:
		side := int(byShape)
		if byManifest != 0 && byManifest != side {
			r.problems.Addf(key, "is %d, but the model's input %q takes %d (%s %s)", byManifest, in.Name, side, r.spec.Layout, shapeText(in.Shape))
		}
		if byMetadata != 0 && byMetadata != side {
			r.unclear("the metadata key imgsz says that %s is %d, but the model's shape says %d, which is used", key, byMetadata, side)
		}
		if byManifest != 0 {
			r.origin(key, side, FromManifest, "")
		} else {
			r.origin(key, side, FromShape, "the input's dimensions")
		}
		return side, nil
	case byManifest != 0:
		if r.md.stride > 1 && byManifest%r.md.stride != 0 {
			r.problems.Addf(key, "is %d, but must be a multiple of the model's stride, %d", byManifest, r.md.stride)
		}
		r.origin(key, byManifest, FromManifest, "")
		return byManifest, nil
	case byMetadata != 0:
		r.origin(key, byMetadata, FromMetadata, "imgsz")
		return byMetadata, nil
	}
	return 0, undecided{fmt.Errorf("the model takes pictures of any size (input %q %s): write in the manifest which to use, for example input: {width: 640, height: 640}", in.Name, shapeText(in.Shape))}
}

// preprocessing settles what happens to a picture before the model sees it.
func (r *resolver) preprocessing() error {
	s, m, d := r.spec, r.m, defaultsOf(r.spec.Family)
	if s.Type == detect.Uint8 {
		// A model that takes bytes normalises them itself.
		d.scale, d.mean, d.std = 1, [3]float32{}, [3]float32{1, 1, 1}
		if m.Scale != nil && *m.Scale != 1 {
			r.problems.Addf("scale", "is %v, but the model's input takes bytes (uint8) as they are; remove it", *m.Scale)
		}
		if m.Mean != nil && *m.Mean != (Channels{}) {
			r.problems.Addf("mean", "is set, but the model's input takes bytes (uint8) as they are; remove it")
		}
		if m.Std != nil && *m.Std != (Channels{1, 1, 1}) {
			r.problems.Addf("std", "is set, but the model's input takes bytes (uint8) as they are; remove it")
		}
	}
	s.Color = choose(r, "color", word(m.Color), d.color, func(c Color) string { return string(c) })
	s.Scale = choose(r, "scale", m.Scale, d.scale, scaleText)
	if isByteScale(s.Scale) {
		s.Scale = byteScale // exactly: quantised models notice the last bit of their input
	}
	s.Mean = choose(r, "mean", (*[3]float32)(m.Mean), d.mean, plain[float32])
	s.Std = choose(r, "std", (*[3]float32)(m.Std), d.std, plain[float32])
	s.Resize = choose(r, "resize", word(m.Resize), d.resize, func(l letterbox.Mode) string { return string(l) })
	s.Pad = choose(r, "pad", (*[3]uint8)(m.Pad), d.pad, plain[uint8])
	if s.Family == detect.NanoDet && m.Resize == "" {
		r.unclear("NanoDet models are trained on stretched pictures, which is assumed here; if this one was tested with bars instead, write resize: letterbox and pad: 0")
	}
	if s.Family != detect.YOLOX {
		if m.Decoded != nil {
			r.problems.Addf("decoded", "is for family yolox only, and this model is %s; remove it", s.Family)
		}
		return nil
	}
	if m.Decoded == nil {
		r.unclear("the boxes are assumed to be raw, as YOLOX exports them; if the model was exported with decoding inside, write decoded: true")
	}
	s.Decoded = choose(r, "decoded", m.Decoded, false, func(b bool) string { return fmt.Sprint(b) })
	return nil
}

// thresholds settles what counts as found.
func (r *resolver) thresholds() error {
	s, m, d := r.spec, r.m, defaultsOf(r.spec.Family)
	if s.Family.Final() && m.IoUThreshold != nil {
		r.problems.Addf("iou_threshold", "has no use with family %s, whose boxes are final; remove it", s.Family)
	}
	number := func(v float32) string { return fmt.Sprint(v) }
	s.ScoreThreshold = choose(r, "score_threshold", m.ScoreThreshold, d.score, number)
	s.IoUThreshold = choose(r, "iou_threshold", m.IoUThreshold, d.iou, number)
	s.MaxDetections = choose(r, "max_detections", m.MaxDetections, maxDetections, func(n int) string { return fmt.Sprint(n) })
	return nil
}

// byteScale makes 0..1 of a byte.
const byteScale = 1.0 / 255

// isByteScale recognises byteScale however many digits somebody wrote: four and more.
func isByteScale(v float64) bool { return math.Abs(v/byteScale-1) < 1e-3 }

// scaleText writes the one scale that nobody recognises in decimal as what it is.
func scaleText(v float64) string {
	if isByteScale(v) {
		return "1/255"
	}
	return fmt.Sprint(v)
}

// shapeText is a shape as [1,3,?,?], or "unknown".
func shapeText(shape []int64) string {
	if shape == nil {
		return "unknown"
	}
	parts := make([]string, len(shape))
	for i, d := range shape {
		parts[i] = fmt.Sprint(d)
		if d < 0 {
			parts[i] = "?"
		}
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func elementText(t detect.ElementType) string {
	if t == "" {
		return "an unknown type"
	}
	return string(t)
}
