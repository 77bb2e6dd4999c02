package ort

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	ortgo "github.com/yalue/onnxruntime_go"
)

// The execution providers that are known by a short name. Those of plugins have the names that the plugins give them.
const (
	CPU      = "cpu"
	CUDA     = "cuda"
	TensorRT = "tensorrt"
)

// Providers says on what a model is to run. The zero value is the CPU.
type Providers struct {
	// Order has the names in order of preference: each takes the nodes that those before it cannot run. Without CPU at
	// its end a model is refused when none of them can be used; nodes that none can run are given to the CPU in any case.
	Order []string
	// Strict makes a provider that cannot be used an error. Otherwise the next one takes its place.
	Strict bool
	// Options are passed to the providers, by name of the provider and name of the option.
	Options map[string]map[string]string

	FP16, INT8 bool // what TensorRT may calculate with beside float32
	Graph      bool // CUDA: runs are recorded once and played back; needs a model with fixed shapes

	// Engines is the folder for TensorRT's engines, and SHA256 the digest of the model they are kept for. Without either
	// they are built at each load.
	Engines, SHA256 string
}

// ProviderError says that a provider could not be used.
type ProviderError struct {
	Name string
	Err  error
}

func (e *ProviderError) Error() string {
	return fmt.Sprintf("execution provider %s cannot be used: %v", e.Name, e.Err)
}
func (e *ProviderError) Unwrap() error { return e.Err }

// Placement tells where a model runs.
type Placement struct {
	Providers []string         // in use, in order of preference
	Nodes     map[string]int   // by provider, of the graph as it was handed out to them; nil: the runtime does not say
	Fallen    []*ProviderError // what was to be used and could not be
	Notes     []string         // what else people should know, in sentences

	Batch int     // pictures that a run takes at most; 1: one at a time
	Gain  float64 // how many times as fast a batch was as its pictures one by one; 0: not measured
}

// OnCPU is how many nodes the CPU runs although something else was to; 0 also where that is not known.
func (p Placement) OnCPU() int {
	if len(p.Providers) == 0 || p.Providers[0] == CPU {
		return 0
	}
	return p.Nodes[CPU]
}

// String is the providers, with the nodes that each of them runs.
func (p Placement) String() string {
	if p.Nodes == nil {
		return strings.Join(p.Providers, ", ")
	}
	var parts []string
	for _, name := range p.names() {
		unit := "nodes"
		if p.Nodes[name] == 1 {
			unit = "node"
		}
		parts = append(parts, fmt.Sprintf("%s: %d %s", name, p.Nodes[name], unit))
	}
	return strings.Join(parts, ", ")
}

// names are the providers in use, and the CPU where it has been given nodes.
func (p Placement) names() []string {
	names := slices.Clone(p.Providers)
	for _, name := range slices.Sorted(maps.Keys(p.Nodes)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// shortName is gnomon's name of a provider that ONNX Runtime has a long one for.
func shortName(name string) string {
	switch name {
	case "CPUExecutionProvider":
		return CPU
	case "CUDAExecutionProvider":
		return CUDA
	case "TensorrtExecutionProvider":
		return TensorRT
	}
	return name
}

// choice is what is left of the providers that were asked for, while a model is being loaded.
type choice struct {
	left   []string
	strict bool
	fallen []*ProviderError
}

func (p Providers) choice() *choice {
	order := slices.Clone(p.Order)
	if len(order) == 0 {
		order = []string{CPU}
	}
	return &choice{left: order, strict: p.Strict}
}

// accelerated reports whether something else than the CPU is among them.
func (c *choice) accelerated() bool { return c.left[0] != CPU }

// drop takes a provider out that could not be used. The error says why there is nothing to go on with.
func (c *choice) drop(failed *ProviderError) error {
	if c.strict {
		return fmt.Errorf("%w (engine.strict allows no other in its place)", failed)
	}
	c.fallen = append(c.fallen, failed)
	c.left = slices.DeleteFunc(c.left, func(name string) bool { return name == failed.Name })
	if len(c.left) > 0 {
		return nil
	}
	all := &severalErrors{}
	for _, f := range c.fallen {
		all.add(f.Name, f)
	}
	return fmt.Errorf("no execution provider is left: %w", all)
}

// severalErrors joins errors in one line.
type severalErrors struct {
	texts []string
	errs  []error
}

// add notes an error, and whose it is.
func (e *severalErrors) add(whose string, err error) {
	text := err
	if failed := (*ProviderError)(nil); errors.As(err, &failed) {
		text = failed.Err
	}
	e.texts, e.errs = append(e.texts, fmt.Sprintf("%s: %v", whose, text)), append(e.errs, err)
}

func (e *severalErrors) Error() string   { return strings.Join(e.texts, "; ") }
func (e *severalErrors) Unwrap() []error { return e.errs }

// attach gives the providers to a session to be. Notes are about what was done differently. The error is a
// *ProviderError.
func (r *Runtime) attach(so *ortgo.SessionOptions, names []string, p Providers) (notes []string, err error) {
	for _, name := range names {
		var note string
		switch name {
		case CPU: // the runtime has it in any case, behind all others
		case CUDA:
			err = r.attachCUDA(so, p)
		case TensorRT:
			note, err = r.attachTensorRT(so, p)
		default:
			err = r.attachPlugin(so, name, p.Options[name])
		}
		if err != nil {
			return nil, &ProviderError{Name: name, Err: r.explain(name, err)}
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	return notes, nil
}

func (r *Runtime) attachCUDA(so *ortgo.SessionOptions, p Providers) error {
	if r.library == embeddedLibrary {
		return errEmbedded
	}
	if err := r.checkBeside(CUDA); err != nil {
		return err
	}
	o, err := ortgo.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer func() { _ = o.Destroy() }()
	options := map[string]string{"device_id": "0"}
	if p.Graph {
		options["enable_cuda_graph"] = "1"
	}
	maps.Copy(options, p.Options[CUDA])
	if err := o.Update(options); err != nil {
		return fmt.Errorf("its options: %w", err)
	}
	return so.AppendExecutionProviderCUDA(o)
}

func (r *Runtime) attachTensorRT(so *ortgo.SessionOptions, p Providers) (note string, err error) {
	if r.library == embeddedLibrary {
		return "", errEmbedded
	}
	if err := r.checkBeside(TensorRT); err != nil {
		return "", err
	}
	o, err := ortgo.NewTensorRTProviderOptions()
	if err != nil {
		return "", err
	}
	defer func() { _ = o.Destroy() }()
	options := map[string]string{"device_id": "0"}
	if p.FP16 {
		options["trt_fp16_enable"] = "1"
	}
	if p.INT8 {
		options["trt_int8_enable"] = "1"
	}
	maps.Copy(options, p.Options[TensorRT])
	if err := o.Update(options); err != nil { // loads the provider and TensorRT, whose version the folder needs
		return "", fmt.Errorf("its options: %w", err)
	}
	dir, err := r.enginesDir(p, options)
	switch {
	case err != nil:
		note = fmt.Sprintf("TensorRT's engine is not kept and will be built at each load: %v", err)
	case dir != "":
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("make the folder for TensorRT's engines: %w", err)
		}
		for key, value := range map[string]string{
			"trt_engine_cache_enable": "1", "trt_engine_cache_path": dir, "trt_timing_cache_enable": "1", "trt_timing_cache_path": dir,
		} {
			options[key] = value // not for the configuration to change: engines of different models get mixed up in one folder
		}
	}
	if err := o.Update(options); err != nil {
		return "", fmt.Errorf("its options: %w", err)
	}
	return note, so.AppendExecutionProviderTensorRT(o)
}

// Provider tells whether an execution provider can be used here.
type Provider struct {
	Name string
	Err  error // why not, and what to do; nil when it can
}

// Providers tries the execution providers that gnomon knows, and lists those of the plugins. A plugin that offers none is
// listed under its path.
func (r *Runtime) Providers() []Provider {
	defer guardSignals()()
	all := []Provider{{Name: CPU}}
	for _, name := range []string{CUDA, TensorRT} {
		all = append(all, Provider{Name: name, Err: r.try(name)})
	}
	for _, p := range r.plugins {
		if p.err != nil {
			all = append(all, Provider{Name: p.path, Err: p.err})
		}
		for _, name := range p.offers {
			all = append(all, Provider{Name: name})
		}
	}
	return all
}

func (r *Runtime) try(name string) error {
	so, err := ortgo.NewSessionOptions()
	if err != nil {
		return err
	}
	defer func() { _ = so.Destroy() }()
	_, err = r.attach(so, []string{name}, Providers{})
	var failed *ProviderError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
