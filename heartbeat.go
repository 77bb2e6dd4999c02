package main

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"gnomon/engine"
	"gnomon/supervise"
)

const (
	// heartbeatEvery is how often is looked whether frames flow.
	heartbeatEvery = time.Second
	// sourcePatience is how long a camera that runs may deliver nothing, beyond its own stall limit and three of its
	// intervals, before its reader counts as lost: it should have failed long before.
	sourcePatience = time.Minute
	// lookPatience is how long the heartbeat itself may be late.
	lookPatience = 30 * time.Second
	// slotPatience is how long a model may finish no frame while frames wait, beyond the longest run.
	slotPatience = time.Minute
	// tellEvery is how often systemd gets a line about the agent.
	tellEvery = 5 * time.Second
)

// heartbeat tells the supervision whether frames are being handled, or known outages are.
type heartbeat struct {
	agent   *agent
	over    *supervision
	sources map[*watcher]*pulse
	slots   map[string]*pulse
	told    time.Time
	frames  uint64 // handled when that was
}

// pulse is what was seen last of a part.
type pulse struct {
	part  *supervise.Part
	count uint64
	at    time.Time // when count changed last
}

func newHeartbeat(a *agent, s *supervision) *heartbeat {
	return &heartbeat{agent: a, over: s, sources: map[*watcher]*pulse{}, slots: map[string]*pulse{}, told: time.Now()}
}

// run looks until ctx ends.
func (h *heartbeat) run(ctx context.Context) error {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	defer h.close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			h.look(now)
			if now.Sub(h.told) >= tellEvery {
				h.tell(now)
			}
		}
	}
}

// close takes the parts away: who is ending has no more signs of life to give.
func (h *heartbeat) close() {
	for _, p := range h.sources {
		p.part.Close()
	}
	for _, p := range h.slots {
		p.part.Close()
	}
}

func (h *heartbeat) look(now time.Time) {
	type load struct{ waiting, done uint64 }
	loads := map[string]load{}
	for name := range h.agent.slots.byName {
		loads[name] = load{}
	}
	here := map[*watcher]bool{}
	for _, w := range h.agent.watching() {
		here[w] = true
		src := w.source()
		p := h.sources[w]
		if p == nil {
			p = &pulse{part: h.over.dog.Part("source "+w.name, lookPatience), at: now}
			h.sources[w] = p
		}
		s, state := w.now()
		if state != stateRunning || !src.Live() || s.Captured != p.count {
			p.count, p.at = s.Captured, now
		}
		switch {
		case state == stateEnded || state == stateFailed || state == stateDisabled:
			p.part.Idle("it is " + state)
		case now.Sub(p.at) <= max(time.Duration(src.Stall), 3*w.interval())+sourcePatience:
			p.part.Beat()
		}
		l := loads[src.SlotName()]
		l.done += s.Processed
		if state == stateRunning {
			l.waiting += s.Captured - min(s.Captured, s.Processed+s.Dropped)
		}
		loads[src.SlotName()] = l
	}
	for w, p := range h.sources {
		if !here[w] {
			p.part.Close()
			delete(h.sources, w)
		}
	}
	for name, l := range loads {
		p := h.slots[name]
		if p == nil {
			p = &pulse{part: h.over.dog.Part("the model of slot "+name, duration(h.agent.cfg.Engine.RunTimeout)+slotPatience)}
			h.slots[name] = p
		}
		if l.waiting == 0 || l.done != p.count {
			p.part.Beat()
		}
		p.count = l.done
	}
}

// interval is the time from one frame of the source to the next, as far as it is known.
func (w *watcher) interval() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	slowest := w.rate
	if fps := w.want.FPS; fps > 0 && (slowest == 0 || fps < slowest) {
		slowest = fps
	}
	if slowest <= 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / slowest)
}

// now are the counters of the pipeline that runs, and the source's state.
func (w *watcher) now() (engine.Stats, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pipeline == nil {
		return engine.Stats{}, w.state
	}
	return w.pipeline.Stats(), w.state
}

// tell gives systemd a line about the agent.
func (h *heartbeat) tell(now time.Time) {
	var running, all int
	var frames uint64
	for _, w := range h.agent.watching() {
		st := w.status()
		frames += st.Inferred
		if st.State != stateDisabled {
			all++
		}
		if st.State == stateRunning {
			running++
		}
	}
	link := "not connected"
	if h.agent.mqtt.Stats().Connected {
		link = "connected"
	}
	line := fmt.Sprintf("%d of %d sources run, %.0f frames/s, %s, %s", running, all, float64(frames-min(frames, h.frames))/now.Sub(h.told).Seconds(), h.agent.models(), link)
	if h.over.safe() {
		line = "SAFE MODE: " + line
	}
	if err := h.over.notifier.Status(line); err != nil {
		h.agent.log.Debug("systemd is not told", zap.Error(err))
	}
	h.told, h.frames = now, frames
}
