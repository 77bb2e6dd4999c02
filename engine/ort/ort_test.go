package ort

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/models/onnx"
	"gnomon/third_party/embedded"
)

// runtime loads the embedded library for a test and checks at the end that every tensor was freed.
func newRuntime(t *testing.T) *Runtime {
	t.Helper()
	rt, err := NewRuntime(RuntimeOptions{Embedded: embedded.Runtime})
	if errors.Is(err, embedded.ErrMissing) && os.Getenv("GNOMON_REQUIRE_PARTS") == "" {
		t.Skip("needs the embedded parts: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := rt.Live(); n != 0 {
			t.Errorf("%d bytes of tensor memory are still held", n)
		}
		if err := errors.Join(rt.Close(), rt.Close()); err != nil {
			t.Error(err)
		}
	})
	return rt
}

func closeAll(t *testing.T, sessions []*Session) {
	t.Helper()
	for _, s := range sessions {
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	}
}

// build writes a model of the nodes, from one input to one output.
func build(t *testing.T, in, out onnx.Value, inits []onnx.Tensor, nodes ...onnx.Node) []byte {
	t.Helper()
	m := onnx.Model{IRVersion: 7, Opset: 13, Producer: "test", Graph: onnx.Graph{
		Name: "g", Nodes: nodes, Initializers: inits, Inputs: []onnx.Value{in}, Outputs: []onnx.Value{out},
	}}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// value is a tensor; a dimension of -1 is symbolic.
func value(name, typ string, dims ...int64) onnx.Value {
	v := onnx.Value{Name: name, Type: typ}
	for i, d := range dims {
		dim := onnx.Dim{Value: d}
		if d < 0 {
			dim.Param = "d" + string(rune('0'+i))
		}
		v.Shape = append(v.Shape, dim)
	}
	return v
}

// double is y = 2x.
func double(t *testing.T, dims ...int64) []byte {
	return build(t, value("x", "float32", dims...), value("y", "float32", dims...), []onnx.Tensor{onnx.Float32s("two", nil, 2)},
		onnx.Node{OpType: "Mul", Inputs: []string{"x", "two"}, Outputs: []string{"y"}})
}

func TestRun(t *testing.T) {
	rt := newRuntime(t)
	if rt.Library() != "embedded" || !strings.Contains(rt.Version(), ".") {
		t.Errorf("library %q version %q", rt.Library(), rt.Version())
	}
	for _, dims := range [][]int64{{1, 3, 4, 6}, {1, 3, -1, -1}, {-1, 3, -1, -1}} {
		sessions, err := rt.Open(SessionOptions{Name: "double", ONNX: double(t, dims...), Width: 6, Height: 4}, 2)
		if err != nil {
			t.Fatal(err)
		}
		for n, s := range sessions {
			in := s.Input()
			if in.Width != 6 || in.Height != 4 || in.Type != detect.Float32 || len(in.Data) != 4*3*4*6 {
				t.Fatalf("input %dx%d %s, %d bytes", in.Width, in.Height, in.Type, len(in.Data))
			}
			if o := s.Outputs(); len(o) != 1 || o[0].Name != "y" || len(o[0].Shape) != 4 || o[0].Shape[2] != 4 || o[0].Shape[3] != 6 {
				t.Fatalf("outputs %v", o)
			}
			for round := range 3 {
				for i := range floats(in.Data) {
					floats(in.Data)[i] = float32(i + round + 1000*n)
				}
				out, err := s.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range out[0].Data {
					if v != 2*float32(i+round+1000*n) {
						t.Fatalf("element %d is %v", i, v)
					}
				}
			}
			if a := testing.AllocsPerRun(20, func() {
				if _, err := s.Run(context.Background()); err != nil {
					t.Fatal(err)
				}
			}); a != 0 {
				t.Errorf("%v allocations a run, want 0", a)
			}
		}
		closeAll(t, sessions)
	}
}

// Inputs and outputs that are not float32 arrive converted.
func TestElementTypes(t *testing.T) {
	rt := newRuntime(t)
	for _, row := range []struct {
		in, out string
		to      int64 // ONNX's number of the output's type
	}{{"uint8", "float32", 1}, {"uint8", "float16", 10}, {"uint8", "int64", 7}, {"uint8", "int32", 6}, {"float16", "float32", 1}} {
		model := build(t, value("x", row.in, 1, 2, 2, 3), value("y", row.out, 1, 2, 2, 3), nil,
			onnx.Node{OpType: "Cast", Inputs: []string{"x"}, Outputs: []string{"y"}, Attrs: []onnx.Attr{onnx.Int("to", row.to)}})
		sessions, err := rt.Open(SessionOptions{Name: "cast", ONNX: model, Width: 2, Height: 2, NHWC: true}, 1)
		if err != nil {
			t.Fatalf("%s to %s: %v", row.in, row.out, err)
		}
		s := sessions[0]
		in := s.Input()
		if !in.NHWC {
			t.Error("the layout is lost")
		}
		want := make([]float32, 12)
		for i := range want {
			want[i] = float32(i * 20)
			if row.in == "uint8" {
				in.Data[i] = byte(i * 20)
				continue
			}
			in.Data[2*i], in.Data[2*i+1], want[i] = 0, 0x3c, 1 // 1 as binary16
		}
		out, err := s.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range out[0].Data {
			if v != want[i] {
				t.Errorf("%s to %s: element %d is %v, want %v", row.in, row.out, i, v, want[i])
			}
		}
		closeAll(t, sessions)
	}
}

func TestOpenErrors(t *testing.T) {
	rt := newRuntime(t)
	two := onnx.Model{IRVersion: 7, Opset: 13, Graph: onnx.Graph{
		Name: "g", Inputs: []onnx.Value{value("x", "float32", 1, 3, 4, 6), value("size", "int64", 1, 2)}, Outputs: []onnx.Value{value("y", "float32", 1, 3, 4, 6)},
		Nodes: []onnx.Node{{OpType: "Cast", Inputs: []string{"size"}, Outputs: []string{"s"}, Attrs: []onnx.Attr{onnx.Int("to", 1)}}, {OpType: "ReduceSum", Inputs: []string{"s"}, Outputs: []string{"n"}, Attrs: []onnx.Attr{onnx.Int("keepdims", 0)}}, {OpType: "Mul", Inputs: []string{"x", "n"}, Outputs: []string{"y"}}},
	}}
	twoInputs, err := two.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	nonZero := build(t, value("x", "float32", 1, 3, 4, 6), value("y", "int64", 4, -1), nil, onnx.Node{OpType: "NonZero", Inputs: []string{"x"}, Outputs: []string{"y"}})
	rows := []struct {
		name, want string
		o          SessionOptions
	}{
		{"not onnx", "model m: ONNX Runtime refuses it: ", SessionOptions{ONNX: []byte("this is not a model")}},
		{"truncated", "model m: ONNX Runtime refuses it: ", SessionOptions{ONNX: double(t, 1, 3, 4, 6)[:60]}},
		{"nothing", "model m: ONNX Runtime refuses it: ", SessionOptions{}},
		{"size", `model m: input "x" has shape [1 3 4 6] and is to be fed [1 3 5 6] (1x3xHxW); check input.width, input.height and input.layout in the manifest`, SessionOptions{ONNX: double(t, 1, 3, 4, 6), Width: 6, Height: 5}},
		{"rank", `model m: input "x" has shape [3 4 6]; a picture is 1x3xHxW`, SessionOptions{ONNX: double(t, 3, 4, 6), Width: 6, Height: 4}},
		{"two inputs", `model m: it has 2 inputs and gnomon feeds one, the picture: "x" [1 3 4 6] float32, "size" [1 2] int64`, SessionOptions{ONNX: twoInputs, Width: 6, Height: 4}},
		{"open size", `model m: input "x": shape [1 3 0 0] has a dimension that is not a positive number`, SessionOptions{ONNX: double(t, 1, 3, -1, -1)}},
		{"huge", `model m: input "x": shape [1 3 30000 30000] needs more than 1073741824 bytes`, SessionOptions{ONNX: double(t, 1, 3, -1, -1), Width: 30000, Height: 30000}},
		{"output by content", `model m: output "y" has shape [4 0] on an empty picture: its size depends on what is seen; export the model with a fixed number of boxes`, SessionOptions{ONNX: nonZero, Width: 6, Height: 4}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.o.Name = "m"
			sessions, err := rt.Open(row.o, 2)
			if err == nil {
				closeAll(t, sessions)
				t.Fatal("it was opened")
			}
			exact := !strings.HasSuffix(row.want, ": ")
			if msg := err.Error(); exact && msg != row.want || !strings.HasPrefix(msg, row.want) || strings.Contains(msg, "\n") {
				t.Errorf("got  %s\nwant %s", msg, row.want)
			}
		})
	}
}

// slow multiplies matrices for a minute or so; the runtime can stop between two of them.
func slow(t *testing.T) []byte {
	const side, times = 512, 4000
	var nodes []onnx.Node
	last := "x"
	for i := range times {
		next := fmt.Sprint("m", i)
		nodes = append(nodes, onnx.Node{OpType: "MatMul", Inputs: []string{last, last}, Outputs: []string{next}})
		last = next
	}
	nodes = append(nodes, onnx.Node{OpType: "Identity", Inputs: []string{last}, Outputs: []string{"y"}})
	return build(t, value("x", "float32", 1, 3, side, side), value("y", "float32", 1, 3, side, side), nil, nodes...)
}

func TestDeadlineAndInterrupt(t *testing.T) {
	rt := newRuntime(t)
	sessions, err := rt.Open(SessionOptions{Name: "slow", ONNX: slow(t), Width: 512, Height: 512, Deadline: 60 * time.Millisecond}, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := sessions[0]
	for range 2 { // the session is as good as before after it was stopped
		_, err := s.Run(t.Context())
		if !errors.Is(err, engine.ErrDeadline) || !strings.Contains(err.Error(), "model slow: ") || !strings.Contains(err.Error(), "60ms") {
			t.Fatalf("after the deadline: %v", err)
		}
	}
	closeAll(t, sessions)

	sessions, err = rt.Open(SessionOptions{Name: "slow", ONNX: slow(t), Width: 512, Height: 512, Deadline: time.Minute}, 1)
	if err != nil {
		t.Fatal(err)
	}
	s = sessions[0]
	timer := time.AfterFunc(60*time.Millisecond, s.Interrupt)
	defer timer.Stop()
	for range 2 { // and later ones
		if _, err := s.Run(t.Context()); !errors.Is(err, engine.ErrInterrupted) {
			t.Fatalf("after Interrupt: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
	closeAll(t, sessions)
}

func TestRuntimeErrors(t *testing.T) {
	dir := t.TempDir()
	notLibrary := filepath.Join(dir, "lib.so")
	if err := os.WriteFile(notLibrary, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := func(io.Writer) error { return errors.New("damaged") }
	rows := []struct {
		want string
		o    RuntimeOptions
	}{
		{"no ONNX Runtime: set engine.library to the path of a libonnxruntime.so", RuntimeOptions{}},
		{"no such file or directory", RuntimeOptions{Library: filepath.Join(dir, "none.so")}},
		{"is a directory; name the file", RuntimeOptions{Library: dir}},
		{"ONNX Runtime library (engine.library): " + notLibrary + " is not a library, or damaged", RuntimeOptions{Library: notLibrary}},
		{"load the embedded ONNX Runtime: damaged", RuntimeOptions{Embedded: broken}},
	}
	for _, row := range rows {
		rt, err := NewRuntime(row.o)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("got %v, want …%s…", err, row.want)
		}
		if rt != nil {
			t.Error("an error and a runtime")
		}
	}
	rt := newRuntime(t)
	if _, err := NewRuntime(RuntimeOptions{Embedded: embedded.Runtime}); err == nil || !strings.Contains(err.Error(), "a process can hold one at a time") {
		t.Errorf("a second runtime: %v", err)
	}
	for _, p := range rt.Providers() {
		if p.Name == "cpu" && p.Err != nil {
			t.Error(p.Err)
		}
	}
}

// Where memory files are refused, a private file does, and nothing stays behind; the same library by path too.
func TestThroughFileAndByPath(t *testing.T) {
	rt := newRuntime(t) // skips where there is no embedded library
	if err := rt.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "private")
	if _, err := throughFileIn(dir, embedded.Runtime); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", st.Mode(), err)
	}
	if err := (&Runtime{}).Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "libonnxruntime.so")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(embedded.Runtime(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	byPath, err := NewRuntime(RuntimeOptions{Library: path})
	if err != nil {
		t.Fatal(err)
	}
	if byPath.Library() != path {
		t.Errorf("library %q", byPath.Library())
	}
	if err := byPath.Close(); err != nil {
		t.Fatal(err)
	}
}

// ONNX Runtime's official builds report to their makers and leave an id and a database on the disk unless they are
// told not to. Here they leave nothing.
func TestNoTelemetry(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "TMPDIR"} {
		t.Setenv(name, home)
	}
	for _, name := range []string{"CI", "ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"} { // which switch it off as well
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	rt := newRuntime(t)
	sessions, err := rt.Open(SessionOptions{Name: "double", ONNX: double(t, 1, 3, 4, 6), Width: 6, Height: 4}, 1)
	if err != nil {
		t.Fatal(err)
	}
	closeAll(t, sessions)
	if err := rt.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(home)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFloat16(t *testing.T) {
	for _, row := range []struct {
		bits uint16
		want float32
	}{{0, 0}, {0x3c00, 1}, {0xc000, -2}, {0x7bff, 65504}, {0x0400, 1.0 / (1 << 14)}, {0x0001, 1.0 / (1 << 24)}, {0x8001, -1.0 / (1 << 24)}, {0x7c00, float32(math.Inf(1))}, {0xfc00, float32(math.Inf(-1))}} {
		if got := float16to32(row.bits); got != row.want {
			t.Errorf("%#04x is %v, want %v", row.bits, got, row.want)
		}
	}
	if v := float16to32(0x7e00); v == v {
		t.Errorf("NaN becomes %v", v)
	}
}
