// Package convert turns a TensorFlow.js graph into an ONNX graph.
//
// The graphs that it is for were ONNX once: a converter wrapped every convolution, pooling and resize, which
// TensorFlow wants channels-last, in a Transpose before and a Transpose after it, and every padding in a node of
// its own. Two rules undo that without looking for patterns:
//
//   - A Transpose makes no node. Each value remembers how its axes lie in the ONNX tensor (value.perm), and only
//     an operator that cares asks for another order; then, and only then, a Transpose is written. Convolutions
//     yield, and mostly receive, tensors that lie channels-first already.
//   - A padding makes no node until an operator asks for the padded tensor. A convolution takes zeros and a
//     maximum pooling takes minus infinity as attributes of its own.
//
// Shapes are fixed, so that everything about them is worked out here and nothing is left to the runtime.
package convert

import (
	"errors"
	"fmt"
	"slices"

	"gnomon/models/onnx"
	"gnomon/third_party/nanodet/internal/tfjs"
)

// Opset is the operator set that the graphs are written for.
const Opset = 13

// Convert converts the part of src that its outputs depend on. rename gives the inputs and outputs their names in
// ONNX. The same src gives the same graph. Errors name the node that cannot be converted.
func Convert(src *tfjs.Graph, name string, rename func(ref tfjs.Ref, shape []int) (string, error)) (onnx.Graph, error) {
	c := &converter{
		src:    src,
		uses:   map[tfjs.Ref]int{},
		values: map[tfjs.Ref]*value{},
		begun:  map[string]bool{},
		counts: map[string]int{},
		graph:  onnx.Graph{Name: name},
	}
	for _, n := range src.Nodes {
		for _, in := range n.Inputs {
			c.uses[in]++
		}
	}
	for _, p := range src.Inputs {
		if err := c.input(p, rename); err != nil {
			return onnx.Graph{}, fmt.Errorf("input %q: %w", p.Ref.Node, err)
		}
	}
	for _, p := range src.Outputs {
		if err := c.output(p, rename); err != nil {
			return onnx.Graph{}, err
		}
	}
	return c.graph, nil
}

// converter holds the state of one conversion.
type converter struct {
	src    *tfjs.Graph
	uses   map[tfjs.Ref]int    // how many inputs of nodes read a value
	values map[tfjs.Ref]*value // what is converted
	begun  map[string]bool     // nodes whose conversion has begun, to notice circles
	counts map[string]int      // ONNX nodes so far of each operator, for names
	graph  onnx.Graph
}

// input declares an input of the model.
func (c *converter) input(p tfjs.Port, rename func(tfjs.Ref, []int) (string, error)) error {
	name, err := rename(p.Ref, p.Shape)
	if err != nil {
		return err
	}
	c.values[p.Ref] = &value{name: name, shape: p.Shape, perm: identity(len(p.Shape))}
	c.graph.Inputs = append(c.graph.Inputs, floats(name, p.Shape))
	return nil
}

// output converts an output of the model, with all that it depends on, and declares it.
func (c *converter) output(p tfjs.Port, rename func(tfjs.Ref, []int) (string, error)) error {
	v, err := c.value(p.Ref)
	if err != nil {
		return err
	}
	where := fmt.Sprintf("output %q", p.Ref.Node)
	if v.constant != nil {
		return fmt.Errorf("%s does not depend on the input", where)
	}
	if !slices.Equal(v.shape, p.Shape) {
		return fmt.Errorf("%s has the shape %v according to its nodes, but %v according to the signature", where, v.shape, p.Shape)
	}
	name, err := rename(p.Ref, v.shape)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	made := c.arranged(v, identity(len(v.shape)))
	c.graph.Nodes = append(c.graph.Nodes, onnx.Node{OpType: "Identity", Name: name, Inputs: []string{made}, Outputs: []string{name}})
	c.nameOutput(made, name)
	c.graph.Outputs = append(c.graph.Outputs, floats(name, v.shape))
	return nil
}

// nameOutput does away with the Identity that was just written: the node that made its input writes the output
// itself. It stays where the value is an input of the model or an output already.
func (c *converter) nameOutput(made, name string) {
	rest := c.graph.Nodes[:len(c.graph.Nodes)-1]
	isPort := func(v onnx.Value) bool { return v.Name == made }
	if slices.ContainsFunc(c.graph.Inputs, isPort) || slices.ContainsFunc(c.graph.Outputs, isPort) {
		return
	}
	c.graph.Nodes = rest
	replace := func(names []string) {
		for i := range names {
			if names[i] == made {
				names[i] = name
			}
		}
	}
	for _, n := range rest {
		replace(n.Inputs)
		replace(n.Outputs)
	}
	for _, v := range c.values {
		v.rename(made, name)
	}
}

// floats describes an input or output of the model.
func floats(name string, shape []int) onnx.Value {
	v := onnx.Value{Name: name, Type: "float32", Shape: []onnx.Dim{}}
	for _, d := range shape {
		v.Shape = append(v.Shape, onnx.Dim{Value: int64(d)})
	}
	return v
}

// value returns an output of a node, converting the node first if need be.
func (c *converter) value(ref tfjs.Ref) (*value, error) {
	if v := c.values[ref]; v != nil {
		return v, nil
	}
	n := c.src.Nodes[ref.Node]
	if n == nil {
		return nil, fmt.Errorf("there is no node %q", ref.Node)
	}
	if !c.begun[n.Name] {
		c.begun[n.Name] = true
		made, err := c.convert(n)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", n.Op, n.Name, err)
		}
		for i, v := range made {
			c.values[tfjs.Ref{Node: n.Name, Index: i}] = v
		}
	} else if c.values[tfjs.Ref{Node: n.Name}] == nil {
		return nil, fmt.Errorf("node %q depends on itself", n.Name)
	}
	if v := c.values[ref]; v != nil {
		return v, nil
	}
	return nil, fmt.Errorf("node %q has no output %d", ref.Node, ref.Index)
}

// convert converts one node and returns its outputs.
func (c *converter) convert(n *tfjs.Node) ([]*value, error) {
	operator, known := map[string]struct {
		inputs  int // at least
		convert func(*tfjs.Node) ([]*value, error)
	}{
		"Add":            {2, c.add},
		"AddV2":          {2, c.add},
		"ConcatV2":       {2, c.concat},
		"Const":          {0, c.weight},
		"Conv2D":         {2, c.conv},
		"Identity":       {1, c.same},
		"LeakyRelu":      {1, c.leakyRelu},
		"MaxPool":        {1, c.maxPool},
		"Pad":            {2, c.pad},
		"PadV2":          {3, c.pad},
		"Reshape":        {2, c.reshape},
		"ResizeBilinear": {2, c.resize},
		"Sigmoid":        {1, c.sigmoid},
		"SparseToDense":  {4, c.sparseToDense},
		"SplitV":         {3, c.split},
		"Transpose":      {2, c.transpose},
	}[n.Op]
	switch {
	case n.Op == "Placeholder":
		return nil, errors.New("it is not among the inputs of the signature")
	case !known:
		return nil, errors.New("this operator is not supported")
	case len(n.Inputs) < operator.inputs:
		return nil, fmt.Errorf("it has %d inputs and needs %d", len(n.Inputs), operator.inputs)
	}
	return operator.convert(n)
}

// emit writes a node with one output and returns the output's name.
func (c *converter) emit(op string, inputs []string, attrs ...onnx.Attr) string {
	name := c.newName(op)
	c.graph.Nodes = append(c.graph.Nodes, onnx.Node{OpType: op, Name: name, Inputs: inputs, Outputs: []string{name}, Attrs: attrs})
	return name
}

// newName numbers the nodes of one operator: Conv_0, Conv_1 and so on.
func (c *converter) newName(op string) string {
	name := fmt.Sprintf("%s_%d", op, c.counts[op])
	c.counts[op]++
	return name
}

// constant writes an initialiser and returns its name.
func (c *converter) constant(t onnx.Tensor) string {
	c.graph.Initializers = append(c.graph.Initializers, t)
	return t.Name
}
