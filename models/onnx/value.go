package onnx

import (
	"errors"
	"fmt"
)

// readValue reads a ValueInfoProto.
func readValue(data []byte) (Value, error) {
	var v Value
	w := walk(data)
	for w.next() {
		switch w.num {
		case 1:
			v.Name = w.name()
		case 2:
			if err := v.readType(w.message()); err != nil {
				return v, fmt.Errorf("%q: %w", v.Name, err)
			}
		}
	}
	if w.err == nil && v.Name == "" {
		return v, errors.New("it has no name")
	}
	return v, w.err
}

// readType reads a TypeProto. Detectors take and give tensors; of other types the kind is enough.
func (v *Value) readType(data []byte) error {
	w := walk(data)
	for w.next() {
		switch w.num {
		case 1:
			if err := v.readTensorType(w.message()); err != nil {
				return err
			}
		case 4:
			v.Type = "sequence"
		case 5:
			v.Type = "map"
		case 8:
			v.Type = "sparse tensor"
		case 9:
			v.Type = "optional"
		}
	}
	return w.err
}

// readTensorType reads a TypeProto.Tensor.
func (v *Value) readTensorType(data []byte) error {
	w := walk(data)
	for w.next() {
		switch w.num {
		case 1:
			v.Type = typeName(w.int())
		case 2:
			if v.Shape == nil {
				v.Shape = []Dim{}
			}
			if err := v.readShape(w.message()); err != nil {
				return err
			}
		}
	}
	return w.err
}

// typeName names a value of TensorProto.DataType.
func typeName(code int64) string {
	if code > 0 && code < int64(len(elementTypes)) {
		return elementTypes[code]
	}
	return fmt.Sprintf("type %d", code)
}

// readShape reads a TensorShapeProto.
func (v *Value) readShape(data []byte) error {
	w := walk(data)
	for w.next() {
		if w.num != 1 {
			continue
		}
		if len(v.Shape) == maxRank {
			return fmt.Errorf("%w: more than %d dimensions", ErrLimit, maxRank)
		}
		d, err := readDim(w.message())
		if err != nil {
			return err
		}
		v.Shape = append(v.Shape, d)
	}
	return w.err
}

// readDim reads a TensorShapeProto.Dimension. Exporters also write a symbolic size as a negative one.
func readDim(data []byte) (Dim, error) {
	d := Dim{Value: -1}
	w := walk(data)
	for w.next() {
		switch w.num {
		case 1:
			d = Dim{Value: max(w.int(), -1)}
		case 2:
			d = Dim{Value: -1, Param: w.name()}
		}
	}
	return d, w.err
}
