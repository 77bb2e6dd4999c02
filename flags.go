package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gnomon/camera"
	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/ort"
)

// modelFlags are the flags of every command that runs a model on files.
type modelFlags struct {
	model, manifest, library string
	sessions, threads        int
	score, iou               float32 // 0: the model's
	allClasses               bool    // see loadOptions
	providers, plugins       []string
	stderr                   func() io.Writer // where warnings go
	placement                ort.Placement    // of the model, once it is open
}

func (f *modelFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.model, "model", config.ModelDefault, "model file, or default for the one inside the binary")
	c.Flags().StringVar(&f.manifest, "manifest", "", "manifest of the model (default: the .yaml beside it)")
	c.Flags().StringVar(&f.library, "library", "", "ONNX Runtime library to load instead of the embedded one")
	c.Flags().StringSliceVar(&f.providers, "provider", nil, "execution providers in order of preference, such as tensorrt,cuda,cpu (default: the manifest's, or cpu)")
	c.Flags().StringArrayVar(&f.plugins, "plugin", nil, "plugin provider library to register; may be given several times")
	f.stderr = c.ErrOrStderr
	c.Flags().IntVar(&f.sessions, "sessions", 0, "frames in work at once (default: by the number of cores)")
	c.Flags().IntVar(&f.threads, "threads", 0, "threads for each of them (default: by the number of cores)")
}

// check refuses values that make no sense. A threshold of 0 stands for the model's own, so it cannot be asked for.
func (f *modelFlags) check(c *cobra.Command) error {
	for name, v := range map[string]int{"sessions": f.sessions, "threads": f.threads} {
		if c.Flags().Changed(name) && (v < 1 || v > config.MaxCount) {
			return usage("--%s must be between 1 and %d", name, config.MaxCount)
		}
	}
	for name, v := range map[string]float32{"score": f.score, "iou": f.iou} {
		if c.Flags().Changed(name) && !(v > 0 && v <= 1) {
			return usage("--%s must be above 0 and at most 1", name)
		}
	}
	return nil
}

// open loads the runtime and the model. close ends both.
func (f *modelFlags) open() (slot *engine.Slot, closeAll func() error, err error) {
	if err := camera.Supported(); err != nil { // before minutes of loading
		return nil, nil, err
	}
	m, err := readModel(f.model, f.manifest)
	if err != nil {
		return nil, nil, err
	}
	rt, err := openRuntime(f.library, f.plugins...)
	if err != nil {
		return nil, nil, err
	}
	model, err := loadModel(rt, m, loadOptions{
		Lanes: chooseLanes(f.sessions, f.threads, false), MinScore: f.score, IoU: f.iou, AllClasses: f.allClasses,
		Providers: f.providersOf(), Insist: len(f.providers) > 0, Placed: func(p ort.Placement) { f.placement = p },
		Progress: func(provider string, elapsed time.Duration) { f.warn(soFar(provider, elapsed)) },
	})
	if err != nil {
		return nil, nil, errors.Join(err, rt.Close())
	}
	f.warn(warnings(f.placement)...)
	if f.score > 0 { // a pipeline drops what is below the model's own threshold
		model.Info.ScoreThreshold = f.score
	}
	slot = engine.NewSlot(model)
	return slot, func() error { return errors.Join(slot.Close(context.Background()), rt.Close()) }, nil
}

// warn writes lines to where warnings go, if the command has registered the flags.
func (f *modelFlags) warn(lines ...string) {
	if f.stderr == nil {
		return
	}
	for _, line := range lines {
		_, _ = fmt.Fprintln(f.stderr(), line)
	}
}

// providersOf is where the model runs: on what the flag says, else on the CPU.
func (f *modelFlags) providersOf() ort.Providers {
	return providersOf(config.Engine{Providers: f.providers})
}
