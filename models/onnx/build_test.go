package onnx

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample uses every part of the builder at least once.
func sample() *Model {
	return &Model{
		IRVersion: 7, Opset: 13, Producer: "gnomon", ProducerVersion: "1", Description: "a sample",
		Metadata: []Property{{"names", "{0: 'cat', 1: \"dog's\"}"}, {"stride", "32"}},
		Graph: Graph{
			Name: "sample",
			Inputs: []Value{
				{Name: "images", Type: "float32", Shape: []Dim{{Value: 1}, {Value: 3}, {Value: -1, Param: "height"}, {Value: -1}}},
			},
			Outputs: []Value{
				{Name: "y", Type: "float32", Shape: []Dim{{Value: -1, Param: "n"}}},
				{Name: "scalar", Type: "int64", Shape: []Dim{}},
			},
			Initializers: []Tensor{
				Float32s("w", []int64{2, 2}, 1, -2, 3.5, 0),
				Int64s("i", []int64{1}, -1),
				Int32s("j", nil, 7),
				Uint8s("u", []int64{3}, 1, 2, 3),
				{Name: "h", Type: "float16", Dims: []int64{1}, Data: []byte{0, 0x3c}},
			},
			Nodes: []Node{
				{OpType: "Relu", Name: "first", Inputs: []string{"images"}, Outputs: []string{"x"}},
				{
					OpType: "Odd", Inputs: []string{"x", "", "w"}, Outputs: []string{"y", "scalar"},
					Attrs: []Attr{
						Int("axis", -1), Float("alpha", 0.5), String("mode", "linear"), Ints("pads", 0, 1),
						Floats("scales", 1, 2), Constant("value", Int64s("", []int64{1}, 9)),
					},
				},
			},
		},
	}
}

func marshal(t *testing.T, m *Model) []byte {
	t.Helper()
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestMarshalThenInspect(t *testing.T) {
	got, err := Inspect(marshal(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	m := sample()
	want := &Info{
		IRVersion: 7, Opsets: map[string]int64{"": 13}, Producer: "gnomon", ProducerVersion: "1",
		GraphName: "sample", Description: "a sample", Inputs: m.Graph.Inputs, Outputs: m.Graph.Outputs,
		Metadata: map[string]string{"names": "{0: 'cat', 1: \"dog's\"}", "stride": "32"},
		Nodes:    2, Initializers: 5, Ops: map[string]int{"Relu": 1, "Odd": 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("written and read again (-want +got):\n%s", diff)
	}
}

// The expected bytes were worked out by hand from onnx.proto, so that a field number that is wrong in the writer
// and in the reader alike still shows.
func TestMarshalBytes(t *testing.T) {
	m := &Model{
		IRVersion: 7, Opset: 13,
		Graph: Graph{
			Name:         "g",
			Inputs:       []Value{{Name: "x", Type: "float32", Shape: []Dim{{Value: 2}}}},
			Outputs:      []Value{{Name: "y", Type: "float32", Shape: []Dim{{Value: -1, Param: "n"}}}},
			Initializers: []Tensor{Int32s("c", []int64{1}, 5)},
			Nodes:        []Node{{OpType: "LeakyRelu", Inputs: []string{"x"}, Outputs: []string{"y"}, Attrs: []Attr{Float("alpha", 0.5)}}},
		},
	}
	want := strings.Join([]string{
		"0807",                                       // ir_version = 7
		"3a59",                                       // graph, 89 bytes
		"0a22",                                       // node, 34 bytes
		"0a0178", "120179", "22094c65616b7952656c75", // input x, output y, op_type LeakyRelu
		"2a0f", "0a05616c706861", "150000003f", "a00101", // attribute alpha, f = 0.5, type FLOAT
		"120167",                                         // graph name g
		"2a0d", "0801", "1006", "420163", "4a0405000000", // initializer: dims 1, INT32, c, raw_data
		"5a0f", "0a0178", "120a0a080801", "1204", "0a020802", // input x: FLOAT, shape of one dim_value 2
		"6210", "0a0179", "120b0a090801", "1205", "0a0312016e", // output y: FLOAT, shape of one dim_param n
		"4202100d", // opset_import, version 13
	}, "")
	got := hex.EncodeToString(marshal(t, m))
	if got != want {
		t.Errorf("bytes\n got %s\nwant %s", got, want)
	}
}

func TestMarshalIsDeterministic(t *testing.T) {
	first := marshal(t, sample())
	for range 20 {
		if diff := cmp.Diff(first, marshal(t, sample())); diff != "" {
			t.Fatalf("two runs differ:\n%s", diff)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Model)
		want   string
	}{
		{"no version", func(m *Model) { m.IRVersion = 0 }, "must both be at least 1"},
		{"no opset", func(m *Model) { m.Opset = 0 }, "must both be at least 1"},
		{"no graph name", func(m *Model) { m.Graph.Name = "" }, "it needs a name"},
		{"no outputs", func(m *Model) { m.Graph.Outputs = nil }, "it has no outputs"},
		{"output from nowhere", func(m *Model) { m.Graph.Outputs[0].Name = "z" }, `nothing makes the output "z"`},
		{"input without a name", func(m *Model) { m.Graph.Inputs[0].Name = "" }, "input 0 has no name"},
		{"name made twice", func(m *Model) { m.Graph.Nodes[1].Outputs[1] = "x" }, `node 1 (Odd): the name "x" is used twice`},
		{"initialiser named as an input", func(m *Model) { m.Graph.Initializers[0].Name = "images" }, `the name "images" is used twice`},
		{"used before it is made", func(m *Model) { m.Graph.Nodes[0].Inputs[0] = "y" }, `node 0 (Relu) reads "y", which no`},
		{"no operator", func(m *Model) { m.Graph.Nodes[0].OpType = "" }, "needs an operator and an output"},
		{"node without outputs", func(m *Model) { m.Graph.Nodes[1].Outputs = nil }, "needs an operator and an output"},
		{"unknown type", func(m *Model) { m.Graph.Inputs[0].Type = "float" }, `element type "float" is unknown`},
		{"type of an output", func(m *Model) { m.Graph.Outputs[0].Type = "" }, `element type "" is unknown`},
		{"short data", func(m *Model) { m.Graph.Initializers[0].Data = make([]byte, 15) }, `initialiser "w": shape [2 2] of float32 needs 16 bytes of data, there are 15`},
		{"negative side", func(m *Model) { m.Graph.Initializers[0].Dims[0] = -2 }, "every side must be at least 0"},
		{"huge sides", func(m *Model) { m.Graph.Initializers[0].Dims = []int64{1 << 40, 1 << 40} }, "every side must be at least 0 and all the data at most"},
		{"strings", func(m *Model) { m.Graph.Initializers[0].Type = "string" }, "tensors of type string cannot be written"},
		{"nameless attribute", func(m *Model) { m.Graph.Nodes[0].Attrs = []Attr{Int("", 1)} }, "it has no name"},
		{"bad tensor attribute", func(m *Model) {
			m.Graph.Nodes[0].Attrs = []Attr{Constant("value", Tensor{Type: "int64", Dims: []int64{1}})}
		}, `attribute "value": shape [1] of int64 needs 8 bytes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := sample()
			tt.change(m)
			_, err := m.Marshal()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
		})
	}
}

func TestEveryTruncationIsAnError(t *testing.T) {
	data := marshal(t, sample())
	for n := range len(data) {
		info, err := Inspect(data[:n])
		if info != nil || !(errors.Is(err, ErrTruncated) || errors.Is(err, ErrNotONNX)) {
			t.Fatalf("the first %d of %d bytes: %v, %v", n, len(data), info, err)
		}
		if n >= 2 && !errors.Is(err, ErrTruncated) {
			t.Errorf("the first %d of %d bytes begin like a model, so they are %q, got: %v", n, len(data), ErrTruncated, err)
		}
	}
}
