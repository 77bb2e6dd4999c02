package main

import (
	"context"
	"maps"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gnomon/camera"
	"gnomon/engine"
	"gnomon/models/deploy"
	"gnomon/telemetry"
	"gnomon/telemetry/health"
	"gnomon/telemetry/host"
	"gnomon/telemetry/host/nvml"
	"gnomon/telemetry/metrics"
	"gnomon/telemetry/redact"
)

const (
	// lookEvery is how often the agent looks at its own health.
	lookEvery = 10 * time.Second
	// lookBack is over how many looks the failures of a source are judged: two minutes.
	lookBack = 12
)

// meterOptions is what a meter is made of, beside the agent. What is nil or empty is not there.
type meterOptions struct {
	// Dir is where references of models are kept and starts are counted; empty: nowhere.
	Dir string
	// Every is how often metrics are published; 0: as usual.
	Every time.Duration
	// Listen is the address of /metrics.
	Listen string
	// Publish takes messages of metrics.
	Publish func(payload []byte) error
	// Namespace is CloudWatch's; PublishEMF takes messages in its format, one by one: they must not be put into batches.
	Namespace  string
	PublishEMF func(payload []byte) error
	// Spool tells of the messages that wait on the disk, twice: for metrics and for health. Either may be nil.
	Spool func() (*metrics.Spool, *health.Spool)
	// Certificate tells when the device's certificate ends; zero: not known.
	Certificate func() time.Time
	// Parameters tells of the parameter store.
	Parameters func() *health.Parameters
	// Secret takes secrets out of what is told of errors; nil: those that are recognised by their form.
	Secret *redact.Redactor
	// OnHealth is called with every document that says something else than the one before.
	OnHealth func(health.Document)
}

// meter measures the agent: it counts frames, reads the machine, judges the health, and tells of all of it. It is made
// with the agent and run once the agent watches.
type meter struct {
	agent     *agent
	o         meterOptions
	log       *zap.Logger
	registry  *metrics.Registry
	publisher *metrics.Publisher
	server    *metrics.Server // nil: nobody listens
	monitor   *health.Monitor
	gpus      *nvml.Reader // nil: no driver
	restarts  uint64

	forMessages *host.Reader // two, as each tells of the time since it was read before
	forHealth   *host.Reader

	swaps, rollBacks atomic.Uint64
	clock            atomic.Int32 // telemetry.ClockState, of the last look

	mu      sync.Mutex // guards what follows
	sources map[string]*sourceMeter
	host    *host.Snapshot // of the last look; nil: none yet

	// Of the looks, which one goroutine makes.
	looks map[string][]engine.Stats // the last ones, oldest first
	infos map[string]*engine.ModelInfo
	slots map[string]deploy.State
}

// newMeter makes a meter. Its document is there at once; its frames are counted by the sources it gives out.
func newMeter(a *agent, o meterOptions) (*meter, error) {
	m := &meter{
		agent: a, o: o, log: a.log, sources: map[string]*sourceMeter{},
		looks: map[string][]engine.Stats{}, infos: map[string]*engine.ModelInfo{}, slots: map[string]deploy.State{},
		monitor: health.New(health.Options{Device: a.ident.thing, BootID: a.ident.boot}),
	}
	references := ""
	if o.Dir != "" {
		references = filepath.Join(o.Dir, "references")
	}
	var err error
	m.registry, err = metrics.New(metrics.Options{Device: a.ident.thing, BootID: a.ident.boot, Version: version, Dir: references, Log: a.log})
	if err != nil {
		return nil, err
	}
	if o.Dir != "" {
		if m.restarts, err = host.CountStart(o.Dir, nil); err != nil {
			a.log.Warn("restarts are not counted", zap.Error(err))
		}
	}
	m.publisher, err = metrics.NewPublisher(metrics.PublisherOptions{
		Registry: m.registry, Collect: m.collect, Publish: o.Publish, Namespace: o.Namespace, PublishEMF: o.PublishEMF, Every: o.Every, Log: a.log,
	})
	if err != nil {
		return nil, err
	}
	if o.Listen != "" {
		if m.server, err = metrics.NewServer(metrics.ServerOptions{Addr: o.Listen, Text: m.text}); err != nil {
			return nil, err
		}
	}
	read := host.Options{StateDir: o.Dir}
	if m.gpus, err = nvml.Open(""); err == nil {
		read.GPUs = m.gpus.GPUs
	} else {
		a.log.Debug("no metrics of discrete GPUs", zap.Error(err))
	}
	m.forMessages, m.forHealth = host.New(read), host.New(read)
	return m, nil
}

// close frees what newMeter opened, after run has ended.
func (m *meter) close() error {
	if m == nil || m.gpus == nil {
		return nil
	}
	return m.gpus.Close()
}

// setEvery changes how often metrics are published.
func (m *meter) setEvery(every time.Duration) { m.publisher.SetEvery(every) }

// document is how the agent is. Any goroutine may ask.
func (m *meter) document() health.Document { return m.monitor.Document() }

// run publishes, answers and judges until ctx ends. What fails of it leaves the rest running.
func (m *meter) run(ctx context.Context) error {
	var parts sync.WaitGroup
	if m.server != nil {
		parts.Go(func() {
			if err := m.server.Run(ctx); err != nil {
				m.log.Warn("metrics cannot be read from outside", zap.Error(err))
			}
		})
	}
	var err error
	parts.Go(func() { err = m.publisher.Run(ctx) })
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		m.look()
		select {
		case <-tick.C:
		case <-ctx.Done():
			parts.Wait()
			if err != nil { // it is a comparison that suffers, no reason to fail
				m.log.Warn("what models are compared with was not kept", zap.Error(err))
			}
			return nil
		}
	}
}

// look judges the health once.
func (m *meter) look() {
	in := m.inputs()
	m.countSwaps()
	if doc, changed := m.monitor.Update(in); changed && m.o.OnHealth != nil {
		m.o.OnHealth(doc)
	}
}

// inputs is what the agent sees of itself.
func (m *meter) inputs() health.Inputs {
	in := health.Inputs{SafeMode: m.agent.over.safe(), Sources: m.healthOfSources(), Slots: m.healthOfSlots()}
	mqtt := m.agent.mqtt.Stats()
	in.Connection = &health.Connection{Connected: mqtt.Connected, Error: mqtt.LastError}
	if m.o.Spool != nil {
		_, in.Spool = m.o.Spool()
	}
	if m.o.Certificate != nil {
		in.Certificate = m.o.Certificate()
	}
	if m.o.Parameters != nil {
		in.Parameters = m.o.Parameters()
	}
	h := m.forHealth.Read()
	m.mu.Lock()
	m.host = h
	m.mu.Unlock()
	if d := h.Disk; d != nil {
		in.Disk = &health.Disk{Available: d.Available, Total: d.Total, FreeFiles: d.FreeFiles, Files: d.Files}
	}
	if left, total, known := h.MemoryLeft(); known {
		in.Memory = &health.Memory{Available: left, Total: total}
	}
	if h.Clock != nil {
		in.Clock = &health.Clock{Synchronised: h.Clock.Synchronised}
		state := telemetry.ClockUnsynced
		if h.Clock.Synchronised {
			state = telemetry.ClockSynced
		}
		m.clock.Store(int32(state))
	}
	if h.Throttle != nil {
		in.Throttled = h.Throttle.Now
	}
	m.clean(&in)
	return in
}

// clean takes secrets out of what others say went wrong.
func (m *meter) clean(in *health.Inputs) {
	secret := m.o.Secret
	for i := range in.Sources {
		in.Sources[i].Error = secret.Text(in.Sources[i].Error)
	}
	for i := range in.Slots {
		in.Slots[i].Error = secret.Text(in.Slots[i].Error)
	}
	in.Connection.Error = secret.Text(in.Connection.Error)
	if in.Spool != nil {
		in.Spool.Error = secret.Text(in.Spool.Error)
	}
	if in.Parameters != nil {
		in.Parameters.Error = secret.Text(in.Parameters.Error)
	}
}

func (m *meter) healthOfSources() []health.Source {
	var out []health.Source
	here := map[string]bool{}
	defer func() { maps.DeleteFunc(m.looks, func(name string, _ []engine.Stats) bool { return !here[name] }) }()
	for _, w := range m.agent.watching() {
		here[w.name] = true
		st, now := w.status(), w.stats()
		if st.State == stateDisabled {
			delete(m.looks, w.name)
			continue
		}
		looks := m.looks[w.name]
		if n := len(looks); n > 0 && (looks[n-1].Processed > now.Processed || looks[n-1].Failed > now.Failed) {
			looks = nil // another source of that name
		}
		looks = append(looks, now)
		looks = looks[max(0, len(looks)-lookBack-1):]
		m.looks[w.name] = looks
		frozen, black := w.picture()
		out = append(out, health.Source{
			Name: w.name, State: health.SourceState(st.State), Error: st.Error, Last: m.source(w.name).seen(),
			Frames: now.Processed - looks[0].Processed, Failed: now.Failed - looks[0].Failed, Frozen: frozen, Black: black,
			Silence: w.silence(),
		})
	}
	return out
}

// reports is what is told of slots, by name; nil: nothing is deployed to them.
func (m *meter) reports() map[string]deploy.SlotReport {
	if f := m.agent.follower; f != nil && f.deployer != nil {
		return f.deployer.Report()
	}
	return nil
}

func (m *meter) healthOfSlots() []health.Slot {
	var out []health.Slot
	for name, r := range m.reports() {
		s := health.Slot{Name: name, State: health.SlotState(r.State)}
		if r.Error != nil {
			s.Error = r.Error.Message
		}
		out = append(out, s)
		if r.State == deploy.StateRolledBack && m.slots[name] != r.State {
			m.rollBacks.Add(1)
		}
		m.slots[name] = r.State
	}
	return out
}

// countSwaps counts models that have taken over since the look before.
func (m *meter) countSwaps() {
	if m.agent.slots == nil {
		return
	}
	for name, p := range m.agent.slots.byName {
		if p.slot == nil {
			continue
		}
		info := p.slot.Info()
		if before, known := m.infos[name]; known && info != nil && info != before {
			m.swaps.Add(1)
		}
		m.infos[name] = info
	}
}

// collect is what others count, for a message.
func (m *meter) collect() metrics.Inputs { return m.counted(m.forMessages.Read()) }

// text is everything in Prometheus's format; the host is that of the last look.
func (m *meter) text() []byte {
	m.mu.Lock()
	h := m.host
	m.mu.Unlock()
	return m.registry.Text(m.counted(h))
}

// counted is what others count. Any goroutine may ask.
func (m *meter) counted(h *host.Snapshot) metrics.Inputs {
	st := m.agent.mqtt.Stats()
	in := metrics.Inputs{
		Swaps: m.swaps.Load(), RollBacks: m.rollBacks.Load(), Restarts: m.restarts, Health: string(m.document().Status), Host: h,
		Process: &metrics.Process{Goroutines: uint64(runtime.NumGoroutine()), Mats: uint64(camera.LiveMats()), Abandoned: uint64(camera.Abandoned())},
		Link: &metrics.Link{
			Connected: st.Connected, Published: st.Published, Acked: st.Acked, Dropped: st.Dropped, Refused: st.Refused,
			Queued: st.Queued, InFlight: st.InFlight, Reconnects: st.Reconnects,
		},
	}
	if m.o.Spool != nil {
		in.Spool, _ = m.o.Spool()
	}
	for _, w := range m.agent.watching() {
		s := w.stats()
		in.Sources = append(in.Sources, metrics.SourceInput{
			Name: w.name, State: w.status().State, Captured: s.Captured, Dropped: metrics.FrameDrops{Busy: s.Busy, Stale: s.Stale, Paced: s.Paced, Still: s.Still}, Restarts: m.source(w.name).restarts(),
		})
	}
	return in
}
