package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// away is a tensor of float32 whose data are elsewhere: pairs of keys and values say where.
func away(dims []int64, pairs ...string) []byte {
	var b []byte
	for _, d := range dims {
		b = appendInt(b, 1, d)
	}
	b = msg(b, num(2, 1), str(8, "w"))
	for i := 0; i < len(pairs); i += 2 {
		b = msg(b, sub(13, str(1, pairs[i]), str(2, pairs[i+1])))
	}
	return msg(b, num(14, 1))
}

// here is the tensor that away stands for.
func here(dims []int64, data string) []byte {
	var b []byte
	for _, d := range dims {
		b = appendInt(b, 1, d)
	}
	return msg(b, num(2, 1), str(8, "w"), str(9, data))
}

// files is a folder of weights.
type files map[string]string

func (f files) read(name string, offset, length int64) ([]byte, error) {
	text, ok := f[name]
	if !ok {
		return nil, os.ErrNotExist
	}
	if offset > int64(len(text)) || length > int64(len(text))-offset {
		return nil, errors.New("beyond the end")
	}
	return []byte(text[offset : offset+length]), nil
}

// everywhere puts tensors into every place that may hold one.
func everywhere(tensor func(i int) []byte) []byte {
	return msg(
		model(
			sub(1, str(1, "x"), str(2, "y"), str(4, "Constant"),
				sub(5, str(1, "value"), sub(5, tensor(0)), num(20, 4)),
				sub(5, str(1, "list"), sub(10, tensor(1)), sub(10, tensor(2)))),
			sub(1, str(4, "If"), sub(5, sub(6, sub(5, tensor(3)), str(2, "then")), sub(11, sub(1, str(4, "A"), sub(5, sub(5, tensor(4))))))),
			str(2, "main"),
			sub(5, tensor(5)),
			sub(5, here([]int64{1}, "stay")),
			sub(15, sub(1, tensor(6)), sub(2, tensor(7)), num(3, 9)),
			sub(1, str(4, "B"), sub(5, sub(22, sub(1, tensor(8))), sub(23, sub(2, tensor(9))))),
			sub(11, str(1, "x")),
		),
		sub(14, str(1, "k"), str(2, "v")),
		sub(20, sub(1, sub(5, tensor(10))), sub(2, sub(5, tensor(11)))),
		sub(25, sub(7, str(4, "C"), sub(5, sub(5, tensor(12)))), sub(11, sub(5, tensor(13)))),
		num(99, 1),
	)
}

func TestInlineEverywhere(t *testing.T) {
	folder := files{"dir/w": strings.Repeat("-", 5) + "abcdefghijklmnopqrst"}
	// Parts overlap, as nothing forbids.
	before := everywhere(func(i int) []byte {
		return away([]int64{1}, "location", "dir/w", "offset", fmt.Sprint(5+i), "length", "4", "checksum", "00")
	})
	want := everywhere(func(i int) []byte { return here([]int64{1}, folder["dir/w"][5+i:9+i]) })
	kept := bytes.Clone(before)
	got, err := Inline(before, 1<<20, folder.read)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	if !bytes.Equal(before, kept) {
		t.Error("the model that was given is changed")
	}
	info, err := Inspect(got)
	if err != nil || info.ExternalData != nil {
		t.Errorf("inspected again: %+v, %v", info, err)
	}
	if _, err := Inline(before, int64(len(want)), folder.read); err != nil {
		t.Errorf("with exactly enough room: %v", err)
	}
	if _, err := Inline(before, int64(len(want))-1, folder.read); !errors.Is(err, ErrLimit) {
		t.Errorf("with a byte too little room: %v", err)
	}
}

func TestInline(t *testing.T) {
	whole := files{"w": "abcdefgh"}
	of := func(typ int64, dims ...int64) []byte { // the same for another type, without a length
		b := msg(num(2, typ), sub(13, str(1, "location"), str(2, "w")), num(14, 1))
		for _, d := range dims {
			b = msg(num(1, d), b)
		}
		return b
	}
	for _, tt := range []struct {
		name   string
		tensor []byte
		want   []byte
	}{
		{"no offset", away([]int64{2}, "location", "w", "length", "8"), here([]int64{2}, "abcdefgh")},
		{"no length", away([]int64{1, 1}, "location", "w", "offset", "2"), here([]int64{1, 1}, "cdef")},
		{"length 0", away([]int64{1}, "location", "w", "length", "0"), here([]int64{1}, "abcd")},
		{"scalar", away(nil, "location", "w"), here(nil, "abcd")},
		{"nothing in it", away([]int64{0, 1 << 60, 1 << 60}, "location", "w"), here([]int64{0, 1 << 60, 1 << 60}, "")},
		{"empty raw_data", msg(away([]int64{1}, "location", "w"), str(9, "")), here([]int64{1}, "abcd")},
		{"packed dimensions", msg(sub(1, []byte{2, 1}), num(2, 1), sub(13, str(1, "location"), str(2, "w")), num(14, 1)), msg(sub(1, []byte{2, 1}), num(2, 1), str(9, "abcdefgh"))},
		{"location beyond 32 bits", msg(num(2, 1), sub(13, str(1, "location"), str(2, "w")), num(14, 1<<32+1)), msg(num(2, 1), str(9, "abcd"))},
		{"entries of a tensor that has its data", msg(here([]int64{1}, "stay"), sub(13, str(1, "location"), str(2, "gone")), num(14, 0)), here([]int64{1}, "stay")},
		{"int4", of(22, 5), msg(num(1, 5), num(2, 22), str(9, "abc"))},
		{"bfloat16", of(16, 3), msg(num(1, 3), num(2, 16), str(9, "abcdef"))},
		{"float8", of(17, 3), msg(num(1, 3), num(2, 17), str(9, "abc"))},
		{"uint2", of(25, 5), msg(num(1, 5), num(2, 25), str(9, "ab"))},
		{"unknown type with a length", msg(num(1, 5), num(2, 77), sub(13, str(1, "location"), str(2, "w")), sub(13, str(1, "length"), str(2, "3")), num(14, 1)), msg(num(1, 5), num(2, 77), str(9, "abc"))},
	} {
		got, err := Inline(model(sub(5, tt.tensor)), 1<<20, whole.read)
		if want := model(sub(5, tt.want)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\ngot  %x\nwant %x", tt.name, err, got, want)
		}
	}
}

func TestInlineRefuses(t *testing.T) {
	folder := files{"w": "abcdefgh"}
	for _, tt := range []struct {
		name   string
		tensor []byte
		want   error
		text   string
	}{
		{"parent", away([]int64{1}, "location", "../w"), ErrUnsafePath, "leads out of its folder"},
		{"absolute", away([]int64{1}, "location", "/w"), ErrUnsafePath, "is not relative"},
		{"memory", away([]int64{1}, "location", "*/_ORT_MEM_ADDR_/*"), ErrUnsafePath, "stands for memory"},
		{"no location", away([]int64{1}, "offset", "0"), ErrNotONNX, "none is named"},
		{"no location, beyond 32 bits", msg(num(2, 1), num(14, 1<<32+1)), ErrNotONNX, "none is named"},
		{"missing file", away([]int64{1}, "location", "v"), os.ErrNotExist, `tensor "w": read "v"`},
		{"offset at the end", away([]int64{1}, "location", "w", "offset", "8"), ErrExternalData, "beyond the end"},
		{"huge offset", away([]int64{1}, "location", "w", "offset", "9223372036854775807"), ErrExternalData, "beyond the end"},
		{"overflowing offset", away([]int64{1}, "location", "w", "offset", "9223372036854775808"), ErrExternalData, "no number of bytes"},
		{"negative offset", away([]int64{1}, "location", "w", "offset", "-1"), ErrExternalData, `the offset of its data is "-1"`},
		{"signed offset", away([]int64{1}, "location", "w", "offset", "+1"), ErrExternalData, "no number of bytes"},
		{"empty offset", away([]int64{1}, "location", "w", "offset", ""), ErrExternalData, "no number of bytes"},
		{"hexadecimal offset", away([]int64{1}, "location", "w", "offset", "0x1"), ErrExternalData, "no number of bytes"},
		{"negative length", away([]int64{1}, "location", "w", "length", "-4"), ErrExternalData, "no number of bytes"},
		{"long length", away([]int64{1}, "location", "w", "length", "8"), ErrExternalData, "its shape [1] of float32 needs 4 bytes, and it claims 8"},
		{"short length", away([]int64{2}, "location", "w", "length", "4"), ErrExternalData, "needs 8 bytes, and it claims 4"},
		{"huge length", away([]int64{1}, "location", "w", "length", "9223372036854775807"), ErrExternalData, "needs 4 bytes"},
		{"huge shape", away([]int64{1 << 20, 1 << 20}, "location", "w"), ErrLimit, "more elements"},
		{"overflowing shape", away([]int64{1 << 40, 1 << 40}, "location", "w"), ErrLimit, "more elements"},
		{"beyond the limit", away([]int64{1 << 20}, "location", "w"), ErrLimit, "more than the 1048576 bytes that are allowed"},
		{"negative side", away([]int64{-1}, "location", "w"), ErrExternalData, "negative side"},
		{"many sides", away(make([]int64, maxRank+1), "location", "w"), ErrLimit, "dimensions"},
		{"location twice", away([]int64{1}, "location", "v", "location", "w"), ErrExternalData, "twice"},
		{"offset twice", away([]int64{1}, "location", "w", "offset", "0", "offset", "4"), ErrExternalData, "twice"},
		{"raw data as well", msg(away([]int64{1}, "location", "w"), str(9, "abcd")), ErrExternalData, "as well"},
		{"numbers as well", msg(away([]int64{1}, "location", "w"), str(4, "abcd")), ErrExternalData, "as well"},
		{"numbers one by one", msg(away([]int64{1}, "location", "w"), num(5, 0)), ErrExternalData, "as well"},
		{"said to be inside", msg(away([]int64{1}, "location", "w"), num(14, 0)), ErrExternalData, "where there are none"},
		{"strings", msg(away([]int64{1}, "location", "w"), num(2, 8)), ErrExternalData, "elements of string"},
		{"no type", msg(away([]int64{1}, "location", "w"), num(2, 0)), ErrExternalData, "cannot lie in another file"},
		{"unknown type without a length", msg(away([]int64{1}, "location", "w"), num(2, 77)), ErrExternalData, "does not say how many bytes"},
		{"unknown type, huge length", msg(away([]int64{1}, "location", "w", "length", "9223372036854775807"), num(2, 77)), ErrLimit, "allowed"},
		{"shape that is text", msg(away(nil, "location", "w"), sub(1, []byte{0xff})), ErrNotONNX, "dimensions are cut"},
		{"type that is text", msg(away(nil, "location", "w"), str(2, "x")), ErrNotONNX, "whole number"},
		{"tensor that is cut", msg(away(nil, "location", "w"), []byte{0x0a, 5}), ErrNotONNX, ""},
	} {
		got, err := Inline(model(sub(5, tt.tensor)), 1<<20, folder.read)
		if got != nil || !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.text) {
			t.Errorf("%s: %d bytes, %v, want %v with %q", tt.name, len(got), err, tt.want, tt.text)
		}
	}
	short := func(string, int64, int64) ([]byte, error) { return make([]byte, 3), nil }
	if _, err := Inline(model(sub(5, away(nil, "location", "w"))), 1<<20, short); !errors.Is(err, ErrExternalData) {
		t.Errorf("a reader that returns too little: %v", err)
	}
	many := sub(1, str(4, "C"), sub(5, bytes.Repeat(sub(10, away(nil, "location", "w")), maxInitializers+1)))
	if _, err := Inline(model(many), maxSize, folder.read); !errors.Is(err, ErrLimit) {
		t.Errorf("too many tensors: %v", err)
	}
	for _, data := range [][]byte{nil, []byte("text"), {8}} {
		if got, err := Inline(data, 1<<20, folder.read); got != nil || err == nil {
			t.Errorf("%q: %x, %v", data, got, err)
		}
	}
}

// TestInlineOutsourced takes the weights out of the models that the project has, as exporters do it, and puts them
// back. Except for where raw_data stands in a tensor, the model has to be what it was.
func TestInlineOutsourced(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("..", "..", "testdata", "models", "*.onnx"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var weights []byte
		split := outsource(t, modelMessage, data, &weights)
		before, err := Inspect(data)
		if err != nil {
			t.Fatal(err)
		}
		joined, err := Inline(split, 1<<20, files{"w.bin": string(weights)}.read)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		after, err := Inspect(joined)
		if diff := cmp.Diff(before, after); diff != "" || err != nil {
			t.Errorf("%s: %v (-before +after):\n%s", path, err, diff)
		}
		// Inline puts raw_data last, which is where the writer of these models has it.
		if !bytes.Equal(joined, data) || len(weights) == 0 {
			t.Errorf("%s: %d bytes became %d by way of %d and %d of weights", path, len(data), len(joined), len(split), len(weights))
		}
	}
}

// outsource moves the raw_data of all tensors to the end of weights.
func outsource(t *testing.T, kind messageKind, content []byte, weights *[]byte) []byte {
	t.Helper()
	var out []byte
	w := walk(content)
	for start := 0; w.next(); start = len(content) - len(w.rest) {
		inside := kind.field(w.num)
		switch {
		case inside != otherMessage:
			out = appendMessage(out, w.num, outsource(t, inside, w.message(), weights))
		case kind == tensorMessage && w.num == tensorRawData:
			entry := func(k string, v any) []byte { return sub(13, str(1, k), str(2, fmt.Sprint(v))) }
			out = msg(out, entry("location", "w.bin"), entry("offset", len(*weights)), entry("length", len(w.length)), num(14, 1))
			*weights = append(*weights, w.length...)
		case kind == tensorMessage && w.num == tensorDataLocation:
			// Some writers say expressly that the data are inside.
		default:
			out = append(out, content[start:len(content)-len(w.rest)]...)
		}
	}
	if w.err != nil {
		t.Fatal(w.err)
	}
	return out
}

// FuzzInline: whatever the bytes, an error of a known kind, or a model that Inspect takes and that reaches for no file.
func FuzzInline(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join("..", "..", "testdata", "models", "*.onnx"))
	if err != nil || len(paths) == 0 {
		f.Fatal(paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(everywhere(func(int) []byte { return away([]int64{1}, "location", "w", "offset", "8", "length", "4") }))
	f.Add(model(sub(5, msg(away([]int64{3}, "location", "w"), num(2, 22)))))
	f.Add(model(sub(1, str(4, "A"), sub(5, sub(5, away(nil, "location", "w")), sub(5, num(14, 1))))))
	const limit = 1 << 16
	folder := files{"w": strings.Repeat("w", 1<<10)}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Inline(data, limit, folder.read)
		if err != nil {
			known := errors.Is(err, ErrNotONNX) || errors.Is(err, ErrTruncated) || errors.Is(err, ErrUnsafePath) || errors.Is(err, ErrLimit) || errors.Is(err, ErrExternalData)
			if got != nil || !known {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			return
		}
		info, err := Inspect(got)
		if err != nil || len(info.ExternalData) > 0 || len(got) > max(limit, len(data)) {
			t.Fatalf("%+v, %v", info, err)
		}
	})
}
