package ort

/*
#include <stdint.h>
#include <stddef.h>
#include "api.h"

// output_dimensions reads up to most dimensions of an output as the loaded model has them, -1 for open ones, and says how
// many there are.
static void *output_dimensions(void *api, void *session, size_t i, int64_t *dims, size_t most, size_t *n) {
	void *type = NULL;
	const void *tensor = NULL;
	void *status = AT(api, api_output_info, void *(*)(void *, size_t, void **))(session, i, &type);
	if (status) return status;
	status = AT(api, api_tensor_info, void *(*)(void *, const void **))(type, &tensor);
	if (!status && tensor) status = AT(api, api_dimensions, void *(*)(const void *, size_t *))(tensor, n);
	if (!status && tensor && *n <= most) status = AT(api, api_get_dimensions, void *(*)(const void *, int64_t *, size_t))(tensor, dims, *n);
	AT(api, api_release_type, void (*)(void *))(type);
	return status;
}
*/
import "C"

import (
	"errors"
	"slices"

	ortgo "github.com/yalue/onnxruntime_go"

	"gnomon/engine/detect"
)

// maxDimensions of an output that can be decoded; no family has more than 5.
const maxDimensions = 8

// errDisagrees: the loaded model has other outputs than its file says.
var errDisagrees = errors.New("the model's outputs are not those that its file describes")

// sayEnough reports whether what the file says of its inputs and outputs is all that is needed to load it: then it is
// loaded once and not twice. With a provider other than the CPU a load on the CPU comes first in any case.
func (m *opening) sayEnough() bool {
	known := func(t detect.TensorInfo) bool { return len(t.Shape) > 0 && elementSize(t.Type) > 0 }
	return !m.c.accelerated() && m.rt.api.table != nil && len(m.o.Inputs) > 0 && len(m.o.Outputs) > 0 &&
		!slices.ContainsFunc(m.o.Inputs, func(t detect.TensorInfo) bool { return !known(t) }) &&
		!slices.ContainsFunc(m.o.Outputs, func(t detect.TensorInfo) bool { return !known(t) })
}

// cloned copies descriptions, whose shapes are filled in later.
func cloned(ts []detect.TensorInfo) []detect.TensorInfo {
	out := slices.Clone(ts)
	for i := range out {
		out[i].Shape = slices.Clone(out[i].Shape)
	}
	return out
}

// agrees is an error unless the session's outputs have the shapes of outs, as far as it knows them without a run.
func (a api) agrees(session *ortgo.AdvancedSession, outs []detect.TensorInfo) error {
	handle := nativeSession(session)
	if a.table == nil || handle == nil {
		return errNoAPI
	}
	for i, out := range outs {
		var dims [maxDimensions]C.int64_t
		var n C.size_t
		if err := a.check(C.output_dimensions(a.table, handle, C.size_t(i), &dims[0], maxDimensions, &n)); err != nil {
			return err
		}
		if n == 0 { // not known before a run
			continue
		}
		if int(n) != len(out.Shape) {
			return errDisagrees
		}
		for k, d := range out.Shape {
			if dims[k] > 0 && int64(dims[k]) != d {
				return errDisagrees
			}
		}
	}
	return nil
}
