package main

import (
	"context"
	"errors"
	"os"
	"time"

	"go.uber.org/zap/zapcore"

	"gnomon/cloud/keypair"
	"gnomon/config"
	"gnomon/config/yamldoc"
	"gnomon/telemetry/health"
)

// settleTime is how long a change of a source may wait for its model: somewhat longer than most exchanges of models. It is
// tried again later.
const settleTime = 45 * time.Second

// openSettings puts what the cloud said at the last start over a configuration file, or over the defaults where path is
// empty.
func openSettings(path string) (*fleetSettings, error) {
	var dir string // where it is kept; empty: this device takes no settings from the cloud
	var err error
	initial := config.Default()
	base, doc := &initial, (*yamldoc.Document)(nil)
	if path != "" {
		if base, doc, err = config.LoadDocument(path); err != nil {
			return nil, &usageError{err}
		}
	}
	if base.Shadow.Enabled || base.AWS.Parameters.Path != "" {
		thing, err := base.Thing()
		if err != nil {
			return nil, &usageError{err}
		}
		if dir, err = settingsDir(thing); err != nil {
			return nil, &usageError{err}
		}
		if err := os.MkdirAll(dir, settingsMode); err != nil {
			return nil, err
		}
	}
	return newFleetSettings(base, doc, path, dir), nil
}

// applySettings changes live settings while the agent runs (applier).
func (a *agent) applySettings(ctx context.Context, cfg *config.Config, names []string) map[string]error {
	failed := map[string]error{}
	for _, name := range names {
		switch name {
		case "log.level":
			level, err := zapcore.ParseLevel(string(cfg.Log.Level))
			if err != nil {
				failed[name] = err
				continue
			}
			a.level.SetLevel(level)
		case "telemetry.metrics.every", "telemetry.logs.enabled", "telemetry.logs.level", "telemetry.logs.rate":
			failed[name] = a.telling.apply(name, &cfg.Telemetry)
		}
	}
	a.applySources(ctx, cfg, names, failed)
	for name, err := range failed {
		if err == nil {
			delete(failed, name)
		}
	}
	return failed
}

// applySources makes the watchers those that the configuration wants: some go, some come, some change. What goes wrong
// with one is noted in failed under all its names and stops no other.
func (a *agent) applySources(ctx context.Context, cfg *config.Config, names []string, failed map[string]error) {
	defer a.crew.changes()()
	a.telling.secret.Add(secretsOf(cfg)...)
	var gone []string
	for _, w := range a.watching() {
		if _, wanted := cfg.Sources[w.name]; !wanted {
			gone = append(gone, w.name)
		}
	}
	was := a.watching()
	a.crew.remove(gone...)
	for _, name := range gone {
		a.telling.meter.forget(name)
	}
	fail := func(source string, err error) {
		for _, name := range names {
			if err != nil && ofSource(name, source) {
				failed[name] = err
			}
		}
	}
	for _, w := range was {
		src, wanted := cfg.Sources[w.name]
		fail(w.name, a.changeSource(ctx, w, src, wanted, cfg))
	}
	for name, src := range cfg.Sources {
		if a.crew.find(name) == nil {
			fail(name, a.addSource(ctx, name, src, cfg))
		}
	}
}

// changeSource makes a watcher do what is wanted of it, or drops what one that has gone wanted.
func (a *agent) changeSource(ctx context.Context, w *watcher, src config.Source, wanted bool, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if !wanted {
		return a.slots.forget(ctx, w.name, w.source())
	}
	later := error(nil)
	if a.slots.byName[src.SlotName()] == nil { // slots are made at the start; the rest of the change is for now
		later, src.Slot = errNextStart, w.source().Slot
	}
	w.publish(src.Publish, cfg.MQTT.Publish)
	again, err := w.apply(ctx, src)
	if again {
		a.crew.again(w)
	}
	return errors.Join(err, later)
}

// addSource makes a watcher for a source and takes it in.
func (a *agent) addSource(ctx context.Context, name string, src config.Source, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	p := a.slots.byName[src.SlotName()]
	if p == nil { // slots are made at the start
		return errNextStart
	}
	w, err := newWatcher(name, src, a, cfg)
	if err != nil {
		return err
	}
	if src.Enabled {
		if err := p.want(ctx, name, src.ScoreThreshold); err != nil {
			return err
		}
	}
	a.crew.add(w)
	return nil
}

// keepSettings applies what the cloud says until ctx ends.
func (a *agent) keepSettings(ctx context.Context) error {
	changed := func() {}
	if a.follower != nil {
		changed = a.follower.notify
	}
	return a.settings.run(ctx, a, changed, a.log)
}

// certificateEnd is when the device's certificate ends; zero: it has none, or it cannot be read.
func (a *agent) certificateEnd() time.Time {
	if a.cfg.MQTT.CertFile == "" {
		return time.Time{}
	}
	leaf, err := keypair.Leaf(a.cfg.MQTT.CertFile)
	if err != nil {
		return time.Time{}
	}
	return leaf.NotAfter
}

// healthChanged tells of the agent's health.
func (a *agent) healthChanged(d health.Document) {
	message := "the agent is " + string(d.Status)
	if len(d.Reasons) > 0 {
		message += ": " + d.Reasons[0].Message
	}
	a.events.happened(eventHealth, sourceAgent, message, d)
}
