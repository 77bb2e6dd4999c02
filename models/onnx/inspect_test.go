package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
)

// msg joins fields into a message; msg itself and the two below are what a test writes protobuf with by hand.
func msg(fields ...[]byte) []byte { return bytes.Join(fields, nil) }

func sub(num protowire.Number, fields ...[]byte) []byte {
	return appendMessage(nil, num, msg(fields...))
}

func str(num protowire.Number, s string) []byte { return appendMessage(nil, num, []byte(s)) }

func num(n protowire.Number, v int64) []byte { return appendInt(nil, n, v) }

// model wraps the fields of a graph into a model.
func model(graph ...[]byte) []byte {
	return msg(num(1, 8), sub(7, graph...), sub(8, num(2, 13)))
}

// external is a tensor whose data lie in a file.
func external(name, location string) []byte {
	return msg(str(8, name), sub(13, str(1, "offset"), str(2, "0")), sub(13, str(1, "location"), str(2, location)), num(14, 1))
}

func TestInspectFindsWhatIsNested(t *testing.T) {
	subgraph := msg(
		sub(1, str(4, "Add"), sub(5, str(1, "value"), sub(5, external("", "attribute.bin")))),
		sub(5, external("inner", "subgraph.bin")),
		sub(11, str(1, "not an input of the model")),
		sub(12, str(1, "nor an output")),
	)
	data := msg(
		num(1, 8),
		sub(7,
			str(2, "main"),
			sub(1, str(4, "If"), sub(5, str(1, "then_branch"), sub(6, subgraph)), sub(5, str(1, "else"), sub(11, subgraph))),
			sub(1, str(4, "QLinearConv"), str(7, "com.microsoft")),
			sub(1, str(4, "Add"), str(7, "ai.onnx")),
			sub(1, str(4, "Constant"), sub(5, sub(10, external("", "list.bin")), sub(22, sub(1, external("", "sparse.bin"))))),
			sub(5, external("w", "dir/main.bin")),
			sub(15, sub(1, str(8, "s")), sub(2, external("", "index.bin"))),
			// IR version 3 lists initialisers among the inputs.
			sub(11, str(1, "w")), sub(11, str(1, "s")),
			sub(11, str(1, "image"), sub(2, sub(1, num(1, 2), sub(2, sub(1, num(1, 1)), sub(1, str(2, "h")), sub(1), sub(1, num(1, -7)))))),
			sub(11, str(1, "untyped")),
			sub(12, str(1, "boxes"), sub(2, sub(1, num(1, 16)))),
			sub(12, str(1, "list"), sub(2, sub(4))), sub(12, str(1, "table"), sub(2, sub(5))),
			sub(12, str(1, "thin"), sub(2, sub(8))), sub(12, str(1, "maybe"), sub(2, sub(9))),
		),
		sub(8, num(2, 13)), sub(8, str(1, "com.microsoft"), num(2, 1)),
		sub(14, str(1, "k"), str(2, "old")), sub(14, str(1, "k"), str(2, "new\xff")),
		sub(20, sub(1, sub(5, external("", "training.bin")))),
		sub(25, sub(7, str(4, "Sub")), sub(11, sub(5, external("", "function.bin")))),
	)
	got, err := Inspect(data)
	if err != nil {
		t.Fatal(err)
	}
	want := &Info{
		IRVersion: 8, Opsets: map[string]int64{"": 13, "com.microsoft": 1}, GraphName: "main",
		Inputs: []Value{
			{Name: "image", Type: "uint8", Shape: []Dim{{Value: 1}, {Value: -1, Param: "h"}, {Value: -1}, {Value: -1}}},
			{Name: "untyped"},
		},
		Outputs: []Value{
			{Name: "boxes", Type: "type 16"},
			{Name: "list", Type: "sequence"},
			{Name: "table", Type: "map"},
			{Name: "thin", Type: "sparse tensor"},
			{Name: "maybe", Type: "optional"},
		},
		Metadata: map[string]string{"k": "new\uFFFD"}, Nodes: 7, Initializers: 5,
		ExternalData: []string{"attribute.bin", "subgraph.bin", "list.bin", "sparse.bin", "dir/main.bin", "index.bin", "training.bin", "function.bin"},
		Ops:          map[string]int{"If": 1, "Add": 3, "com.microsoft.QLinearConv": 1, "Constant": 1, "Sub": 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for n := range len(data) {
		// A cut between two fields after the operator sets leaves a valid, shorter model.
		if _, err := Inspect(data[:n]); err != nil && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrNotONNX) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
}

func TestInspectRefusesWhatIsNoModel(t *testing.T) {
	for _, tt := range []struct {
		name, data, want string
	}{
		{"empty", "", "the file is empty"},
		{"JPEG", "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01", "it looks like a JPEG picture"},
		{"PNG", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "it looks like a PNG picture"},
		{"JSON", "  {\"format\": \"graph-model\"}\n", "it looks like JSON"},
		{"web page", "<!DOCTYPE html><html>", "it looks like a web page"},
		{"text", "Dear reader,\nthis is naïve text", "it looks like text"},
		{"text cut inside a character", "caf\xc3", "it looks like text"},
		{"git pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"},
		{"PyTorch", "PK\x03\x04\x00\x00\x08\x08", "PyTorch"},
		{"TensorFlow Lite", "\x1c\x00\x00\x00TFL3\x14\x00", "TensorFlow Lite"},
		{"ORT format", "\x1c\x00\x00\x00ORTM\x14\x00", "ONNX Runtime's own format"},
		{"zstd", "\x28\xb5\x2f\xfd\x04\x00", "unpack it first"},
		{"gzip", "\x1f\x8b\x08\x00", "unpack it first"},
		{"zeros", strings.Repeat("\x00", 100), "not protobuf"},
		{"one byte of a model", "\x08", "runs past its end"},
		{"other protobuf", string(msg(str(1, "a"), str(2, "b"))), "field 1 is not the whole number"},
		{"no version", string(msg(sub(7), sub(8, num(2, 13)))), "does not begin with the version"},
		{"a number for the graph", string(msg(num(1, 8), num(7, 1))), "field 7 is a number where ONNX has a text or a message"},
		{"damage inside", string(model([]byte("\x0a\x05\x22\x7fabc"))), "graph: node 0: a field runs past its end"},
		{"group", string(msg(num(1, 8), []byte{0x3b})), "a type that ONNX does not use"},
		{"name that is not text", string(model(sub(1, str(4, "\xff")))), "not UTF-8"},
		{"nameless input", string(model(sub(11))), "graph: input 0: it has no name"},
		{"node without operator", string(model(sub(1))), "node 0: it has no operator"},
		{"external data without a file", string(model(sub(5, str(8, "w"), num(14, 1)))), `initialiser "w": its data are said to be in another file`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			info, err := Inspect([]byte(tt.data))
			if info != nil || !errors.Is(err, ErrNotONNX) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v; want an error that wraps %q and says %q", info, err, ErrNotONNX, tt.want)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "not an ONNX model: ") {
				t.Errorf("%q does not begin by saying that this is no model", err)
			}
		})
	}
}

func TestInspectTellsTruncation(t *testing.T) {
	weights := make([]byte, 4096)
	whole := msg(
		num(1, 8),
		sub(7, sub(1, str(4, "If"), sub(5, sub(6, sub(5, str(8, "inner"), str(9, string(weights)))))), sub(5, str(8, "w"), str(9, string(weights)))),
		sub(8, num(2, 13)),
	)
	if _, err := Inspect(whole); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{2, 3, 1000, 5000, len(whole) - 5, len(whole) - 4, len(whole) - 1} {
		_, err := Inspect(whole[:at])
		if !errors.Is(err, ErrTruncated) || !strings.HasPrefix(err.Error(), "truncated: the file ends") {
			t.Errorf("the first %d of %d bytes: %v", at, len(whole), err)
		}
	}
	// Before IR version 3 the operator sets were optional.
	if _, err := Inspect(msg(num(1, 2), sub(7))); err != nil {
		t.Errorf("IR version 2 without operator sets: %v", err)
	}
}

func TestInspectChecksExternalData(t *testing.T) {
	for _, location := range []string{"w.bin", "a/b/w.bin", "./w.bin", "..w.bin", "a..b", "a\\w.bin", "…"} {
		info, err := Inspect(model(sub(5, external("w", location)), sub(5, external("v", location))))
		if err != nil {
			t.Errorf("%q: %v", location, err)
			continue
		}
		if diff := cmp.Diff([]string{location}, info.ExternalData); diff != "" {
			t.Errorf("%q (-want +got):\n%s", location, diff)
		}
	}
	for location, want := range map[string]string{
		"":                     "names no file",
		"/":                    "names no file",
		"/etc/passwd":          "is not relative",
		"\\\\host\\w":          "is not relative",
		"C:\\w.bin":            "is not relative",
		"file:///w":            "is not relative",
		"../w.bin":             "leads out of its folder",
		"a/../../w":            "leads out of its folder",
		"a\\..\\w":             "leads out of its folder",
		"..":                   "leads out of its folder",
		"w\x00.bin":            "has a zero byte",
		"*/_ORT_MEM_ADDR_/*":   "stands for memory",
		"*\\_ORT_MEM_ADDR_\\*": "stands for memory",
	} {
		tensor := external("w", location)
		for where, data := range map[string][]byte{
			"initialiser": model(sub(5, tensor)),
			"Constant":    model(sub(1, str(4, "Constant"), sub(5, sub(5, tensor)))),
			"subgraph":    model(sub(1, str(4, "Loop"), sub(5, sub(6, sub(5, tensor))))),
			// Marked as lying in the file itself: a runtime may look at the entry all the same.
			"default location": model(sub(5, sub(13, str(1, "location"), str(2, location)))),
		} {
			_, err := Inspect(data)
			if !errors.Is(err, ErrUnsafePath) || !strings.Contains(err.Error(), want) {
				t.Errorf("%q in %s: %v, want %q", location, where, err, want)
			}
		}
	}
}

func TestInspectLimits(t *testing.T) {
	nested := func(depth int) []byte {
		var graph []byte
		for range depth {
			graph = sub(1, str(4, "If"), sub(5, sub(6, graph)))
		}
		return model(graph)
	}
	many := func(n int, field func(i int) []byte) []byte {
		var b []byte
		for i := range n {
			b = append(b, field(i)...)
		}
		return b
	}
	nodes := func(n int) []byte {
		return model(many(n, func(int) []byte { return sub(1, str(4, "Add")) }))
	}
	ops := func(n int) []byte {
		return model(many(n, func(i int) []byte { return sub(1, str(4, fmt.Sprint("Op", i))) }))
	}
	constants := func(n int) []byte {
		return model(many(n, func(int) []byte { return sub(5, str(8, "w")) }))
	}
	values := func(field protowire.Number, n int) []byte {
		return model(many(n, func(int) []byte { return sub(field, str(1, "x")) }))
	}
	rank := func(n int) []byte {
		return model(sub(12, str(1, "y"), sub(2, sub(1, sub(2, many(n, func(int) []byte { return sub(1) }))))))
	}
	top := func(n int, field func(i int) []byte) []byte { return msg(model(), many(n, field)) }
	name := func(n int) []byte { return model(str(2, strings.Repeat("n", n))) }
	text := func(n int) []byte { return msg(model(), str(6, strings.Repeat("t", n))) }
	property := func(int) []byte { return sub(14, str(1, "k"), str(2, "v")) }
	opset := func(int) []byte { return sub(8, num(2, 1)) }
	files := func(n int) []byte {
		return model(many(n, func(i int) []byte { return sub(5, external("w", fmt.Sprint(i))) }))
	}
	for _, tt := range []struct {
		name      string
		good, bad []byte
		want      string
	}{
		{"nesting", nested(maxDepth), nested(maxDepth + 1), "nested more than"},
		{"nodes", nodes(maxNodes), nodes(maxNodes + 1), "more than 200000 nodes"},
		{"operators", ops(maxOps), ops(maxOps + 1), "different operators"},
		{"initialisers", constants(maxInitializers), constants(maxInitializers + 1), "initialisers"},
		{"inputs", values(11, maxInputs), values(11, maxInputs+1), "more than 1024 inputs"},
		{"inputs that may be initialisers", model(), values(11, maxInputs+maxInitializers+1), "inputs and initialisers"},
		{"outputs", values(12, maxInputs), values(12, maxInputs+1), "more than 1024 outputs"},
		{"dimensions", rank(maxRank), rank(maxRank + 1), `output 0: "y": too large: more than 32 dimensions`},
		{"metadata", top(maxMetadata, property), top(maxMetadata+1, property), "entries"},
		{"operator sets", top(maxOpsets-1, opset), top(maxOpsets, opset), "more than 256 operator sets"},
		{"name", name(maxName), name(maxName + 1), "a name of 4097 bytes"},
		{"text", text(maxText), text(maxText + 1), "a text of 1048577 bytes"},
		{"external data", files(maxExternal), files(maxExternal + 1), "files with external data"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Inspect(tt.good); err != nil {
				t.Errorf("at the limit: %v", err)
			}
			_, err := Inspect(tt.bad)
			if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("beyond the limit: %v, want %q", err, tt.want)
			}
		})
	}
}

// The names and texts that Inspect keeps must not hold on to a file of many megabytes.
func TestInspectKeepsNothingOfTheFile(t *testing.T) {
	data := marshal(t, sample())
	got, err := Inspect(data)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Inspect(bytes.Clone(data))
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changed along with the file (-want +got):\n%s", diff)
	}
}
