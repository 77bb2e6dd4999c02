package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Tensor is a constant: row-major elements in little-endian bytes, as TensorProto.raw_data has them.
type Tensor struct {
	Name string // may be empty in an attribute
	Type string // "float32", "float16", "uint8", "int32", "int64" and so on; no strings
	Dims []int64
	Data []byte // not copied before Marshal
}

// Float32s makes a tensor of float32.
func Float32s(name string, dims []int64, values ...float32) Tensor {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return Tensor{Name: name, Type: "float32", Dims: dims, Data: data}
}

// Int64s makes a tensor of int64.
func Int64s(name string, dims []int64, values ...int64) Tensor {
	data := make([]byte, 0, 8*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	return Tensor{Name: name, Type: "int64", Dims: dims, Data: data}
}

// Int32s makes a tensor of int32.
func Int32s(name string, dims []int64, values ...int32) Tensor {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, uint32(v))
	}
	return Tensor{Name: name, Type: "int32", Dims: dims, Data: data}
}

// Uint8s makes a tensor of uint8.
func Uint8s(name string, dims []int64, values ...uint8) Tensor {
	return Tensor{Name: name, Type: "uint8", Dims: dims, Data: values}
}

// elementSize is the number of bytes of one element; 0 for a type whose elements vary in length.
func elementSize(typ string) int64 {
	switch typ {
	case "uint8", "int8", "bool":
		return 1
	case "uint16", "int16", "float16":
		return 2
	case "float32", "int32", "uint32":
		return 4
	case "float64", "int64", "uint64", "complex64":
		return 8
	case "complex128":
		return 16
	}
	return 0
}

// append appends the encoding of a TensorProto.
func (t *Tensor) append(b []byte) ([]byte, error) {
	code, err := typeCode(t.Type)
	if err != nil {
		return nil, err
	}
	size := elementSize(t.Type)
	if size == 0 {
		return nil, fmt.Errorf("tensors of type %s cannot be written", t.Type)
	}
	want := size
	for _, d := range t.Dims {
		if d < 0 || (d > 0 && want > maxSize/d) {
			return nil, fmt.Errorf("shape %v: every side must be at least 0 and all the data at most %d bytes", t.Dims, maxSize)
		}
		want *= d
	}
	if int64(len(t.Data)) != want {
		return nil, fmt.Errorf("shape %v of %s needs %d bytes of data, there are %d", t.Dims, t.Type, want, len(t.Data))
	}
	for _, d := range t.Dims {
		b = appendInt(b, 1, d)
	}
	b = appendInt(b, 2, code)
	b = appendText(b, 8, t.Name)
	return appendMessage(b, 9, t.Data), nil
}

// Attr is an attribute of a node; the functions below make them.
type Attr struct {
	name   string
	kind   int64 // AttributeProto.AttributeType
	value  []byte
	tensor *Tensor
}

// Float makes an attribute that is one number.
func Float(name string, v float32) Attr {
	b := protowire.AppendTag(nil, 2, protowire.Fixed32Type)
	return Attr{name: name, kind: 1, value: protowire.AppendFixed32(b, math.Float32bits(v))}
}

// Int makes an attribute that is one whole number.
func Int(name string, v int64) Attr {
	return Attr{name: name, kind: 2, value: appendInt(nil, 3, v)}
}

// String makes an attribute that is a text.
func String(name, v string) Attr {
	return Attr{name: name, kind: 3, value: appendMessage(nil, 4, []byte(v))}
}

// Constant makes an attribute that is a tensor.
func Constant(name string, t Tensor) Attr {
	return Attr{name: name, kind: 4, tensor: &t}
}

// Floats makes an attribute that is a list of numbers.
func Floats(name string, vs ...float32) Attr {
	var b []byte
	for _, v := range vs {
		b = protowire.AppendTag(b, 7, protowire.Fixed32Type)
		b = protowire.AppendFixed32(b, math.Float32bits(v))
	}
	return Attr{name: name, kind: 6, value: b}
}

// Ints makes an attribute that is a list of whole numbers.
func Ints(name string, vs ...int64) Attr {
	var b []byte
	for _, v := range vs {
		b = appendInt(b, 8, v)
	}
	return Attr{name: name, kind: 7, value: b}
}

// append appends the encoding of an AttributeProto.
func (a *Attr) append(b []byte) ([]byte, error) {
	if a.name == "" {
		return nil, errors.New("it has no name")
	}
	b = appendText(b, 1, a.name)
	b = append(b, a.value...)
	if a.tensor != nil {
		tensor, err := a.tensor.append(nil)
		if err != nil {
			return nil, err
		}
		b = appendMessage(b, 5, tensor)
	}
	return appendInt(b, 20, a.kind), nil
}
