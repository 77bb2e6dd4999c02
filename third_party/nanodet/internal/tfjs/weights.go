package tfjs

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
)

// maxElements bounds one weight: the largest here has 590,000 elements, and products of sides cannot overflow.
const maxElements = 1 << 28

// Tensor is a constant. One of the two slices is nil; which one says the type of the elements.
type Tensor struct {
	Shape  []int
	Floats []float32
	Ints   []int32
}

// group is a set of files with weights.
type group struct {
	Paths   []string `json:"paths"`
	Weights []struct {
		Name         string `json:"name"`
		Shape        []int  `json:"shape"`
		DType        string `json:"dtype"`
		Quantization *struct {
			DType string `json:"dtype"`
		} `json:"quantization"`
	} `json:"weights"`
}

// read adds the group's weights to the given ones.
func (g *group) read(open func(string) ([]byte, error), weights map[string]Tensor) error {
	var data []byte
	for _, path := range g.Paths {
		if path != filepath.Base(path) || !filepath.IsLocal(path) {
			return fmt.Errorf("weight file %q: it must be a file beside the model, not a path", path)
		}
		part, err := open(path)
		if err != nil {
			return fmt.Errorf("weight file: %w", err)
		}
		data = append(data, part...)
	}
	total := len(data)
	for _, w := range g.Weights {
		stored := w.DType
		if w.Quantization != nil {
			stored = w.Quantization.DType
		}
		size, known := map[string]int{"float32": 4, "float16": 2, "int32": 4}[stored]
		if !known || (w.DType != "float32" && stored != w.DType) {
			return fmt.Errorf("weight %q: %s stored as %q is not supported; use float32, float16 or int32", w.Name, w.DType, stored)
		}
		n, err := elements(w.Shape)
		if err != nil {
			return fmt.Errorf("weight %q: %w", w.Name, err)
		}
		if len(data) < n*size {
			return fmt.Errorf("weight %q needs %d bytes, but the weight files %q end %d bytes too soon; get them again", w.Name, n*size, g.Paths, n*size-len(data))
		}
		if _, twice := weights[w.Name]; twice {
			return fmt.Errorf("two weights are named %q", w.Name)
		}
		weights[w.Name] = decode(stored, w.Shape, data[:n*size])
		data = data[n*size:]
	}
	if len(data) > 0 {
		return fmt.Errorf("the weight files %q hold %d bytes, %d more than the model describes; they belong to another model", g.Paths, total, len(data))
	}
	return nil
}

// elements is the number of elements of a shape.
func elements(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 || (d > 0 && n > maxElements/d) {
			return 0, fmt.Errorf("shape %v: every side must be at least 0 and the product at most %d", shape, maxElements)
		}
		n *= d
	}
	return n, nil
}

// decode turns stored bytes into numbers.
func decode(stored string, shape []int, data []byte) Tensor {
	t := Tensor{Shape: shape}
	switch stored {
	case "int32":
		t.Ints = make([]int32, len(data)/4)
		for i := range t.Ints {
			t.Ints[i] = int32(binary.LittleEndian.Uint32(data[4*i:]))
		}
	case "float16":
		t.Floats = make([]float32, len(data)/2)
		for i := range t.Floats {
			t.Floats[i] = halfToFloat(binary.LittleEndian.Uint16(data[2*i:]))
		}
	default:
		t.Floats = make([]float32, len(data)/4)
		for i := range t.Floats {
			t.Floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
	}
	return t
}

// halfToFloat converts an IEEE 754 binary16 number. Every one has an exact float32.
func halfToFloat(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exponent := uint32(h >> 10 & 0x1f)
	fraction := uint32(h & 0x3ff)
	switch exponent {
	case 0: // zero and subnormal: fraction times 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	case 0x1f: // infinity and NaN
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
