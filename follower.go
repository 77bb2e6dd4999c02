package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"

	"gnomon/cloud/rotate"
	"gnomon/config/layers"
	"gnomon/engine/ort"
	"gnomon/models/deploy"
	"gnomon/models/store"
	"gnomon/shadow"
	"gnomon/telemetry"
)

// follower keeps the device's shadow: what is desired goes to the deployer and to the sources, and what became of it is
// reported. Make it before the connection, start it with the runtime, run it, close it last.
type follower struct {
	agent *agent
	log   *zap.Logger

	store    *store.Store
	fetcher  *fetcher
	shadow   *shadow.Client
	deployer *deploy.Deployer
	about    aboutAgent

	ready   chan struct{} // closed when there is something that desires can be applied to
	changed chan struct{} // one slot: the report may be another

	told map[string]slotState // of each slot, as the last event about it said; only report uses it
}

// aboutAgent is the part of the report that never changes.
type aboutAgent struct {
	Version   string   `json:"version"`
	Arch      string   `json:"arch"`
	Runtime   string   `json:"runtime"`
	Providers []string `json:"providers"`
}

// report is the reported document. Every part is bounded; shadow.MaxReported bounds the whole.
type report struct {
	Agent   aboutAgent                   `json:"agent"`
	Models  map[string]deploy.SlotReport `json:"models,omitempty"`
	Sources map[string]sourceReport      `json:"sources,omitempty"`
	Config  *layers.Report               `json:"config,omitempty"`
	Cert    *rotate.Status               `json:"certificate,omitempty"`
	Error   string                       `json:"error,omitempty"`
}

func newFollower(a *agent) (*follower, error) {
	f := &follower{
		agent: a, log: a.log, ready: make(chan struct{}), changed: make(chan struct{}, 1), told: map[string]slotState{},
	}
	var err error
	if f.fetcher, err = newFetcher(a.cfg, a.aws, a.log); err != nil {
		return nil, err
	}
	f.shadow, err = shadow.New(shadow.Options{
		Thing: a.ident.thing, Name: a.cfg.Shadow.Name, OnDesired: func(d shadow.Desired) { f.desire(d.State) }, Log: a.log,
	})
	if err != nil {
		return nil, &usageError{err}
	}
	dir := a.cfg.Models.Dir
	if dir == "" {
		if dir, err = stateDir("models"); err != nil {
			return nil, usage("%w; set models.dir", err)
		}
	}
	if f.store, err = store.Open(dir, store.Options{MaxBytes: int64(a.cfg.Models.MaxSize), Log: a.log}); err != nil {
		return nil, err
	}
	for _, d := range f.store.Damaged() {
		a.log.Warn("the model store is damaged", zap.String("sha256", d.SHA256), zap.Error(d.Err))
	}
	return f, nil
}

// abandon notes that whatever is being tried now was given up by us: at the next start it would look as if the process
// had died of it. The store is of no use afterwards.
func (f *follower) abandon() {
	err := f.store.Update(func(s *store.State) error {
		for name, sl := range s.Slots {
			if sl.Candidate != nil {
				s.Drop(name, nil, time.Now().UTC()) // it is still desired, so it begins again
			}
		}
		return nil
	})
	if err != nil {
		f.log.Warn("what is being tried will count as a failure of the model", zap.Error(err))
	}
	f.log.Warn("a model is still being loaded; leaving without it")
}

// close frees the store and the connections of downloads.
func (f *follower) close() error {
	f.fetcher.artifacts.Close()
	return f.store.Close()
}

// stateDir is where the agent keeps what it has to find again.
func stateDir(name string) (string, error) {
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" { // systemd's StateDirectory=
		return filepath.Join(filepath.SplitList(dir)[0], name), nil
	}
	const system = "/var/lib/gnomon"
	if os.Geteuid() == 0 {
		return filepath.Join(system, name), nil
	}
	// The service's user, by hand: the doctor must look at the service's folder.
	if st, err := os.Stat(system); err == nil {
		if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) == os.Geteuid() {
			return filepath.Join(system, name), nil
		}
	}
	return userStateDir(name)
}

// userStateDir is where programs of a person keep what they have to find again.
func userStateDir(name string) (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "gnomon", name), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find a place for state: %w", err)
	}
	return filepath.Join(home, ".local", "state", "gnomon", name), nil
}

// start loads what was committed into the slots and prepares deploying.
func (f *follower) start(ctx context.Context, rt *ort.Runtime) error {
	a := f.agent
	m := a.cfg.Models
	f.about = aboutAgent{Version: version, Arch: runtime.GOARCH, Runtime: "onnxruntime " + rt.Version()}
	for _, p := range rt.Providers() {
		if p.Err == nil {
			f.about.Providers = append(f.about.Providers, p.Name)
		}
	}
	probation := deploy.DefaultProbation()
	probation.Time, probation.LatencyFactor, probation.DetectionsFloor = duration(m.Probation), m.MaxSlowdown, m.MinDetections
	var err error
	f.deployer, err = deploy.New(deploy.Options{
		Store: f.store, Source: f.fetcher, Host: a.slots, Slots: a.cfg.Slots(), Probation: probation, OnChange: f.notify, Log: f.log,
	})
	if err != nil {
		return err
	}
	for _, slot := range a.cfg.Slots() {
		if err := f.open(ctx, slot); err != nil {
			return err
		}
	}
	return nil
}

// open loads the first model of a slot that can be loaded: the committed one, the one before, the configured one.
func (f *follower) open(ctx context.Context, slot string) error {
	for {
		v, err := f.deployer.Start(ctx, slot)
		if err != nil {
			return err
		}
		err = f.agent.slots.open(ctx, slot, v)
		if err == nil || v == nil || ctx.Err() != nil {
			return err
		}
		f.log.Error("a deployed model cannot be loaded; falling back", zap.String("slot", slot), zap.String("sha256", v.SHA256), zap.Error(err))
		f.deployer.Reject(slot, v.SHA256)
	}
}

// serve keeps the shadow over one connection (telemetry.Options.OnConnect).
func (f *follower) serve(ctx context.Context, conn *telemetry.Conn) {
	f.agent.rotation.connected(ctx, conn)
	select {
	case <-f.ready:
	case <-ctx.Done():
		return
	}
	if err := f.shadow.Serve(ctx, conn); err != nil && !errors.Is(err, telemetry.ErrDisconnected) {
		f.log.Warn("the shadow cannot be kept on this connection", zap.Error(err))
	}
}

// desire takes a desired document; of several only the last one counts. It never blocks.
func (f *follower) desire(doc json.RawMessage) {
	f.deployer.Desire(doc)
	f.agent.settings.takeDesired(doc)
	f.agent.rotation.desire(doc)
}

// notify makes the report be looked at again.
func (f *follower) notify() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// resume takes what was desired last: a device without a network goes on so, and a camera that was switched off stays off.
func (f *follower) resume() {
	kept := f.kept()
	f.agent.settings.takeDesired(kept)
	f.agent.rotation.desire(kept)
}

// kept is the desired document of the last time that there was one.
func (f *follower) kept() json.RawMessage {
	if kept := f.store.State().Desired; kept != nil {
		return kept
	}
	return json.RawMessage("{}")
}

// run deploys and reports until ctx ends.
func (f *follower) run(ctx context.Context) error {
	close(f.ready)
	deployer := inBackground(f.deployer.Run)
	defer func() { _ = deployer.stop() }()
	f.notify()
	for {
		select {
		case <-ctx.Done():
			err := deployer.stop()
			f.report() // while there is still a connection
			return err
		case <-deployer.done: // it ends before it is told to only when it was started wrongly
			f.log.Error("deploying has ended; start the agent anew", zap.Error(deployer.err))
			return deployer.err
		case <-f.changed:
			f.report()
		}
	}
}

// report tells the shadow how things are. Where that is more than a shadow takes, with many slots or sources, details go
// first: what runs matters most.
func (f *follower) report() {
	sources, broken := f.agent.settings.sourceReports()
	r := report{Agent: f.about, Models: f.deployer.Report(), Sources: sources, Config: f.agent.settings.report(), Cert: f.agent.rotation.status(), Error: broken}
	f.tell(r.Models)
	err := f.shadow.Report(r)
	if err != nil {
		r.Config = nil
		err = f.shadow.Report(r)
	}
	if err != nil {
		r.Sources, r.Error = nil, "the report is cut: there are too many sources"
		err = f.shadow.Report(r)
	}
	if err != nil {
		r.Error = "the report is cut: there are too many slots"
		for name, m := range r.Models {
			short := deploy.SlotReport{State: m.State, SHA256: m.SHA256, Since: m.Since}
			if m.Error != nil {
				short.Error = &deploy.Problem{Code: m.Error.Code, Stage: m.Error.Stage}
			}
			r.Models[name] = short
		}
		err = f.shadow.Report(r)
	}
	if err != nil {
		f.log.Error("the report does not fit into the shadow", zap.Error(err))
	}
}

// slotState is what makes two reports of a slot different events.
type slotState struct {
	state        deploy.State
	runs, wanted string // digests
	code         string // of what went wrong
}

// tell publishes an event for each slot whose state is another than before.
func (f *follower) tell(reports map[string]deploy.SlotReport) {
	for _, slot := range slices.Sorted(maps.Keys(reports)) {
		r := reports[slot]
		now := slotState{state: r.State, runs: r.SHA256}
		if r.Candidate != nil {
			now.wanted = r.Candidate.SHA256
		}
		if r.Error != nil {
			now.code = r.Error.Code
		}
		if f.told[slot] == now {
			continue
		}
		f.told[slot] = now
		r.Percent = 0 // is news for the shadow only
		if r.Error != nil {
			clean := *r.Error // the deployer's own stays as it is
			clean.Message = f.agent.telling.secret.Text(clean.Message)
			r.Error = &clean
		}
		f.agent.events.happened(eventModel, sourceAgent, "slot "+slotLine(slot, r), struct {
			Slot string `json:"slot"`
			deploy.SlotReport
		}{slot, r})
	}
}

// lines are the state of deployments for the board: one line for each slot.
func (f *follower) lines() []string {
	var lines []string
	reports := f.deployer.Report()
	for _, slot := range f.agent.cfg.Slots() {
		r := reports[slot]
		lines = append(lines, "slot "+slotLine(slot, r))
	}
	return lines
}
