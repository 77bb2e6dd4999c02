package ort

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <stdint.h>
#include "api.h"

static void *find_api(const char *path, uint32_t version) {
	void *library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD); // it is there already, and stays as long as the binding has it
	if (!library) return NULL;
	const api_base *(*base)(void) = (const api_base *(*)(void))dlsym(library, "OrtGetApiBase");
	void *api = base ? base()->get(version) : NULL;
	dlclose(library);
	return api;
}

static const char *error_message(void *api, void *status) { return AT(api, api_error_message, const char *(*)(void *))(status); }
static void release_status(void *api, void *status) { AT(api, api_release_status, void (*)(void *))(status); }
// There is one environment for the process: asking for one more counts a user of it.
static void *create_env(void *api, void **env) { return AT(api, api_create_env, void *(*)(int, const char *, void **))(4, "gnomon", env); }
static void release_env(void *api, void *env) { AT(api, api_release_env, void (*)(void *))(env); }
static void *ep_devices(void *api, void *env, void *const **devices, size_t *n) {
	return AT(api, api_ep_devices, void *(*)(void *, void *const **, size_t *))(env, devices, n);
}
static const char *ep_name(void *api, void *device) { return AT(api, api_ep_name, const char *(*)(void *))(device); }
static void *append_v2(void *api, void *options, void *env, void *device, char **keys, char **values, size_t n) {
	void *devices[] = {device};
	return AT(api, api_append_v2, void *(*)(void *, void *, void **, size_t, char **, char **, size_t))(options, env, devices, 1, keys, values, n);
}
static void *assignment(void *api, void *session, void *const **subgraphs, size_t *n) {
	return AT(api, api_assignment, void *(*)(void *, void *const **, size_t *))(session, subgraphs, n);
}
static void *subgraph_ep(void *api, void *subgraph, const char **name) {
	return AT(api, api_subgraph_ep, void *(*)(void *, const char **))(subgraph, name);
}
static void *subgraph_nodes(void *api, void *subgraph, void *const **nodes, size_t *n) {
	return AT(api, api_subgraph_nodes, void *(*)(void *, void *const **, size_t *))(subgraph, nodes, n);
}
*/
import "C"

import (
	"errors"
	"reflect"
	"unsafe"

	ortgo "github.com/yalue/onnxruntime_go"
)

// apiVersion is the version of ONNX Runtime's C interface that the binding asks for, and this file with it.
const apiVersion = 24

// api is ONNX Runtime's table of functions, for those that the binding has not. The zero value has none; it belongs to
// the library, and ends with it.
type api struct{ table unsafe.Pointer }

// findAPI is the table of a library that was loaded from path.
func findAPI(path string) api {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	return api{C.find_api(name, apiVersion)}
}

var errNoAPI = errors.New("this ONNX Runtime does not offer its functions; use ONNX Runtime 1.24 or newer")

// check turns a status into an error and frees it.
func (a api) check(status unsafe.Pointer) error {
	if status == nil {
		return nil
	}
	defer C.release_status(a.table, status)
	return errors.New(C.GoString(C.error_message(a.table, status)))
}

// native is the C object in a wrapper of the binding, nil when there is no such field.
func native(wrapper any, field string) unsafe.Pointer {
	f := reflect.ValueOf(wrapper).Elem().FieldByName(field)
	if !f.IsValid() || f.Kind() != reflect.Pointer {
		return nil
	}
	return f.UnsafePointer()
}

// nativeSession is the C object of a session.
func nativeSession(s *ortgo.AdvancedSession) unsafe.Pointer { return native(s, "ortSession") }

// nativeOptions is the C object of session options.
func nativeOptions(o *ortgo.SessionOptions) unsafe.Pointer { return native(o, "o") }

// environment counts a user of the environment; the caller releases it.
func (a api) environment() (unsafe.Pointer, error) {
	if a.table == nil {
		return nil, errNoAPI
	}
	var env unsafe.Pointer
	if err := a.check(C.create_env(a.table, &env)); err != nil {
		return nil, err
	}
	return env, nil
}

func (a api) release(env unsafe.Pointer) { C.release_env(a.table, env) }

// devices calls do for every device that the registered plugins and the runtime itself offer, until it returns false.
func (a api) devices(env unsafe.Pointer, do func(device unsafe.Pointer, provider string) bool) error {
	var list *unsafe.Pointer
	var n C.size_t
	if err := a.check(C.ep_devices(a.table, env, &list, &n)); err != nil {
		return err
	}
	for _, device := range unsafe.Slice(list, int(n)) {
		if !do(device, C.GoString(C.ep_name(a.table, device))) {
			break
		}
	}
	return nil
}

// appendDevice gives a device of a plugin to a session.
func (a api) appendDevice(env unsafe.Pointer, so *ortgo.SessionOptions, device unsafe.Pointer, options map[string]string) error {
	handle := nativeOptions(so)
	if handle == nil {
		return errNoAPI
	}
	var keys, values []*C.char
	defer func() {
		for _, s := range append(keys, values...) {
			C.free(unsafe.Pointer(s))
		}
	}()
	for k, v := range options {
		keys, values = append(keys, C.CString(k)), append(values, C.CString(v))
	}
	return a.check(C.append_v2(a.table, handle, env, device, unsafe.SliceData(keys), unsafe.SliceData(values), C.size_t(len(keys))))
}

// nodes counts the nodes of a session by the provider that they were given to. The session was made with
// recordAssignment.
func (a api) nodes(session *ortgo.AdvancedSession) (map[string]int, error) {
	handle := nativeSession(session)
	if a.table == nil || handle == nil {
		return nil, errNoAPI
	}
	var list *unsafe.Pointer
	var n C.size_t
	if err := a.check(C.assignment(a.table, handle, &list, &n)); err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, subgraph := range unsafe.Slice(list, int(n)) {
		var name *C.char
		var nodes *unsafe.Pointer
		var count C.size_t
		err := errors.Join(a.check(C.subgraph_ep(a.table, subgraph, &name)), a.check(C.subgraph_nodes(a.table, subgraph, &nodes, &count)))
		if err != nil {
			return nil, err
		}
		counts[shortName(C.GoString(name))] += int(count)
	}
	return counts, nil
}
