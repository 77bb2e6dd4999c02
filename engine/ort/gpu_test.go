package ort

import (
	"os"
	"testing"
)

// On a machine with an NVIDIA GPU, a runtime with the provider libraries beside it offers CUDA.
func TestGPUProvider(t *testing.T) {
	const device, library = "/dev/nvidiactl", "GNOMON_GPU_LIBRARY"
	if _, err := os.Stat(device); err != nil {
		t.Skip("needs an NVIDIA GPU: ", err)
	}
	path := os.Getenv(library)
	if path == "" {
		t.Skipf("needs %s, the path of a libonnxruntime.so with libonnxruntime_providers_cuda.so beside it", library)
	}
	rt, err := NewRuntime(RuntimeOptions{Library: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rt.Close() }()
	for _, p := range rt.Providers() {
		if p.Name == "cuda" && p.Err != nil {
			t.Error(p.Err)
		}
	}
}
