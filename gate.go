package main

import (
	"time"

	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/scene"
)

// gate looks at the pictures of a source before the model does (engine.Gate).
type gate struct {
	scene *scene.Watch
	still bool // pictures in which nothing has moved do not pass
}

// newGate makes the gate of a source; nil: nobody looks.
func newGate(s *config.Source) *gate {
	o := scene.Options{Motion: s.Motion}
	if s.Live() {
		o.FrozenAfter, o.BlackAfter = time.Duration(s.FrozenAfter), time.Duration(s.BlackAfter)
	}
	if o == (scene.Options{}) {
		return nil
	}
	return &gate{scene: scene.New(o), still: s.Motion > 0}
}

// Pass implements engine.Gate.
func (g *gate) Pass(f *engine.Frame) bool {
	moved := g.scene.Look(f.Pix, f.Width, f.Height, f.Stride, f.CapturedAt)
	return moved || !g.still
}

func (g *gate) watch() *scene.Watch {
	if g == nil {
		return nil
	}
	return g.scene
}

// silentFor is after how many times what is usual for a source its silence is worth a word.
const silentFor = 5

// silence is how long the source may be silent before that is worth a word; 0: as long as most.
func (w *watcher) silence() time.Duration {
	s := w.source()
	if s.Watch {
		return -1 // pictures come when they come
	}
	d := max(silentFor*w.interval(), 2*time.Duration(s.Stall))
	if s.DetectFPS > 0 {
		d = max(d, time.Duration(silentFor*float64(time.Second)/s.DetectFPS))
	}
	return d
}

// picture is since when the picture has been frozen or black for too long; zero: it is not.
func (w *watcher) picture() (frozen, black time.Time) {
	w.mu.Lock()
	watch := w.scene
	w.mu.Unlock()
	if watch == nil {
		return frozen, black
	}
	s := watch.State()
	if s.Frozen {
		frozen = s.Since
	}
	if s.Black {
		black = s.Since
	}
	return frozen, black
}
