package convert

import (
	"errors"
	"fmt"
	"slices"

	"gnomon/models/onnx"
	"gnomon/third_party/nanodet/internal/tfjs"
)

// same converts Identity, without a node.
func (c *converter) same(n *tfjs.Node) ([]*value, error) {
	v, err := c.value(n.Inputs[0])
	return []*value{v}, err
}

// leakyRelu converts LeakyRelu. TensorFlow's default slope is 0.2, ONNX's is 0.01: it is always written.
func (c *converter) leakyRelu(n *tfjs.Node) ([]*value, error) {
	alpha := float32(0.2)
	if a := n.Attrs["alpha"].Float; a != nil {
		alpha = *a
	}
	return c.unary(n, "LeakyRelu", onnx.Float("alpha", alpha))
}

func (c *converter) sigmoid(n *tfjs.Node) ([]*value, error) { return c.unary(n, "Sigmoid") }

// unary converts an operator that treats every element alike, so that the order of axes does not matter.
func (c *converter) unary(n *tfjs.Node, op string, attrs ...onnx.Attr) ([]*value, error) {
	v, err := c.tensorInput(n, 0)
	if err != nil {
		return nil, err
	}
	made := c.emit(op, []string{c.padded(v)}, attrs...)
	return []*value{{name: made, shape: v.shape, perm: v.perm}}, nil
}

// add converts Add and AddV2: two constants, a constant vector and a tensor, or two tensors of one shape.
func (c *converter) add(n *tfjs.Node) ([]*value, error) {
	if made, err := c.foldBias(n); made != nil || err != nil {
		return made, err
	}
	a, err := c.value(n.Inputs[0])
	if err != nil {
		return nil, err
	}
	b, err := c.value(n.Inputs[1])
	if err != nil {
		return nil, err
	}
	switch {
	case a.constant != nil && b.constant != nil:
		return addInts(a.constant, b.constant)
	case a.constant != nil:
		a, b = b, a
		fallthrough
	case b.constant != nil:
		return c.addVector(a, b.constant)
	case !slices.Equal(a.shape, b.shape):
		return nil, fmt.Errorf("shapes %v and %v differ, only equal ones are supported", a.shape, b.shape)
	}
	made := c.emit("Add", []string{c.padded(a), c.arranged(b, a.perm)})
	return []*value{{name: made, shape: a.shape, perm: a.perm}}, nil
}

// foldBias makes one Conv of a Conv2D and the Add of a bias to it, if nothing else reads the Conv2D. It returns
// nil if that is not what n is.
func (c *converter) foldBias(n *tfjs.Node) ([]*value, error) {
	for i, in := range n.Inputs[:2] {
		conv := c.src.Nodes[in.Node]
		if conv == nil || conv.Op != "Conv2D" || len(conv.Inputs) < 2 || in.Index != 0 || c.uses[in] != 1 || c.isOutput(in) {
			continue
		}
		bias, weight := c.weightOf(n.Inputs[1-i]), c.weightOf(conv.Inputs[1])
		if bias == nil || weight == nil || len(weight.Shape) != 4 || !slices.Equal(bias.Shape, weight.Shape[3:]) {
			continue
		}
		made, err := c.convolution(conv, bias.Floats)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", conv.Op, conv.Name, err)
		}
		return made, nil
	}
	return nil, nil
}

// weightOf returns the floating-point weight that a Const holds, or nil for anything else.
func (c *converter) weightOf(ref tfjs.Ref) *tfjs.Tensor {
	n := c.src.Nodes[ref.Node]
	if n == nil || n.Op != "Const" {
		return nil
	}
	if t := c.src.Weights[n.Name]; t.Floats != nil {
		return &t
	}
	return nil
}

// isOutput reports whether a value is an output of the model.
func (c *converter) isOutput(ref tfjs.Ref) bool {
	return slices.ContainsFunc(c.src.Outputs, func(p tfjs.Port) bool { return p.Ref == ref })
}

// addVector adds a constant with one number for each index of the last axis, wherever that axis lies.
func (c *converter) addVector(v *value, constant *tfjs.Tensor) ([]*value, error) {
	last := len(v.shape) - 1
	if last < 0 || constant.Floats == nil || !slices.Equal(constant.Shape, v.shape[last:]) {
		return nil, fmt.Errorf("a constant of shape %v cannot be added to a tensor of shape %v, only one number for each index of the last axis", constant.Shape, v.shape)
	}
	dims := make([]int64, len(v.shape))
	for i := range dims {
		dims[i] = 1
	}
	dims[v.perm[last]] = int64(v.shape[last])
	name := fmt.Sprintf("Add_%d.constant", c.counts["Add"])
	made := c.emit("Add", []string{c.padded(v), c.constant(onnx.Float32s(name, dims, constant.Floats...))})
	return []*value{{name: made, shape: v.shape, perm: v.perm}}, nil
}

// addInts adds two constants of one shape: the shape arithmetic that an earlier conversion left behind.
func addInts(a, b *tfjs.Tensor) ([]*value, error) {
	if a.Ints == nil || b.Ints == nil || !slices.Equal(a.Shape, b.Shape) {
		return nil, errors.New("two constants can only be added if they hold whole numbers and have one shape")
	}
	sum := make([]int32, len(a.Ints))
	for i := range sum {
		sum[i] = a.Ints[i] + b.Ints[i]
	}
	return known(&tfjs.Tensor{Shape: a.Shape, Ints: sum}), nil
}

// known makes a value of a constant.
func known(t *tfjs.Tensor) []*value { return []*value{{shape: t.Shape, constant: t}} }

// weight converts Const.
func (c *converter) weight(n *tfjs.Node) ([]*value, error) {
	t, found := c.src.Weights[n.Name]
	if !found {
		return nil, errors.New("the weights do not hold it")
	}
	return known(&t), nil
}

// sparseToDense computes SparseToDense for a vector of whole numbers: all are the default, but for the given
// indices. Its inputs are the indices, the length, the values and the default.
func (c *converter) sparseToDense(n *tfjs.Node) ([]*value, error) {
	var in [4][]int
	for i := range in {
		var err error
		if in[i], err = c.intsInput(n, i); err != nil {
			return nil, err
		}
	}
	indices, length, values, fill := in[0], in[1], in[2], in[3]
	const longest = 32 // these vectors are shapes
	if len(length) != 1 || length[0] < 0 || length[0] > longest || len(fill) != 1 || len(values) != len(indices) {
		return nil, fmt.Errorf("only vectors of up to %d whole numbers with one value for each index are supported", longest)
	}
	dense := make([]int32, length[0])
	for i := range dense {
		dense[i] = int32(fill[0])
	}
	for i, at := range indices {
		if at < 0 || at >= len(dense) {
			return nil, fmt.Errorf("index %d lies outside a vector of %d", at, len(dense))
		}
		dense[at] = int32(values[i])
	}
	return known(&tfjs.Tensor{Shape: []int{len(dense)}, Ints: dense}), nil
}
