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

	// Batch is how many pictures a run may take at most, up to MaxBatch; 1: one at a time. 0 leaves it open: on a GPU some
	// are tried and taken if that is clearly faster, elsewhere it is one. A model that takes one only is given one.
	Batch int

	Providers Providers // where it is to run

	// Progress is called from another goroutine every ten seconds while a session is being made, with the provider in
	// front and the time that it has taken so far: TensorRT builds for minutes. It may be nil.
	Progress func(provider string, elapsed time.Duration)
}

// Session is a loaded model with one input and its outputs bound to memory of its own. It satisfies
// engine.Session and engine.Batcher: one goroutine at a time, but for Interrupt.
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
	memory   [][]byte        // of the tensors, for all pictures of a batch
	names    []string        // of the tensors, the inputs first
	outputs  []detect.Tensor // of the first picture
	whole    [][]float32     // of the outputs, for all pictures
	narrow   []narrowOutput  // outputs that are converted to float32 after each run
	watchdog *time.Timer
	fired    chan struct{} // the watchdog's hand-shake: it has set the terminate flag

	placement Placement
	device    *deviceMemory // nil: the runtime copies what has to get to a GPU and back

	room    int               // pictures that the memory is for
	batches []*batch          // runs of more than one picture, by size
	views   [][]detect.Tensor // outputs by picture

	interrupted atomic.Bool
}

type narrowOutput struct {
	index int
	raw   []byte // for all pictures
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
	if err := s.run(ctx, 1); err != nil {
		return nil, err
	}
	return s.outputs, nil
}

// run executes the model on the first n pictures, within the deadline.
func (s *Session) run(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.interrupted.Load() {
		return fmt.Errorf("model %s: %w", s.o.Name, engine.ErrInterrupted)
	}
	s.watchdog.Reset(s.o.Deadline)
	err := s.execute(n)
	expired := false
	if !s.watchdog.Stop() {
		<-s.fired
		expired = true
		if !s.interrupted.Load() {
			if e := s.runOpts.UnsetTerminate(); e != nil {
				return fmt.Errorf("model %s: %w", s.o.Name, e)
			}
		}
	}
	switch {
	case err != nil && s.interrupted.Load():
		return fmt.Errorf("model %s: %w", s.o.Name, engine.ErrInterrupted)
	case err != nil && expired:
		return fmt.Errorf("model %s: %w (%v; see engine.run_timeout)", s.o.Name, engine.ErrDeadline, s.o.Deadline)
	case err != nil:
		return fmt.Errorf("model %s: run: %s%s", s.o.Name, plain(err), s.hint())
	}
	if err := s.widenAll(n); err != nil {
		return fmt.Errorf("model %s: %w", s.o.Name, err)
	}
	return nil
}

// compute is run without a deadline, while a model is being loaded.
func (s *Session) compute(n int) error {
	if err := s.execute(n); err != nil {
		return err
	}
	return s.widenAll(n)
}

// widenAll converts the outputs of n pictures that are not float32.
func (s *Session) widenAll(n int) error {
	for _, o := range s.narrow {
		some := len(o.raw) / s.room * n
		if err := widen(s.whole[o.index], o.raw[:some], o.typ); err != nil {
			return fmt.Errorf("output %q: %w", s.outputs[o.index].Name, err)
		}
	}
	return nil
}

// execute runs the session on n pictures, by way of the GPU's memory where it has some.
func (s *Session) execute(n int) error {
	if n > 1 {
		return s.smallest(n).run()
	}
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
	s.device.close() // before the batches, whose memory it may be in
	s.device = nil
	for _, b := range s.batches {
		errs = append(errs, b.close())
	}
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
	s.tensors, s.memory, s.outputs, s.whole, s.narrow, s.input.Data = nil, nil, nil, nil, nil, nil
	s.batches, s.views = nil, nil
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
