package ort

import (
	"errors"
	"fmt"
	"slices"
	"time"

	ortgo "github.com/yalue/onnxruntime_go"

	"gnomon/engine/detect"
)

// Open loads a model n times, as n sessions that may run side by side. The caller closes them before the runtime.
// Errors name the model and the input or output that they are about. A provider that cannot be used makes place for the
// next one, see Placement; one that must not makes an error that wraps a *ProviderError.
func (r *Runtime) Open(o SessionOptions, n int) ([]*Session, error) {
	if o.Deadline <= 0 {
		o.Deadline = DefaultDeadline
	}
	m := &opening{rt: r, o: o, c: o.Providers.choice()}
	for {
		sessions, err := m.open(n)
		var failed *ProviderError
		var single *singleError
		switch {
		case err == nil:
			for _, s := range sessions {
				s.o.ONNX = nil // the runtime has its own copy
			}
			return sessions, nil
		case errors.As(err, &single): // in a new session: what the attempt has left behind would be carried along
			m.refuse(single, !errors.Is(single, errNoGain))
			continue
		case m.declared: // whatever it is, the runtime says it better
			m.declared, m.o.Inputs, m.o.Outputs, m.ins, m.outs = false, nil, nil, nil, nil
			continue
		case errors.As(err, &failed) && m.graph():
			m.noGraph = true
			m.notes = append(m.notes, fmt.Sprintf("runs are not recorded (engine.cuda.graph): %v", failed.Err))
			continue
		case errors.As(err, &failed):
			m.notes, m.single, m.gain = nil, false, 0 // were about that provider
			if err = m.c.drop(failed); err == nil {
				continue
			}
		}
		return nil, fmt.Errorf("model %s: %w", o.Name, err)
	}
}

// opening is a model while it is being loaded.
type opening struct {
	rt        *Runtime
	o         SessionOptions
	c         *choice
	ins, outs []detect.TensorInfo
	declared  bool     // they are what the file says
	noGraph   bool     // recording runs was tried, in vain
	single    bool     // runs take one picture
	gain      float64  // of batches, 0: not measured
	notes     []string // for Placement
}

// note adds to what Placement tells, once however often it comes up.
func (m *opening) note(text string) {
	if !slices.Contains(m.notes, text) {
		m.notes = append(m.notes, text)
	}
}

// graph reports whether runs are to be recorded.
func (m *opening) graph() bool { return m.o.Providers.Graph && !m.noGraph && m.c.left[0] == CUDA }

// open makes n sessions with the providers that are left. A *ProviderError in the error says which of them it was.
func (m *opening) open(n int) ([]*Session, error) {
	if m.c.accelerated() {
		defer guardSignals()()
	}
	defer m.watch(progressEvery)()
	var sessions []*Session
	pictures := 1
	for range n {
		s := &Session{rt: m.rt, o: m.o, fired: make(chan struct{}, 1)}
		sessions = append(sessions, s)
		var err error
		switch {
		case m.ins != nil:
		case m.sayEnough():
			m.ins, m.outs, m.declared = cloned(m.o.Inputs), cloned(m.o.Outputs), true
		default: // on the CPU, so that what is wrong with the model is not taken for the fault of a provider
			m.ins, m.outs, err = s.describe()
		}
		if s == sessions[0] && err == nil {
			pictures = m.pictures()
		}
		if s.room = pictures; err == nil {
			err = s.open(m, sessions[0])
		}
		if err != nil {
			errs := []error{err}
			for _, s := range sessions {
				errs = append(errs, s.Close())
			}
			return nil, errors.Join(errs...)
		}
	}
	for _, s := range sessions[1:] {
		s.placement = sessions[0].placement
	}
	return sessions, nil
}

// progressEvery is how often somebody who waits for a session hears of it.
const progressEvery = 10 * time.Second

// watch reports to Progress until the function that it returns is called.
func (m *opening) watch(every time.Duration) (stop func()) {
	if m.o.Progress == nil {
		return func() {}
	}
	begin, provider := time.Now(), m.c.left[0]
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				m.o.Progress(provider, time.Since(begin))
			case <-end:
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// open binds the tensors and loads the model, or shares the one that the first session has loaded. It fills in the shapes of
// outs that the model leaves open. The first session of a model also learns where its nodes run.
func (s *Session) open(m *opening, leader *Session) error {
	first := s == leader
	if err := s.bindInputs(m.ins); err != nil {
		return err
	}
	plainOptions, err := s.options()
	if err != nil {
		return err
	}
	defer func() { _ = plainOptions.Destroy() }()
	if err := s.settle(plainOptions, m.outs); err != nil {
		return err
	}
	var values []ortgo.Value
	for _, out := range m.outs {
		v, err := s.bindOutput(out)
		if err != nil {
			return err
		}
		values = append(values, v)
	}
	if err := s.makeBatches(m.c.accelerated()); err != nil {
		return err
	}
	if s.runOpts, err = ortgo.NewRunOptions(); err != nil {
		return fmt.Errorf("run options: %w", err)
	}
	s.watchdog = time.AfterFunc(time.Hour, func() {
		_ = s.runOpts.Terminate()
		s.fired <- struct{}{}
	})
	s.watchdog.Stop()
	if !first && m.shareable() {
		if s.shared, err = s.tie(leader.graph, s.tensors); err != nil {
			return err
		}
		return s.tieBatches(leader.graph)
	}
	so, err := s.options()
	if err != nil {
		return err
	}
	defer func() { _ = so.Destroy() }()
	wanted := s.o.Providers
	wanted.Graph = m.graph()
	if s.room > 1 {
		wanted = s.profiled(wanted)
	}
	notes, err := s.rt.attach(so, m.c.left, wanted)
	if err != nil {
		return err
	}
	if first {
		if err := so.AddSessionConfigEntry(recordAssignment, "1"); err != nil {
			return fmt.Errorf("session options: %w", err)
		}
	}
	if err := s.create(m, so, values); err != nil {
		return err
	}
	if first && m.declared {
		if err := s.rt.api.agrees(s.graph.run, m.outs); err != nil {
			return err
		}
	}
	if err := s.tieBatches(s.graph); err != nil {
		return err
	}
	if err := s.proveBatches(m, first); err != nil {
		return err
	}
	if first {
		s.placement = Placement{Providers: m.c.left, Fallen: m.c.fallen, Notes: append(notes, m.notes...), Batch: s.room, Gain: m.gain}
		if s.placement.Nodes, err = s.rt.api.nodes(s.graph.run); err != nil {
			s.placement.Notes = append(s.placement.Notes, fmt.Sprintf("where the nodes of the model run is not known: %s", plain(err)))
		}
	}
	return nil
}

// recordAssignment makes ONNX Runtime remember which provider was given which node.
const recordAssignment = "session.record_ep_graph_assignment_info"

// create makes the session. With providers other than the CPU it runs, on an empty picture: some of them build or load what
// they need only then. That the CPU can load the model is known, so a failure is that of the provider in front.
func (s *Session) create(m *opening, so *ortgo.SessionOptions, outs []ortgo.Value) error {
	run, err := ortgo.NewAdvancedSessionWithONNXData(s.o.ONNX, s.feeds.names, s.names[len(s.feeds.names):], s.feeds.values, outs, so)
	if err == nil {
		s.graph = &graph{run: run, owners: 1}
	}
	if !m.c.accelerated() {
		if err != nil {
			return fmt.Errorf("ONNX Runtime refuses it: %s", plain(err))
		}
		return nil
	}
	front := m.c.left[0]
	if err == nil && (front == CUDA || front == TensorRT) {
		err = s.toDevice(m)
	}
	for range trials {
		if err == nil {
			err = s.execute(1)
		}
	}
	if err != nil && s.room > 1 { // without batches there is less that can go wrong
		return &singleError{errors.New(said(err))}
	}
	if err != nil {
		return &ProviderError{Name: front, Err: s.rt.explain(front, err)}
	}
	return nil
}

// trials are the runs on an empty picture. CUDA records the second or third.
const trials = 3

// toDevice binds the tensors, and those of the batches over the same memory, to memory of the GPU. Where that is not possible
// the runtime copies them for each run, which is right as well, unless the run is to be recorded.
func (s *Session) toDevice(m *opening) (err error) {
	var largest *deviceMemory
	for _, b := range slices.Backward(s.batches) {
		if b.device, err = s.onDevice(m, b.n, b.tensors, largest); err != nil {
			break
		}
		if largest == nil {
			largest = b.device
		}
	}
	if err == nil {
		s.device, err = s.onDevice(m, 1, s.tensors, largest)
	}
	if err == nil {
		return nil
	}
	for _, b := range s.batches {
		b.device.close()
		b.device = nil
	}
	if m.graph() {
		return err
	}
	m.note(fmt.Sprintf("pictures are copied to the GPU by ONNX Runtime, for each run anew: %v", err))
	return nil
}

// onDevice binds tensors of n pictures to memory of the GPU, to that of over if it is not nil.
func (s *Session) onDevice(m *opening, n int, tensors []*ortgo.CustomDataTensor, over *deviceMemory) (*deviceMemory, error) {
	bound := make([]boundTensor, len(tensors))
	for i, t := range tensors {
		bound[i] = boundTensor{s.names[i], t.GetShape(), ortgo.TensorElementDataType(t.DataType()), s.part(i, n)}
	}
	return newDeviceMemory(s.rt.api, s.graph.run, s.runOpts, memoryCUDA, s.o.Providers.deviceID(m.c.left[0]), cudaLibraries(), len(s.feeds.names), bound, over)
}
