package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/ort"
	"gnomon/engine/tensor"
	"gnomon/models"
	"gnomon/third_party/embedded"
)

// openRuntime loads ONNX Runtime: the library at a path, or the embedded one; and plugins with execution providers.
func openRuntime(library string, plugins ...string) (*ort.Runtime, error) {
	o := runtimeOptions(library, false)
	o.Plugins = plugins
	return ort.NewRuntime(o)
}

func runtimeOptions(library string, plainMalloc bool) ort.RuntimeOptions {
	return ort.RuntimeOptions{Library: library, Embedded: embedded.Runtime, PlainMalloc: plainMalloc}
}

// readModel reads a model and finds out how to feed it, without running anything. manifest may be empty.
func readModel(path, manifest string) (*models.Model, error) {
	if path != config.ModelDefault {
		return models.Load(path, manifest)
	}
	if manifest != "" {
		return nil, usage("the default model brings its own manifest; name a model file to use another one")
	}
	onnx, yaml, err := embedded.Model()
	if err != nil {
		return nil, err
	}
	return models.LoadBytes("nanodet-g.onnx", onnx, yaml)
}

// lanes is how a model is spread over the processor: sessions side by side, and threads in each.
type lanes struct{ Sessions, Threads int }

func (l lanes) String() string { return fmt.Sprintf("%d sessions x %d threads", l.Sessions, l.Threads) }

// maxAutoSessions bounds the sessions that are chosen without being asked for: each has activations and frames of its own.
const maxAutoSessions = 4

// chooseLanes fills in what is 0. Sessions with one thread each use the cores best (docs/performance.md), so there
// are as many as cores, up to a bound for the memory; cores beyond it become threads. For live sources alone two
// sessions do: one more frame in work only makes results older.
func chooseLanes(sessions, threads int, liveOnly bool) lanes {
	cores := runtime.GOMAXPROCS(0)
	if sessions == 0 {
		sessions = min(cores, maxAutoSessions)
		if liveOnly {
			sessions = min(cores, 2)
		}
		if threads > 0 {
			sessions = max(1, min(sessions, cores/threads))
		}
	}
	if threads == 0 {
		threads = max(1, cores/sessions)
	}
	return lanes{Sessions: sessions, Threads: threads}
}

// loadOptions says how to load a model.
type loadOptions struct {
	Lanes      lanes
	Spinning   bool
	Deadline   time.Duration
	Batching   bool    // a run may take several frames
	Batch      int     // how many then, at most; 0: the engine's choice
	MinScore   float32 // replaces the model's score threshold when above 0
	IoU        float32 // replaces the model's IoU threshold of NMS when above 0
	AllClasses bool    // a box may be reported under several labels, as accuracy is counted; see detect.Params

	Providers ort.Providers               // where models run; the zero value is the CPU
	Insist    bool                        // on them, whatever the model's manifest says
	Placed    func(ort.Placement)         // is told where the model runs in the end; may be nil
	Progress  func(string, time.Duration) // is told of a load that takes long, see ort.SessionOptions; may be nil
}

// sessionOptions are those of a model's sessions.
func sessionOptions(m *models.Model, o loadOptions) ort.SessionOptions {
	spec := m.Spec
	ins, outs := m.Tensors()
	batch := 1
	if o.Batching {
		batch = o.Batch
	}
	return ort.SessionOptions{
		Batch: batch,
		Name:  spec.Name, ONNX: m.Bytes, Inputs: ins, Outputs: outs, Width: spec.Width, Height: spec.Height, NHWC: spec.Layout == models.NHWC,
		Threads: o.Lanes.Threads, Spinning: o.Spinning, Deadline: o.Deadline, Providers: providersFor(m, o), Progress: o.Progress,
	}
}

// newPreprocessor makes what fills a model's input.
func newPreprocessor(spec *models.Spec) (*tensor.Preprocessor, error) {
	return tensor.New(tensor.Options{RGB: spec.Color == models.RGB, Scale: spec.Scale, Mean: spec.Mean, Std: spec.Std, Pad: spec.Pad})
}

// loadModel makes the lanes of a model. The caller owns what it returns and closes it before the runtime.
func loadModel(rt *ort.Runtime, m *models.Model, o loadOptions) (*engine.Model, error) {
	spec := m.Spec
	sessions, err := rt.Open(sessionOptions(m, o), o.Lanes.Sessions)
	if err != nil {
		return nil, err
	}
	if o.Placed != nil {
		o.Placed(sessions[0].Placement())
	}
	model := &engine.Model{}
	fail := func(err error) (*engine.Model, error) {
		errs := []error{fmt.Errorf("model %s: %w", spec.Name, err), model.Close()}
		for _, s := range sessions[len(model.Lanes):] {
			errs = append(errs, s.Close())
		}
		return nil, errors.Join(errs...)
	}
	// Now that the runtime has settled every shape, the reading of the model is checked against them once more.
	if err := m.Resolve(sessions[0].Outputs()); err != nil {
		return fail(err)
	}
	spec = m.Spec
	params := spec.Params()
	if o.MinScore > 0 {
		params.ScoreThreshold = o.MinScore
	}
	if o.IoU > 0 {
		params.IoUThreshold = o.IoU
	}
	params.MultiLabel = o.AllClasses
	model.Info = engine.ModelInfo{Name: spec.Name, Version: spec.Version, SHA256: m.SHA256, Labels: spec.Labels, ScoreThreshold: spec.ScoreThreshold}
	for _, s := range sessions {
		pre, err := newPreprocessor(spec)
		if err != nil {
			return fail(err)
		}
		dec, err := detect.NewDecoder(params, s.Outputs())
		if err != nil {
			return fail(err)
		}
		model.Lanes = append(model.Lanes, engine.NewLane(pre, s, dec, spec.Resize))
	}
	return model, nil
}

// loadWarm loads a model and warms every lane up on f, on the loader's thread. Lanes that are warmed up side by side are on
// threads as quiet as that: at the priority of the frames they held those up for 50 ms.
func loadWarm(ctx context.Context, by *loader, rt *ort.Runtime, m *models.Model, o loadOptions, f *engine.Frame) (model *engine.Model, err error) {
	err = by.do(func() error {
		if model, err = loadModel(rt, m, o); err != nil {
			return err
		}
		if err := model.WarmUp(ctx, f, by.beside()); err != nil {
			err = errors.Join(fmt.Errorf("model %s: %w", m.Spec.Name, err), model.Close())
			model = nil
			ort.ReleaseMemory()
			return err
		}
		return nil
	})
	return model, err
}

// exchange puts next in place of the slot's model, closes that and gives its memory back to the system: frames flow
// through the new one meanwhile. It does not run at low priority: whoever is put aside while holding a lock that the
// frames need, of Go's collector or of malloc, holds them up for longer than the work itself takes.
func exchange(ctx context.Context, slot *engine.Slot, next *engine.Model) error {
	err := slot.Swap(ctx, next)
	ort.ReleaseMemory()
	return err
}
