package ort

/*
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>

// TensorRT and the driver are asked for what an engine depends on, through the few functions of theirs that are plain C.
static int tensorrt_version(const char *library) {
	void *l = dlopen(library, RTLD_LAZY | RTLD_NOLOAD); // the one that the provider has loaded, not any that lies about
	if (!l) return 0;
	int (*get)(void) = (int (*)(void))dlsym(l, "getInferLibVersion");
	int version = get ? get() : 0;
	dlclose(l);
	return version;
}

static int gpu_name(const char *library, int index, char *name, int size) {
	void *l = dlopen(library, RTLD_LAZY);
	if (!l) return 0;
	int (*init)(unsigned) = (int (*)(unsigned))dlsym(l, "cuInit");
	int (*get)(int *, int) = (int (*)(int *, int))dlsym(l, "cuDeviceGet");
	int (*of)(char *, int, int) = (int (*)(char *, int, int))dlsym(l, "cuDeviceGetName");
	int device = 0; // the driver stays loaded: the provider needs it too
	return init && get && of && init(0) == 0 && get(&device, index) == 0 && of(name, size, device) == 0;
}
*/
import "C"

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"
)

// EngineKey is everything that a TensorRT engine depends on. ONNX Runtime names the files in its cache after the graph
// alone, so that models of one architecture overwrite each other's engines and get wrong weights: each key has a folder
// of its own.
type EngineKey struct {
	Model    string // SHA-256 of the model, hexadecimal
	Runtime  string // version of ONNX Runtime
	TensorRT int    // as TensorRT numbers its versions, 101300 for 10.13.0
	GPU      string // its name, as the driver has it
	Options  map[string]string
}

// Path is the key's folder below that of all engines: the model's digest, and in it the runtime, TensorRT, the GPU and the
// first half of a digest over all of it. The error says what is not known.
func (k EngineKey) Path() (string, error) {
	if digest, err := hex.DecodeString(k.Model); err != nil || len(digest) != sha256.Size {
		return "", fmt.Errorf("the digest of the model is %q, not a SHA-256", k.Model)
	}
	switch {
	case k.Runtime == "":
		return "", errors.New("the version of ONNX Runtime is not known")
	case k.TensorRT <= 0:
		return "", errors.New("the version of TensorRT is not known")
	case k.GPU == "":
		return "", errors.New("the name of the GPU is not known")
	}
	k.Model = strings.ToLower(k.Model)
	text, err := json.Marshal(k) // keys of maps are sorted
	if err != nil {
		return "", fmt.Errorf("name TensorRT's engine: %w", err)
	}
	sum := sha256.Sum256(text)
	name := fmt.Sprintf("onnxruntime-%s_tensorrt-%d_%s_%s", fileName(k.Runtime), k.TensorRT, fileName(k.GPU), hex.EncodeToString(sum[:sha256.Size/2]))
	return filepath.Join(k.Model, name), nil
}

// maxFileName bounds one part of a folder's name: whatever is longer, or written alike, is told apart by the digest.
const maxFileName = 48

// fileName keeps letters, digits, points and hyphens.
func fileName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '-'
	}, s[:min(len(s), maxFileName)])
}

// enginesDir is where TensorRT's engines of a model are kept; empty: nowhere, as was asked for. The provider is loaded.
func (r *Runtime) enginesDir(p Providers, options map[string]string) (string, error) {
	if p.Engines == "" {
		return "", nil
	}
	index, err := strconv.Atoi(options["device_id"])
	if err != nil {
		index = 0 // the provider complains about it, if it is there
	}
	path, err := EngineKey{Model: p.SHA256, Runtime: r.Version(), TensorRT: tensorRTVersion(tensorRTLibraries()...), GPU: gpuName(driverLibrary, index), Options: options}.Path()
	if err != nil {
		return "", err
	}
	return filepath.Join(p.Engines, path), nil
}

// tensorRTLibraries are the names of TensorRT's library. The provider has loaded one of them.
func tensorRTLibraries() []string {
	return []string{"libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.8"}
}

const driverLibrary = "libcuda.so.1"

// tensorRTVersion is the version of the first library that is loaded, 0 without any.
func tensorRTVersion(libraries ...string) int {
	for _, name := range libraries {
		library := C.CString(name)
		v := int(C.tensorrt_version(library))
		C.free(unsafe.Pointer(library))
		if v > 0 {
			return v
		}
	}
	return 0
}

// gpuName is the name of a GPU, empty when there is none.
func gpuName(driver string, index int) string {
	const size = 256 // cudaDeviceProp has that much for a name
	library := C.CString(driver)
	defer C.free(unsafe.Pointer(library))
	name := make([]byte, size)
	if C.gpu_name(library, C.int(index), (*C.char)(unsafe.Pointer(&name[0])), size) == 0 {
		return ""
	}
	text, _, _ := strings.Cut(string(name), "\x00")
	return text
}
