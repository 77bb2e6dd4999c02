package onnx

import "errors"

// The kinds of refusal that Inspect knows. Its errors wrap one of them, or say which limit was passed.
var (
	// ErrNotONNX: the bytes are something else, or a model that no exporter would have written.
	ErrNotONNX = errors.New("not an ONNX model")
	// ErrTruncated: the beginning is that of an ONNX model, the end is missing.
	ErrTruncated = errors.New("truncated")
	// ErrUnsafePath: external data lies, or claims to lie, outside the model's folder.
	ErrUnsafePath = errors.New("unsafe external data")
	// ErrLimit: larger or deeper than any detector, so not worth the memory.
	ErrLimit = errors.New("too large")
)

// Info is what a model file says about itself. It shares no memory with the bytes that it was read from.
type Info struct {
	IRVersion       int64            // version of the ONNX file format
	Opsets          map[string]int64 // operator set versions by domain; the default domain is ""
	Producer        string           // the exporter's name for itself, may be empty
	ProducerVersion string
	GraphName       string
	Description     string // the model's documentation, may be empty
	Inputs          []Value
	Outputs         []Value
	Metadata        map[string]string // the exporter's key-value pairs; of equal keys the last counts
	Nodes           int               // operators, those of subgraphs and of functions included
	Initializers    int               // constant tensors, sparse ones and those of subgraphs included
	ExternalData    []string          // files with weights, relative to the model's folder, in order of first use
	Ops             map[string]int    // how often each operator occurs; outside the default domain as "domain.Op"
}

// Value is an input or output of a graph.
type Value struct {
	Name string
	// Type is "float32", "float16", "uint8", "int8", "int32", "int64" and so on for tensors; "type 16" for an
	// element type without a name here; "sequence", "map", "optional" or "sparse tensor" for what is not a
	// tensor; empty when the model does not say.
	Type string
	// Shape is nil when the model does not give it, and empty but not nil for a scalar.
	Shape []Dim
}

// Dim is one dimension of a tensor.
type Dim struct {
	Value int64  // -1 when the size is known only at run time
	Param string // the name of a symbolic size such as "batch"; empty for a fixed or an anonymous one
}

// Limits of what Inspect accepts. They are far above every detector seen so far and low enough that a hostile
// file costs a few dozen megabytes at most.
const (
	maxSize         = 2<<30 - 1 // bytes in the file: protobuf's own limit for one message
	maxNodes        = 200_000   // a detector has hundreds, a large language model tens of thousands
	maxInitializers = 200_000   // about one a node
	maxInputs       = 1024      // inputs that are not initialisers, or outputs; a detector has one to a dozen
	maxRank         = 32        // dimensions of one input or output; detectors use 5 at most
	maxDepth        = 16        // subgraphs inside subgraphs (If, Loop, Scan); exporters nest 2 or 3
	maxOps          = 4096      // different operators; ONNX and its common extensions have about 600
	maxOpsets       = 256       // entries that import an operator set
	maxMetadata     = 1024      // key-value pairs; Ultralytics writes about a dozen
	maxExternal     = 10_000    // different files with external data: the most that split a model do so by tensor
	maxName         = 4096      // bytes in the name of anything
	maxText         = 1 << 20   // bytes in a metadata value or description: room for some ten thousand labels
)

// elementTypes names the values of TensorProto.DataType, by position; "" has no name that gnomon uses.
var elementTypes = [...]string{
	"", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16", "float64",
	"uint32", "uint64", "complex64", "complex128",
}
