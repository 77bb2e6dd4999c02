package ort

/*
#include <stddef.h>
#include <stdlib.h>
#include "api.h"

static void *binding_make(void *api, void *session, void **binding) {
	return AT(api, api_make_binding, void *(*)(void *, void **))(session, binding);
}
static void *binding_add(void *api, void *binding, int place, const char *name, void *value) {
	return AT(api, place, void *(*)(void *, const char *, void *))(binding, name, value);
}
static void *binding_run(void *api, void *session, void *options, void *binding) {
	return AT(api, api_run_binding, void *(*)(void *, void *, void *))(session, options, binding);
}
static void binding_free(void *api, void *binding) { AT(api, api_release_binding, void (*)(void *))(binding); }
*/
import "C"

import (
	"errors"
	"sync"
	"unsafe"

	ortgo "github.com/yalue/onnxruntime_go"
)

// graph is a loaded model, which sessions side by side run at once, each with tensors of its own: the weights are in memory
// once, and loading takes the time of one session. It is freed when the last of its owners closes it. Any goroutine may
// call its methods.
type graph struct {
	run *ortgo.AdvancedSession // bound to the tensors of the session that made it

	mu     sync.Mutex
	owners int
}

// share makes one more owner.
func (g *graph) share() *graph {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owners++
	return g
}

// close ends the ownership of one owner, which has no run in progress.
func (g *graph) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.owners--; g.owners > 0 {
		return nil
	}
	return g.run.Destroy()
}

// shareable reports whether sessions with these options can be one: with threads of their own for each run they would share
// those too, and other providers are not all made for it.
func (m *opening) shareable() bool {
	return !m.c.accelerated() && m.o.Threads <= 1 && m.rt.api.table != nil
}

// binding is a session's own tensors, tied to a graph that another session has made. It belongs to a session and is closed
// before its tensors.
type binding struct {
	api              api
	graph            *graph
	session, options unsafe.Pointer
	b                unsafe.Pointer
}

var errNoBinding = errors.New("the model cannot be shared by sessions")

// tie makes a binding of tensors, the session's own or those of a batch, to a graph.
func (s *Session) tie(g *graph, tensors []*ortgo.CustomDataTensor) (*binding, error) {
	b := &binding{api: s.rt.api, graph: g.share(), session: nativeSession(g.run), options: native(s.runOpts, "o")}
	if err := b.bind(s.names, len(s.feeds.names), tensors); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// bind takes the tensors, the inputs first, by their names.
func (b *binding) bind(names []string, inputs int, tensors []*ortgo.CustomDataTensor) error {
	if b.session == nil || b.options == nil {
		return errNoBinding
	}
	if err := b.api.check(C.binding_make(b.api.table, b.session, &b.b)); err != nil {
		return err
	}
	for i, t := range tensors {
		place := C.int(C.api_bind_input)
		if i >= inputs {
			place = C.api_bind_output
		}
		value := native(t, "ortValue")
		if value == nil {
			return errNoBinding
		}
		text := C.CString(names[i])
		err := b.api.check(C.binding_add(b.api.table, b.b, place, text, value))
		C.free(unsafe.Pointer(text))
		if err != nil {
			return err
		}
	}
	return nil
}

// run executes the graph on the tensors. It does not allocate unless it fails.
func (b *binding) run() error {
	if status := C.binding_run(b.api.table, b.session, b.options, b.b); status != nil {
		return b.api.check(status)
	}
	return nil
}

// close frees it. It is idempotent.
func (b *binding) close() error {
	if b == nil || b.graph == nil {
		return nil
	}
	if b.b != nil {
		C.binding_free(b.api.table, b.b)
		b.b = nil
	}
	g := b.graph
	b.graph = nil
	return g.close()
}
