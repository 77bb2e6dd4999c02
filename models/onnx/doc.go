// Package onnx reads what an ONNX file says about itself, and writes small ONNX files.
//
// Inspect walks the protobuf without any generated code and without ONNX Runtime, so that a file can be judged
// before native code sees it: what it wants, what it yields, what its metadata says, and whether it reaches for
// files outside its folder. Inline puts weights that lie in other files inside. Model and its parts are the other
// direction: enough of the format to write a graph by hand, byte for byte the same on every run.
//
// Pure Go; imports nothing of gnomon. Field numbers and types are those of onnx.proto, the ONNX intermediate
// representation: https://onnx.ai/onnx/repo-docs/IR.html. Nothing here keeps state: every function may be called
// from any goroutine.
package onnx
