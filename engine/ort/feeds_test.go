package ort

import (
	"strings"
	"testing"

	"gnomon/models/onnx"
)

// model is a graph with any inputs and outputs, as bytes.
func model(t *testing.T, g onnx.Graph) []byte {
	t.Helper()
	g.Name = "g"
	data, err := (&onnx.Model{IRVersion: 7, Opset: 13, Producer: "test", Graph: g}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The input that asks for sizes is given the width and the height of the model's own input, in each session and run, and
// in the run that settles the shapes.
func TestSizesAreFed(t *testing.T) {
	rt := newRuntime(t)
	for _, batch := range []int64{1, -1} {
		sizes := value("orig_target_sizes", "int64", batch, 2)
		// The outputs: the sizes themselves, and a tensor whose dimensions they are.
		data := model(t, onnx.Graph{
			Inputs:       []onnx.Value{sizes, value("x", "float32", batch, 3, -1, -1)},
			Outputs:      []onnx.Value{value("labels", "int64", batch, 2), value("area", "float32", -1, -1), value("mean", "float32", batch, 1, 1, 1)},
			Initializers: []onnx.Tensor{onnx.Int64s("flat", []int64{1}, -1)},
			Nodes: []onnx.Node{
				{OpType: "Identity", Inputs: []string{"orig_target_sizes"}, Outputs: []string{"labels"}},
				{OpType: "Reshape", Inputs: []string{"orig_target_sizes", "flat"}, Outputs: []string{"side"}},
				{OpType: "ConstantOfShape", Inputs: []string{"side"}, Outputs: []string{"area"}},
				{OpType: "ReduceMean", Inputs: []string{"x"}, Outputs: []string{"mean"}, Attrs: []onnx.Attr{onnx.Ints("axes", 1, 2, 3), onnx.Int("keepdims", 1)}},
			},
		})
		sessions, err := rt.Open(SessionOptions{Name: "detr", ONNX: data, Width: 6, Height: 4}, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sessions {
			for i := range floats(s.Input().Data) {
				floats(s.Input().Data)[i] = 0.5
			}
			for range 2 {
				out, err := s.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if l := out[0].Data; len(l) != 2 || l[0] != 6 || l[1] != 4 {
					t.Errorf("the model was told %v, want 6, 4", l)
				}
				if a := out[1].Shape; len(a) != 2 || a[0] != 6 || a[1] != 4 {
					t.Errorf("the shape was settled as %v", a)
				}
				if out[2].Data[0] != 0.5 {
					t.Errorf("the picture's mean is %v", out[2].Data[0])
				}
			}
		}
		closeAll(t, sessions)
	}
}

func TestInputsThatAreNotFed(t *testing.T) {
	rt := newRuntime(t)
	for want, in := range map[string]onnx.Value{
		`model m: it has 2 inputs and gnomon feeds one, the picture: "x" [1 3 4 6] float32, "im_shape" [1 2] float32`:        value("im_shape", "float32", 1, 2),
		`model m: it has 2 inputs and gnomon feeds one, the picture: "x" [1 3 4 6] float32, "orig_target_sizes" [4 2] int64`: value("orig_target_sizes", "int64", 4, 2),
	} {
		data := model(t, onnx.Graph{
			Inputs:  []onnx.Value{value("x", "float32", 1, 3, 4, 6), in},
			Outputs: []onnx.Value{value("y", "float32", 1, 3, 4, 6)},
			Nodes:   []onnx.Node{{OpType: "Identity", Inputs: []string{"x"}, Outputs: []string{"y"}}},
		})
		sessions, err := rt.Open(SessionOptions{Name: "m", ONNX: data, Width: 6, Height: 4}, 1)
		closeAll(t, sessions)
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// A model whose output grows with what is seen, and is not empty on an empty picture, loads; a run in which it has
// another size is an error, and the session is as good as before.
func TestOutputThatGrows(t *testing.T) {
	rt := newRuntime(t)
	data := model(t, onnx.Graph{
		Inputs:       []onnx.Value{value("x", "float32", 1, 3, 4, 6)},
		Outputs:      []onnx.Value{value("y", "float32", 1, -1, 6)},
		Initializers: []onnx.Tensor{onnx.Int64s("one", []int64{1}, 1), onnx.Int64s("six", []int64{1}, 6), onnx.Int64s("flat", []int64{1}, -1)},
		Nodes: []onnx.Node{
			{OpType: "ReduceMax", Inputs: []string{"x"}, Outputs: []string{"most"}, Attrs: []onnx.Attr{onnx.Int("keepdims", 0)}},
			{OpType: "Cast", Inputs: []string{"most"}, Outputs: []string{"whole"}, Attrs: []onnx.Attr{onnx.Int("to", 7)}},
			{OpType: "Reshape", Inputs: []string{"whole", "flat"}, Outputs: []string{"more"}},
			{OpType: "Add", Inputs: []string{"more", "one"}, Outputs: []string{"rows"}},
			{OpType: "Concat", Inputs: []string{"one", "rows", "six"}, Outputs: []string{"shape"}, Attrs: []onnx.Attr{onnx.Int("axis", 0)}},
			{OpType: "ConstantOfShape", Inputs: []string{"shape"}, Outputs: []string{"y"}},
		},
	})
	sessions, err := rt.Open(SessionOptions{Name: "m", ONNX: data, Width: 6, Height: 4}, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := sessions[0]
	for _, more := range []float32{0, 2, 0} {
		floats(s.Input().Data)[0] = more
		_, err := s.Run(t.Context())
		if more == 0 && err != nil {
			t.Errorf("a picture like that of the trial run: %v", err)
		}
		if more > 0 && (err == nil || !strings.HasPrefix(err.Error(), "model m: run: ") || strings.Contains(err.Error(), "\n") ||
			!strings.HasSuffix(err.Error(), "export the model with a fixed number of boxes")) {
			t.Errorf("an output of another size: %v", err)
		}
	}
	closeAll(t, sessions)
}

// A number without dimensions is no table of boxes.
func TestOutputWithoutDimensions(t *testing.T) {
	rt := newRuntime(t)
	data := build(t, value("x", "float32", 1, 3, 4, 6), onnx.Value{Name: "y", Type: "float32", Shape: []onnx.Dim{}}, nil,
		onnx.Node{OpType: "ReduceMax", Inputs: []string{"x"}, Outputs: []string{"y"}, Attrs: []onnx.Attr{onnx.Int("keepdims", 0)}})
	sessions, err := rt.Open(SessionOptions{Name: "m", ONNX: data, Width: 6, Height: 4}, 1)
	closeAll(t, sessions)
	if want := `model m: output "y" is one number without dimensions, which cannot be read; export the model without it, or with a dimension`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
