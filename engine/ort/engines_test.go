package ort

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever differs, the engines are kept apart; and nothing in a key leads out of the folder.
func TestEngineKey(t *testing.T) {
	base := EngineKey{Model: strings.Repeat("ab", 32), Runtime: "1.29.0", TensorRT: 101300, GPU: "NVIDIA H100 80GB HBM3", Options: map[string]string{"trt_fp16_enable": "1", "device_id": "0"}}
	seen := map[string]string{}
	for name, change := range map[string]func(*EngineKey){
		"base":                  func(*EngineKey) {},
		"model":                 func(k *EngineKey) { k.Model = strings.Repeat("ac", 32) },
		"runtime":               func(k *EngineKey) { k.Runtime = "1.29.1" },
		"TensorRT":              func(k *EngineKey) { k.TensorRT = 101301 },
		"GPU":                   func(k *EngineKey) { k.GPU = "NVIDIA H100 PCIe" },
		"GPU, same as a name":   func(k *EngineKey) { k.GPU = "NVIDIA-H100 80GB HBM3" },
		"GPU, behind the limit": func(k *EngineKey) { k.GPU = strings.Repeat("x", 100) + "a" },
		"another one":           func(k *EngineKey) { k.GPU = strings.Repeat("x", 100) + "b" },
		"hostile":               func(k *EngineKey) { k.GPU = "../../../etc" },
		"precision":             func(k *EngineKey) { k.Options["trt_int8_enable"] = "1" },
	} {
		k := base
		k.Options = maps.Clone(base.Options)
		change(&k)
		path, err := k.Path()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[path]; ok {
			t.Errorf("%s and %s share %s", name, other, path)
		}
		seen[path] = name
		if parts := strings.Split(path, string(filepath.Separator)); len(parts) != 2 || parts[0] != k.Model || !filepath.IsLocal(path) {
			t.Errorf("%s: %s", name, path)
		}
	}
	again, upper := base, base
	again.Options, upper.Model = maps.Clone(base.Options), strings.ToUpper(base.Model)
	for _, k := range []EngineKey{again, upper} {
		if path, err := k.Path(); err != nil || seen[path] != "base" {
			t.Errorf("%s, %v", path, err)
		}
	}
	for want, k := range map[string]EngineKey{
		"digest of the model":     {Model: "../x", Runtime: "1", TensorRT: 1, GPU: "g"},
		"version of ONNX Runtime": {Model: base.Model, TensorRT: 1, GPU: "g"},
		"version of TensorRT":     {Model: base.Model, Runtime: "1", GPU: "g"},
		"name of the GPU":         {Model: base.Model, Runtime: "1", TensorRT: 1},
	} {
		if path, err := k.Path(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s, %v; want …%s…", path, err, want)
		}
	}
}

// The driver is asked for the name of the GPU in the way that it understands.
func TestGPUName(t *testing.T) {
	dir := t.TempDir()
	driver := filepath.Join(dir, "libcuda.so.1")
	compile(t, driver, write(t, filepath.Join(dir, "cuda.c"), `#include <string.h>
int cuInit(unsigned flags) { return flags; }
int cuDeviceGet(int *device, int n) { *device = 7 + n; return n > 1; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, device == 8 ? "the second" : "the first", size); return 0; }
`), "-shared", "-fPIC")
	for index, want := range map[int]string{0: "the first", 1: "the second", 2: ""} {
		if got := gpuName(driver, index); got != want {
			t.Errorf("%d: %q, want %q", index, got, want)
		}
	}
	if got := gpuName(filepath.Join(dir, "none.so"), 0); got != "" {
		t.Errorf("no driver: %q", got)
	}
	if v := tensorRTVersion(filepath.Join(dir, "libnvinfer.so.10"), driver); v != 0 {
		t.Errorf("no TensorRT: %d", v)
	}
}
