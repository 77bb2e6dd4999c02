package config

import (
	"maps"
	"slices"

	"gnomon/config/yamldoc"
)

// Engine is the section engine.
type Engine struct {
	Library         string                       `yaml:"library" jsonschema_description:"An ONNX Runtime library (libonnxruntime.so) to use. Empty: the one inside the program."`
	Providers       []string                     `yaml:"providers" jsonschema_description:"What models run on, in order of preference: tensorrt, cuda, cpu, or providers of plugins by their own names. One that cannot be used makes place for the next; without cpu at the end a model is refused when none can. A model's manifest may say otherwise for that model."`
	Strict          bool                         `yaml:"strict" jsonschema_description:"True: a provider or plugin that cannot be used is an error, and none takes its place."`
	Plugins         []string                     `yaml:"plugins" jsonschema_description:"Plugin provider libraries for ONNX Runtime, by path. Their providers are used where providers names them."`
	ProviderOptions map[string]map[string]string `yaml:"provider_options" jsonschema_description:"Options that are passed to providers as they are, by the provider's name."`
	TensorRT        TensorRT                     `yaml:"tensorrt" jsonschema_description:"What TensorRT may do."`
	CUDA            CUDA                         `yaml:"cuda" jsonschema_description:"What CUDA may do."`
	Sessions        Count                        `yaml:"sessions" jsonschema_description:"How many frames are in the model at once. auto fits the machine."`
	Threads         Count                        `yaml:"threads" jsonschema_description:"Threads that work on one frame. auto fits the machine."`
	Batch           Batch                        `yaml:"batch" jsonschema_description:"How many frames, of several sources, a run of the model may take at once, 1 to 32. auto is more than one where the provider gains from it."`
	Spinning        bool                         `yaml:"spinning" jsonschema_description:"True: idle threads wait by spinning, which lowers the latency a little and uses whole cores."`
	RunTimeout      Duration                     `yaml:"run_timeout" jsonschema_description:"A run of the model that takes longer is stopped and reported: 100ms to 10m."`
}

// TensorRT is the section engine.tensorrt.
type TensorRT struct {
	FP16     bool   `yaml:"fp16" jsonschema_description:"True: half precision where TensorRT finds it faster."`
	INT8     bool   `yaml:"int8" jsonschema_description:"True: eight bits where the model is quantised or a calibration table is given."`
	CacheDir string `yaml:"cache_dir" jsonschema_description:"The folder in which built engines are kept, each for one model, runtime, TensorRT and GPU. Empty: tensorrt in the folder where the agent keeps its state."`
}

// CUDA is the section engine.cuda.
type CUDA struct {
	Graph bool `yaml:"graph" jsonschema_description:"True: a run is recorded once and played back, which saves time between kernels. Models whose nodes do not all run on CUDA run without."`
}

// ProviderCPU is the provider that is always there, and whose place is last.
const ProviderCPU = "cpu"

const (
	// maxProviders is more than any machine has kinds of processors for.
	maxProviders = 8
	// maxOptions and maxOption bound what is passed on: providers have some dozens of options, and a path may be one.
	maxOptions = 64
	maxOption  = maxPath
	// providerPattern is what ONNX Runtime and plugins call providers: letters, digits, dots, hyphens and underscores.
	providerPattern = `^[A-Za-z0-9_.-]{1,64}$`
)

func (e *Engine) check(p *yamldoc.Problems) {
	checkPath(p, "engine.library", e.Library)
	e.checkProviders(p)
	if len(e.Plugins) > maxProviders {
		p.Addf("engine.plugins", "has %d entries, more than the %d that are allowed", len(e.Plugins), maxProviders)
	}
	for i, path := range e.Plugins {
		at := yamldoc.Index("engine.plugins", i)
		if path == "" {
			p.Addf(at, "is empty; write the path of a library, or remove it")
		}
		checkPath(p, at, path)
	}
	e.checkOptions(p)
	checkPath(p, "engine.tensorrt.cache_dir", e.TensorRT.CacheDir)
	for _, count := range [...]struct {
		path string
		err  error
	}{{"engine.sessions", e.Sessions.check()}, {"engine.threads", e.Threads.check()}, {"engine.batch", e.Batch.check()}} {
		if count.err != nil {
			p.Addf(count.path, "%v", count.err)
		}
	}
	checkDuration(p, "engine.run_timeout", e.RunTimeout, minRunTimeout, maxRunTimeout)
}

func (e *Engine) checkProviders(p *yamldoc.Problems) {
	const path = "engine.providers"
	switch n := len(e.Providers); {
	case n == 0:
		p.Addf(path, "is empty; write [%s], or remove the key", ProviderCPU)
	case n > maxProviders:
		p.Addf(path, "has %d entries, more than the %d that are allowed", n, maxProviders)
		return
	}
	for i, name := range e.Providers {
		at := yamldoc.Index(path, i)
		switch {
		case !matches(providerPattern, name):
			p.Addf(at, "must be tensorrt, cuda, cpu or the name of a plugin's provider, not %q", name)
		case slices.Contains(e.Providers[:i], name):
			p.Addf(at, "is there twice: %s; remove one", name)
		case name == ProviderCPU && i < len(e.Providers)-1:
			p.Addf(at, "is %s, which runs everything; what stands behind it is never used: put it last", name)
		}
	}
}

func (e *Engine) checkOptions(p *yamldoc.Problems) {
	for _, name := range slices.Sorted(maps.Keys(e.ProviderOptions)) {
		at := yamldoc.Key("engine.provider_options", name)
		options := e.ProviderOptions[name]
		if !matches(providerPattern, name) || name == ProviderCPU {
			p.Addf(at, "must be tensorrt, cuda or the name of a plugin's provider")
		}
		if len(options) > maxOptions {
			p.Addf(at, "has %d entries, more than the %d that are allowed", len(options), maxOptions)
		}
		for _, key := range slices.Sorted(maps.Keys(options)) {
			if key == "" || len(key) > maxOption || len(options[key]) > maxOption {
				p.Addf(yamldoc.Key(at, key), "must have a name and a value of at most %d bytes", maxOption)
			}
		}
	}
}
