package convert

import (
	"errors"
	"fmt"
	"math"

	"gnomon/models/onnx"
	"gnomon/third_party/nanodet/internal/tfjs"
)

// conv converts a Conv2D whose result no Add folds into it.
func (c *converter) conv(n *tfjs.Node) ([]*value, error) { return c.convolution(n, nil) }

// convolution converts Conv2D; bias has one number for each output channel, or is nil.
func (c *converter) convolution(n *tfjs.Node, bias []float32) ([]*value, error) {
	v, err := c.pictureInput(n)
	if err != nil {
		return nil, err
	}
	weight, err := c.constantInput(n, 1)
	if err != nil {
		return nil, err
	}
	if len(weight.Shape) != 4 || weight.Floats == nil {
		return nil, errors.New("its weights must be floating-point numbers with 4 axes: height, width, input and output channels")
	}
	if err := errors.Join(requireText(n, "data_format", "NHWC"), requireText(n, "padding", "VALID")); err != nil {
		return nil, err
	}
	strideH, strideW, err := window(n, "strides")
	if err != nil {
		return nil, err
	}
	dilationH, dilationW, err := window(n, "dilations")
	if err != nil {
		return nil, err
	}
	kernelH, kernelW, in, out := weight.Shape[0], weight.Shape[1], weight.Shape[2], weight.Shape[3]
	// TensorFlow has no attribute for groups: it divides the picture's channels by those of the weights.
	if in == 0 || out == 0 || v.shape[3]%in != 0 || out%(v.shape[3]/in) != 0 {
		return nil, fmt.Errorf("weights of shape %v do not fit a picture with %d channels", weight.Shape, v.shape[3])
	}
	h, err := slides(v.shape[1], kernelH, dilationH, strideH)
	if err != nil {
		return nil, err
	}
	w, err := slides(v.shape[2], kernelW, dilationW, strideW)
	if err != nil {
		return nil, err
	}
	name, pads := c.windowInput(v, func(number float32) bool { return number == 0 })
	conv := fmt.Sprintf("Conv_%d", c.counts["Conv"])
	inputs := []string{
		name,
		c.constant(onnx.Float32s(conv+".weight", []int64{int64(out), int64(in), int64(kernelH), int64(kernelW)}, outputsFirst(weight)...)),
	}
	if bias != nil {
		inputs = append(inputs, c.constant(onnx.Float32s(conv+".bias", []int64{int64(out)}, bias...)))
	}
	made := c.emit("Conv", inputs,
		onnx.Ints("dilations", int64(dilationH), int64(dilationW)),
		onnx.Int("group", int64(v.shape[3]/in)),
		onnx.Ints("kernel_shape", int64(kernelH), int64(kernelW)),
		onnx.Ints("pads", pads...),
		onnx.Ints("strides", int64(strideH), int64(strideW)),
	)
	return []*value{{name: made, shape: []int{v.shape[0], h, w, out}, perm: channelsFirst()}}, nil
}

// windowInput returns the name of a picture's channels-first tensor, and as ONNX's pads (top, left, bottom,
// right) the part of it that is padding, if the operator pads with that number by itself.
func (c *converter) windowInput(v *value, pads func(number float32) bool) (string, []int64) {
	if v.pad == nil || !v.pad.none(0, 3) || !pads(v.pad.number) {
		return c.arranged(v, channelsFirst()), []int64{0, 0, 0, 0}
	}
	before, after := v.pad.before, v.pad.after
	return c.unpadded(v, channelsFirst()), []int64{int64(before[1]), int64(before[2]), int64(after[1]), int64(after[2])}
}

// outputsFirst reorders weights from height, width, input, output to output, input, height, width.
func outputsFirst(t *tfjs.Tensor) []float32 {
	area, in, out := t.Shape[0]*t.Shape[1], t.Shape[2], t.Shape[3]
	turned := make([]float32, len(t.Floats))
	for p := range area {
		for i := range in {
			for o := range out {
				turned[(o*in+i)*area+p] = t.Floats[(p*in+i)*out+o]
			}
		}
	}
	return turned
}

// maxPool converts MaxPool.
func (c *converter) maxPool(n *tfjs.Node) ([]*value, error) {
	v, err := c.pictureInput(n)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(requireText(n, "data_format", "NHWC"), requireText(n, "padding", "VALID")); err != nil {
		return nil, err
	}
	kernelH, kernelW, err := window(n, "ksize")
	if err != nil {
		return nil, err
	}
	strideH, strideW, err := window(n, "strides")
	if err != nil {
		return nil, err
	}
	h, err := slides(v.shape[1], kernelH, 1, strideH)
	if err != nil {
		return nil, err
	}
	w, err := slides(v.shape[2], kernelW, 1, strideW)
	if err != nil {
		return nil, err
	}
	name, pads := c.windowInput(v, func(number float32) bool {
		// A window that sees padding only has no maximum; runtimes refuse such pads.
		inside := max(v.pad.before[1], v.pad.after[1]) < kernelH && max(v.pad.before[2], v.pad.after[2]) < kernelW
		return math.IsInf(float64(number), -1) && inside
	})
	made := c.emit("MaxPool", []string{name},
		onnx.Ints("kernel_shape", int64(kernelH), int64(kernelW)),
		onnx.Ints("pads", pads...),
		onnx.Ints("strides", int64(strideH), int64(strideW)),
	)
	return []*value{{name: made, shape: []int{v.shape[0], h, w, v.shape[3]}, perm: channelsFirst()}}, nil
}

// resize converts ResizeBilinear with centres at half pixels. ONNX's linear mode computes the same: neither
// smooths when it makes a picture smaller.
func (c *converter) resize(n *tfjs.Node) ([]*value, error) {
	v, err := c.pictureInput(n)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(requireBool(n, "half_pixel_centers", true), requireBool(n, "align_corners", false)); err != nil {
		return nil, err
	}
	size, err := c.intsInput(n, 1)
	if err != nil {
		return nil, err
	}
	if len(size) != 2 || min(size[0], size[1]) < 1 || max(size[0], size[1]) > largestSide {
		return nil, fmt.Errorf("the new size must be a height and a width between 1 and %d, it is %v", largestSide, size)
	}
	sizes := []int64{int64(v.shape[0]), int64(v.shape[3]), int64(size[0]), int64(size[1])}
	name := fmt.Sprintf("Resize_%d.sizes", c.counts["Resize"])
	made := c.emit("Resize",
		[]string{c.arranged(v, channelsFirst()), "", "", c.constant(onnx.Int64s(name, []int64{4}, sizes...))},
		onnx.String("coordinate_transformation_mode", "half_pixel"),
		onnx.String("mode", "linear"),
	)
	return []*value{{name: made, shape: []int{v.shape[0], size[0], size[1], v.shape[3]}, perm: channelsFirst()}}, nil
}
