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
	flat  bool     // (1, n): one number a row
	dims  [2]int64 // the dimensions after the batch; anyDim where only the run tells. The second is 1 if flat
}

// bindPin checks that output i is a (1, a, b) tensor of floats.
func bindPin(f Family, outputs []TensorInfo, i int) (pin, error) {
	o := outputs[i]
	if o.Type != Float32 && o.Type != Float16 {
		return pin{}, fmt.Errorf("output %s holds %s, %s head has float32 or float16; export the model with float outputs",
			describe(o), typeText(o.Type), withArticle(f))
	}
	if len(o.Shape) != 3 {
		return pin{}, fmt.Errorf("output %s has %d dimensions, %s head has 3 (batch and two more); "+
			"check the manifest's `family`", describe(o), len(o.Shape), withArticle(f))
	}
	if err := checkSides(o); err != nil {
		return pin{}, err
	}
	return pin{index: i, name: o.Name, dims: [2]int64{o.Shape[1], o.Shape[2]}}, nil
}

// bindFlat checks that output i is a (1, n) tensor of numbers. Classes are whole ones in some exports.
func bindFlat(f Family, outputs []TensorInfo, i int) (pin, error) {
	o := outputs[i]
	switch o.Type {
	case Float32, Float16, Int32, Int64:
	default:
		return pin{}, fmt.Errorf("output %s holds %s, %s head has float32, float16, int32 or int64 there; check the manifest's `family`",
			describe(o), typeText(o.Type), withArticle(f))
	}
	if len(o.Shape) != 2 {
		return pin{}, fmt.Errorf("output %s has %d dimensions, %s head has 2 there (batch and rows); "+
			"check the manifest's `family`", describe(o), len(o.Shape), withArticle(f))
	}
	if err := checkSides(o); err != nil {
		return pin{}, err
	}
	return pin{index: i, name: o.Name, flat: true, dims: [2]int64{o.Shape[1], 1}}, nil
}

// checkSides checks the dimensions of an output that has a batch and more.
func checkSides(o TensorInfo) error {
	if o.Shape[0] != 1 && o.Shape[0] != anyDim {
		return fmt.Errorf("output %s has a batch of %d; export the model with a batch of 1 or a dynamic one",
			describe(o), o.Shape[0])
	}
	for _, d := range o.Shape[1:] {
		if d != anyDim && (d < 1 || d > rowsLimit) {
			return fmt.Errorf("output %s has a dimension of %d; it must be from 1 to %d", describe(o), d, rowsLimit)
		}
	}
	return nil
}

// values is the data of the pinned output and its dimensions after the batch, checked against each other and
// against the promise. The first dimension may be 0 where it was symbolic: a head with NMS inside found nothing.
func (p pin) values(outputs []Tensor) (data []float32, a, b int, err error) {
	t, err := p.tensor(outputs)
	if err != nil {
		return nil, 0, 0, err
	}
	got := [2]int64{0, 1}
	promised := []int64{1, p.dims[0], p.dims[1]}
	if p.flat {
		promised = promised[:2]
	}
	if len(t.Shape) == len(promised) {
		copy(got[:], t.Shape[1:])
	}
	if len(t.Shape) != len(promised) || t.Shape[0] != 1 || !fits(got[0], p.dims[0]) || !fits(got[1], p.dims[1]) {
		return nil, 0, 0, fmt.Errorf("output %q came as %s, expected %s with a batch of 1", t.Name, shapeText(t.Shape), shapeText(promised))
	}
	size := got[0] * got[1]
	if int64(len(t.Data)) < size {
		return nil, 0, 0, fmt.Errorf("output %q came as %s, %d values, but holds only %d", t.Name, shapeText(t.Shape), size, len(t.Data))
	}
	return t.Data[:size], int(got[0]), int(got[1]), nil
}

// tensor is the pinned output of a run.
func (p pin) tensor(outputs []Tensor) (*Tensor, error) {
	if p.index >= len(outputs) {
		return nil, fmt.Errorf("the run gave %d outputs, output %q is number %d; give Decode all outputs of the model in its order",
			len(outputs), p.name, p.index+1)
	}
	t := &outputs[p.index]
	if t.Name != p.name {
		return nil, fmt.Errorf("output %d of the run is %q, the model declares %q there; give Decode the outputs in the model's order",
			p.index+1, t.Name, p.name)
	}
	return t, nil
}

func fits(got, promised int64) bool {
	if promised == anyDim {
		return got >= 0 && got <= rowsLimit
	}
	return got == promised
}

// byName finds the output that a family calls so; false when there is none. TensorFlow adds the number of an
// operator's output (":0"), and some exporters change the case.
func byName(outputs []TensorInfo, name string) (int, bool) {
	for i, o := range outputs {
		if plain, _, _ := strings.Cut(o.Name, ":"); strings.EqualFold(plain, name) {
			return i, true
		}
	}
	return 0, false
}

// allNamed tells whether there are outputs of all these names.
func allNamed(outputs []TensorInfo, names ...string) bool {
	for _, name := range names {
		if _, ok := byName(outputs, name); !ok {
			return false
		}
	}
	return true
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

// withArticle is the family in the middle of a sentence.
func withArticle(f Family) string {
	switch f {
	case EndToEnd, RTDETR, RFDETR, SSD:
		return "an " + string(f)
	}
	return "a " + string(f)
}

func familiesText() string {
	var names []string
	for _, f := range Families() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}
