package convert

import (
	"errors"
	"strings"
	"testing"

	"gnomon/third_party/nanodet/internal/tfjs"
)

func TestConvertRefuses(t *testing.T) {
	text := func(s string) tfjs.Attr { return tfjs.Attr{Text: []byte(s)} }
	for _, tt := range []struct {
		name   string
		change func(s *source)
		want   string
	}{
		{"unknown operator", func(s *source) { s.Nodes["relu"].Op = "Mish" }, `Mish "relu": this operator is not supported`},
		{"missing node", func(s *source) { delete(s.Nodes, "bias") }, `there is no node "bias"`},
		{"missing output", func(s *source) { s.Nodes["first"].Inputs[0].Index = 1 }, `node "bias" has no output 1`},
		{"missing input", func(s *source) { s.Nodes["conv"].Inputs = s.Nodes["conv"].Inputs[:1] }, "it has 1 inputs and needs 2"},
		{"missing weight", func(s *source) { delete(s.Weights, "w") }, `Const "w": the weights do not hold it`},
		{"circle", func(s *source) { s.Nodes["pad"].Inputs[0] = tfjs.Ref{Node: "relu"} }, "depends on itself"},
		{"second placeholder", func(s *source) { s.node("Placeholder", "pad", nil) }, "it is not among the inputs of the signature"},
		{"shape of the output", func(s *source) { s.Outputs[0].Shape = []int{1, 2, 4, 6} }, "has the shape [1 2 4 7] according to its nodes, but [1 2 4 6]"},
		{"constant output", func(s *source) { s.Outputs[0].Ref.Node = "b" }, `output "b" does not depend on the input`},
		{"computed weights", func(s *source) { s.Nodes["conv"].Inputs[1] = tfjs.Ref{Node: "in"} }, `input 1 ("in") must be a constant`},
		{"constant picture", func(s *source) { s.Nodes["conv"].Inputs[0] = tfjs.Ref{Node: "w"} }, `input 0 ("w") is a constant`},
		{"weights of whole numbers", func(s *source) { s.Nodes["conv"].Inputs[1] = tfjs.Ref{Node: "paddings"} }, "its weights must be floating-point numbers with 4 axes"},
		{"weights that do not fit", func(s *source) { s.floats("w", 3, 3, 3, 2) }, "weights of shape [3 3 3 2] do not fit a picture with 2 channels"},
		{"data format", func(s *source) { s.Nodes["conv"].Attrs["data_format"] = text("NCHW") }, `data_format is "NCHW", only "NHWC" is supported`},
		{"padding", func(s *source) { s.Nodes["conv"].Attrs["padding"] = text("SAME") }, `padding is "SAME", only "VALID" is supported`},
		{"no strides", func(s *source) { delete(s.Nodes["conv"].Attrs, "strides") }, "strides must be a list of 4 sizes"},
		{"strides over channels", func(s *source) { s.Nodes["conv"].Attrs["strides"] = list(1, 1, 1, 2) }, "strides goes over batches or channels"},
		{"no dilation", func(s *source) { s.Nodes["conv"].Attrs["dilations"] = list(1, 0, 1, 1) }, "every size must be between 1 and 32768, one is 0"},
		{"window too high", func(s *source) { s.floats("w", 10, 3, 2, 2) }, "the window is larger than the picture"},
		{"window too wide", func(s *source) { s.floats("w", 3, 16, 2, 2) }, "the window is larger than the picture"},
		{"bias that does not fit", func(s *source) { s.floats("b", 5) }, "a constant of shape [5] cannot be added to a tensor of shape [1 4 7 2]"},
		{"too few paddings", func(s *source) { s.ints("paddings", 1, 1) }, "there are 2 paddings for 4 axes"},
		{"negative padding", func(s *source) { s.ints("paddings", 0, 0, 0, 0, -1, 0, 0, 0) }, "axis 2 cannot be padded by -1 and 0"},
		{"paddings of another type", func(s *source) { s.floats("paddings", 8) }, `input 1 ("paddings") must hold whole numbers`},
		{"padding with a vector", func(s *source) { s.node("PadV2", "pad", nil, "in", "paddings", s.floats("v", 2)) }, "the padding must be one floating-point number"},
		{"not an order", func(s *source) { s.ints("to last", 0, 2, 2, 1) }, "[0 2 2 1] is not an order of 4 axes"},
		{"not a picture", func(s *source) { s.node("Reshape", "last", nil, "in", s.ints("flat", -1)) }, "its input has 1 axes, it should have 4"},
		{"bad reshape", func(s *source) { s.node("Reshape", "last", nil, "in", s.ints("flat", 5, -1)) }, "shape [5 -1] does not hold 96 elements"},
		{"two open sizes", func(s *source) { s.node("Reshape", "last", nil, "in", s.ints("flat", -1, -1)) }, "shape [-1 -1] does not hold 96 elements"},
		{"short reshape", func(s *source) { s.node("Reshape", "last", nil, "in", s.ints("flat", 48)) }, "shape [48] does not hold 96 elements"},
		{"axis", func(s *source) { s.node("ConcatV2", "first", nil, "bias", "bias", s.ints("axis", 4)) }, "[4] is not an axis of a tensor with 4"},
		{"tensors that do not join", func(s *source) { s.node("ConcatV2", "first", nil, "bias", "in", s.ints("axis", 1)) }, "cannot be joined along axis 1"},
		{"tensors of two shapes", func(s *source) { s.node("Add", "first", nil, "bias", "in") }, "shapes [1 4 7 2] and [1 2 6 8] differ"},
		{"sizes that do not split", func(s *source) {
			s.node("SplitV", "first", nil, "in", s.ints("sizes", 1, 2), s.ints("axis", 1))
		}, "sizes [1 2] do not split an axis of 2"},
		{"resize without half pixels", func(s *source) { s.node("ResizeBilinear", "last", nil, "pad", s.ints("size", 4, 4)) }, "half_pixel_centers is false, only true is supported"},
		{"resize to corners", func(s *source) {
			s.node("ResizeBilinear", "last", map[string]tfjs.Attr{"half_pixel_centers": yes(), "align_corners": yes()}, "pad", s.ints("size", 4, 4))
		}, "align_corners is true, only false is supported"},
		{"resize to nothing", func(s *source) {
			s.node("ResizeBilinear", "last", map[string]tfjs.Attr{"half_pixel_centers": yes()}, "pad", s.ints("size", 0, 4))
		}, "the new size must be a height and a width between 1 and 32768, it is [0 4]"},
		{"pooling", func(s *source) {
			s.node("MaxPool", "conv", map[string]tfjs.Attr{"data_format": text("NHWC")}, "last", "w")
		}, `padding is "", only "VALID" is supported`},
		{"index outside", func(s *source) {
			s.node("SparseToDense", "paddings", nil, s.ints("at", 9), s.ints("n", 8), s.ints("v", 1), s.ints("d", 0))
		}, "index 9 lies outside a vector of 8"},
		{"long vector", func(s *source) {
			s.node("SparseToDense", "paddings", nil, s.ints("at"), s.ints("n", 33), s.ints("v"), s.ints("d", 0))
		}, "only vectors of up to 32 whole numbers"},
		{"sum of fractions", func(s *source) { s.node("AddV2", "paddings", nil, "b", "b") }, "two constants can only be added if they hold whole numbers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSource(1, 2, 6, 8)
			wrapped(s)
			s.output("relu", 1, 2, 4, 7)
			if _, err := convert(s); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			tt.change(s)
			_, err := convert(s)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
		})
	}
}

func TestConvertPassesOnWhatRenameSays(t *testing.T) {
	s := newSource(2)
	s.node("Sigmoid", "out", nil, "in")
	s.output("out", 2)
	refusal := errors.New("not this one")
	for _, refused := range []string{"in", "out"} {
		_, err := Convert(&s.Graph, "test", func(ref tfjs.Ref, _ []int) (string, error) {
			if ref.Node == refused {
				return "", refusal
			}
			return ref.Node, nil
		})
		if !errors.Is(err, refusal) {
			t.Errorf("%s: %v, want %v", refused, err, refusal)
		}
	}
}
