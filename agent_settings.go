package main

import (
	"context"
	"os"
	"slices"
	"time"

	"go.uber.org/zap/zapcore"

	"gnomon/cloud/keypair"
	"gnomon/config"
	"gnomon/config/yamldoc"
	"gnomon/telemetry/health"
)

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
	rebased := false
	for _, w := range a.watching() {
		src, known := cfg.Sources[w.name]
		if !known {
			continue
		}
		w.publish(src.Publish, cfg.MQTT.Publish)
		before, after := w.configured(), a.possible(w, configured(src), names, failed)
		if before.equal(after) {
			continue
		}
		w.reconfigure(after)
		rebased = true
		if a.follower == nil {
			if err := w.apply(ctx, after); err != nil {
				w.reconfigure(before)
				failed[yamldoc.Key("sources", w.name)+".score_threshold"] = err
			}
		}
	}
	if rebased && a.follower != nil {
		a.follower.rebase()
	}
	for name, err := range failed {
		if err == nil {
			delete(failed, name)
		}
	}
	return failed
}

// possible is what of the wanted settings of a source can be had now. For the rest it notes in failed that a new start is
// needed: without a shadow sources are not switched, and slots are made at the start.
func (a *agent) possible(w *watcher, want settings, names []string, failed map[string]error) settings {
	now, key := w.configured(), yamldoc.Key("sources", w.name)
	later := func(name string) {
		if name = key + name; slices.Contains(names, name) {
			failed[name] = errNextStart
		}
	}
	if want.Slot != now.Slot && (a.follower == nil || a.slots.byName[want.Slot] == nil) {
		want.Slot = now.Slot
		later(".slot")
	}
	if want.Enabled != now.Enabled && a.follower == nil {
		want.Enabled = now.Enabled
		later(".enabled")
	}
	return want
}

// rebase has the desired sources applied anew.
func (f *follower) rebase() {
	select {
	case f.rebased <- struct{}{}:
	default:
	}
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
