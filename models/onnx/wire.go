package onnx

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// errCut says that bytes ended inside a field. At the top level that is a truncated file; inside a message whose
// own length was honest it is damage.
var errCut = errors.New("a field runs past its end")

// walker steps through the fields of one protobuf message:
//
//	for w := walk(data); w.next(); {
//		switch w.num { case 1: name = w.name() }
//	}
//	return w.err
//
// The first trouble, found by next or by reading a value, ends the loop and stays in err.
type walker struct {
	rest   []byte
	num    protowire.Number
	typ    protowire.Type
	length []byte // the value of a length-delimited field, a slice of the message
	number uint64 // the value of a varint field
	err    error
}

func walk(message []byte) *walker { return &walker{rest: message} }

// next moves to the next field and reports whether there is one.
func (w *walker) next() bool {
	if w.err != nil || len(w.rest) == 0 {
		return false
	}
	num, typ, n := protowire.ConsumeTag(w.rest)
	if n < 0 {
		return w.fail(n)
	}
	w.num, w.typ = num, typ
	w.rest = w.rest[n:]
	switch typ {
	case protowire.VarintType:
		w.number, n = protowire.ConsumeVarint(w.rest)
	case protowire.BytesType:
		w.length, n = protowire.ConsumeBytes(w.rest)
	case protowire.Fixed32Type:
		_, n = protowire.ConsumeFixed32(w.rest)
	case protowire.Fixed64Type:
		_, n = protowire.ConsumeFixed64(w.rest)
	default:
		// Groups exist in protobuf but nowhere in ONNX; a brace or an angle bracket of a text file looks like one.
		w.err = fmt.Errorf("field %d has a type that ONNX does not use", num)
		return false
	}
	if n < 0 {
		return w.fail(n)
	}
	w.rest = w.rest[n:]
	return true
}

// fail turns protowire's code into an error. protowire calls every shortage of bytes io.ErrUnexpectedEOF.
func (w *walker) fail(code int) bool {
	w.err = errCut
	if err := protowire.ParseError(code); !errors.Is(err, io.ErrUnexpectedEOF) {
		w.err = fmt.Errorf("not protobuf: %w", err)
	}
	return false
}

// message returns the current field as a message or byte string that shares memory with the file.
func (w *walker) message() []byte {
	if w.err == nil && w.typ != protowire.BytesType {
		w.err = fmt.Errorf("field %d is a number where ONNX has a text or a message", w.num)
	}
	if w.err != nil {
		return nil
	}
	return w.length
}

// int returns the current field as an int64.
func (w *walker) int() int64 {
	if w.err == nil && w.typ != protowire.VarintType {
		w.err = fmt.Errorf("field %d is not the whole number that ONNX has there", w.num)
	}
	if w.err != nil {
		return 0
	}
	return int64(w.number)
}

// name returns the current field as a string that other parts of the model refer to, so it must be exact.
func (w *walker) name() string {
	b := w.message()
	switch {
	case w.err != nil:
		return ""
	case len(b) > maxName:
		w.err = fmt.Errorf("%w: a name of %d bytes, at most %d are accepted", ErrLimit, len(b), maxName)
		return ""
	case !utf8.Valid(b):
		w.err = errors.New("a name is not UTF-8 text")
		return ""
	}
	return string(b)
}

// text returns the current field as a string for people; bytes that are not UTF-8 become U+FFFD.
func (w *walker) text() string {
	b := w.message()
	if w.err == nil && len(b) > maxText {
		w.err = fmt.Errorf("%w: a text of %d bytes, at most %d are accepted", ErrLimit, len(b), maxText)
	}
	if w.err != nil {
		return ""
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
