package detect

import (
	"fmt"
	"strconv"
	"strings"
)

// rowsLimit is the largest dimension of an output: a 4K picture's worth of YOLOv5 rows is half of it, and row
// numbers fit 32 bits many times over.
const rowsLimit = 1 << 20

// anyDim is a symbolic dimension.
const anyDim = -1

// pin is one output of the model that a decoder reads: where it stands and what was promised of it.
type pin struct {
	index int
	name  string
	dims  [2]int64 // the dimensions after the batch; anyDim where only the run tells
}

// bindPin checks that output i is a (1, a, b) tensor of floats.
func bindPin(f Family, outputs []TensorInfo, i int) (pin, error) {
	o := outputs[i]
	if o.Type != Float32 && o.Type != Float16 {
		return pin{}, fmt.Errorf("output %s holds %s, a %s head has float32 or float16; export the model with float outputs",
			describe(o), typeText(o.Type), f)
	}
	if len(o.Shape) != 3 {
		return pin{}, fmt.Errorf("output %s has %d dimensions, a %s head has 3 (batch and two more); "+
			"check the manifest's `family`", describe(o), len(o.Shape), f)
	}
	if o.Shape[0] != 1 && o.Shape[0] != anyDim {
		return pin{}, fmt.Errorf("output %s has a batch of %d; export the model with a batch of 1 or a dynamic one",
			describe(o), o.Shape[0])
	}
	for _, d := range o.Shape[1:] {
		if d != anyDim && (d < 1 || d > rowsLimit) {
			return pin{}, fmt.Errorf("output %s has a dimension of %d; it must be from 1 to %d", describe(o), d, rowsLimit)
		}
	}
	return pin{index: i, name: o.Name, dims: [2]int64{o.Shape[1], o.Shape[2]}}, nil
}

// values is the data of the pinned output and its dimensions after the batch, checked against each other and
// against the promise. The first dimension may be 0 where it was symbolic: a head with NMS inside found nothing.
func (p pin) values(outputs []Tensor) (data []float32, a, b int, err error) {
	if p.index >= len(outputs) {
		return nil, 0, 0, fmt.Errorf("the run gave %d outputs, output %q is number %d; give Decode all outputs of the model in its order",
			len(outputs), p.name, p.index+1)
	}
	t := outputs[p.index]
	if t.Name != p.name {
		return nil, 0, 0, fmt.Errorf("output %d of the run is %q, the model declares %q there; give Decode the outputs in the model's order",
			p.index+1, t.Name, p.name)
	}
	if len(t.Shape) != 3 || t.Shape[0] != 1 || !fits(t.Shape[1], p.dims[0]) || !fits(t.Shape[2], p.dims[1]) {
		return nil, 0, 0, fmt.Errorf("output %q came as %s, expected %s with a batch of 1",
			t.Name, shapeText(t.Shape), shapeText([]int64{1, p.dims[0], p.dims[1]}))
	}
	size := t.Shape[1] * t.Shape[2]
	if int64(len(t.Data)) < size {
		return nil, 0, 0, fmt.Errorf("output %q came as %s, %d values, but holds only %d", t.Name, shapeText(t.Shape), size, len(t.Data))
	}
	return t.Data[:size], int(t.Shape[1]), int(t.Shape[2]), nil
}

func fits(got, promised int64) bool {
	if promised == anyDim {
		return got >= 0 && got <= rowsLimit
	}
	return got == promised
}

// describe is an output for an error message: "output0" float32 [1,84,8400].
func describe(o TensorInfo) string {
	return fmt.Sprintf("%q %s", o.Name, shapeText(o.Shape))
}

func describeAll(outputs []TensorInfo) string {
	parts := make([]string, len(outputs))
	for i, o := range outputs {
		parts[i] = describe(o)
	}
	return strings.Join(parts, ", ")
}

// shapeText is a shape as [1,84,?].
func shapeText(shape []int64) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range shape {
		if i > 0 {
			b.WriteByte(',')
		}
		if d == anyDim {
			b.WriteByte('?')
		} else {
			b.WriteString(strconv.FormatInt(d, 10))
		}
	}
	b.WriteByte(']')
	return b.String()
}

func typeText(t ElementType) string {
	if t == "" {
		return "an unknown element type"
	}
	return string(t)
}

func familiesText() string {
	var names []string
	for _, f := range Families() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}
