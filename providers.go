package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"gnomon/config"
	"gnomon/engine/ort"
	"gnomon/models"
)

// openEngine loads ONNX Runtime and the plugins that the configuration names, and says which of those are of no use.
func openEngine(e config.Engine, log *zap.Logger) (*ort.Runtime, error) {
	rt, err := openRuntime(e.Library, e.Plugins...)
	if err != nil {
		return nil, err
	}
	for _, p := range rt.Plugins() {
		switch {
		case p.Err == nil:
			log.Info("plugin registered", zap.String("plugin", p.Path), zap.Strings("providers", p.Offers))
		case e.Strict:
			return nil, errors.Join(usage("plugin %s: %w (engine.strict)", p.Path, p.Err), rt.Close())
		default:
			log.Warn("plugin of no use; models run without it", zap.String("plugin", p.Path), zap.Error(p.Err))
		}
	}
	return rt, nil
}

// providersOf is where models run, by the configuration.
func providersOf(e config.Engine) ort.Providers {
	p := ort.Providers{
		Order: e.Providers, Strict: e.Strict, Options: e.ProviderOptions,
		FP16: e.TensorRT.FP16, INT8: e.TensorRT.INT8, Graph: e.CUDA.Graph, Engines: e.TensorRT.CacheDir,
	}
	if p.Engines == "" {
		p.Engines, _ = stateDir("tensorrt") // without a place for state they are built at each load, which ort notes
	}
	return p
}

// providersFor is where one model runs: its manifest may ask for other providers.
func providersFor(m *models.Model, o loadOptions) ort.Providers {
	p := o.Providers
	if len(m.Spec.Providers) > 0 && !o.Insist {
		p.Order = m.Spec.Providers
	}
	if slices.Contains(p.Order, ort.TensorRT) { // not of the file: its engine has the weights in it that lie in other files
		sum := sha256.Sum256(m.Bytes)
		p.SHA256 = hex.EncodeToString(sum[:])
	}
	return p
}

// placed writes what has become of the providers that a model was to run on.
func placed(log *zap.Logger, p ort.Placement) {
	for _, failed := range p.Fallen {
		log.Warn("execution provider not used; the next one takes its place", zap.String("provider", failed.Name), zap.Strings("in_use", p.Providers), zap.Error(failed.Err))
	}
	if n := p.OnCPU(); n > 0 {
		log.Warn("nodes of the model run on the CPU, which another provider was asked for", zap.Strings("in_use", p.Providers), zap.Int("nodes", n))
	}
	if p.Batch > 1 || p.Gain > 0 {
		log.Info("frames in one run", zap.Int("most", p.Batch), zap.Float64("measured_gain", p.Gain))
	}
	for _, note := range p.Notes {
		log.Warn("execution provider", zap.String("note", note))
	}
}

// building tells that a model is still being loaded.
func building(log *zap.Logger) func(provider string, elapsed time.Duration) {
	return func(provider string, elapsed time.Duration) {
		log.Info(soFar(provider, elapsed), zap.String("provider", provider), zap.Int("seconds", int(elapsed/time.Second)))
	}
}

func soFar(provider string, elapsed time.Duration) string {
	what := "loading the model"
	if provider == ort.TensorRT {
		what = "building the TensorRT engine"
	}
	return fmt.Sprintf("%s, %d s so far", what, int(elapsed/time.Second))
}

// printPlaced is placed for commands without a log.
func printPlaced(to io.Writer, p ort.Placement) {
	for _, line := range warnings(p) {
		_, _ = fmt.Fprintln(to, line)
	}
}

// warnings are the lines of printPlaced.
func warnings(p ort.Placement) []string {
	var lines []string
	for _, failed := range p.Fallen {
		lines = append(lines, fmt.Sprintf("warning: %v", failed))
	}
	if n := p.OnCPU(); n > 0 {
		lines = append(lines, fmt.Sprintf("warning: %d nodes of the model run on the CPU (%s)", n, p))
	}
	for _, note := range p.Notes {
		lines = append(lines, "warning: "+note)
	}
	return lines
}

// providerNames lists the providers of gnomon version: those that every build is asked for first.
func providerNames(providers map[string]string) []string {
	names := []string{ort.CPU, ort.CUDA, ort.TensorRT}
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
