package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gnomon/camera"
	"gnomon/config"
	"gnomon/engine"
	"gnomon/telemetry"
)

// Waiting times between attempts to open a live source again: a camera that reboots is back within a minute.
const (
	reopenFirst = time.Second
	reopenMax   = 30 * time.Second
)

// State words of a source, in status messages and on the screen.
const (
	stateStarting = "starting"
	stateRunning  = "running"
	stateRetrying = "retrying"
	stateEnded    = "ended"
	stateFailed   = "failed"
	stateDisabled = "disabled"
)

// watcher runs one source: it opens it, takes it through the model, publishes what is found, and for live sources
// starts again when they fail. It satisfies engine.Sink.
type watcher struct {
	name   string
	cfg    config.Source
	every  atomic.Bool // publish frames without detections too
	slots  *slots
	stays  bool // does not end with its source: it may be switched on again
	mqtt   *telemetry.Client
	events *events
	meter  *sourceMeter
	ident  identity
	topic  string
	log    *zap.Logger
	view   *thumbnail // nil when nobody looks

	buf   []byte // of the message being written; Handle is never called twice at once
	place *place // of the pipeline that runs; changes between pipelines only

	changed chan struct{} // one slot: want has changed in a way that needs another pipeline

	mu       sync.Mutex
	base     settings // as configured: what holds where the shadow says nothing
	want     settings
	state    string
	err      error
	pipeline *engine.Pipeline
	before   engine.Stats // of the pipelines before this one
	frameErr error        // the last of a frame
}

// settings are what may change while a source is watched.
type settings struct {
	Enabled bool     `json:"enabled"`
	Slot    string   `json:"slot"`
	Score   *float32 `json:"score_threshold,omitempty"` // nil: the model's own
}

func (s settings) equal(o settings) bool {
	return s.Enabled == o.Enabled && s.Slot == o.Slot && orZero(s.Score) == orZero(o.Score)
}

// configured are the settings of a source in the configuration.
func configured(src config.Source) settings {
	return settings{Enabled: src.Enabled, Slot: src.SlotName(), Score: src.ScoreThreshold}
}

// identity is what every message of this process carries.
type identity struct{ thing, boot string }

func newWatcher(name string, a *agent) (*watcher, error) {
	topic, err := telemetry.DetectionsTopic(a.cfg.MQTT.TopicPrefix, a.ident.thing, name)
	if err != nil {
		return nil, err
	}
	w := &watcher{
		name: name, cfg: a.cfg.Sources[name], slots: a.slots, mqtt: a.mqtt, events: a.events, meter: a.telling.meter.source(name), ident: a.ident, topic: topic, stays: a.follower != nil,
		log: a.log.With(zap.String("source", name)), state: stateStarting, changed: make(chan struct{}, 1),
	}
	w.base = configured(w.cfg)
	w.want = w.base
	w.publish(w.cfg.Publish, a.cfg.MQTT.Publish)
	return w, nil
}

// publish says which frames are worth a message: own, or all where own is empty.
func (w *watcher) publish(own, all config.Publish) {
	if own == "" {
		own = all
	}
	w.every.Store(own == config.PublishEveryFrame)
}

// configured are the settings that hold where the shadow says nothing.
func (w *watcher) configured() settings {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.base
}

// reconfigure changes them; they take effect when they are applied.
func (w *watcher) reconfigure(s settings) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.base = s
}

// apply changes the settings. A threshold takes effect at once; the rest starts the source anew. After an error the
// settings are as before, and the call may be made again.
func (w *watcher) apply(ctx context.Context, next settings) error {
	before := w.settings()
	if before.Slot != next.Slot || before.Enabled && !next.Enabled { // it is nobody there any more who wants something
		if err := w.slots.byName[before.Slot].want(ctx, w.name, nil); err != nil {
			return err
		}
	}
	if next.Enabled {
		if err := w.slots.byName[next.Slot].want(ctx, w.name, next.Score); err != nil {
			return err
		}
	}
	w.mu.Lock()
	w.want = next
	p := w.pipeline
	w.mu.Unlock()
	if p != nil {
		p.SetScoreThreshold(orZero(next.Score))
	}
	if before.Enabled != next.Enabled || before.Slot != next.Slot {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
	return nil
}

func (w *watcher) settings() settings {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.want
}

func orZero(v *float32) float32 {
	if v == nil {
		return 0
	}
	return *v
}

// run blocks until ctx is cancelled, or the source has ended for good and nobody can switch it on again. Only files end;
// their errors are returned.
func (w *watcher) run(ctx context.Context) error {
	for {
		var err error
		select {
		case <-w.changed: // is in what comes now
		default:
		}
		if w.settings().Enabled {
			current, cancel := context.WithCancel(ctx)
			restart := make(chan bool, 1)
			go func() {
				select {
				case <-w.changed:
					cancel()
					restart <- true
				case <-current.Done():
					restart <- false
				}
			}()
			err = w.watch(current)
			cancel()
			if <-restart && ctx.Err() == nil { // a change that came while the source was ending counts too
				continue
			}
		} else {
			w.set(stateDisabled, nil)
			w.log.Info("the source is disabled")
		}
		if !w.stays || ctx.Err() != nil {
			return err
		}
		if err != nil {
			w.log.Error("the source failed; enable it again through the shadow, or restart", zap.Error(err))
		}
		select {
		case <-w.changed:
		case <-ctx.Done():
			return nil // it has been logged
		}
	}
}

// watch blocks until the source has ended for good or ctx is cancelled.
func (w *watcher) watch(ctx context.Context) error {
	wait := reopenFirst
	for {
		started := time.Now()
		err := w.once(ctx)
		stopped := ctx.Err() != nil
		if stopped || err == nil {
			w.set(stateEnded, nil)
			if !stopped {
				w.log.Info("the source has ended")
			}
			return nil //nolint:nilerr // what a source says while it is being stopped is no failure
		}
		if !w.cfg.Live() {
			w.set(stateFailed, err)
			return err
		}
		if time.Since(started) > reopenMax {
			wait = reopenFirst
		}
		w.set(stateRetrying, err)
		w.log.Warn("the source failed; trying again", zap.Error(err), zap.Duration("in", wait))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, reopenMax)
	}
}

// once opens the source and works until it ends.
func (w *watcher) once(ctx context.Context) (err error) {
	src, err := openInput(camera.Options{
		Name: w.name, URI: w.cfg.URI, Loop: w.cfg.Loop, Realtime: w.cfg.Realtime(),
		Width: w.cfg.Width, Height: w.cfg.Height, FPS: w.cfg.FPS,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	want := w.settings()
	w.place = w.slots.byName[want.Slot]
	p, err := engine.NewPipeline(engine.PipelineOptions{Source: src, Slot: w.place.slot, Sink: w})
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.before, w.pipeline = w.statsLocked(), p
	p.SetScoreThreshold(orZero(w.want.Score))
	w.mu.Unlock()
	w.meter.open()
	w.set(stateRunning, nil)
	w.log.Info("watching", zap.Stringer("what", describe{src}))
	return p.Run(ctx)
}

// describe gives sources that have no String their name.
type describe struct{ src engine.Source }

func (d describe) String() string {
	if s, ok := d.src.(fmt.Stringer); ok {
		return s.String()
	}
	return d.src.Name()
}

// Handle publishes one result.
func (w *watcher) Handle(r *engine.Result) error {
	if r.Err != nil {
		w.mu.Lock()
		w.frameErr = r.Err
		w.mu.Unlock()
	}
	if w.view != nil {
		w.view.take(r)
	}
	w.place.frames.offer(r.Frame)
	score := w.settings().Score
	if len(r.Detections) == 0 && !w.every.Load() {
		w.meter.observe(r, score, false, nil)
		return nil
	}
	m := detectionMessage(r, w.name)
	m.Device, m.BootID, m.Limit = w.ident.thing, w.ident.boot, telemetry.MaxPayload
	w.buf = m.AppendJSON(w.buf[:0])
	// A refused message is counted by the client and shown in the status; the camera goes on.
	err := w.mqtt.Publish(w.topic, w.buf)
	w.meter.observe(r, score, true, err)
	return nil
}

// set notes the state of the source, and tells when it is another.
func (w *watcher) set(state string, err error) {
	w.mu.Lock()
	changed := w.state != state
	w.state, w.err = state, err
	w.mu.Unlock()
	if !changed {
		return
	}
	message := "the source is " + state
	if err != nil {
		message += ": " + err.Error()
	}
	w.events.happened(eventSource, w.name, message, struct {
		State string `json:"state"`
	}{state})
}

// stats sums up all pipelines that this source has had.
func (w *watcher) stats() engine.Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.statsLocked()
}

func (w *watcher) statsLocked() engine.Stats {
	s := w.before
	if w.pipeline != nil {
		s = s.Add(w.pipeline.Stats())
	}
	return s
}

// lastFrameError is why the latest frame failed that did.
func (w *watcher) lastFrameError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.frameErr
}

// line is the source's state in one line.
func (w *watcher) line(fps float64) string {
	s := w.stats()
	w.mu.Lock()
	defer w.mu.Unlock()
	line := fmt.Sprintf("%s: %s, %.1f frames/s, %d frames, %d dropped, %d detections, infer %.1f ms", w.name, w.state, fps,
		s.Processed, s.Dropped, s.Detections, s.Infer.Seconds()*1000/float64(max(1, s.Processed)))
	if s.Failed > 0 {
		line += fmt.Sprintf(", %d failed", s.Failed)
	}
	if w.err != nil {
		line += ": " + w.err.Error()
	}
	return line
}

// status is the source's part of the status message.
func (w *watcher) status() telemetry.SourceStatus {
	s := w.stats()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := telemetry.SourceStatus{State: w.state, Frames: s.Captured, Dropped: s.Dropped, Inferred: s.Processed, Detections: s.Detections}
	if w.err != nil {
		out.Error = w.err.Error()
	}
	return out
}
