package ort

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	ortgo "github.com/yalue/onnxruntime_go"

	"gnomon/engine"
	"gnomon/engine/detect"
)

// DefaultDeadline ends a run that hangs. The slowest sound run that was seen, a large model under emulation, took
// 6 s.
const DefaultDeadline = 10 * time.Second

// SessionOptions describes a session.
type SessionOptions struct {
	Name string // the model's name, for errors
	ONNX []byte // the model in memory, so that what runs is what was inspected; copied by the runtime

	// Inputs and Outputs are what the model's file says of them, with -1 for dimensions that it leaves open. With them ONNX
	// Runtime need not load the model once more only to say so; where it disagrees it is asked after all. nil: it is asked.
	Inputs, Outputs []detect.TensorInfo

	Width, Height int  // input size in pixels, where the model leaves it open
	NHWC          bool // the input is 1xHxWx3, not 1x3xHxW

	Threads  int           // intra-op threads; 0 or 1: the calling thread does all the work
	Spinning bool          // idle intra-op threads spin instead of sleeping: lower latency, a busy core
	Deadline time.Duration // for one run; 0: DefaultDeadline

	Providers Providers // where it is to run

	// Progress is called from another goroutine every ten seconds while a session is being made, with the provider in
	// front and the time that it has taken so far: TensorRT builds for minutes. It may be nil.
	Progress func(provider string, elapsed time.Duration)
}

// Session is a loaded model with one input and its outputs bound to memory of its own. It satisfies
// engine.Session: one goroutine at a time, but for Interrupt.
type Session struct {
	rt       *Runtime
	o        SessionOptions
	graph    *graph   // that it has made; nil:
	shared   *binding // to one that another session has made
	runOpts  *ortgo.RunOptions
	input    engine.Input
	feeds    feeds
	settled  bool // the sizes of outputs were learnt from a run
	tensors  []*ortgo.CustomDataTensor
	memory   [][]byte
	outputs  []detect.Tensor
	narrow   []narrowOutput // outputs that are converted to float32 after each run
	watchdog *time.Timer
	fired    chan struct{} // the watchdog's hand-shake: it has set the terminate flag

	placement Placement
	device    *deviceMemory // nil: the runtime copies what has to get to a GPU and back

	interrupted atomic.Bool
}

type narrowOutput struct {
	index int
	raw   []byte
	typ   detect.ElementType
}

// Placement tells where the model runs. What it holds is shared by the sessions of a model and must not be changed.
func (s *Session) Placement() Placement { return s.placement }

func (s *Session) options() (*ortgo.SessionOptions, error) {
	so, err := ortgo.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("session options: %w", err)
	}
	spin := "0"
	if s.o.Spinning {
		spin = "1"
	}
	err = errors.Join(
		so.SetIntraOpNumThreads(max(1, s.o.Threads)),
		so.SetInterOpNumThreads(1), // the graphs of detectors are chains: nothing to run side by side
		so.SetExecutionMode(ortgo.ExecutionModeSequential),
		so.SetGraphOptimizationLevel(ortgo.GraphOptimizationLevelEnableAll),
		so.AddSessionConfigEntry("session.intra_op.allow_spinning", spin),
		so.SetLogSeverityLevel(ortgo.LoggingLevelError),
	)
	if err != nil {
		_ = so.Destroy()
		return nil, fmt.Errorf("session options: %w", err)
	}
	return so, nil
}

// Input is the tensor to fill before Run.
func (s *Session) Input() engine.Input { return s.input }

// Outputs describes the outputs, with every dimension known.
func (s *Session) Outputs() []detect.TensorInfo {
	infos := make([]detect.TensorInfo, len(s.outputs))
	for i, t := range s.outputs {
		infos[i] = detect.TensorInfo{Name: t.Name, Shape: t.Shape, Type: detect.Float32}
	}
	return infos
}

// Run executes the model on what Input holds. It does not allocate.
func (s *Session) Run(ctx context.Context) ([]detect.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.interrupted.Load() {
		return nil, fmt.Errorf("model %s: %w", s.o.Name, engine.ErrInterrupted)
	}
	s.watchdog.Reset(s.o.Deadline)
	err := s.execute()
	expired := false
	if !s.watchdog.Stop() {
		<-s.fired
		expired = true
		if !s.interrupted.Load() {
			if e := s.runOpts.UnsetTerminate(); e != nil {
				return nil, fmt.Errorf("model %s: %w", s.o.Name, e)
			}
		}
	}
	switch {
	case err != nil && s.interrupted.Load():
		return nil, fmt.Errorf("model %s: %w", s.o.Name, engine.ErrInterrupted)
	case err != nil && expired:
		return nil, fmt.Errorf("model %s: %w (%v; see engine.run_timeout)", s.o.Name, engine.ErrDeadline, s.o.Deadline)
	case err != nil:
		return nil, fmt.Errorf("model %s: run: %s%s", s.o.Name, plain(err), s.hint())
	}
	for _, n := range s.narrow {
		if err := widen(s.outputs[n.index].Data, n.raw, n.typ); err != nil {
			return nil, fmt.Errorf("model %s: output %q: %w", s.o.Name, s.outputs[n.index].Name, err)
		}
	}
	return s.outputs, nil
}

// execute runs the session, by way of the GPU's memory where it has some.
func (s *Session) execute() error {
	if s.device != nil {
		return s.device.run()
	}
	if s.shared != nil {
		return s.shared.run()
	}
	return s.graph.run.RunWithOptions(s.runOpts)
}

// Interrupt stops a run in progress; it and every later one return an error that wraps engine.ErrInterrupted.
func (s *Session) Interrupt() {
	s.interrupted.Store(true)
	if s.runOpts != nil {
		_ = s.runOpts.Terminate()
	}
}

// Close frees the session, its tensors and their memory. It is idempotent and legal on a session that failed to
// open.
func (s *Session) Close() error {
	var errs []error
	if s.watchdog != nil {
		s.watchdog.Stop()
	}
	s.device.close()
	s.device = nil
	errs = append(errs, s.shared.close())
	s.shared = nil
	if s.graph != nil {
		errs = append(errs, s.graph.close())
		s.graph = nil
	}
	if s.runOpts != nil {
		errs = append(errs, s.runOpts.Destroy())
		s.runOpts = nil
	}
	for _, t := range s.tensors {
		errs = append(errs, t.Destroy())
	}
	for _, m := range s.memory {
		s.rt.free(m)
	}
	s.tensors, s.memory, s.outputs, s.narrow, s.input.Data = nil, nil, nil, nil, nil
	return errors.Join(errs...)
}

// plain takes the binding's and the runtime's prefixes off a message and keeps its first line: what follows is a
// stack trace or a dump of the graph.
func plain(err error) string {
	msg, _, _ := strings.Cut(err.Error(), "\n")
	for _, prefix := range []string{"Error creating C session: ", "Error running network: "} {
		msg = strings.TrimPrefix(msg, prefix)
	}
	return strings.TrimSpace(msg)
}
