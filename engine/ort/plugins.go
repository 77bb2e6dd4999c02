package ort

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	ortgo "github.com/yalue/onnxruntime_go"
)

// plugin is a library with execution providers of somebody else's.
type plugin struct {
	path, name string   // name is what it is registered under
	offers     []string // the providers in it
	registered bool     // it has to be let go of
	err        error    // why it is of no use
}

// register loads the plugins. What is wrong with one is noted in it: models that do not ask for it run without.
func (r *Runtime) register(paths []string) {
	if len(paths) == 0 {
		return
	}
	defer guardSignals()()
	known, err := r.offers(nil)
	for i, path := range paths {
		p := &plugin{path: path, name: fmt.Sprintf("gnomon-plugin-%d", i), err: err}
		r.plugins = append(r.plugins, p)
		if p.err != nil {
			continue
		}
		if p.err = r.registerOne(p, known); p.err == nil {
			known = append(known, p.offers...)
		}
	}
}

func (r *Runtime) registerOne(p *plugin, known []string) error {
	if err := checkPlugin(p.path); err != nil {
		return err
	}
	if err := ortgo.RegisterExecutionProviderLibrary(p.name, p.path); err != nil {
		return fmt.Errorf("load it: %s; it has to fit ONNX Runtime %s, and to find the libraries and the hardware that it needs", said(err), r.Version())
	}
	p.registered = true
	var err error
	if p.offers, err = r.offers(known); err != nil {
		return err
	}
	if len(p.offers) == 0 {
		return errors.New("it offers no provider for this machine; its hardware or the driver for that may be missing")
	}
	return nil
}

func checkPlugin(path string) error {
	err := checkELF(path, "CreateEpFactories", "ReleaseEpFactory")
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w; correct engine.plugins, or install it", err)
	}
	return err
}

// Plugin is a library with execution providers, and what has become of it.
type Plugin struct {
	Path   string
	Offers []string // the names of its providers
	Err    error    // why it is of no use; nil when it is
}

// Plugins lists those of RuntimeOptions.Plugins.
func (r *Runtime) Plugins() []Plugin {
	var all []Plugin
	for _, p := range r.plugins {
		all = append(all, Plugin{Path: p.path, Offers: slices.Clone(p.offers), Err: p.err})
	}
	return all
}

// unregister lets the plugins go, before the runtime ends.
func (r *Runtime) unregister() error {
	var errs []error
	for _, p := range slices.Backward(r.plugins) {
		if p.registered {
			if err := ortgo.UnregisterExecutionProviderLibrary(p.name); err != nil {
				errs = append(errs, fmt.Errorf("let go of plugin %s: %w", p.path, err))
			}
		}
	}
	r.plugins = nil
	return errors.Join(errs...)
}

// offers are the names of the providers that have devices, those in known left out.
func (r *Runtime) offers(known []string) ([]string, error) {
	var names []string
	env, err := r.api.environment()
	if err != nil {
		return nil, err
	}
	defer r.api.release(env)
	err = r.api.devices(env, func(_ unsafe.Pointer, name string) bool {
		if !slices.Contains(known, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
		return true
	})
	return names, err
}

// attachPlugin gives the first device of a plugin's provider to a session.
func (r *Runtime) attachPlugin(so *ortgo.SessionOptions, name string, options map[string]string) error {
	offered := false
	broken := &severalErrors{}
	for _, p := range r.plugins {
		offered = offered || slices.Contains(p.offers, name)
		if p.err != nil {
			broken.add("plugin "+p.path, p.err)
		}
	}
	switch {
	case !offered && len(broken.errs) > 0:
		return broken
	case !offered:
		return errors.New("nothing offers it; gnomon knows cpu, cuda and tensorrt, and the providers of the libraries in engine.plugins by their own names (gnomon version lists them)")
	}
	env, err := r.api.environment()
	if err != nil {
		return err
	}
	defer r.api.release(env)
	var device unsafe.Pointer
	err = r.api.devices(env, func(d unsafe.Pointer, provider string) bool {
		if provider == name {
			device = d
		}
		return device == nil
	})
	if err != nil {
		return err
	}
	if device == nil {
		return errors.New("its device has gone")
	}
	return r.api.appendDevice(env, so, device, options)
}
