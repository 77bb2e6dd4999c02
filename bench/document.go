package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
)

// document is a JSON text whose errors say where they are: line and column, both from 1, the column in bytes.
type document struct {
	text []byte
}

// readDocument reads at most limit bytes and checks that they are one sound JSON value, so that what follows meets
// values of the wrong kind but no broken syntax.
func readDocument(r io.Reader, limit int64) (document, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return document{}, err
	}
	if int64(len(text)) > limit {
		return document{}, fmt.Errorf("more than %d bytes, which is the limit; take the annotations of fewer images", limit)
	}
	doc := document{text: text}
	var nothing struct{} // reads every byte and keeps none
	var syntax *json.SyntaxError
	if err := json.Unmarshal(text, &nothing); errors.As(err, &syntax) {
		// Offset counts the bytes read, the offending one included.
		return document{}, fmt.Errorf("%s: not JSON: %w", doc.place(max(syntax.Offset-1, 0)), err)
	}
	return doc, nil
}

// place names a byte's position for a person.
func (d document) place(offset int64) string {
	before := d.text[:min(offset, int64(len(d.text)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	return fmt.Sprintf("line %d, column %d", line, column)
}

// reader reads the document from its beginning.
func (d document) reader() io.Reader { return bytes.NewReader(d.text) }

// sections walks the top level object and calls read for each member with the decoder in front of its value.
func (d document) sections(read func(name string, dec *json.Decoder) error) error {
	dec := json.NewDecoder(d.reader())
	if err := d.open(dec, '{'); err != nil {
		return err
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // the syntax is sound, so a key is a string
		if err := read(name, dec); err != nil {
			return err
		}
	}
	return nil
}

// open consumes the delimiter that begins an object or array, or says what stands there instead.
func (d document) open(dec *json.Decoder, want json.Delim) error {
	start := d.next(dec)
	token, err := dec.Token()
	if err != nil {
		return err
	}
	if token != want {
		kind := map[json.Delim]string{'{': "an object {…}", '[': "a list […]"}[want]
		return fmt.Errorf("%s: there must be %s here", d.place(start), kind)
	}
	return nil
}

// next is the offset of the value that the decoder is about to read.
func (d document) next(dec *json.Decoder) int64 {
	offset := dec.InputOffset()
	for offset < int64(len(d.text)) && bytes.IndexByte([]byte(" \t\r\n,:"), d.text[offset]) >= 0 {
		offset++
	}
	return offset
}

// elements decodes each element of the array in front of dec into a fresh T and hands it to add with its offset in
// the text. An error of add is about the element's contents and gets the element's name and place.
func elements[T any](d document, dec *json.Decoder, name string, add func(element T, offset int64) error) error {
	if err := d.open(dec, '['); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for i := 0; dec.More(); i++ {
		offset := d.next(dec)
		var element T
		err := dec.Decode(&element)
		if err == nil {
			err = add(element, offset)
		} else {
			err = explain(err)
		}
		if err != nil {
			return fmt.Errorf("%s[%d] (%s): %w", name, i, d.place(offset), err)
		}
	}
	_, err := dec.Token() // the closing bracket
	return err
}

// explain puts a decoder's complaint about a value's kind into words of JSON instead of Go.
func explain(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	want := "an object"
	switch wrong.Type.Kind() {
	case reflect.Int, reflect.Int64:
		want = "a whole number"
	case reflect.Float64:
		want = "a number that fits 64 bits"
	case reflect.String:
		want = "a string"
	case reflect.Slice:
		want = "a list"
	default: // an element that is no object
	}
	if wrong.Field == "" {
		return fmt.Errorf("is a %s; it must be %s", wrong.Value, want)
	}
	return fmt.Errorf("%s is a %s; it must be %s", wrong.Field, wrong.Value, want)
}

// boxOf turns a decoded bbox into an array: four numbers, none of them null.
func boxOf(values []*float64) ([4]float64, error) {
	var box [4]float64
	if len(values) != len(box) {
		return box, fmt.Errorf("bbox has %d numbers; it must be [x, y, width, height]", len(values))
	}
	for i, v := range values {
		if v == nil {
			return box, errors.New("bbox holds null; it must be four numbers [x, y, width, height]")
		}
		box[i] = *v
	}
	if trouble := checkBox(box); trouble != "" {
		return box, errors.New(trouble)
	}
	return box, nil
}

// number prints a value in the fewest digits.
func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
