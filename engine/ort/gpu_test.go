package ort

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gnomon/models/onnx"
)

// gpuRuntime loads a GPU build of ONNX Runtime on a machine with an NVIDIA GPU, or skips.
func gpuRuntime(t *testing.T) *Runtime {
	t.Helper()
	const library = "GNOMON_GPU_LIBRARY"
	nodes, err := filepath.Glob("/dev/nvidia[0-9]*")
	if jetson, e := filepath.Glob("/dev/nvhost-gpu"); e == nil {
		nodes = append(nodes, jetson...)
	}
	if err != nil || len(nodes) == 0 {
		t.Skip("needs an NVIDIA GPU: there is neither /dev/nvidia0 nor /dev/nvhost-gpu")
	}
	path := os.Getenv(library)
	if path == "" {
		t.Skipf("needs %s, the path of a libonnxruntime.so with libonnxruntime_providers_cuda.so beside it", library)
	}
	rt, err := NewRuntime(RuntimeOptions{Library: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Close(); err != nil {
			t.Error(err)
		}
	})
	return rt
}

// gpuModel adds nine to its input of so many pictures, -1 of any number, in a chain of nodes that CUDA and TensorRT both have.
func gpuModel(t *testing.T, pictures int64) []byte {
	t.Helper()
	var nodes []onnx.Node
	last := "x"
	for i := range 9 {
		next := "y"
		if i < 8 {
			next = "a" + string(rune('0'+i))
		}
		nodes = append(nodes, onnx.Node{OpType: "Add", Inputs: []string{last, "one"}, Outputs: []string{next}})
		last = next
	}
	return build(t, value("x", "float32", pictures, 3, 32, 32), value("y", "float32", pictures, 3, 32, 32), []onnx.Tensor{onnx.Float32s("one", nil, 1)}, nodes...)
}

// On a GPU a model runs there and gives what it should, recorded or not, and Go's signal handlers stay.
func TestGPU(t *testing.T) {
	rt := gpuRuntime(t)
	for _, row := range []struct {
		name string
		p    Providers
	}{
		{"cuda", Providers{Order: []string{CUDA, CPU}, Strict: true}},
		{"cuda, recorded", Providers{Order: []string{CUDA, CPU}, Strict: true, Graph: true}},
		{"tensorrt", Providers{Order: []string{TensorRT, CUDA, CPU}, Strict: true, Engines: t.TempDir(), SHA256: strings.Repeat("ab", 32)}},
		{"tensorrt, half", Providers{Order: []string{TensorRT, CUDA, CPU}, Strict: true, FP16: true, Engines: t.TempDir(), SHA256: strings.Repeat("ab", 32)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			front := row.p.Order[0]
			if err := rt.try(front); err != nil {
				t.Skipf("needs %s: %v", front, err)
			}
			before := flagsOf(t, syscall.SIGTERM)
			sessions, err := rt.Open(SessionOptions{Name: "m", ONNX: gpuModel(t, 1), Width: 32, Height: 32, Providers: row.p}, 2)
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(t, sessions)
			p := sessions[0].Placement()
			if !slices.Equal(p.Providers, row.p.Order) || p.Nodes[front] == 0 || p.OnCPU() != 0 || len(p.Notes) > 0 {
				t.Errorf("it runs on %s: %+v", p, p)
			}
			for n, s := range sessions {
				if s.device == nil {
					t.Error("its tensors are not in the memory of the GPU")
				}
				for round := range 5 {
					in := floats(s.Input().Data)
					for i := range in {
						in[i] = float32((i+round)%128 + n)
					}
					out, err := s.Run(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					for i, v := range out[0].Data {
						if v != in[i]+9 { // small whole numbers: exact in half precision too
							t.Fatalf("round %d: element %d is %v, want %v", round, i, v, in[i]+9)
						}
					}
				}
			}
			if now := flagsOf(t, syscall.SIGTERM); now != before {
				t.Errorf("signal handlers: flags %#x, before %#x", now, before)
			}
			if row.p.Engines != "" {
				kept, err := filepath.Glob(filepath.Join(row.p.Engines, "*", "*", "*.engine"))
				if err != nil || len(kept) == 0 {
					t.Errorf("no engine is kept: %v", err)
				}
			}
		})
	}
}

// On a GPU the pictures of a batch are kept apart whatever their number, and TensorRT builds one engine for all sizes.
func TestGPUBatch(t *testing.T) {
	rt := gpuRuntime(t)
	for _, front := range []string{CUDA, TensorRT} {
		t.Run(front, func(t *testing.T) {
			if err := rt.try(front); err != nil {
				t.Skipf("needs %s: %v", front, err)
			}
			p := Providers{Order: []string{front, CPU}, Strict: true, Engines: t.TempDir(), SHA256: strings.Repeat("ab", 32)}
			sessions, err := rt.Open(SessionOptions{Name: "m", ONNX: gpuModel(t, -1), Width: 32, Height: 32, Providers: p, Batch: 6}, 2)
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(t, sessions)
			if where := sessions[0].Placement(); where.Batch != 6 || len(where.Notes) > 0 {
				t.Errorf("batches of %d, notes %q", where.Batch, where.Notes)
			}
			for round, s := range sessions {
				for n := 1; n <= 6; n++ {
					for i := range 6 {
						for k := range floats(s.InputAt(i).Data) {
							floats(s.InputAt(i).Data)[k] = float32((k+i+n)%128 + round)
						}
					}
					out, err := s.RunBatch(t.Context(), n)
					if err != nil {
						t.Fatal(err)
					}
					for i := range n {
						for k, v := range out[i][0].Data {
							if want := float32((k+i+n)%128+round) + 9; v != want {
								t.Fatalf("picture %d of %d: element %d is %v, want %v", i, n, k, v, want)
							}
						}
					}
				}
			}
			if kept, err := filepath.Glob(filepath.Join(p.Engines, "*", "*", "*.engine")); front == TensorRT && (err != nil || len(kept) != 1) {
				t.Errorf("engines kept: %v, %v", kept, err)
			}
		})
	}
	sessions, err := rt.Open(SessionOptions{Name: "m", ONNX: gpuModel(t, -1), Width: 32, Height: 32, Providers: Providers{Order: []string{CUDA, CPU}, Strict: true}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if where := sessions[0].Placement(); where.Gain <= 0 || (where.Gain >= leastGain) != (where.Batch == autoBatch) || len(where.Notes) > 0 {
		t.Errorf("nobody has asked: batches of %d with a gain of %v, notes %q", where.Batch, where.Gain, where.Notes)
	}
	closeAll(t, sessions)
}
