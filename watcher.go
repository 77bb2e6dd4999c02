package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"gnomon/camera"
	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/scene"
	"gnomon/telemetry"
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
	every  atomic.Bool // publish frames without detections too
	slots  *slots
	stays  bool // does not end with its source: it may be switched on again
	mqtt   *telemetry.Client
	events *events
	meter  *sourceMeter
	ident  identity
	began  time.Time // what monotonic times are counted from
	topic  string
	log    *zap.Logger
	stuck  func(reason string)       // ends the agent, which is to be started again
	view   atomic.Pointer[thumbnail] // nil when nobody looks

	buf   []byte // of the message being written; Handle is never called twice at once
	place *place // of the pipeline that runs; changes between pipelines only

	changed chan struct{} // one slot: want has changed in a way that needs another pipeline

	mu       sync.Mutex
	want     config.Source
	state    string
	err      error
	pipeline *engine.Pipeline
	scene    *scene.Watch // of the pipeline that runs; nil: nobody looks at the pictures
	rate     float64      // frames a second that the source claims; 0: not known
	before   engine.Stats // of the pipelines before this one
	frameErr error        // the last of a frame
}

// identity is what every message of this process carries.
type identity struct{ thing, boot string }

// newWatcher makes the watcher of a source as cfg has it.
func newWatcher(name string, src config.Source, a *agent, cfg *config.Config) (*watcher, error) {
	topic, err := telemetry.DetectionsTopic(a.cfg.MQTT.TopicPrefix, a.ident.thing, name)
	if err != nil {
		return nil, err
	}
	w := &watcher{
		name: name, want: src, slots: a.slots, mqtt: a.mqtt, events: a.events, meter: a.telling.meter.source(name), ident: a.ident, topic: topic, stays: a.follower != nil,
		began: a.telling.began, log: a.log.With(zap.String("source", name)), state: stateStarting, changed: make(chan struct{}, 1), stuck: a.over.restart,
	}
	w.publish(src.Publish, cfg.MQTT.Publish)
	return w, nil
}

// publish says which frames are worth a message: own, or all where own is empty.
func (w *watcher) publish(own, all config.Publish) {
	if own == "" {
		own = all
	}
	w.every.Store(own == config.PublishEveryFrame)
}

// source is the source as it is wanted now.
func (w *watcher) source() config.Source {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.want
}

// needsOpening reports whether a change takes more than the pipeline that runs can do.
func needsOpening(before, after config.Source) bool {
	after.ScoreThreshold, after.Labels, after.DetectFPS, after.Publish = before.ScoreThreshold, before.Labels, before.DetectFPS, before.Publish
	return !reflect.DeepEqual(before, after)
}

// apply changes the source. What the pipeline can do takes effect at once; the rest opens this source anew. After an error
// all is as before, and the call may be made again. Again: a source that has ended for good is to be begun with anew.
func (w *watcher) apply(ctx context.Context, next config.Source) (again bool, err error) {
	before := w.source()
	if reflect.DeepEqual(before, next) {
		return false, nil
	}
	moves := before.SlotName() != next.SlotName()
	if next.Enabled {
		if err := w.slots.byName[next.SlotName()].want(ctx, w.name, next.ScoreThreshold); err != nil {
			if moves {
				w.slots.byName[next.SlotName()].unwant(w.name)
			}
			return false, err
		}
	}
	if moves || before.Enabled && !next.Enabled { // it is nobody there any more who wants something
		if err := w.slots.forget(ctx, w.name, before); err != nil {
			// Its decoders keep more than is wanted, which the next change of that slot puts right.
			w.log.Debug("a threshold stays in use", zap.Error(err))
		}
	}
	w.mu.Lock()
	w.want = next
	p := w.pipeline
	w.mu.Unlock()
	if p != nil {
		set(p, &next)
	}
	if !needsOpening(before, next) {
		return false, nil
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
	return true, nil
}

// set gives a pipeline the settings that it can change while it runs.
func set(p *engine.Pipeline, s *config.Source) {
	p.SetScoreThreshold(orZero(s.ScoreThreshold))
	p.SetLabels(s.Labels)
	p.SetDetectFPS(s.DetectFPS)
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
		if w.source().Enabled {
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
			w.setState(stateDisabled, nil)
			w.log.Info("the source is disabled")
		}
		if err != nil && ctx.Err() == nil {
			w.log.Error("the source failed; change it through the shadow or the configuration, or restart", zap.Error(err))
		}
		if !w.stays || ctx.Err() != nil {
			return err
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
	var r reopening
	for {
		started := time.Now()
		src := w.source()
		err := w.once(ctx, &src)
		stopped := ctx.Err() != nil
		if stopped || err == nil {
			w.setState(stateEnded, nil)
			if !stopped {
				w.log.Info("the source has ended")
			}
			return nil //nolint:nilerr // what a source says while it is being stopped is no failure
		}
		if !src.Live() && !src.Watch && !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			w.setState(stateFailed, err)
			return err
		}
		if errors.Is(err, camera.ErrTooManyAbandoned) {
			w.stuck(err.Error())
		}
		wait := r.failed(err, time.Since(started))
		w.setState(stateRetrying, err)
		if r.news(err, time.Now()) {
			w.log.Warn("the source failed; trying again", zap.Error(err), zap.Duration("in", wait.Round(time.Millisecond)))
		}
		pause(ctx, src.URI, wait)
	}
}

// once opens the source and works until it ends.
func (w *watcher) once(ctx context.Context, s *config.Source) (err error) {
	src, err := openInput(ctx, cameraOptions(w.name, s))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	w.place = w.slots.byName[s.SlotName()]
	o := engine.PipelineOptions{Source: src, Slot: w.place.slot, Sink: w, Region: s.ROI}
	gate := newGate(s)
	if gate != nil {
		o.Gate = gate
	}
	p, err := engine.NewPipeline(o)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.before, w.pipeline, w.scene, w.rate = w.statsLocked(), p, gate.watch(), rateOf(src)
	set(p, &w.want)
	w.mu.Unlock()
	w.meter.open()
	w.setState(stateRunning, nil)
	w.log.Info("watching", zap.Stringer("what", describe{src}))
	return p.Run(ctx)
}

// rateOf is the rate that a source claims, in frames a second; 0: none.
func rateOf(src engine.Source) float64 {
	if c, ok := src.(counted); ok {
		return c.Rate()
	}
	return 0
}

// cameraOptions are how a source is opened.
func cameraOptions(name string, s *config.Source) camera.Options {
	return camera.Options{
		Name: name, URI: s.URI, Loop: s.Loop, Realtime: s.Realtime(), Watch: s.Watch,
		Width: s.Width, Height: s.Height, FPS: s.FPS, Format: s.Format, Transport: s.Transport, Decoder: s.Decoder,
		Rotate: s.Rotate, Flip: s.Flip, Crop: s.Crop, Stall: time.Duration(s.Stall),
	}
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
	if view := w.view.Load(); view != nil {
		view.take(r)
	}
	w.place.frames.offer(r.Frame)
	score := w.score()
	if len(r.Detections) == 0 && !w.every.Load() {
		w.meter.observe(r, score, false, nil)
		return nil
	}
	m := detectionMessage(r, w.name)
	m.Device, m.BootID, m.Limit = w.ident.thing, w.ident.boot, telemetry.MaxPayload
	m.Monotonic, m.Clock = r.Frame.CapturedAt.Sub(w.began), w.meter.clock()
	w.buf = m.AppendJSON(w.buf[:0])
	// A refused message is counted by the client and shown in the status; the camera goes on.
	err := w.mqtt.Publish(w.topic, w.buf)
	w.meter.observe(r, score, true, err)
	return nil
}

// score is the source's own threshold; nil: it has none.
func (w *watcher) score() *float32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.want.ScoreThreshold
}

// setState notes the state of the source, and tells when it is another.
func (w *watcher) setState(state string, err error) {
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
