package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"gnomon/config"
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
	cfg      *config.Config
	log      *zap.Logger
	ident    identity
	mqtt     *telemetry.Client
	events   *events
	aws      *awsAccess // nil: neither models nor settings come from AWS
	level    zap.AtomicLevel
	settings *fleetSettings
	telling  *reporting
	slots    *slots
	lanes    lanes
	follower *follower // nil: no shadow
	rotation *rotation // nil: the certificate is not exchanged
	crew     *crew
	over     *supervision
}

// newIdentity is who this process is.
func newIdentity(cfg *config.Config) (identity, error) {
	thing, err := cfg.Thing()
	if err != nil {
		return identity{}, &usageError{err}
	}
	return identity{thing: thing, boot: uuid.NewString()}, nil
}

// newAgent makes the connection, which does not connect yet, and what needs it. The settings, the reporting and the log
// stay the caller's to end.
func newAgent(settings *fleetSettings, cfg *config.Config, telling *reporting, level zap.AtomicLevel, over *supervision, log *zap.Logger) (*agent, error) {
	a := &agent{cfg: cfg, log: log, level: level, ident: telling.ident, settings: settings, telling: telling, crew: newCrew(log), over: over}
	var err error
	if a.rotation, err = newRotation(a); err != nil {
		return nil, err
	}
	if cfg.Shadow.Enabled || cfg.AWS.RoleAlias != "" {
		if a.aws, err = newAWSAccess(cfg, a.ident.thing, log); err != nil {
			return nil, err
		}
	}
	m := cfg.MQTT
	o := telemetry.Options{
		Broker: m.Broker, ClientID: m.ClientID, Thing: a.ident.thing, TopicPrefix: m.TopicPrefix,
		Username: m.Username, PasswordFile: m.PasswordFile, CAFile: m.CAFile, CertFile: m.CertFile, KeyFile: m.KeyFile,
		QoS: byte(m.QoS), KeepAlive: time.Duration(m.KeepAlive), Outbox: m.Outbox, Spool: telling.spool, BasicIngest: telling.ingest(),
		AgentVersion: version, BootID: a.ident.boot, Status: a.status, Health: telling.health, Log: log,
	}
	if cfg.Shadow.Enabled {
		if a.follower, err = newFollower(a); err != nil {
			return nil, err
		}
		o.OnConnect, o.Rate = a.follower.serve, telemetry.AWSRate
	}
	a.mqtt, err = telemetry.New(o)
	if err != nil {
		return nil, errors.Join(&usageError{err}, a.close())
	}
	topic := a.topic("events")
	a.events = newEvents(a.ident, log, telling.secret, func(payload []byte) error { return a.mqtt.PublishClass(telemetry.Events, topic, payload) })
	if err := telling.attach(a); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// topic is where the agent itself publishes messages of a kind.
func (a *agent) topic(kind string) string {
	return a.cfg.MQTT.TopicPrefix + "/" + a.ident.thing + "/" + kind
}

// close frees what newAgent opened.
func (a *agent) close() error {
	if a.follower == nil {
		return nil
	}
	return a.follower.close()
}

// load makes the slots and loads their models: what was deployed there, or the configured model.
func (a *agent) load(ctx context.Context, rt *ort.Runtime) error {
	live := true
	for _, name := range a.enabled() {
		s := a.cfg.Sources[name]
		live = live && s.Live()
	}
	e := a.cfg.Engine
	a.lanes = chooseLanes(int(e.Sessions), int(e.Threads), live)
	a.log.Info("lanes of each model", zap.Stringer("lanes", a.lanes), zap.Bool("chosen", e.Sessions == 0 || e.Threads == 0))
	a.slots = newSlots(rt, a.cfg, a.lanes, a.log)
	if a.follower != nil {
		return a.follower.start(ctx, rt)
	}
	for name := range a.slots.byName {
		if err := a.slots.open(ctx, name, nil); err != nil {
			return err
		}
	}
	return nil
}

// watch makes a watcher for every source. Those that are disabled do nothing until they are switched on.
func (a *agent) watch() error {
	if len(a.enabled()) == 0 && a.follower == nil {
		return usage("no source is enabled; add one under sources")
	}
	for name, src := range a.cfg.Sources {
		w, err := newWatcher(name, src, a, a.cfg)
		if err != nil {
			return err
		}
		a.crew.add(w)
	}
	if a.follower != nil {
		a.follower.resume()
	}
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
	interrupt := context.AfterFunc(ctx, func() {
		time.AfterFunc(interruptAfter, a.slots.interrupt)
	})
	defer interrupt()
	return a.crew.run(ctx)
}

// watching are the watchers of now, by name.
func (a *agent) watching() []*watcher { return a.crew.all() }

// status is the sources' part of the status message.
func (a *agent) status() map[string]telemetry.SourceStatus {
	out := map[string]telemetry.SourceStatus{}
	for _, w := range a.watching() {
		st := w.status()
		st.Error = a.telling.secret.Text(st.Error)
		out[w.name] = st
	}
	return out
}

// models names what runs, slot by slot where there is more than one.
func (a *agent) models() string {
	var names []string
	for _, slot := range slices.Sorted(maps.Keys(a.slots.byName)) {
		info := a.slots.byName[slot].slot.Info()
		if info == nil {
			continue
		}
		name := info.Name
		if info.Version != "" {
			name += " " + info.Version
		}
		if len(a.slots.byName) > 1 {
			name = slot + ": " + name
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
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

// closeSlots drains and closes the models, if there are any.
func (a *agent) closeSlots(ctx context.Context) error {
	if a.slots == nil {
		return nil
	}
	return a.slots.close(ctx)
}

// follow keeps the shadow until ctx ends, if there is one.
func (a *agent) follow(ctx context.Context) error {
	if a.follower == nil {
		return nil
	}
	return a.follower.run(ctx)
}
