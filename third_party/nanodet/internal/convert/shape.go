package convert

import (
	"fmt"
	"slices"

	"gnomon/models/onnx"
	"gnomon/third_party/nanodet/internal/tfjs"
)

// concat converts ConcatV2; all tensors are brought into the first one's order of axes.
func (c *converter) concat(n *tfjs.Node) ([]*value, error) {
	last := len(n.Inputs) - 1 // the axis
	first, err := c.tensorInput(n, 0)
	if err != nil {
		return nil, err
	}
	axis, err := c.axisInput(n, last, len(first.shape))
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(first.shape)
	names := []string{c.padded(first)}
	for i := 1; i < last; i++ {
		v, err := c.tensorInput(n, i)
		if err != nil {
			return nil, err
		}
		want := slices.Clone(first.shape)
		if len(v.shape) == len(want) {
			want[axis] = v.shape[axis]
		}
		if !slices.Equal(v.shape, want) {
			return nil, fmt.Errorf("tensors of shapes %v and %v cannot be joined along axis %d", first.shape, v.shape, axis)
		}
		shape[axis] += v.shape[axis]
		names = append(names, c.arranged(v, first.perm))
	}
	made := c.emit("Concat", names, onnx.Int("axis", int64(first.perm[axis])))
	return []*value{{name: made, shape: shape, perm: first.perm}}, nil
}

// split converts SplitV, whose inputs are the tensor, the sizes and the axis.
func (c *converter) split(n *tfjs.Node) ([]*value, error) {
	v, err := c.tensorInput(n, 0)
	if err != nil {
		return nil, err
	}
	sizes, err := c.intsInput(n, 1)
	if err != nil {
		return nil, err
	}
	axis, err := c.axisInput(n, 2, len(v.shape))
	if err != nil {
		return nil, err
	}
	if sum(sizes) != v.shape[axis] || slices.Min(sizes) < 1 {
		return nil, fmt.Errorf("sizes %v do not split an axis of %d", sizes, v.shape[axis])
	}
	node := onnx.Node{OpType: "Split", Name: c.newName("Split"), Attrs: []onnx.Attr{onnx.Int("axis", int64(v.perm[axis]))}}
	var made []*value
	var parts []int64
	for i, size := range sizes {
		shape := slices.Clone(v.shape)
		shape[axis] = size
		name := fmt.Sprintf("%s.%d", node.Name, i)
		node.Outputs = append(node.Outputs, name)
		made = append(made, &value{name: name, shape: shape, perm: v.perm})
		parts = append(parts, int64(size))
	}
	node.Inputs = []string{c.padded(v), c.constant(onnx.Int64s(node.Name+".sizes", []int64{int64(len(parts))}, parts...))}
	c.graph.Nodes = append(c.graph.Nodes, node)
	return made, nil
}

// reshape converts Reshape. It reads elements row by row, so that it needs TensorFlow's own order of axes.
func (c *converter) reshape(n *tfjs.Node) ([]*value, error) {
	v, err := c.tensorInput(n, 0)
	if err != nil {
		return nil, err
	}
	shape, err := c.intsInput(n, 1)
	if err != nil {
		return nil, err
	}
	if err := completeShape(shape, product(v.shape)); err != nil {
		return nil, err
	}
	dims := make([]int64, len(shape))
	for i, d := range shape {
		dims[i] = int64(d)
	}
	name := fmt.Sprintf("Reshape_%d.shape", c.counts["Reshape"])
	made := c.emit("Reshape", []string{
		c.arranged(v, identity(len(v.shape))),
		c.constant(onnx.Int64s(name, []int64{int64(len(dims))}, dims...)),
	})
	return []*value{{name: made, shape: shape, perm: identity(len(shape))}}, nil
}

func sum(sizes []int) int {
	total := 0
	for _, s := range sizes {
		total += s
	}
	return total
}

func product(sizes []int) int {
	total := 1
	for _, s := range sizes {
		total *= s
	}
	return total
}

// completeShape replaces the one size that may be left open (-1), and refuses a shape that does not have the
// given number of elements.
func completeShape(shape []int, elements int) error {
	misfit := fmt.Errorf("shape %v does not hold %d elements", shape, elements)
	open, rest := -1, 1
	for i, s := range shape {
		switch {
		case s == -1 && open < 0:
			open = i
		case s < 1 || s > elements/rest:
			return misfit
		default:
			rest *= s
		}
	}
	if elements%rest != 0 || open < 0 && rest != elements {
		return misfit
	}
	if open >= 0 {
		shape[open] = elements / rest
	}
	return nil
}
