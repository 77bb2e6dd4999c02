package onnx

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of a TensorProto that say where its data are.
const (
	tensorRawData      protowire.Number = 9
	tensorExternalData protowire.Number = 13
	tensorDataLocation protowire.Number = 14
)

// storedTensor is what a TensorProto says about itself, without its elements.
type storedTensor struct {
	name     string
	typ      int32 // TensorProto.DataType
	dims     []int64
	external bool              // data_location is EXTERNAL
	entries  map[string]string // of external_data; nil when there is none
	inside   bool              // it has elements of its own
}

// readTensor reads a TensorProto. Of a field that may occur once the last one counts, and enumerations are cut to 32
// bits, as every protobuf library does it: a runtime must not see another file than this does.
func readTensor(content []byte) (t storedTensor, err error) {
	w := walk(content)
	for w.next() {
		switch w.num {
		case 1:
			if err := t.readDims(w); err != nil {
				return t, err
			}
		case 2:
			t.typ = int32(w.int())
		case 8:
			t.name = w.name()
		case 4, 5, 6, 7, 10, 11: // the data of one type each, packed or one by one
			t.inside = t.inside || w.typ != protowire.BytesType || len(w.length) > 0 || w.num == 6
		case tensorRawData:
			t.inside = t.inside || len(w.message()) > 0
		case tensorExternalData:
			if err := t.readEntry(w.message()); err != nil {
				return t, err
			}
		case tensorDataLocation:
			t.external = isExternal(w.int())
		}
	}
	return t, w.err
}

// isExternal tells whether a data_location is TensorProto.EXTERNAL.
func isExternal(location int64) bool { return int32(location) == 1 }

// readDims reads dimensions in either of protobuf's two forms.
func (t *storedTensor) readDims(w *walker) error {
	if w.typ != protowire.BytesType {
		t.dims = append(t.dims, w.int())
	}
	for packed := w.length; w.typ == protowire.BytesType && len(packed) > 0; {
		d, n := protowire.ConsumeVarint(packed)
		if n < 0 {
			return errors.New("its dimensions are cut")
		}
		packed = packed[n:]
		t.dims = append(t.dims, int64(d))
		if len(t.dims) > maxRank {
			break
		}
	}
	if len(t.dims) > maxRank {
		return fmt.Errorf("%w: more than %d dimensions", ErrLimit, maxRank)
	}
	return w.err
}

// readEntry reads one of the pairs that say where external data are.
func (t *storedTensor) readEntry(data []byte) error {
	var key, value string
	w := walk(data)
	for w.next() {
		switch w.num {
		case 1:
			key = w.name()
		case 2:
			value = w.name()
		}
	}
	if t.entries == nil {
		t.entries = map[string]string{}
	}
	if _, twice := t.entries[key]; twice && w.err == nil {
		return fmt.Errorf("%w: it gives the %.100q of its data twice", ErrExternalData, key)
	}
	t.entries[key] = value
	return w.err
}

// weights says where the data of a tensor with external data lie, and checks it.
func (t *storedTensor) weights() (*weights, error) {
	at := &weights{tensor: t.name, location: t.entries["location"]}
	need, err := t.need()
	switch {
	case err != nil:
		return nil, err
	case t.inside:
		return nil, fmt.Errorf("%w: it has data in the model and in %q as well; export the model anew", ErrExternalData, at.location)
	case at.location == "":
		return nil, fmt.Errorf("%w: its data are said to be in another file, but none is named", ErrExternalData)
	}
	if at.offset, err = t.number("offset"); err != nil {
		return nil, err
	}
	if at.length, err = t.number("length"); err != nil {
		return nil, err
	}
	switch {
	case need == unknownSize && at.length == 0:
		return nil, fmt.Errorf("%w: it is of %s and does not say how many bytes it has in %q; export the model with a length", ErrExternalData, typeName(int64(t.typ)), at.location)
	case need == unknownSize:
	case at.length == 0:
		at.length = need
	case at.length != need:
		return nil, fmt.Errorf("%w: its shape %v of %s needs %d bytes, and it claims %d of %q", ErrExternalData, t.dims, typeName(int64(t.typ)), need, at.length, at.location)
	}
	return at, nil
}

// number reads an entry that is a number of bytes; 0 when it is missing.
func (t *storedTensor) number(key string) (int64, error) {
	text, given := t.entries[key]
	if !given {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || text[0] == '+' {
		return 0, fmt.Errorf("%w: the %s of its data is %.40q, which is no number of bytes from 0", ErrExternalData, key, text)
	}
	return n, nil
}

const byteBits = 8

// unknownSize stands for the size of a tensor whose type has a size that is not known here.
const unknownSize = -1

// need is how many bytes the elements take by shape and type; unknownSize for a type that is newer than this code.
func (t *storedTensor) need() (int64, error) {
	if slices.ContainsFunc(t.dims, func(d int64) bool { return d < 0 }) {
		return 0, fmt.Errorf("%w: its shape %v has a negative side", ErrExternalData, t.dims)
	}
	bits, err := elementBits(t.typ)
	if err != nil || bits == unknownSize {
		return bits, err
	}
	if slices.Contains(t.dims, 0) {
		return 0, nil
	}
	elements := int64(1)
	for _, d := range t.dims {
		if elements > maxSize*byteBits/d { // even at the two bits of the smallest elements that is beyond any file
			return 0, fmt.Errorf("%w: its shape %v has more elements than a model can hold", ErrLimit, t.dims)
		}
		elements *= d
	}
	return (elements*bits + byteBits - 1) / byteBits, nil
}

// elementBits is the size of one element of a TensorProto.DataType. Elements of fewer than 8 bits lie side by side.
func elementBits(typ int32) (int64, error) {
	switch typ {
	case 0, 8: // undefined, string
		return 0, fmt.Errorf("%w: elements of %s cannot lie in another file", ErrExternalData, typeName(int64(typ)))
	case 16: // bfloat16
		return 16, nil
	case 17, 18, 19, 20, 24: // float8 in its variants
		return 8, nil
	case 21, 22, 23: // uint4, int4, float4
		return 4, nil
	case 25, 26: // uint2, int2
		return 2, nil
	}
	if size := elementSize(typeName(int64(typ))); size > 0 {
		return size * byteBits, nil
	}
	return unknownSize, nil
}
