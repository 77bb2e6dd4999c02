package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// hostile is one file that nobody should have to trust.
type hostile struct {
	name string
	data []byte
	want error // nil: an error of any known kind, or an Info within the limits
}

// maxHostileAlloc bounds what Inspect may allocate for any of the cases, which are at most a few megabytes large.
const maxHostileAlloc = 64 << 20

// TestHostileModels mutates a real model in every way that is known to break readers of protobuf.
func TestHostileModels(t *testing.T) {
	real, err := os.ReadFile(filepath.Join("..", "..", "testdata", "models", "yolov8.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(real); err != nil {
		t.Fatalf("the model that is mutated: %v", err)
	}
	var cases []hostile
	for _, more := range [][]hostile{truncated(real), flipped(real), lengths(real), nestings(real), dimensions(real), locations(real), repeated(real), bombs(real)} {
		cases = append(cases, more...)
	}
	if len(cases) < 200 {
		t.Errorf("only %d cases", len(cases))
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			data := bytes.Clone(tt.data)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			info, err := Inspect(data)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > maxHostileAlloc {
				t.Errorf("%d bytes allocated for a file of %d", used, len(data))
			}
			if !bytes.Equal(data, tt.data) {
				t.Error("the file was changed")
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			checkAnswer(t, info, err)
		})
	}
}

// checkAnswer accepts an error of a known kind and of bearable length, or an Info within the limits.
func checkAnswer(t *testing.T, info *Info, err error) {
	t.Helper()
	if err != nil {
		known := errors.Is(err, ErrNotONNX) || errors.Is(err, ErrTruncated) || errors.Is(err, ErrUnsafePath) || errors.Is(err, ErrLimit)
		if info != nil || !known || len(err.Error()) > 64<<10 {
			t.Errorf("%v, an error of %d bytes: %.200v", info, len(err.Error()), err)
		}
		return
	}
	counts := map[string][2]int{
		"nodes": {info.Nodes, maxNodes}, "initialisers": {info.Initializers, maxInitializers},
		"inputs": {len(info.Inputs), maxInputs}, "outputs": {len(info.Outputs), maxInputs},
		"operators": {len(info.Ops), maxOps}, "opsets": {len(info.Opsets), maxOpsets},
		"metadata": {len(info.Metadata), maxMetadata}, "files": {len(info.ExternalData), maxExternal},
		"graph name": {len(info.GraphName), maxName}, "producer": {len(info.Producer), maxName},
		"description": {len(info.Description), 3 * maxText}, // a byte that is no text becomes three
	}
	for what, c := range counts {
		if c[0] < 0 || c[0] > c[1] {
			t.Errorf("%d %s, the limit is %d", c[0], what, c[1])
		}
	}
	for _, v := range append(append([]Value(nil), info.Inputs...), info.Outputs...) {
		if len(v.Shape) > maxRank || len(v.Name) > maxName {
			t.Errorf("%.100q of rank %d", v.Name, len(v.Shape))
		}
		for _, d := range v.Shape {
			if d.Value < -1 {
				t.Errorf("%q has a side of %d", v.Name, d.Value)
			}
		}
	}
	for _, location := range info.ExternalData {
		if err := checkLocation(location); err != nil {
			t.Errorf("accepted: %v", err)
		}
	}
}

// truncated cuts the file in fifty places. A cut in the first bytes leaves nothing that looks like a model.
func truncated(real []byte) []hostile {
	var cases []hostile
	for i := 1; i <= 50; i++ {
		n := len(real) * i / 51
		cases = append(cases, hostile{fmt.Sprintf("truncated/%d", n), real[:n], ErrTruncated})
	}
	return append(cases, hostile{"truncated/0", nil, ErrNotONNX})
}

// flipped changes one byte in sixty places, to each of three values.
func flipped(real []byte) []hostile {
	var cases []hostile
	for i := range 60 {
		at := len(real) * i / 60
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			data := bytes.Clone(real)
			data[at] ^= mask
			cases = append(cases, hostile{fmt.Sprintf("flipped/%d by %#x", at, mask), data, nil})
		}
	}
	return cases
}

// lengths appends fields whose length says more than there is, in the model and in its graph.
func lengths(real []byte) []hostile {
	var cases []hostile
	for _, n := range []uint64{1, 127, 1 << 14, 1 << 31, 1<<32 - 1, 1 << 40, math.MaxInt64, math.MaxUint64} {
		for _, field := range []protowire.Number{1, 2, 7, 8, 14, 20, 25, 99} {
			lie := protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.BytesType), n)
			cases = append(cases,
				hostile{fmt.Sprintf("length/model field %d of %d", field, n), msg(real, lie), ErrTruncated},
				hostile{fmt.Sprintf("length/graph field %d of %d", field, n), msg(real, sub(7, lie)), ErrNotONNX})
		}
	}
	endless := bytes.Repeat([]byte{0xff}, 11) // a varint has at most ten bytes
	return append(cases,
		hostile{"length/endless tag", msg(real, endless), ErrNotONNX},
		hostile{"length/endless number", msg(real, []byte{0x08}, endless), ErrNotONNX},
		hostile{"length/field 0", msg(real, []byte{0x02, 0x00}), ErrNotONNX},
		hostile{"length/group", msg(real, []byte{0x3b, 0x3c}), ErrNotONNX})
}

// nestings puts graphs into graphs.
func nestings(real []byte) []hostile {
	var cases []hostile
	for _, depth := range []int{maxDepth, maxDepth + 1, 100, 2000} {
		for _, field := range []protowire.Number{6, 11} {
			var graph []byte
			for range depth {
				graph = sub(1, str(4, "If"), sub(5, sub(field, graph)))
			}
			var want error
			if depth > maxDepth {
				want = ErrLimit
			}
			cases = append(cases, hostile{fmt.Sprintf("nested/field %d, %d deep", field, depth), msg(real, sub(7, graph)), want})
		}
	}
	return cases
}

// dimensions gives inputs and outputs absurd shapes.
func dimensions(real []byte) []hostile {
	var cases []hostile
	for _, d := range []int64{0, -1, -2, math.MinInt64, math.MaxInt64, 1 << 32, math.MaxInt32} {
		for _, field := range []protowire.Number{11, 12} {
			for _, rank := range []int{1, 4, maxRank, maxRank + 1} {
				dims := bytes.Repeat(sub(1, num(1, d)), rank)
				value := sub(field, str(1, "x"), sub(2, sub(1, num(1, 1), sub(2, dims))))
				var want error
				if rank > maxRank {
					want = ErrLimit
				}
				cases = append(cases, hostile{fmt.Sprintf("dimensions/field %d, %d times %d", field, rank, d), msg(real, sub(7, value)), want})
			}
		}
	}
	return cases
}

// locations points external data out of the model's folder. Percent signs and links are no escapes for a file system,
// so what is accepted with them has to be safe as it stands.
func locations(real []byte) []hostile {
	var cases []hostile
	add := func(location string, want error) {
		tensor := external("w", location)
		for where, graph := range map[string][]byte{
			"initialiser": sub(5, tensor), "sparse": sub(15, sub(1, tensor)),
			"attribute": sub(1, str(4, "Constant"), sub(5, sub(5, tensor))),
			"subgraph":  sub(1, str(4, "If"), sub(5, sub(6, sub(5, tensor)))),
		} {
			cases = append(cases, hostile{fmt.Sprintf("location/%s %q", where, location), msg(real, sub(7, graph)), want})
		}
		cases = append(cases, hostile{fmt.Sprintf("location/training %q", location), msg(real, sub(20, sub(1, sub(5, tensor)))), want})
	}
	for _, location := range []string{
		"../w", "..", "a/../../w", "a/..", "./../w", "a//../w", "..\\w", "a\\..\\w", "a/..\\w", "/etc/shadow", "//host/w",
		"\\\\host\\w", "\\w", "C:w", "C:\\w", "c:/w", "file:w", "https://host/w", "w\x00", "\x00", "../w\x00.bin", "", "/",
		"*/_ORT_MEM_ADDR_/*", strings.Repeat("a/", 500) + "../w", "a:b/w",
	} {
		add(location, ErrUnsafePath)
	}
	for _, location := range []string{"%2e%2e/w", "%2fetc", "...", "a/...", "~", "~/w", "$HOME/w", " ", "link/w", "w\n", "\u2025/w", "．．/w"} {
		add(location, nil)
	}
	add("\xff\xfe", ErrNotONNX)
	add(strings.Repeat("n", maxName+1), ErrLimit)
	return cases
}

// repeated gives fields twice: of those that may occur once, protobuf lets the last one count.
func repeated(real []byte) []hostile {
	cases := []hostile{
		{"repeated/model", msg(real, real), nil},
		{"repeated/version", msg(real, num(1, 0)), ErrNotONNX},
		{"repeated/negative version", msg(real, num(1, -1)), ErrNotONNX},
		{"repeated/graph", msg(real, sub(7, str(2, "other"))), nil},
		{"repeated/name of a node", msg(real, sub(7, sub(1, str(4, "A"), str(4, "B")))), nil},
		{"repeated/location", msg(real, sub(7, sub(5, str(8, "w"), sub(13, str(1, "location"), str(2, "w"), str(2, "../w"))))), ErrUnsafePath},
		{"repeated/key of a location", msg(real, sub(7, sub(5, str(8, "w"), sub(13, str(1, "x"), str(1, "location"), str(2, "../w"))))), ErrUnsafePath},
		{"repeated/later location", msg(real, sub(7, sub(5, external("w", "w"), sub(13, str(1, "location"), str(2, "/w"))))), ErrUnsafePath},
	}
	for _, field := range []protowire.Number{2, 3, 6, 7, 8, 14, 20, 25} {
		cases = append(cases, hostile{fmt.Sprintf("repeated/number for field %d", field), msg(real, num(field, 1)), nil})
	}
	return cases
}

// bombs hold more of everything, or longer, than anybody needs.
func bombs(real []byte) []hostile {
	long, text := strings.Repeat("x", maxName+1), strings.Repeat("\xff", maxText)
	return []hostile{
		{"bomb/graph name", msg(real, sub(7, str(2, long))), ErrLimit},
		{"bomb/producer", msg(real, str(2, long)), ErrLimit},
		{"bomb/description", msg(real, str(6, text+"x")), ErrLimit},
		{"bomb/description that is no text", msg(real, str(6, text)), nil},
		{"bomb/metadata key", msg(real, sub(14, str(1, long), str(2, "v"))), ErrLimit},
		{"bomb/metadata value", msg(real, sub(14, str(1, "k"), str(2, text+"x"))), ErrLimit},
		{"bomb/metadata entries", msg(real, bytes.Repeat(sub(14, str(1, "k")), maxMetadata+1)), ErrLimit},
		{"bomb/operator", msg(real, sub(7, sub(1, str(4, long)))), ErrLimit},
		{"bomb/domain", msg(real, sub(7, sub(1, str(4, "A"), str(7, long)))), ErrLimit},
		{"bomb/initialiser", msg(real, sub(7, sub(5, str(8, long)))), ErrLimit},
		{"bomb/input", msg(real, sub(7, sub(11, str(1, long)))), ErrLimit},
		{"bomb/dimension", msg(real, sub(7, sub(12, str(1, "y"), sub(2, sub(1, sub(2, sub(1, str(2, long)))))))), ErrLimit},
		{"bomb/nodes", msg(real, sub(7, bytes.Repeat(sub(1, str(4, "A")), maxNodes+1))), ErrLimit},
		{"bomb/initialisers", msg(real, sub(7, bytes.Repeat(sub(5, str(8, "w")), maxInitializers+1))), ErrLimit},
		{"bomb/inputs", msg(real, sub(7, bytes.Repeat(sub(11, str(1, "x")), 1<<19))), ErrLimit},
		{"bomb/outputs", msg(real, sub(7, bytes.Repeat(sub(12, str(1, "x")), maxInputs+1))), ErrLimit},
		{"bomb/operator sets", msg(real, bytes.Repeat(sub(8, num(2, 1)), maxOpsets+1)), ErrLimit},
		{"bomb/empty functions", msg(real, bytes.Repeat(sub(25), 1<<20)), nil},
		{"bomb/unknown fields", msg(real, bytes.Repeat(num(99, 1), 1<<20)), nil},
	}
}
