package onnx

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrExternalData tells that the weights in other files do not fit the model, or cannot be read.
var ErrExternalData = errors.New("unusable external data")

// Inline returns the model with the weights inside that it has in other files: every tensor whose data_location is
// EXTERNAL gets them as raw_data, wherever Inspect looks for tensors, and no tensor keeps an external_data or
// data_location that it had. Everything else stays byte for byte. A model without external data comes back as it is.
//
// read returns length bytes at offset of the file called name, which is the location that the model gives: relative,
// and checked as Inspect does it. It is called once for each tensor, in the order of the file; parts of files may
// overlap. Offset and length are not negative, and length is what the tensor's shape and type need, if the type is
// one whose size is known here. A length that the model leaves out, or sets to 0, is taken from there, as ONNX
// Runtime does it. The checksum that an entry may have is not looked at. The bytes are copied, and may be overwritten
// by the next call.
//
// limit bounds the size of the result in bytes and is checked before anything is read. Besides the result, Inline
// needs memory for what read returns only. data is neither changed nor kept, unless it is what is returned.
//
// Errors are those of Inspect, or wrap ErrExternalData, ErrLimit, or what read returned.
func Inline(data []byte, limit int64, read func(name string, offset, length int64) ([]byte, error)) ([]byte, error) {
	info, err := Inspect(data)
	switch {
	case err != nil:
		return nil, err
	case len(info.ExternalData) == 0:
		return data, nil
	}
	in := &inliner{limit: min(limit, maxSize), read: read}
	m, err := in.plan(modelMessage, data)
	switch {
	case err != nil && !errors.Is(err, ErrLimit) && !errors.Is(err, ErrExternalData):
		return nil, fmt.Errorf("%w: %w", ErrNotONNX, err)
	case err != nil:
		return nil, err
	case m == nil:
		return data, nil
	case m.size > in.limit:
		return nil, in.tooLarge()
	}
	return in.append(make([]byte, 0, m.size), m)
}

// inliner rewrites one model in two passes: lengths come before contents in protobuf, so all sizes are found out
// first, and then everything is written once into memory that was made once.
type inliner struct {
	limit   int64
	read    func(name string, offset, length int64) ([]byte, error)
	tensors int   // that change
	inside  int64 // bytes of weights that come in
}

// message is the new form of a message that changes.
type message struct {
	parts   []part
	weights *weights // what a tensor gets as raw_data, after the parts; nil for none
	size    int64    // bytes of the new contents
}

// part is a stretch of a message: bytes that stay, then a field that changes, if inner is not nil.
type part struct {
	stay  []byte
	num   protowire.Number
	inner *message
}

// weights is where the data of a tensor lie.
type weights struct {
	tensor         string
	location       string
	offset, length int64 // bytes
}

func (m *message) add(p part) {
	m.parts = append(m.parts, p)
	m.size += int64(len(p.stay))
	if p.inner != nil {
		m.size += fieldSize(p.num, p.inner.size)
	}
}

// fieldSize is what a length-delimited field of so many bytes takes with its tag and length.
func fieldSize(num protowire.Number, content int64) int64 {
	return int64(protowire.SizeTag(num)) + int64(protowire.SizeVarint(uint64(content))) + content
}

func (in *inliner) tooLarge() error {
	return fmt.Errorf("%w: with its weights inside the model would have more than the %d bytes that are allowed", ErrLimit, in.limit)
}

// messageKind is a message of onnx.proto that has tensors in it, however deep.
type messageKind int

const (
	otherMessage messageKind = iota
	modelMessage
	graphMessage
	nodeMessage
	attributeMessage
	sparseMessage
	tensorMessage
	trainingMessage
	functionMessage
)

// field is the kind of message that a field holds. These are the fields that Inspect follows.
func (k messageKind) field(num protowire.Number) messageKind {
	type place struct {
		in  messageKind
		num protowire.Number
	}
	switch (place{k, num}) {
	case place{modelMessage, 7}, place{attributeMessage, 6}, place{attributeMessage, 11}, place{trainingMessage, 1}, place{trainingMessage, 2}:
		return graphMessage
	case place{modelMessage, 20}:
		return trainingMessage
	case place{modelMessage, 25}:
		return functionMessage
	case place{graphMessage, 1}, place{functionMessage, 7}:
		return nodeMessage
	case place{nodeMessage, 5}, place{functionMessage, 11}:
		return attributeMessage
	case place{graphMessage, 15}, place{attributeMessage, 22}, place{attributeMessage, 23}:
		return sparseMessage
	case place{graphMessage, 5}, place{attributeMessage, 5}, place{attributeMessage, 10}, place{sparseMessage, 1}, place{sparseMessage, 2}:
		return tensorMessage
	}
	return otherMessage
}

// plan works out the new form of a message; nil when it stays as it is. Inspect has accepted the model, which bounds
// the depth.
func (in *inliner) plan(kind messageKind, content []byte) (*message, error) {
	if kind == tensorMessage {
		return in.planTensor(content)
	}
	m := &message{}
	done := 0 // up to where the parts reach
	w := walk(content)
	for start := 0; w.next(); start = len(content) - len(w.rest) {
		inside := kind.field(w.num)
		if inside == otherMessage {
			continue
		}
		inner, err := in.plan(inside, w.message())
		if err != nil {
			return nil, err
		}
		if inner != nil {
			m.add(part{content[done:start], w.num, inner})
			done = len(content) - len(w.rest)
		}
	}
	if w.err != nil || done == 0 {
		return nil, w.err
	}
	m.add(part{stay: content[done:]})
	return m, nil
}

// planTensor works out the new form of a TensorProto.
func (in *inliner) planTensor(content []byte) (*message, error) {
	t, err := readTensor(content)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.name, err)
	}
	if !t.external && t.entries == nil {
		return nil, nil
	}
	if !t.external && !t.inside {
		return nil, fmt.Errorf("tensor %q: %w: it names a file with its data, and says that they are in the model, where there are none; export the model anew", t.name, ErrExternalData)
	}
	if in.tensors++; in.tensors > maxInitializers {
		return nil, fmt.Errorf("%w: more than %d tensors with external data", ErrLimit, maxInitializers)
	}
	m := &message{}
	if t.external {
		if m.weights, err = t.weights(); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.name, err)
		}
		// The sum, too, stays far from overflowing: neither number is above the limit.
		if m.weights.length > in.limit-in.inside {
			return nil, in.tooLarge()
		}
		in.inside += m.weights.length
		m.size = fieldSize(tensorRawData, m.weights.length)
	}
	done := 0
	w := walk(content)
	for start := 0; w.next(); start = len(content) - len(w.rest) {
		if w.num == tensorExternalData || w.num == tensorDataLocation || w.num == tensorRawData && t.external {
			m.add(part{stay: content[done:start]})
			done = len(content) - len(w.rest)
		}
	}
	m.add(part{stay: content[done:]})
	return m, w.err
}

// append appends the new contents of a message.
func (in *inliner) append(b []byte, m *message) ([]byte, error) {
	for _, p := range m.parts {
		b = append(b, p.stay...)
		if p.inner == nil {
			continue
		}
		b = protowire.AppendTag(b, p.num, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(p.inner.size))
		var err error
		if b, err = in.append(b, p.inner); err != nil {
			return nil, err
		}
	}
	if m.weights == nil {
		return b, nil
	}
	at := m.weights
	data, err := in.read(at.location, at.offset, at.length)
	if err == nil && int64(len(data)) != at.length {
		err = fmt.Errorf("%d bytes came for %d", len(data), at.length)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: tensor %.100q: read %q: %w", ErrExternalData, at.tensor, at.location, err)
	}
	return appendMessage(b, tensorRawData, data), nil
}
