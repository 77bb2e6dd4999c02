package convert

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gnomon/models/onnx"
	"gnomon/third_party/nanodet/internal/tfjs"
)

// source builds a TensorFlow.js graph with one input, "in".
type source struct{ tfjs.Graph }

func newSource(shape ...int) *source {
	return &source{tfjs.Graph{
		Nodes:   map[string]*tfjs.Node{"in": {Name: "in", Op: "Placeholder"}},
		Inputs:  []tfjs.Port{{Ref: tfjs.Ref{Node: "in"}, Shape: shape}},
		Weights: map[string]tfjs.Tensor{},
	}}
}

// node adds a node; inputs are names of nodes, with ":1" behind them for the second output.
func (s *source) node(op, name string, attrs map[string]tfjs.Attr, inputs ...string) {
	n := &tfjs.Node{Name: name, Op: op, Attrs: attrs}
	for _, in := range inputs {
		node, second := strings.CutSuffix(in, ":1")
		ref := tfjs.Ref{Node: node}
		if second {
			ref.Index = 1
		}
		n.Inputs = append(n.Inputs, ref)
	}
	s.Nodes[name] = n
}

func (s *source) ints(name string, values ...int32) string {
	return s.weight(name, tfjs.Tensor{Shape: []int{len(values)}, Ints: append([]int32{}, values...)})
}

// floats adds a constant of the given shape that counts 0, 1, 2 and so on.
func (s *source) floats(name string, shape ...int) string {
	values := make([]float32, product(shape))
	for i := range values {
		values[i] = float32(i)
	}
	return s.weight(name, tfjs.Tensor{Shape: shape, Floats: values})
}

func (s *source) weight(name string, t tfjs.Tensor) string {
	s.node("Const", name, nil)
	s.Weights[name] = t
	return name
}

func (s *source) output(node string, shape ...int) {
	s.Outputs = append(s.Outputs, tfjs.Port{Ref: tfjs.Ref{Node: node}, Shape: shape})
}

func list(ints ...tfjs.Int) tfjs.Attr {
	var a tfjs.Attr
	a.List = &struct {
		Ints []tfjs.Int `json:"i"`
	}{ints}
	return a
}

func yes() tfjs.Attr { return tfjs.Attr{Bool: new(true)} }

func alpha(v float32) map[string]tfjs.Attr { return map[string]tfjs.Attr{"alpha": {Float: &v}} }

// slide describes a convolution or pooling over channels-last pictures.
func slide(stride tfjs.Int) map[string]tfjs.Attr {
	return map[string]tfjs.Attr{
		"data_format": {Text: []byte("NHWC")}, "padding": {Text: []byte("VALID")},
		"strides": list(1, stride, stride, 1), "dilations": list(1, 1, 1, 1), "ksize": list(1, 3, 3, 1),
	}
}

func convert(s *source) (onnx.Graph, error) {
	return Convert(&s.Graph, "test", func(ref tfjs.Ref, _ []int) (string, error) { return "port_" + ref.Node, nil })
}

// check compares the nodes and initialisers that a source becomes. Initialisers are given as far as the test
// cares.
func check(t *testing.T, s *source, nodes []onnx.Node, initializers ...onnx.Tensor) {
	t.Helper()
	got, err := convert(s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(nodes, got.Nodes, cmp.AllowUnexported(onnx.Attr{})); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	made := map[string]onnx.Tensor{}
	for _, i := range got.Initializers {
		made[i.Name] = i
	}
	for _, want := range initializers {
		if diff := cmp.Diff(want, made[want.Name]); diff != "" {
			t.Errorf("initialiser (-want +got):\n%s", diff)
		}
	}
	model := onnx.Model{IRVersion: 7, Opset: Opset, Graph: got}
	if _, err := model.Marshal(); err != nil {
		t.Errorf("the graph is not well formed: %v", err)
	}
}

// made is a node with one output of its own name.
func made(op, name string, inputs []string, attrs ...onnx.Attr) onnx.Node {
	return onnx.Node{OpType: op, Name: name, Inputs: inputs, Outputs: []string{name}, Attrs: attrs}
}

// final is a node that writes an output of the model.
func final(op, name, output string, inputs []string, attrs ...onnx.Attr) onnx.Node {
	n := made(op, name, inputs, attrs...)
	n.Outputs = []string{output}
	return n
}

func convAttrs(group, kernel int64, pads []int64, stride int64) []onnx.Attr {
	return []onnx.Attr{
		onnx.Ints("dilations", 1, 1), onnx.Int("group", group), onnx.Ints("kernel_shape", kernel, kernel),
		onnx.Ints("pads", pads...), onnx.Ints("strides", stride, stride),
	}
}

// wrapped adds what an earlier conversion made of one padded convolution: in -> out.
func wrapped(s *source) {
	s.node("Pad", "pad", nil, "in", s.ints("paddings", 0, 0, 0, 0, 1, 2, 3, 4))
	s.node("Transpose", "last", nil, "pad", s.ints("to last", 0, 2, 3, 1))
	s.node("Conv2D", "conv", slide(2), "last", s.floats("w", 3, 3, 2, 2))
	s.node("Add", "bias", nil, "conv", s.floats("b", 2))
	s.node("Transpose", "first", nil, "bias", s.ints("to first", 0, 3, 1, 2))
	s.node("LeakyRelu", "relu", alpha(0.25), "first")
}

func TestConvolutionTakesBiasAndPaddingAndNeedsNoTranspose(t *testing.T) {
	s := newSource(1, 2, 6, 8)
	wrapped(s)
	s.output("relu", 1, 2, 4, 7)
	check(t, s,
		[]onnx.Node{
			made("Conv", "Conv_0", []string{"port_in", "Conv_0.weight", "Conv_0.bias"}, convAttrs(1, 3, []int64{1, 3, 2, 4}, 2)...),
			final("LeakyRelu", "LeakyRelu_0", "port_relu", []string{"Conv_0"}, onnx.Float("alpha", 0.25)),
		},
		// Element (y, x, in, out) of the source is number ((3y+x)*2+in)*2+out.
		onnx.Float32s("Conv_0.weight", []int64{2, 2, 3, 3},
			0, 4, 8, 12, 16, 20, 24, 28, 32, 2, 6, 10, 14, 18, 22, 26, 30, 34,
			1, 5, 9, 13, 17, 21, 25, 29, 33, 3, 7, 11, 15, 19, 23, 27, 31, 35),
		onnx.Float32s("Conv_0.bias", []int64{2}, 0, 1),
	)
}

func TestOutputInChannelsLastOrderIsTurned(t *testing.T) {
	s := newSource(1, 2, 6, 8)
	wrapped(s)
	s.node("Transpose", "nhwc", nil, "relu", "to last")
	s.output("nhwc", 1, 4, 7, 2)
	check(t, s, []onnx.Node{
		made("Conv", "Conv_0", []string{"port_in", "Conv_0.weight", "Conv_0.bias"}, convAttrs(1, 3, []int64{1, 3, 2, 4}, 2)...),
		made("LeakyRelu", "LeakyRelu_0", []string{"Conv_0"}, onnx.Float("alpha", 0.25)),
		final("Transpose", "Transpose_0", "port_nhwc", []string{"LeakyRelu_0"}, onnx.Ints("perm", 0, 2, 3, 1)),
	})
}

func TestConvolutionOfChannelsLastInputIsTurnedOnce(t *testing.T) {
	s := newSource(1, 6, 8, 4)
	s.node("Conv2D", "a", slide(1), "in", s.floats("wa", 1, 1, 2, 6)) // two groups
	s.node("Conv2D", "b", slide(1), "in", s.floats("wb", 1, 1, 4, 6))
	s.node("Add", "sum", nil, "a", "b")
	s.output("sum", 1, 6, 8, 6)
	check(t, s, []onnx.Node{
		made("Transpose", "Transpose_0", []string{"port_in"}, onnx.Ints("perm", 0, 3, 1, 2)),
		made("Conv", "Conv_0", []string{"Transpose_0", "Conv_0.weight"}, convAttrs(2, 1, []int64{0, 0, 0, 0}, 1)...),
		made("Conv", "Conv_1", []string{"Transpose_0", "Conv_1.weight"}, convAttrs(1, 1, []int64{0, 0, 0, 0}, 1)...),
		made("Add", "Add_0", []string{"Conv_0", "Conv_1"}),
		final("Transpose", "Transpose_1", "port_sum", []string{"Add_0"}, onnx.Ints("perm", 0, 2, 3, 1)),
	})
}

// The padding stays an attribute even where the tensor under it has to be turned, and two readers share the turned
// tensor.
func TestPaddedChannelsLastInputIsTurnedWithoutItsPadding(t *testing.T) {
	s := newSource(1, 6, 8, 2)
	s.node("Pad", "pad", nil, "in", s.ints("paddings", 0, 0, 1, 2, 3, 4, 0, 0))
	s.node("Conv2D", "a", slide(1), "pad", s.floats("wa", 1, 1, 2, 2))
	s.node("Conv2D", "b", slide(1), "pad", s.floats("wb", 1, 1, 2, 2))
	s.node("Add", "sum", nil, "a", "b")
	s.node("Transpose", "first", nil, "sum", s.ints("to first", 0, 3, 1, 2))
	s.output("first", 1, 2, 9, 15)
	check(t, s, []onnx.Node{
		made("Transpose", "Transpose_0", []string{"port_in"}, onnx.Ints("perm", 0, 3, 1, 2)),
		made("Conv", "Conv_0", []string{"Transpose_0", "Conv_0.weight"}, convAttrs(1, 1, []int64{1, 3, 2, 4}, 1)...),
		made("Conv", "Conv_1", []string{"Transpose_0", "Conv_1.weight"}, convAttrs(1, 1, []int64{1, 3, 2, 4}, 1)...),
		final("Add", "Add_0", "port_first", []string{"Conv_0", "Conv_1"}),
	})
}

// A convolution that something else reads as well keeps its own result.
func TestBiasIsAddedApartWhereTheConvolutionIsReadTwice(t *testing.T) {
	s := newSource(1, 6, 8, 2)
	s.node("Conv2D", "conv", slide(1), "in", s.floats("w", 1, 1, 2, 3))
	s.node("AddV2", "bias", nil, s.floats("b", 3), "conv")
	s.node("ConcatV2", "both", nil, "bias", "conv", s.ints("axis", -1))
	s.output("both", 1, 6, 8, 6)
	check(t, s, []onnx.Node{
		made("Transpose", "Transpose_0", []string{"port_in"}, onnx.Ints("perm", 0, 3, 1, 2)),
		made("Conv", "Conv_0", []string{"Transpose_0", "Conv_0.weight"}, convAttrs(1, 1, []int64{0, 0, 0, 0}, 1)...),
		made("Add", "Add_0", []string{"Conv_0", "Add_0.constant"}),
		made("Concat", "Concat_0", []string{"Add_0", "Conv_0"}, onnx.Int("axis", 1)),
		final("Transpose", "Transpose_1", "port_both", []string{"Concat_0"}, onnx.Ints("perm", 0, 2, 3, 1)),
	}, onnx.Float32s("Add_0.constant", []int64{1, 3, 1, 1}, 0, 1, 2))

	s = newSource(1, 6, 8, 2)
	s.node("Conv2D", "conv", slide(1), "in", s.floats("w", 1, 1, 2, 3))
	s.node("Add", "bias", nil, "conv", s.floats("b", 3))
	s.output("conv", 1, 6, 8, 3)
	s.output("bias", 1, 6, 8, 3)
	got, err := convert(s)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Nodes); n != 5 || got.Nodes[3].OpType != "Add" {
		t.Errorf("a convolution that is an output too became %+v", got.Nodes)
	}
}

// poolPadded is in (channels-first) -> padded -> maximum pooling -> out (channels-first).
func poolPadded(s *source, number float32, paddings ...int32) {
	number32 := s.weight("number", tfjs.Tensor{Shape: []int{}, Floats: []float32{number}})
	s.node("PadV2", "pad", nil, "in", s.ints("paddings", paddings...), number32)
	s.node("Transpose", "last", nil, "pad", s.ints("to last", 0, 2, 3, 1))
	s.node("MaxPool", "pool", slide(2), "last")
	s.node("Transpose", "first", nil, "pool", s.ints("to first", 0, 3, 1, 2))
}

func TestMaxPoolTakesMinusInfinity(t *testing.T) {
	s := newSource(1, 2, 8, 8)
	poolPadded(s, float32(math.Inf(-1)), 0, 0, 0, 0, 1, 0, 0, 1)
	s.output("first", 1, 2, 4, 4)
	check(t, s, []onnx.Node{
		final("MaxPool", "MaxPool_0", "port_first", []string{"port_in"},
			onnx.Ints("kernel_shape", 3, 3), onnx.Ints("pads", 1, 0, 0, 1), onnx.Ints("strides", 2, 2)),
	})
}

func TestPaddingThatNobodyTakesIsANode(t *testing.T) {
	pooled := final("MaxPool", "MaxPool_0", "port_first", []string{"Pad_0"},
		onnx.Ints("kernel_shape", 3, 3), onnx.Ints("pads", 0, 0, 0, 0), onnx.Ints("strides", 2, 2))
	padded := made("Pad", "Pad_0", []string{"port_in", "Pad_0.pads", "Pad_0.value"}, onnx.String("mode", "constant"))
	for _, tt := range []struct {
		name     string
		number   float32
		paddings []int32
		pads     []int64
		shape    []int
	}{
		{"zero is not nothing to a maximum", 0, []int32{0, 0, 0, 0, 1, 0, 0, 1}, []int64{0, 0, 1, 0, 0, 0, 0, 1}, []int{1, 2, 4, 4}},
		{"channels", float32(math.Inf(-1)), []int32{0, 0, 1, 0, 0, 0, 0, 0}, []int64{0, 1, 0, 0, 0, 0, 0, 0}, []int{1, 3, 3, 3}},
		{"a whole window", float32(math.Inf(-1)), []int32{0, 0, 0, 0, 3, 0, 0, 0}, []int64{0, 0, 3, 0, 0, 0, 0, 0}, []int{1, 2, 5, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSource(1, 2, 8, 8)
			poolPadded(s, tt.number, tt.paddings...)
			s.output("first", tt.shape...)
			check(t, s, []onnx.Node{padded, pooled},
				onnx.Int64s("Pad_0.pads", []int64{8}, tt.pads...), onnx.Float32s("Pad_0.value", nil, tt.number))
		})
	}
	t.Run("a convolution wants zeros", func(t *testing.T) {
		s := newSource(1, 2, 6, 8)
		wrapped(s)
		s.node("PadV2", "pad", nil, "in", "paddings", s.floats("one", 2))
		s.Weights["one"] = tfjs.Tensor{Floats: []float32{1}}
		s.output("relu", 1, 2, 4, 7)
		got, err := convert(s)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Nodes) != 3 || got.Nodes[0].OpType != "Pad" || got.Nodes[1].Inputs[0] != "Pad_0" {
			t.Errorf("nodes: %+v", got.Nodes)
		}
	})
	t.Run("twice, turned in between, then not a picture's operator", func(t *testing.T) {
		s := newSource(2, 3)
		s.node("Pad", "one", nil, "in", s.ints("a", 1, 0, 0, 2))
		s.node("Transpose", "turned", nil, "one", s.ints("order", 1, 0))
		s.node("Pad", "two", nil, "turned", s.ints("b", 0, 3, 0, 0))
		s.node("Sigmoid", "out", nil, "two")
		s.output("out", 8, 3)
		check(t, s, []onnx.Node{
			made("Pad", "Pad_0", []string{"port_in", "Pad_0.pads", "Pad_0.value"}, onnx.String("mode", "constant")),
			made("Pad", "Pad_1", []string{"Pad_0", "Pad_1.pads", "Pad_1.value"}, onnx.String("mode", "constant")),
			made("Sigmoid", "Sigmoid_0", []string{"Pad_1"}),
			final("Transpose", "Transpose_0", "port_out", []string{"Sigmoid_0"}, onnx.Ints("perm", 1, 0)),
		}, onnx.Int64s("Pad_0.pads", []int64{4}, 1, 0, 0, 2), onnx.Int64s("Pad_1.pads", []int64{4}, 0, 0, 0, 3))
	})
}
