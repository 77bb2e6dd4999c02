package convert

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gnomon/models/onnx"
	"gnomon/third_party/nanodet/internal/tfjs"
)

// head adds what a detector's head looks like: split, sigmoid, reshape to a folded shape, transpose.
func head(s *source) {
	s.node("SplitV", "split", nil, "in", s.ints("sizes", 3, 2), s.ints("axis", 1))
	s.node("Sigmoid", "sigmoid", nil, "split")
	s.weight("none", tfjs.Tensor{Shape: []int{0, 1}, Ints: []int32{}})
	s.ints("no values")
	s.node("SparseToDense", "zeros", nil, "none", s.ints("length", 3), "no values", s.ints("zero", 0))
	s.node("AddV2", "shape", nil, s.ints("wish", 1, 3, -1), "zeros")
	s.node("Reshape", "rows", nil, "sigmoid", "shape")
	s.node("Transpose", "scores", nil, "rows", s.ints("swap", 0, 2, 1))
	s.node("Identity", "cls", nil, "scores")
	s.node("Reshape", "reg", nil, "split:1", s.ints("flat", 48))
	s.output("cls", 1, 24, 3)
	s.output("reg", 48)
}

func TestHead(t *testing.T) {
	s := newSource(1, 5, 4, 6)
	head(s)
	check(t, s, []onnx.Node{
		{
			OpType: "Split", Name: "Split_0", Inputs: []string{"port_in", "Split_0.sizes"},
			Outputs: []string{"Split_0.0", "Split_0.1"}, Attrs: []onnx.Attr{onnx.Int("axis", 1)},
		},
		made("Sigmoid", "Sigmoid_0", []string{"Split_0.0"}),
		made("Reshape", "Reshape_0", []string{"Sigmoid_0", "Reshape_0.shape"}),
		final("Transpose", "Transpose_0", "port_cls", []string{"Reshape_0"}, onnx.Ints("perm", 0, 2, 1)),
		final("Reshape", "Reshape_1", "port_reg", []string{"Split_0.1", "Reshape_1.shape"}),
	},
		onnx.Int64s("Split_0.sizes", []int64{2}, 3, 2),
		onnx.Int64s("Reshape_0.shape", []int64{3}, 1, 3, 24),
		onnx.Int64s("Reshape_1.shape", []int64{1}, 48))
}

func TestSplitFollowsTheAxisOfATurnedTensor(t *testing.T) {
	s := newSource(1, 5, 4, 6)
	s.node("Transpose", "last", nil, "in", s.ints("order", 0, 2, 3, 1))
	s.node("SplitV", "split", nil, "last", s.ints("sizes", 1, 4), s.ints("axis", -1))
	s.node("Sigmoid", "a", nil, "split:1")
	s.node("Transpose", "b", nil, "a", s.ints("back", 0, 3, 1, 2))
	s.output("b", 1, 4, 4, 6)
	check(t, s, []onnx.Node{
		{
			OpType: "Split", Name: "Split_0", Inputs: []string{"port_in", "Split_0.sizes"},
			Outputs: []string{"Split_0.0", "Split_0.1"}, Attrs: []onnx.Attr{onnx.Int("axis", 1)},
		},
		final("Sigmoid", "Sigmoid_0", "port_b", []string{"Split_0.1"}),
	})
}

// Reshape reads row by row: a tensor that lies channels-first is turned before it, a Transpose inside does not
// get lost.
func TestReshapeTurnsTheTensorBack(t *testing.T) {
	s := newSource(1, 2, 3, 4)
	s.node("Transpose", "last", nil, "in", s.ints("order", 0, 2, 3, 1))
	s.node("Reshape", "rows", nil, "last", s.ints("shape", 12, -1))
	s.output("rows", 12, 2)
	check(t, s, []onnx.Node{
		made("Transpose", "Transpose_0", []string{"port_in"}, onnx.Ints("perm", 0, 2, 3, 1)),
		final("Reshape", "Reshape_0", "port_rows", []string{"Transpose_0", "Reshape_0.shape"}),
	}, onnx.Int64s("Reshape_0.shape", []int64{2}, 12, 2))
}

func TestResize(t *testing.T) {
	s := newSource(1, 2, 3, 4)
	s.node("Transpose", "last", nil, "in", s.ints("order", 0, 2, 3, 1))
	s.node("ResizeBilinear", "resize", map[string]tfjs.Attr{"half_pixel_centers": yes()}, "last", s.ints("size", 6, 8))
	s.node("Transpose", "first", nil, "resize", s.ints("back", 0, 3, 1, 2))
	s.output("first", 1, 2, 6, 8)
	check(t, s, []onnx.Node{
		final("Resize", "Resize_0", "port_first", []string{"port_in", "", "", "Resize_0.sizes"},
			onnx.String("coordinate_transformation_mode", "half_pixel"), onnx.String("mode", "linear")),
	}, onnx.Int64s("Resize_0.sizes", []int64{4}, 1, 2, 6, 8))
}

// Two tensors that lie differently are brought into one order; a third of the same order is left as it is.
func TestAddAndConcatBringAxesTogether(t *testing.T) {
	s := newSource(1, 2, 2, 2)
	s.node("Transpose", "turned", nil, "in", s.ints("order", 0, 2, 3, 1))
	s.node("Add", "sum", nil, "in", "turned")
	s.node("ConcatV2", "all", nil, "sum", "in", "turned", s.ints("axis", 2))
	s.output("all", 1, 2, 6, 2)
	check(t, s, []onnx.Node{
		made("Transpose", "Transpose_0", []string{"port_in"}, onnx.Ints("perm", 0, 2, 3, 1)),
		made("Add", "Add_0", []string{"port_in", "Transpose_0"}),
		final("Concat", "Concat_0", "port_all", []string{"Add_0", "port_in", "Transpose_0"}, onnx.Int("axis", 2)),
	})
}

func TestSparseToDenseSetsValues(t *testing.T) {
	s := newSource(2, 6)
	s.weight("at", tfjs.Tensor{Shape: []int{2, 1}, Ints: []int32{0, 2}})
	s.node("SparseToDense", "shape", nil, "at", s.ints("length", 3), s.ints("values", 3, 4), s.ints("fill", 1))
	s.node("Reshape", "out", nil, "in", "shape")
	s.output("out", 3, 1, 4)
	check(t, s, []onnx.Node{
		final("Reshape", "Reshape_0", "port_out", []string{"port_in", "Reshape_0.shape"}),
	}, onnx.Int64s("Reshape_0.shape", []int64{3}, 3, 1, 4))
}

func TestLeakyReluHasTensorFlowsDefault(t *testing.T) {
	s := newSource(2)
	s.node("LeakyRelu", "out", nil, "in")
	s.output("out", 2)
	check(t, s, []onnx.Node{final("LeakyRelu", "LeakyRelu_0", "port_out", []string{"port_in"}, onnx.Float("alpha", 0.2))})
}

// An output that is an input, or another output, keeps a node of its own; what only dead nodes need is left out.
func TestOutputNames(t *testing.T) {
	s := newSource(2)
	s.node("Identity", "copy", nil, "in")
	s.node("Sigmoid", "a", nil, "in")
	s.node("Identity", "b", nil, "a")
	s.node("LeakyRelu", "after", nil, "a")
	s.node("NoSuchThing", "dead", nil, "in")
	s.output("copy", 2)
	s.output("a", 2)
	s.output("b", 2)
	s.output("after", 2)
	check(t, s, []onnx.Node{
		made("Identity", "port_copy", []string{"port_in"}),
		final("Sigmoid", "Sigmoid_0", "port_a", []string{"port_in"}),
		made("Identity", "port_b", []string{"port_a"}),
		final("LeakyRelu", "LeakyRelu_0", "port_after", []string{"port_a"}, onnx.Float("alpha", 0.2)),
	})
}

func TestConvertIsDeterministic(t *testing.T) {
	var first []byte
	for range 20 {
		s := newSource(1, 5, 4, 6)
		head(s)
		g, err := convert(s)
		if err != nil {
			t.Fatal(err)
		}
		model := onnx.Model{IRVersion: 7, Opset: Opset, Graph: g}
		data, err := model.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		}
		if diff := cmp.Diff(first, data); diff != "" {
			t.Fatalf("two runs differ:\n%s", diff)
		}
	}
}
