package main

import (
	"fmt"

	"gnomon/models/onnx"
)

// graph is an ONNX graph in the making: its methods add a node and return the name of what it makes. The names
// of nodes and constants are numbers.
type graph struct {
	onnx.Graph
	count int
}

func (g *graph) next(what string) string {
	g.count++
	return fmt.Sprintf("%s_%d", what, g.count)
}

// op adds a node with one output.
func (g *graph) op(op string, inputs []string, attrs ...onnx.Attr) string {
	name := g.next(op)
	g.Nodes = append(g.Nodes, onnx.Node{OpType: op, Name: name, Inputs: inputs, Outputs: []string{name}, Attrs: attrs})
	return name
}

// floats adds a constant.
func (g *graph) floats(dims []int64, values ...float32) string {
	name := g.next("floats")
	g.Initializers = append(g.Initializers, onnx.Float32s(name, dims, values...))
	return name
}

// number adds a constant without dimensions.
func (g *graph) number(v float32) string { return g.floats(nil, v) }

// ints adds a constant vector.
func (g *graph) ints(values ...int64) string {
	name := g.next("ints")
	g.Initializers = append(g.Initializers, onnx.Int64s(name, []int64{int64(len(values))}, values...))
	return name
}

// axis adds a constant whole number without dimensions.
func (g *graph) axis(v int64) string {
	name := g.next("axis")
	g.Initializers = append(g.Initializers, onnx.Int64s(name, nil, v))
	return name
}

func (g *graph) add(a, b string) string { return g.op("Add", []string{a, b}) }
func (g *graph) sub(a, b string) string { return g.op("Sub", []string{a, b}) }
func (g *graph) mul(a, b string) string { return g.op("Mul", []string{a, b}) }
func (g *graph) neg(x string) string    { return g.op("Neg", []string{x}) }
func (g *graph) sqrt(x string) string   { return g.op("Sqrt", []string{x}) }

func (g *graph) concat(axis int64, parts ...string) string {
	return g.op("Concat", parts, onnx.Int("axis", axis))
}

func (g *graph) reshape(x string, shape ...int64) string {
	return g.op("Reshape", []string{x, g.ints(shape...)})
}

func (g *graph) transpose(x string, perm ...int64) string {
	return g.op("Transpose", []string{x}, onnx.Ints("perm", perm...))
}

// cast converts to an element type; code is that of TensorProto.DataType.
func (g *graph) cast(x string, code int64) string {
	return g.op("Cast", []string{x}, onnx.Int("to", code))
}

// maxOf is the largest value along an axis, which stays as one of size 1.
func (g *graph) maxOf(x string, axis int64) string {
	return g.op("ReduceMax", []string{x}, onnx.Ints("axes", axis), onnx.Int("keepdims", 1))
}

// repeat makes h x w equal cells of each.
func (g *graph) repeat(x string, h, w float32) string {
	return g.op("Resize", []string{x, "", g.floats([]int64{4}, 1, 1, h, w)},
		onnx.String("coordinate_transformation_mode", "asymmetric"),
		onnx.String("mode", "nearest"), onnx.String("nearest_mode", "floor"))
}

// output adds an output of the model that has the value x. A dimension of -1 is symbolic.
func (g *graph) output(name, x, typ string, shape ...int64) {
	g.Nodes = append(g.Nodes, onnx.Node{OpType: "Identity", Name: name, Inputs: []string{x}, Outputs: []string{name}})
	g.Outputs = append(g.Outputs, value(name, typ, shape...))
}

func value(name, typ string, shape ...int64) onnx.Value {
	v := onnx.Value{Name: name, Type: typ}
	for _, d := range shape {
		v.Shape = append(v.Shape, onnx.Dim{Value: d})
	}
	return v
}
