package ort

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ortgo "github.com/yalue/onnxruntime_go"
)

// fakeCUDA makes a library that stands in for CUDA's runtime, for sessions with one input and one output.
func fakeCUDA(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cudart := filepath.Join(dir, "libcudart.so.12")
	compile(t, cudart, write(t, filepath.Join(dir, "cudart.c"), `#include <string.h>
static int copies;
int cudaSetDevice(int id) { return id == 0 ? 0 : 101; }
int cudaMemcpy(void *to, const void *from, size_t n, int kind) {
	if (kind != (copies++ % 2 ? 2 : 1)) return 1;
	memcpy(to, from, n);
	return 0;
}
int cudaStreamSynchronize(void *stream) { return stream != 0; }
const char *cudaGetErrorString(int code) { return code == 101 ? "invalid device ordinal" : "another"; }
`), "-shared", "-fPIC")
	return cudart
}

// The way over memory of a GPU, on memory of the processor: what travels is right, and failures of CUDA are told. What
// stands in for CUDA's runtime counts its calls, so that nothing passes by it.
func TestDeviceMemory(t *testing.T) {
	rt := newRuntime(t)
	cudart := fakeCUDA(t)
	libraries := []string{filepath.Join(t.TempDir(), "none.so"), cudart}

	sessions, err := rt.Open(SessionOptions{Name: "double", ONNX: double(t, 1, 3, 4, 6), Width: 6, Height: 4}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, sessions)
	s := sessions[0]
	var tensors []boundTensor
	for i, name := range []string{"x", "y"} {
		tensors = append(tensors, boundTensor{name, s.tensors[i].GetShape(), ortgo.TensorElementDataTypeFloat, s.memory[i]})
	}
	if _, err := newDeviceMemory(rt.api, s.graph.run, s.runOpts, "Cpu", 0, libraries, 1, tensors, nil); err == nil || !strings.Contains(err.Error(), "is not loaded under any of the names") {
		t.Errorf("without CUDA's runtime: %v", err)
	}
	gpuName(cudart, 0) // loads it, as a provider would
	if _, err := newDeviceMemory(rt.api, s.graph.run, s.runOpts, memoryCUDA, 0, libraries, 1, tensors, nil); err == nil {
		t.Error("a session on the CPU has memory of a GPU")
	}
	odd := slices.Clone(tensors)
	odd[0].name = "z"
	if _, err := newDeviceMemory(rt.api, s.graph.run, s.runOpts, "Cpu", 0, libraries, 1, odd, nil); err == nil {
		t.Error("an input that the model does not have was bound")
	}
	if s.device, err = newDeviceMemory(rt.api, s.graph.run, s.runOpts, "Cpu", 0, libraries, 1, tensors, nil); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		for i := range floats(s.Input().Data) {
			floats(s.Input().Data)[i] = float32(i + round)
		}
		out, err := s.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range out[0].Data {
			if v != 2*float32(i+round) {
				t.Fatalf("element %d is %v", i, v)
			}
		}
	}
	if a := testing.AllocsPerRun(20, func() {
		if _, err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}); a != 0 {
		t.Errorf("%v allocations a run, want 0", a)
	}
	s.device.d.id = 1
	if _, err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "CUDA failure 101: invalid device ordinal") {
		t.Errorf("on a GPU that is not there: %v", err)
	}
	if id := (Providers{Options: map[string]map[string]string{CUDA: {"device_id": "3"}}}).deviceID(CUDA); id != 3 {
		t.Error(id)
	}
}

// The batches of a session are on the GPU in the memory of the largest, and each carries what it has room for.
func TestDeviceMemoryOfBatches(t *testing.T) {
	rt := newRuntime(t)
	cudart := fakeCUDA(t)
	sessions, err := rt.Open(SessionOptions{Name: "double", ONNX: double(t, -1, 3, 4, 6), Width: 6, Height: 4, Batch: 5}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, sessions)
	s := sessions[0]
	gpuName(cudart, 0) // loads it, as a provider would
	s.batches = slices.DeleteFunc(s.batches, func(b *batch) bool {
		if b.n != 3 {
			return false
		}
		if err := b.close(); err != nil {
			t.Error(err)
		}
		return true
	})
	var largest *deviceMemory
	for _, b := range slices.Backward(s.batches) {
		var tensors []boundTensor
		for i, name := range s.names {
			tensors = append(tensors, boundTensor{name, b.tensors[i].GetShape(), ortgo.TensorElementDataTypeFloat, s.part(i, b.n)})
		}
		if b.device, err = newDeviceMemory(rt.api, s.graph.run, s.runOpts, "Cpu", 0, []string{cudart}, 1, tensors, largest); err != nil {
			t.Fatal(err)
		}
		if largest == nil {
			largest = b.device
		}
	}
	for n := 2; n <= 5; n++ { // three go with the batch of four
		for i := range 5 {
			for k := range floats(s.InputAt(i).Data) {
				floats(s.InputAt(i).Data)[k] = float32(1000*n + 100*i + k)
			}
		}
		out, err := s.RunBatch(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			for k, v := range out[i][0].Data {
				if v != 2*float32(1000*n+100*i+k) {
					t.Fatalf("picture %d of %d: element %d is %v", i, n, k, v)
				}
			}
		}
	}
}
