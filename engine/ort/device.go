package ort

/*
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "api.h"

// tensor is one in the memory of the GPU, and where the session has it in its own.
typedef struct { void *value, *there, *here; size_t bytes; } tensor;

// device is a session whose inputs and outputs are bound to memory of the GPU.
typedef struct {
	void *api, *session, *options, *info, *allocator, *binding;
	void *cudart;
	int (*set)(int);
	int (*copy)(void *, const void *, size_t, int);
	int (*wait)(void *);
	const char *(*text)(int);
	int id, failure;  // the GPU; CUDA's last error
	size_t inputs, n; // tensors, the inputs first, and how many of all there are so far
	tensor tensors[];
} device;

static device *device_new(void *api, void *session, void *options, const char *cudart, int id, size_t inputs, size_t room) {
	void *library = dlopen(cudart, RTLD_LAZY | RTLD_NOLOAD); // the one that the provider has loaded
	if (!library) return NULL;
	device *d = calloc(1, sizeof(device) + room * sizeof(tensor));
	if (d) {
		d->api = api, d->session = session, d->options = options, d->cudart = library, d->id = id, d->inputs = inputs;
		d->set = (int (*)(int))dlsym(library, "cudaSetDevice");
		d->copy = (int (*)(void *, const void *, size_t, int))dlsym(library, "cudaMemcpy");
		d->wait = (int (*)(void *))dlsym(library, "cudaStreamSynchronize");
		d->text = (const char *(*)(int))dlsym(library, "cudaGetErrorString");
		if (d->set && d->copy && d->wait && d->text) return d;
	}
	free(d);
	dlclose(library);
	return NULL;
}

static void *device_bind(device *d, const char *memory) {
	void *failed = AT(d->api, api_make_info, void *(*)(const char *, int, int, int, void **))(memory, 1, d->id, 0, &d->info); // from the arena
	if (!failed) failed = AT(d->api, api_make_allocator, void *(*)(void *, void *, void **))(d->session, d->info, &d->allocator);
	if (!failed) failed = AT(d->api, api_make_binding, void *(*)(void *, void **))(d->session, &d->binding);
	return failed;
}

static void *device_add(device *d, const char *name, const int64_t *shape, size_t dims, int type, void *here, size_t bytes, device *over) {
	tensor *t = &d->tensors[d->n];
	void *failed = over
		? AT(d->api, api_wrap_tensor, void *(*)(void *, void *, size_t, const int64_t *, size_t, int, void **))(d->info, over->tensors[d->n].there, bytes, shape, dims, type, &t->value)
		: AT(d->api, api_make_tensor, void *(*)(void *, const int64_t *, size_t, int, void **))(d->allocator, shape, dims, type, &t->value);
	if (failed) return failed;
	t->here = here, t->bytes = bytes;
	int bind = d->n++ < d->inputs ? api_bind_input : api_bind_output;
	failed = AT(d->api, api_tensor_data, void *(*)(void *, void **))(t->value, &t->there);
	if (!failed) failed = AT(d->api, bind, void *(*)(void *, const char *, void *))(d->binding, name, t->value);
	return failed;
}

// device_run copies the inputs there, runs, and copies the outputs back, all on the calling thread. It returns a status of
// ONNX Runtime, or sets failure.
static void *device_run(device *d) {
	enum { there = 1, back = 2 };
	int *cuda = &d->failure;
	if ((*cuda = d->set(d->id))) return NULL;
	for (size_t i = 0; i < d->inputs; i++) {
		if ((*cuda = d->copy(d->tensors[i].there, d->tensors[i].here, d->tensors[i].bytes, there))) return NULL;
	}
	if ((*cuda = d->wait(NULL))) return NULL; // the provider has streams of its own, which do not wait for this one
	void *failed = AT(d->api, api_run_binding, void *(*)(void *, void *, void *))(d->session, d->options, d->binding);
	for (size_t i = d->inputs; !failed && !*cuda && i < d->n; i++) *cuda = d->copy(d->tensors[i].here, d->tensors[i].there, d->tensors[i].bytes, back);
	return failed;
}

static const char *device_text(device *d, int code) { return d->text(code); }

static void device_free(device *d) {
	if (d->binding) AT(d->api, api_release_binding, void (*)(void *))(d->binding);
	for (size_t i = 0; i < d->n; i++) AT(d->api, api_release_value, void (*)(void *))(d->tensors[i].value);
	if (d->allocator) AT(d->api, api_release_allocator, void (*)(void *))(d->allocator);
	if (d->info) AT(d->api, api_release_info, void (*)(void *))(d->info);
	dlclose(d->cudart);
	free(d);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"strconv"
	"unsafe"

	ortgo "github.com/yalue/onnxruntime_go"
)

// deviceMemory keeps the inputs and the outputs of a session in the memory of a GPU: they have fixed places there, which a
// recorded run needs, and each travels once for a run, in one piece. It belongs to a session and is closed before it.
type deviceMemory struct {
	api api
	d   *C.device
}

// memoryCUDA is ONNX Runtime's name of a GPU's memory.
const memoryCUDA = "Cuda"

// cudaLibraries are the names of CUDA's runtime. The provider has loaded one of them.
func cudaLibraries() []string {
	return []string{"libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0"}
}

// boundTensor is what a session has bound: names, shapes and memory of its own.
type boundTensor struct {
	name  string
	shape []int64
	typ   ortgo.TensorElementDataType
	mem   []byte
}

// newDeviceMemory binds a session's tensors, the inputs first, to memory of the named kind: new one, or that of over, which
// has the same tensors, none of them smaller, and is closed later or not used any more. mem stays the session's.
func newDeviceMemory(a api, session *ortgo.AdvancedSession, options *ortgo.RunOptions, memory string, id int, libraries []string, inputs int, tensors []boundTensor, over *deviceMemory) (*deviceMemory, error) {
	handle, run := nativeSession(session), native(options, "o")
	if a.table == nil || handle == nil || run == nil {
		return nil, errNoAPI
	}
	m := &deviceMemory{api: a}
	for _, name := range libraries {
		library := C.CString(name)
		m.d = C.device_new(a.table, handle, run, library, C.int(id), C.size_t(inputs), C.size_t(len(tensors)))
		C.free(unsafe.Pointer(library))
		if m.d != nil {
			break
		}
	}
	if m.d == nil {
		return nil, fmt.Errorf("CUDA's runtime is not loaded under any of the names %q", libraries)
	}
	var below *C.device
	if over != nil {
		below = over.d
	}
	kind := C.CString(memory)
	defer C.free(unsafe.Pointer(kind))
	err := a.check(C.device_bind(m.d, kind))
	for _, t := range tensors {
		if err != nil {
			break
		}
		name := C.CString(t.name)
		err = a.check(C.device_add(m.d, name, (*C.int64_t)(unsafe.SliceData(t.shape)), C.size_t(len(t.shape)), C.int(t.typ), unsafe.Pointer(unsafe.SliceData(t.mem)), C.size_t(len(t.mem)), below))
		C.free(unsafe.Pointer(name))
	}
	if err != nil {
		m.close()
		return nil, errors.New(said(err))
	}
	return m, nil
}

// run executes the session on what its inputs hold. It does not allocate unless it fails.
func (m *deviceMemory) run() error {
	if status := C.device_run(m.d); status != nil {
		return m.api.check(status)
	}
	if code := m.d.failure; code != 0 {
		return fmt.Errorf("CUDA failure %d: %s", int(code), C.GoString(C.device_text(m.d, code)))
	}
	return nil
}

// close frees it. It is idempotent.
func (m *deviceMemory) close() {
	if m != nil && m.d != nil {
		C.device_free(m.d)
		m.d = nil
	}
}

// deviceID is the number of the GPU that a provider was told to use.
func (p Providers) deviceID(provider string) int {
	id, err := strconv.Atoi(p.Options[provider]["device_id"])
	if err != nil {
		return 0
	}
	return id
}
