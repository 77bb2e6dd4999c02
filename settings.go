package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"gnomon/cloud/params"
	"gnomon/config"
	"gnomon/config/layers"
	"gnomon/config/yamldoc"
	"gnomon/telemetry/redact"
)

const (
	// maxFailedStarts is how many starts in a row may end early with settings from the cloud before one is made without
	// them: a setting with which the agent cannot live must not keep it from hearing of a better one.
	maxFailedStarts = 3
	// goodStart is how long a start has to last, or to end as it was asked to, to count as good.
	goodStart = time.Minute
	// retrySettings is when settings that could not be applied are tried again.
	retrySettings = time.Minute
)

// errNextStart is what an applier says of a setting that only a new start can change, as things are.
var errNextStart = errors.New("takes effect at the next start")

// applier is the part of the agent that changes settings while it runs.
type applier interface {
	// applySettings makes the settings named, which are live ones, as cfg has them: the whole configuration in effect. It
	// returns what could not be changed and why, errNextStart among the reasons; that is as before.
	applySettings(ctx context.Context, cfg *config.Config, names []string) map[string]error
}

// liveSetting reports whether a setting can change while the agent runs. All others wait for the next start.
func liveSetting(name string) bool {
	return strings.HasPrefix(name, "sources") || slices.Contains([]string{
		"log.level", "mqtt.publish", "telemetry.metrics.every", "telemetry.logs.enabled", "telemetry.logs.level", "telemetry.logs.rate",
	}, name)
}

// fleetSettings keeps the configuration in effect: what Parameter Store and the shadow want goes over the file. Make it
// before the agent, which starts with its config, and run it beside the agent. Other goroutines may call its methods.
type fleetSettings struct {
	file string // where all of it is kept for the next start; empty: nowhere
	wake chan struct{}

	// Of run alone, which alone changes the layers.
	log     *zap.Logger
	starts  int      // that have not proved good yet, this one included
	safe    bool     // nothing from the cloud is applied in this run, but what switches a camera off
	careful bool     // sources from the cloud wait until this start has proved good
	waiting []string // settings that were logged as waiting for the next start
	trouble error    // of reading what was kept
	told    []string // refusals that were logged

	mu      sync.Mutex // never held while a disk or the agent is waited for
	stack   *layers.Stack
	running *config.Config   // what the agent runs with
	failed  map[string]error // live settings that are not applied
	news    [2]*[]layers.Setting
	base    *newBase // a file that was read again
}

// newBase is a configuration file that has changed.
type newBase struct {
	config *config.Config
	doc    *yamldoc.Document
}

// newFleetSettings puts what was kept in dir over base, which is the defaults with the file over them. doc and name are
// the file's, nil and empty without one; dir may be empty for keeping nothing.
func newFleetSettings(base *config.Config, doc *yamldoc.Document, name, dir string) *fleetSettings {
	s := &fleetSettings{log: zap.NewNop(), wake: make(chan struct{}, 1)}
	var k keptSettings
	if dir != "" {
		s.file = filepath.Join(dir, settingsFile)
		k, s.trouble = readSettings(dir)
	}
	s.stack = layers.New(layers.Options{Base: base, Document: doc, File: name, Kept: belonging(k.State, base)})
	s.running, s.starts = s.stack.Config(), k.Starts+1
	switch {
	case len(layers.Diff(base, s.running)) == 0:
		s.starts = 0 // nothing to be careful with
	case k.Starts >= maxFailedStarts:
		s.trouble = errors.Join(s.trouble, fmt.Errorf("the last %d starts with the settings from the cloud ended early; this one is without those that cannot be changed later", k.Starts))
		s.running, s.careful = s.stack.Base(), true
	}
	if s.starts > 0 || k.Starts > 0 {
		s.trouble = errors.Join(s.trouble, s.save())
	}
	return s
}

// beSafe makes this run one with the file and the defaults alone, on the processor: what the cloud wants waits for the next
// start. Call it before config.
func (s *fleetSettings) beSafe() {
	s.safe = true
	s.running = s.wantedLocked()
}

// wantedLocked is the configuration that is wanted in this run. A camera that the cloud has switched off stays off in any
// case: somebody may have a right to that.
func (s *fleetSettings) wantedLocked() *config.Config {
	all := s.stack.Config()
	if !s.safe {
		return all
	}
	c, plain := s.stack.Base(), config.Default().Engine
	plain.RunTimeout = c.Engine.RunTimeout
	c.Engine = plain
	for name, src := range c.Sources {
		src.Enabled = src.Enabled && all.Sources[name].Enabled
		c.Sources[name] = src
	}
	return c
}

// config is what the agent is to start with; the caller owns it.
func (s *fleetSettings) config() *config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return layers.Copy(s.running, s.running, nil)
}

// takeParameters takes all parameters of the fleet (params.Options.OnChange). It never blocks.
func (s *fleetSettings) takeParameters(path string, all []params.Parameter) {
	settings := parameterSettings(path, all)
	s.mu.Lock()
	s.news[layers.Parameters] = &settings
	s.mu.Unlock()
	s.look()
}

// takeDesired takes the shadow's desired document. It never blocks.
func (s *fleetSettings) takeDesired(doc json.RawMessage) {
	settings := layers.Desired(doc)
	s.mu.Lock()
	s.news[layers.Shadow] = &settings
	s.mu.Unlock()
	s.look()
}

// takeFile takes the configuration file as it is now, with what the cloud wants over it. It never blocks.
func (s *fleetSettings) takeFile(base *config.Config, doc *yamldoc.Document) {
	s.mu.Lock()
	s.base = &newBase{base, doc}
	s.mu.Unlock()
	s.look()
}

func (s *fleetSettings) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run applies what comes until ctx ends. changed is called when report may say something else.
func (s *fleetSettings) run(ctx context.Context, to applier, changed func(), log *zap.Logger) error {
	s.log = log
	if s.trouble != nil {
		log.Warn("the settings from the cloud", zap.Error(s.trouble))
	}
	defer s.good() // it was told to end
	good := time.After(goodStart)
	for {
		if s.takeNews() {
			s.keep("the settings from the cloud are in use, but the next start will not know them")
		}
		again := s.applyLive(ctx, to)
		changed()
		select {
		case <-ctx.Done():
			return nil
		case <-good:
			s.good()
		case <-s.wake:
		case <-again:
		}
	}
}

// good notes that the agent can live with its settings.
func (s *fleetSettings) good() {
	if s.careful {
		s.careful = false
		s.look()
	}
	if s.starts > 0 {
		s.starts = 0
		s.keep("a good start cannot be noted")
	}
}

func (s *fleetSettings) keep(trouble string) {
	if err := s.save(); err != nil {
		s.log.Warn(trouble, zap.Error(err))
	}
}

// takeNews puts what has come into the layers and reports whether anything is to be kept.
func (s *fleetSettings) takeNews() (changed bool) {
	s.mu.Lock()
	for i, settings := range s.news {
		if settings != nil {
			changed = s.stack.Set(layers.Layer(i), *settings) || changed
		}
	}
	if s.base != nil {
		s.stack.Rebase(s.base.config, s.base.doc)
		changed = true
	}
	s.news, s.base = [2]*[]layers.Setting{}, nil
	refused := s.stack.Refused()
	s.mu.Unlock()
	var told []string
	for _, r := range refused {
		line := r.Origin + r.From + r.Name + r.Message
		if told = append(told, line); !slices.Contains(s.told, line) {
			s.log.Warn("a setting from the cloud is refused", zap.String("setting", r.Name), zap.String("origin", strings.TrimSpace(r.Origin+" "+r.From)),
				zap.String("code", r.Code), zap.String("reason", redact.Text(r.Message)))
		}
	}
	s.told = told
	return changed
}

// applyLive changes what can be changed now. It returns when to try again, nil for never.
func (s *fleetSettings) applyLive(ctx context.Context, to applier) (again <-chan time.Time) {
	s.mu.Lock()
	want := s.wantedLocked()
	var names, waiting []string
	for _, name := range layers.Diff(s.running, want) {
		if liveSetting(name) && !(s.careful && strings.HasPrefix(name, "sources")) {
			names = append(names, name)
		} else {
			waiting = append(waiting, name)
		}
	}
	running := s.running
	s.mu.Unlock()
	var failed map[string]error
	if len(names) > 0 {
		failed = to.applySettings(ctx, layers.Copy(running, want, names), slices.Clone(names))
	}
	for _, name := range names {
		if errors.Is(failed[name], errNextStart) {
			waiting = append(waiting, name)
		}
	}
	if len(waiting) > 0 && !slices.Equal(waiting, s.waiting) {
		s.log.Info("settings wait for the next start", zap.Strings("settings", waiting))
	}
	s.waiting = waiting
	done := slices.DeleteFunc(names, func(name string) bool { return failed[name] != nil })
	s.mu.Lock()
	s.failed, s.running = failed, layers.Copy(s.running, want, done)
	s.mu.Unlock()
	if len(done) > 0 {
		s.log.Info("settings have changed", zap.Strings("settings", done))
	}
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		if err := failed[name]; !errors.Is(err, errNextStart) && ctx.Err() == nil {
			s.log.Warn("a setting cannot be applied; it is tried again", zap.String("setting", name), zap.Error(err))
			again = time.After(retrySettings)
		}
	}
	return again
}

// report is the member config of the reported document; nil: there is nothing to tell.
func (s *fleetSettings) report() *layers.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	refused := slices.DeleteFunc(s.stack.Refused(), func(r layers.Refusal) bool { return r.Source != "" || r.Name == "sources" })
	var restart []string
	for _, name := range layers.Diff(s.running, s.stack.Config()) {
		if s.mentionedLocked(name) {
			continue // is told beside the source
		}
		switch err := s.failed[name]; {
		case err == nil && liveSetting(name) && !s.safe && !s.careful: // is being applied
		case err == nil || errors.Is(err, errNextStart):
			restart = append(restart, name)
		default:
			from, _, _ := strings.Cut(s.stack.Origin(name), " ")
			refused = append(refused, layers.Refusal{Name: name, Origin: from, Code: codeNotApplied, Message: err.Error()})
		}
	}
	for i := range refused {
		refused[i].Message = redact.Text(refused[i].Message) // it may repeat a value, and anything may be in one
	}
	return layers.NewReport(refused, restart)
}
