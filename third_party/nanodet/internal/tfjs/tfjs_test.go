package tfjs

import (
	"errors"
	"io/fs"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const small = `{
 "format": "graph-model",
 "signature": {
  "inputs": {"x": {"name": "x:0", "tensorShape": {"dim": [{"size": "1"}, {"size": 2}]}}},
  "outputs": {"b": {"name": "n:1"}, "a": {"name": "n"}}
 },
 "modelTopology": {"node": [
  {"name": "x", "op": "Placeholder"},
  {"name": "n", "op": "Odd", "input": ["x", "w:0"], "attr": {
   "alpha": {"f": 0.5}, "n": {"i": "3"}, "on": {"b": true}, "mode": {"s": "VkFMSUQ="},
   "strides": {"list": {"i": ["1", 2]}}, "shape": {"shape": {"dim": [{"size": "4"}]}}}},
  {"name": "w", "op": "Const"}
 ]},
 "weightsManifest": [{"paths": ["a.bin", "b.bin"], "weights": [
  {"name": "w", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16", "original_dtype": "float32"}},
  {"name": "i", "shape": [], "dtype": "int32"},
  {"name": "f", "shape": [1, 1], "dtype": "float32"},
  {"name": "none", "shape": [0, 1], "dtype": "int32"}]}]
}`

var files = map[string]string{ // read only
	"a.bin": "\x00\x3c\x00\xc0\xff",              // 1, -2 as float16 and the first byte of -1
	"b.bin": "\xff\xff\xff" + "\x00\x00\x20\x41", // the rest of it, 10 as float32
}

func open(name string) ([]byte, error) {
	if content, ok := files[name]; ok {
		return []byte(content), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func TestRead(t *testing.T) {
	g, err := Read([]byte(small), open)
	if err != nil {
		t.Fatal(err)
	}
	n := g.Nodes["n"]
	if diff := cmp.Diff([]Ref{{Node: "x"}, {Node: "w"}}, n.Inputs); diff != "" {
		t.Errorf("inputs of n (-want +got):\n%s", diff)
	}
	a := n.Attrs
	if *a["alpha"].Float != 0.5 || *a["n"].Int != 3 || !*a["on"].Bool || string(a["mode"].Text) != "VALID" {
		t.Errorf("attributes: %+v", a)
	}
	if diff := cmp.Diff([]Int{1, 2}, a["strides"].List.Ints); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if dims := a["shape"].Shape.Dims; len(dims) != 1 || dims[0].Size != 4 {
		t.Errorf("shape: %v", dims)
	}
	if diff := cmp.Diff([]Port{{Ref: Ref{Node: "x"}, Shape: []int{1, 2}}}, g.Inputs); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Port{{Ref: Ref{Node: "n"}, Shape: []int{}}, {Ref: Ref{Node: "n", Index: 1}, Shape: []int{}}}, g.Outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	want := map[string]Tensor{
		"w":    {Shape: []int{2}, Floats: []float32{1, -2}},
		"i":    {Shape: []int{}, Ints: []int32{-1}},
		"f":    {Shape: []int{1, 1}, Floats: []float32{10}},
		"none": {Shape: []int{0, 1}, Ints: []int32{}},
	}
	if diff := cmp.Diff(want, g.Weights); diff != "" {
		t.Errorf("weights (-want +got):\n%s", diff)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, old, new, want string
	}{
		{"not JSON", `{`, `<`, "not a TensorFlow.js model"},
		{"layers model", `"graph-model"`, `"layers-model"`, `its format is "layers-model"`},
		{"nodes of one name", `"name": "w", "op"`, `"name": "n", "op"`, `two nodes are named "n"`},
		{"control edge", `"w:0"`, `"^w"`, "control edge"},
		{"bad reference", `"w:0"`, `"w:-1"`, "after the colon comes the number of an output"},
		{"bad number", `"i": "3"`, `"i": "three"`, `"three" is not a whole number`},
		{"no inputs", `"x": {"name": "x:0", "tensorShape": {"dim": [{"size": "1"}, {"size": 2}]}}`, ``, "inputs: the signature names none"},
		{"no signature", `"signature"`, `"sign"`, "inputs: the signature names none"},
		{"no outputs", `"outputs"`, `"out"`, "outputs: the signature names none"},
		{"open size", `{"size": 2}`, `{"size": "-1"}`, "the sizes must be fixed, one is -1"},
		{"missing file", `"b.bin"`, `"c.bin"`, "weight file: open c.bin: file does not exist"},
		{"file elsewhere", `"b.bin"`, `"../b.bin"`, `weight file "../b.bin": it must be a file beside the model`},
		{"parent", `"b.bin"`, `".."`, `weight file "..": it must be a file beside the model`},
		{"short file", `, "b.bin"`, ``, `weight "i" needs 4 bytes, but the weight files ["a.bin"] end 3 bytes too soon`},
		{"long file", `"shape": [1, 1]`, `"shape": [0]`, "hold 12 bytes, 4 more than the model describes"},
		{"quantisation", `"float16"`, `"uint8"`, `weight "w": float32 stored as "uint8" is not supported; use float32, float16 or int32`},
		{"type", `"shape": [], "dtype": "int32"`, `"shape": [], "dtype": "bool"`, `weight "i": bool stored as "bool" is not supported`},
		{"int as float16", `"dtype": "float32", "quant`, `"dtype": "int32", "quant`, `weight "w": int32 stored as "float16"`},
		{"negative side", `"shape": [2]`, `"shape": [-2]`, "every side must be at least 0"},
		{"huge sides", `"shape": [2]`, `"shape": [4000000000, 4000000000]`, "the product at most"},
		{"weights of one name", `"name": "i"`, `"name": "w"`, `two weights are named "w"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			model := strings.Replace(small, tt.old, tt.new, 1)
			if model == small {
				t.Fatalf("%q is not in the model", tt.old)
			}
			_, err := Read([]byte(model), open)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
		})
	}
	if _, err := Read([]byte(strings.Replace(small, "b.bin", "c.bin", 1)), open); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v, want one that wraps %v", err, fs.ErrNotExist)
	}
}

func TestHalfToFloat(t *testing.T) {
	for h := range 1 << 16 {
		sign, exponent, fraction := h>>15, h>>10&0x1f, h&0x3ff
		var want float64
		switch {
		case exponent == 0x1f && fraction != 0:
			want = math.NaN()
		case exponent == 0x1f:
			want = math.Inf(1)
		case exponent == 0:
			want = math.Ldexp(float64(fraction), -24)
		default:
			want = math.Ldexp(float64(1024+fraction), exponent-25)
		}
		if sign == 1 {
			want = -want
		}
		got := float64(halfToFloat(uint16(h)))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != (sign == 1) {
			t.Fatalf("%#04x: %v, want %v", h, got, want)
		}
	}
}

// FuzzRead: any JSON with any weights gives a graph or an error.
func FuzzRead(f *testing.F) {
	f.Add([]byte(small), []byte(files["a.bin"]+files["b.bin"]))
	f.Add([]byte(`{"format": "graph-model", "weightsManifest": [{"paths": ["x"], "weights": [{"shape": [-1]}]}]}`), []byte{})
	f.Fuzz(func(t *testing.T, model, weights []byte) {
		g, err := Read(model, func(string) ([]byte, error) { return weights, nil })
		if err != nil {
			return
		}
		for name, w := range g.Weights {
			if n, err := elements(w.Shape); err != nil || len(w.Floats)+len(w.Ints) != n {
				t.Errorf("weight %q: shape %v with %d numbers (%v)", name, w.Shape, len(w.Floats)+len(w.Ints), err)
			}
		}
	})
}
