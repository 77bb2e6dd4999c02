package convert

import (
	"errors"
	"fmt"
	"slices"

	"gnomon/models/onnx"
	"gnomon/third_party/nanodet/internal/tfjs"
)

// value is an output of a TensorFlow node and what became of it. All its axes are in TensorFlow's order unless
// the text says ONNX.
type value struct {
	shape []int
	// constant is the content of a value that does not depend on the model's input; such a value has no other
	// fields than the shape and is written into the ONNX graph by those who use it.
	constant *tfjs.Tensor

	name string   // of the ONNX tensor, without the padding below
	perm []int    // axis i is axis perm[i] of the ONNX tensor
	pad  *padding // not applied yet; the shape counts it; nil for none

	made map[string]string // names of ONNX tensors made of this one, by what was asked for
}

// padding surrounds a value with a number.
type padding struct {
	before, after []int
	number        float32
}

// none reports whether nothing is added along the given axes.
func (p *padding) none(axes ...int) bool {
	for _, axis := range axes {
		if p.before[axis] != 0 || p.after[axis] != 0 {
			return false
		}
	}
	return true
}

// rename follows a tensor that got another name.
func (v *value) rename(from, to string) {
	if v.name == from {
		v.name = to
	}
	for what, name := range v.made {
		if name == from {
			v.made[what] = to
		}
	}
}

// once returns the tensor made earlier for the same wish, or makes it.
func (v *value) once(wish string, build func() string) string {
	if name, done := v.made[wish]; done {
		return name
	}
	if v.made == nil {
		v.made = map[string]string{}
	}
	v.made[wish] = build()
	return v.made[wish]
}

// identity is the order of axes that changes nothing.
func identity(rank int) []int {
	perm := make([]int, rank)
	for i := range perm {
		perm[i] = i
	}
	return perm
}

// channelsFirst is the perm of a channels-last picture that lies channels-first: batch, channels, height, width.
func channelsFirst() []int { return []int{0, 2, 3, 1} }

// padded returns the name of the ONNX tensor with the padding applied, still in the order v.perm.
func (c *converter) padded(v *value) string {
	if v.pad == nil {
		return v.name
	}
	return v.once("padded", func() string {
		rank := len(v.perm)
		pads := make([]int64, 2*rank) // all the beginnings, then all the ends
		for i, axis := range v.perm {
			pads[axis], pads[rank+axis] = int64(v.pad.before[i]), int64(v.pad.after[i])
		}
		name := fmt.Sprintf("Pad_%d", c.counts["Pad"])
		return c.emit("Pad", []string{
			v.name,
			c.constant(onnx.Int64s(name+".pads", []int64{int64(2 * rank)}, pads...)),
			c.constant(onnx.Float32s(name+".value", nil, v.pad.number)),
		}, onnx.String("mode", "constant"))
	})
}

// arranged returns the name of an ONNX tensor with the padding applied and the axes in the order of perm.
func (c *converter) arranged(v *value, perm []int) string {
	if slices.Equal(v.perm, perm) {
		return c.padded(v)
	}
	return v.once(fmt.Sprint(perm), func() string { return c.turned(v, c.padded(v), perm) })
}

// unpadded is arranged without the padding, for an operator that pads by itself.
func (c *converter) unpadded(v *value, perm []int) string {
	if v.pad == nil {
		return c.arranged(v, perm)
	}
	if slices.Equal(v.perm, perm) {
		return v.name
	}
	return v.once(fmt.Sprint("unpadded ", perm), func() string { return c.turned(v, v.name, perm) })
}

// turned writes the Transpose that brings a tensor whose axes lie as v.perm says into the order of perm.
func (c *converter) turned(v *value, name string, perm []int) string {
	order := make([]int64, len(perm))
	for i, axis := range perm {
		order[axis] = int64(v.perm[i])
	}
	return c.emit("Transpose", []string{name}, onnx.Ints("perm", order...))
}

// transpose converts Transpose, without a node.
func (c *converter) transpose(n *tfjs.Node) ([]*value, error) {
	v, err := c.tensorInput(n, 0)
	if err != nil {
		return nil, err
	}
	order, err := c.intsInput(n, 1)
	if err != nil {
		return nil, err
	}
	rank := len(v.shape)
	if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, identity(rank)) {
		return nil, fmt.Errorf("%v is not an order of %d axes", order, rank)
	}
	pick := func(of []int) []int {
		picked := make([]int, rank)
		for i, axis := range order {
			picked[i] = of[axis]
		}
		return picked
	}
	// made is left behind: its keys are orders of v's axes, not of the new value's.
	out := &value{name: v.name, shape: pick(v.shape), perm: pick(v.perm)}
	if v.pad != nil {
		out.pad = &padding{before: pick(v.pad.before), after: pick(v.pad.after), number: v.pad.number}
	}
	return []*value{out}, nil
}

// pad converts Pad and PadV2, without a node for now.
func (c *converter) pad(n *tfjs.Node) ([]*value, error) {
	v, err := c.tensorInput(n, 0)
	if err != nil {
		return nil, err
	}
	sizes, err := c.intsInput(n, 1)
	if err != nil {
		return nil, err
	}
	rank := len(v.shape)
	if len(sizes) != 2*rank {
		return nil, fmt.Errorf("there are %d paddings for %d axes", len(sizes), rank)
	}
	p := &padding{before: make([]int, rank), after: make([]int, rank)}
	if n.Op == "PadV2" {
		number, err := c.constantInput(n, 2)
		if err != nil {
			return nil, err
		}
		if len(number.Floats) != 1 {
			return nil, errors.New("the padding must be one floating-point number")
		}
		p.number = number.Floats[0]
	}
	out := &value{name: c.padded(v), shape: make([]int, rank), perm: v.perm, pad: p}
	for i := range rank {
		p.before[i], p.after[i] = sizes[2*i], sizes[2*i+1]
		if min(p.before[i], p.after[i]) < 0 || max(p.before[i], p.after[i]) > largestSide {
			return nil, fmt.Errorf("axis %d cannot be padded by %d and %d, only by 0 to %d", i, p.before[i], p.after[i], largestSide)
		}
		out.shape[i] = v.shape[i] + p.before[i] + p.after[i]
	}
	return []*value{out}, nil
}
