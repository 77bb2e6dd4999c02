package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/ort"
	"gnomon/telemetry"
)

// Stopping takes at most 5 s in all: the connection has 3 s to send what is waiting.
const (
	// interruptAfter is how long a frame in the model may take to finish.
	interruptAfter = time.Second
	// abandonAfter is how long a source may take to come back from the decoder; a camera that is gone can keep it
	// for longer, and the process does not wait for that.
	abandonAfter = 1500 * time.Millisecond
)

// agent is what runs: a device's identity, its connection, its model and its sources.
type agent struct {
	cfg   *config.Config
	log   *zap.Logger
	ident identity
	mqtt  *telemetry.Client
	slot  *engine.Slot
	lanes lanes
	score float32 // the model's threshold, which sources may override

	mu       sync.Mutex // guards watchers against the status, which starts before them
	watchers []*watcher
}

// newAgent makes the identity and the connection, which does not connect yet.
func newAgent(cfg *config.Config, log *zap.Logger) (*agent, error) {
	thing, err := cfg.Thing()
	if err != nil {
		return nil, &usageError{err}
	}
	a := &agent{cfg: cfg, log: log, ident: identity{thing: thing, boot: uuid.NewString()}}
	m := cfg.MQTT
	a.mqtt, err = telemetry.New(telemetry.Options{
		Broker: m.Broker, ClientID: m.ClientID, Thing: thing, TopicPrefix: m.TopicPrefix,
		Username: m.Username, PasswordFile: m.PasswordFile, CAFile: m.CAFile, CertFile: m.CertFile, KeyFile: m.KeyFile,
		QoS: byte(m.QoS), KeepAlive: time.Duration(m.KeepAlive), Outbox: m.Outbox,
		AgentVersion: version, BootID: a.ident.boot, Status: a.status, Log: log,
	})
	if err != nil {
		return nil, &usageError{err}
	}
	return a, nil
}

// loadSlot reads the model and makes its lanes. The caller closes the slot.
func (a *agent) loadSlot(rt *ort.Runtime) (*engine.Slot, error) {
	m, err := readModel(a.cfg.Model.Path, a.cfg.Model.Manifest)
	if err != nil {
		return nil, err
	}
	live, least := true, m.Spec.ScoreThreshold
	for _, name := range a.enabled() {
		s := a.cfg.Sources[name]
		live = live && s.Live()
		if s.ScoreThreshold != nil { // the decoder keeps what any source may want; each drops the rest
			least = min(least, *s.ScoreThreshold)
		}
	}
	e := a.cfg.Engine
	a.lanes = chooseLanes(int(e.Sessions), int(e.Threads), live)
	model, err := loadModel(rt, m, loadOptions{Lanes: a.lanes, Spinning: e.Spinning, Deadline: time.Duration(e.RunTimeout), MinScore: least})
	if err != nil {
		return nil, err
	}
	a.log.Info("model loaded", zap.String("model", m.Spec.Name), zap.String("version", m.Spec.Version), zap.String("family", string(m.Spec.Family)),
		zap.Stringer("lanes", a.lanes), zap.Bool("lanes_chosen", e.Sessions == 0 || e.Threads == 0), zap.Strings("unclear", m.Spec.Unclear))
	a.slot, a.score = engine.NewSlot(model), m.Spec.ScoreThreshold
	return a.slot, nil
}

// watch makes a watcher for every source that is enabled.
func (a *agent) watch() error {
	var ws []*watcher
	for _, name := range a.enabled() {
		w, err := newWatcher(name, a)
		if err != nil {
			return err
		}
		ws = append(ws, w)
	}
	if len(ws) == 0 {
		return usage("no source is enabled; add one under sources")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watchers = ws
	return nil
}

// enabled are the names of the sources to watch, sorted.
func (a *agent) enabled() []string {
	var names []string
	for name, s := range a.cfg.Sources {
		if s.Enabled {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// run watches all sources until they have ended or ctx is cancelled. Then frames in work are finished, or after a
// while interrupted, and a source that does not come back is left behind.
func (a *agent) run(ctx context.Context) error {
	results := make(chan error, len(a.watchers))
	for _, w := range a.watchers {
		go func() { results <- w.run(ctx) }()
	}
	interrupt := context.AfterFunc(ctx, func() {
		time.AfterFunc(interruptAfter, a.slot.Interrupt)
	})
	defer interrupt()
	var errs []error
	var patience <-chan time.Time
	done := ctx.Done()
	for range a.watchers {
		for waiting := true; waiting; {
			select {
			case err := <-results:
				errs = append(errs, err)
				waiting = false
			case <-done:
				done, patience = nil, time.After(abandonAfter)
			case <-patience:
				a.log.Warn("a source does not answer; leaving without it")
				return errors.Join(errs...)
			}
		}
	}
	return errors.Join(errs...)
}

// status is the sources' part of the status message.
func (a *agent) status() map[string]telemetry.SourceStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]telemetry.SourceStatus{}
	for _, w := range a.watchers {
		out[w.name] = w.status()
	}
	return out
}

// hint tells how to see the messages.
func (a *agent) hint() string {
	addr := strings.TrimPrefix(a.mqtt.Stats().Broker, "mqtt://")
	host, port, found := strings.Cut(addr, ":")
	if !found || strings.Contains(addr, "://") {
		return fmt.Sprintf("messages are under %s/%s/", a.cfg.MQTT.TopicPrefix, a.ident.thing)
	}
	return fmt.Sprintf("see the messages: mosquitto_sub -h %s -p %s -t '%s/#'", host, port, a.cfg.MQTT.TopicPrefix)
}
