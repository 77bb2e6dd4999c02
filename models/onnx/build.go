package onnx

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Model is an ONNX file to be written. Every part is a plain value: what goes in comes out in the same order, so
// equal models make equal bytes.
type Model struct {
	IRVersion       int64 // version of the file format; 7 goes with opset 13 (https://onnx.ai, Versioning.md)
	Opset           int64 // version of the default operator set
	Producer        string
	ProducerVersion string
	Description     string
	Graph           Graph
	Metadata        []Property
}

// Property is one key-value pair of a model's metadata.
type Property struct {
	Key, Value string
}

// Graph is the computation: nodes in an order in which they can run.
type Graph struct {
	Name         string
	Nodes        []Node
	Initializers []Tensor
	Inputs       []Value // tensors of a named element type
	Outputs      []Value
}

// Node applies one operator of the default domain. An empty input name leaves out an optional input.
type Node struct {
	OpType  string
	Name    string // may be empty
	Inputs  []string
	Outputs []string
	Attrs   []Attr
}

// Marshal encodes the model. It returns an error for a model that no runtime could load: a name that is used
// twice, used before it is made or missing, a tensor whose data do not fit its shape, an unknown type.
func (m *Model) Marshal() ([]byte, error) {
	if m.IRVersion < 1 || m.Opset < 1 {
		return nil, fmt.Errorf("write ONNX: format version %d and operator set %d must both be at least 1", m.IRVersion, m.Opset)
	}
	if err := m.Graph.check(); err != nil {
		return nil, fmt.Errorf("write ONNX: graph %q: %w", m.Graph.Name, err)
	}
	graph, err := m.Graph.append(nil)
	if err != nil {
		return nil, fmt.Errorf("write ONNX: graph %q: %w", m.Graph.Name, err)
	}
	b := appendInt(nil, 1, m.IRVersion)
	b = appendText(b, 2, m.Producer)
	b = appendText(b, 3, m.ProducerVersion)
	b = appendText(b, 6, m.Description)
	for _, p := range m.Metadata {
		b = appendMessage(b, 14, appendMessage(appendMessage(nil, 1, []byte(p.Key)), 2, []byte(p.Value)))
	}
	b = appendMessage(b, 7, graph)
	// The operator set is required and comes last, so that a file cut anywhere shows that it was.
	b = appendMessage(b, 8, appendInt(nil, 2, m.Opset))
	return b, nil
}

// check refuses graphs that are not well formed: ONNX wants every name to be made once, before its first use.
func (g *Graph) check() error {
	if g.Name == "" {
		return errors.New("it needs a name")
	}
	if len(g.Outputs) == 0 {
		return errors.New("it has no outputs")
	}
	made := map[string]bool{}
	define := func(what, name string) error {
		if name == "" {
			return fmt.Errorf("%s has no name", what)
		}
		if made[name] {
			return fmt.Errorf("%s: the name %q is used twice", what, name)
		}
		made[name] = true
		return nil
	}
	for i, v := range g.Inputs {
		if err := define(fmt.Sprintf("input %d", i), v.Name); err != nil {
			return err
		}
	}
	for i, t := range g.Initializers {
		if err := define(fmt.Sprintf("initialiser %d", i), t.Name); err != nil {
			return err
		}
	}
	for i, n := range g.Nodes {
		what := fmt.Sprintf("node %d (%s)", i, n.OpType)
		if n.OpType == "" || len(n.Outputs) == 0 {
			return fmt.Errorf("%s needs an operator and an output", what)
		}
		for _, in := range n.Inputs {
			if in != "" && !made[in] {
				return fmt.Errorf("%s reads %q, which no input, initialiser or earlier node makes", what, in)
			}
		}
		for _, out := range n.Outputs {
			if err := define(what, out); err != nil {
				return err
			}
		}
	}
	for _, v := range g.Outputs {
		if !made[v.Name] {
			return fmt.Errorf("nothing makes the output %q", v.Name)
		}
	}
	return nil
}

// append appends the encoding of a GraphProto.
func (g *Graph) append(b []byte) ([]byte, error) {
	for i, n := range g.Nodes {
		node, err := n.append(nil)
		if err != nil {
			return nil, fmt.Errorf("node %d (%s): %w", i, n.OpType, err)
		}
		b = appendMessage(b, 1, node)
	}
	b = appendText(b, 2, g.Name)
	for _, t := range g.Initializers {
		tensor, err := t.append(nil)
		if err != nil {
			return nil, fmt.Errorf("initialiser %q: %w", t.Name, err)
		}
		b = appendMessage(b, 5, tensor)
	}
	b, err := appendValues(b, 11, g.Inputs)
	if err != nil {
		return nil, err
	}
	return appendValues(b, 12, g.Outputs)
}

// appendValues appends ValueInfoProtos as fields of the given number.
func appendValues(b []byte, num protowire.Number, values []Value) ([]byte, error) {
	for _, v := range values {
		value, err := v.append(nil)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", v.Name, err)
		}
		b = appendMessage(b, num, value)
	}
	return b, nil
}

// append appends the encoding of a NodeProto.
func (n *Node) append(b []byte) ([]byte, error) {
	for _, in := range n.Inputs {
		b = appendMessage(b, 1, []byte(in)) // also an empty name: its position counts
	}
	for _, out := range n.Outputs {
		b = appendMessage(b, 2, []byte(out))
	}
	b = appendText(b, 3, n.Name)
	b = appendText(b, 4, n.OpType)
	for _, a := range n.Attrs {
		attr, err := a.append(nil)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", a.name, err)
		}
		b = appendMessage(b, 5, attr)
	}
	return b, nil
}

// append appends the encoding of a ValueInfoProto.
func (v *Value) append(b []byte) ([]byte, error) {
	code, err := typeCode(v.Type)
	if err != nil {
		return nil, err
	}
	var shape []byte
	for _, d := range v.Shape {
		switch {
		case d.Param != "":
			shape = appendMessage(shape, 1, appendText(nil, 2, d.Param))
		case d.Value < 0:
			shape = appendMessage(shape, 1, nil)
		default:
			shape = appendMessage(shape, 1, appendInt(nil, 1, d.Value))
		}
	}
	tensor := appendInt(nil, 1, code)
	if v.Shape != nil {
		tensor = appendMessage(tensor, 2, shape)
	}
	b = appendText(b, 1, v.Name)
	return appendMessage(b, 2, appendMessage(nil, 1, tensor)), nil
}

// typeCode is the value of TensorProto.DataType for a name.
func typeCode(name string) (int64, error) {
	if i := slices.Index(elementTypes[:], name); i > 0 {
		return int64(i), nil
	}
	return 0, fmt.Errorf("element type %q is unknown; use one of %q", name, elementTypes[1:])
}

// appendMessage appends a length-delimited field, empty or not.
func appendMessage(b []byte, num protowire.Number, message []byte) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendBytes(b, message)
}

// appendText appends a text field unless it is empty.
func appendText(b []byte, num protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	return appendMessage(b, num, []byte(text))
}

// appendInt appends a whole number.
func appendInt(b []byte, num protowire.Number, v int64) []byte {
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(v))
}
