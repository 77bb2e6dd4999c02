package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gnomon/engine/detect"
	"gnomon/models"
	"gnomon/models/onnx"
)

type object = map[string]any

// model writes a TensorFlow.js model of NanoDet's inputs and outputs, with one convolution for each stride where
// NanoDet has 34. The weights file is the zeros that it needs.
func model(t *testing.T) (document, weights []byte) {
	t.Helper()
	var nodes, stored []object
	size := 0
	constant := func(name, dtype string, shape []int, ints ...int32) string {
		nodes = append(nodes, object{"name": name, "op": "Const"})
		w := object{"name": name, "shape": shape, "dtype": dtype}
		n := 1
		for _, d := range shape {
			n *= d
		}
		if dtype == "float32" {
			w["quantization"] = object{"dtype": "float16"}
			weights = append(weights, bytes.Repeat([]byte{0x00, 0x3c}, n)...) // ones
			size += 2 * n
		}
		for _, v := range ints {
			weights = append(weights, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
			size += 4
		}
		stored = append(stored, w)
		return name
	}
	node := func(op, name string, attrs object, inputs ...string) string {
		nodes = append(nodes, object{"op": op, "name": name, "attr": attrs, "input": inputs})
		return name
	}
	dims := func(sizes ...int) object {
		var list []object
		for _, s := range sizes {
			list = append(list, object{"size": fmt.Sprint(s)})
		}
		return object{"dim": list}
	}
	node("Placeholder", "input_1", nil)
	last := node("Transpose", "last", nil, "input_1", constant("to last", "int32", []int{4}, 0, 2, 3, 1))
	outputs := object{}
	output := func(name string, sizes ...int) {
		outputs[name] = object{"name": name + ":0", "tensorShape": dims(sizes...)}
	}
	for _, stride := range []int{8, 16, 32} {
		name := func(what string) string { return fmt.Sprint(what, stride) }
		list := func(a, b, c, d int) object {
			return object{"list": object{"i": []string{fmt.Sprint(a), fmt.Sprint(b), fmt.Sprint(c), fmt.Sprint(d)}}}
		}
		attrs := object{
			"data_format": object{"s": "TkhXQw=="}, "padding": object{"s": "VkFMSUQ="},
			"strides": list(1, stride, stride, 1), "dilations": list(1, 1, 1, 1),
		}
		conv := node("Conv2D", name("conv"), attrs, last, constant(name("w"), "float32", []int{1, 1, 3, classes + bins}))
		first := node("Transpose", name("first"), nil, conv, constant(name("to first"), "int32", []int{4}, 0, 3, 1, 2))
		node("SplitV", name("split"), nil, first, constant(name("sizes"), "int32", []int{2}, classes, bins), constant(name("axis"), "int32", []int{}, 1))
		node("Sigmoid", name("sigmoid"), nil, name("split"))
		cells := (side / stride) * (side / stride)
		for _, branch := range []struct {
			from     string
			channels int
		}{{name("sigmoid"), classes}, {name("split") + ":1", bins}} {
			id := fmt.Sprint(stride, " ", branch.channels)
			rows := node("Reshape", "rows "+id, nil, branch.from, constant("shape "+id, "int32", []int{3}, 1, int32(branch.channels), -1))
			turned := node("Transpose", "turned "+id, nil, rows, constant("swap "+id, "int32", []int{3}, 0, 2, 1))
			output(node("Identity", "out "+id, nil, turned), 1, cells, branch.channels)
		}
	}
	document, err := json.Marshal(object{
		"format":          "graph-model",
		"modelTopology":   object{"node": nodes},
		"weightsManifest": []object{{"paths": []string{"nanodet.bin"}, "weights": stored}},
		"signature": object{
			"inputs":  object{"input_1:0": object{"name": "input_1:0", "tensorShape": dims(1, 3, side, side)}},
			"outputs": outputs,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if size != len(weights) {
		t.Fatalf("%d bytes of weights, %d described", len(weights), size)
	}
	return document, weights
}

func opener(weights []byte) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		if name != "nanodet.bin" {
			return nil, fs.ErrNotExist
		}
		return weights, nil
	}
}

func TestRebuild(t *testing.T) {
	document, weights := model(t)
	data, err := rebuild(document, opener(weights))
	if err != nil {
		t.Fatal(err)
	}
	info, err := onnx.Inspect(data)
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string, sizes ...int64) onnx.Value {
		v := onnx.Value{Name: name, Type: "float32"}
		for _, s := range sizes {
			v.Shape = append(v.Shape, onnx.Dim{Value: s})
		}
		return v
	}
	if diff := cmp.Diff([]onnx.Value{value("input", 1, 3, 416, 416)}, info.Inputs); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	wantOutputs := []onnx.Value{
		value("cls_8", 1, 2704, 80), value("cls_16", 1, 676, 80), value("cls_32", 1, 169, 80),
		value("reg_8", 1, 2704, 44), value("reg_16", 1, 676, 44), value("reg_32", 1, 169, 44),
	}
	if diff := cmp.Diff(wantOutputs, info.Outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	wantOps := map[string]int{"Conv": 3, "Split": 3, "Sigmoid": 3, "Reshape": 6, "Transpose": 6}
	if diff := cmp.Diff(wantOps, info.Ops); diff != "" {
		t.Errorf("operators (-want +got):\n%s", diff)
	}
	if info.Metadata["license"] != "Apache-2.0" || info.Metadata["author"] == "" || info.Metadata["source"] == "" {
		t.Errorf("metadata: %v", info.Metadata)
	}
	if info.Opsets[""] != 13 {
		t.Errorf("operator sets: %v", info.Opsets)
	}
}

// The manifest and the model have to agree.
func TestManifest(t *testing.T) {
	document, weights := model(t)
	data, err := rebuild(document, opener(weights))
	if err != nil {
		t.Fatal(err)
	}
	info, err := onnx.Inspect(data)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("nanodet-g.yaml")
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := models.ParseManifest("nanodet-g.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := models.Resolve(manifest, info, nil)
	if err != nil {
		t.Fatal(err)
	}
	if spec.Family != detect.NanoDet || spec.Width != side || spec.Height != side || len(spec.Labels) != classes || len(spec.Unclear) != 0 {
		t.Errorf("read as %+v", spec)
	}
}

func TestSameInputSameBytes(t *testing.T) {
	document, weights := model(t)
	first, err := rebuild(document, opener(weights))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		again, err := rebuild(document, opener(weights))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, again) {
			t.Fatal("two runs on one input wrote different bytes")
		}
	}
}

func TestRebuildRefuses(t *testing.T) {
	document, weights := model(t)
	for _, tt := range []struct {
		name, old, new string
		weights        []byte
		want           string
	}{
		{"missing weights", `"nanodet.bin"`, `"other.bin"`, weights, "weight file: file does not exist"},
		{"short weights", "", "", weights[:len(weights)-1], "end 1 bytes too soon"},
		{"unknown operator", `"Sigmoid"`, `"Softmax"`, weights, "this operator is not supported"},
		{"quantisation", `"float16"`, `"uint8"`, weights, `float32 stored as "uint8" is not supported`},
		{"other input", `"416"`, `"417"`, weights, "NanoDet-g has no input or output of shape [1 3 417 416]"},
		{"fewer outputs", `"out 8 80":{`, `"out 8 44":{`, weights, "NanoDet-g has 1 input and 6 outputs, this model has 1 and 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(string(document), tt.old, tt.new, 1)
			if tt.old != "" && changed == string(document) {
				t.Fatalf("%s is not in the model", tt.old)
			}
			_, err := rebuild([]byte(changed), opener(tt.weights))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
		})
	}
}

func TestRun(t *testing.T) {
	document, weights := model(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "nanodet.json")
	write := func(path string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(path, document)
	out := filepath.Join(t.TempDir(), "out.onnx")
	write(out, []byte("an older file"))

	if err := run(dir, out); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "nanodet.bin") {
		t.Errorf("without the weights: %v", err)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "an older file" {
		t.Errorf("a failed conversion left %d bytes (%v)", len(got), err)
	}
	write(filepath.Join(dir, "nanodet.bin"), weights)
	want, err := rebuild(document, opener(weights))
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{dir, path} {
		if err := run(in, out); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: wrote %d bytes (%v), want %d", in, len(got), err, len(want))
		}
	}
	if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) != 1 {
		t.Errorf("files left behind: %v (%v)", left, err)
	}
	for name, err := range map[string]error{
		"no such input":  run(filepath.Join(dir, "none"), out),
		"no such folder": run(dir, filepath.Join(dir, "none", "out.onnx")),
		"no model there": run(t.TempDir(), out),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
