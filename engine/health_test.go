package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/engine"
	"gnomon/engine/detect"
)

// decoderFunc adapts a function.
type decoderFunc func(outs []detect.Tensor, dst []detect.Detection) ([]detect.Detection, error)

func (f decoderFunc) Decode(outs []detect.Tensor, dst []detect.Detection) ([]detect.Detection, error) {
	return f(outs, dst)
}

func (decoderFunc) Classes() int { return 256 }

var one = engine.Frame{Pix: make([]byte, 3), Width: 1, Height: 1, Stride: 3, Format: engine.BGR24}

// use sends one empty frame through the slot.
func use(t *testing.T, slot *engine.Slot) {
	t.Helper()
	f := one
	err := slot.Use(t.Context(), func(l *engine.Lane, _ *engine.ModelInfo) {
		_, _, _ = l.Detect(t.Context(), &f, nil) // what comes out is in the health
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A model's health counts its own frames only, tells kinds of failure apart and knows the usual run time.
func TestHealth(t *testing.T) {
	var closed atomic.Int64
	slot := engine.NewSlot(fakeModel{delay: func() time.Duration { return 4 * time.Millisecond }}.load("old", 2, &closed))
	for range 20 {
		use(t, slot)
	}
	h := slot.Health()
	if h.Frames != 20 || h.Errors != 0 || h.Detections != 20 || h.Runs != 20 || h.Median < 3800*time.Microsecond {
		t.Errorf("%+v", h)
	}
	if r := slot.Recent(); r.Frames != 20 || r.Detections != 20 || r.Median != h.Median || r.Begun != 20 {
		t.Errorf("recently %+v", r)
	}
	if err := slot.Swap(t.Context(), fakeModel{}.load("new", 1, &closed)); err != nil {
		t.Fatal(err)
	}
	if h := slot.Health(); h != (engine.Health{}) {
		t.Errorf("a new model begins with %+v", h)
	}
	for _, err := range []error{nil, detect.ErrNotFinite, errFake} {
		set := func(l *engine.Lane) error {
			l.SetDecoder(decoderFunc(func(_ []detect.Tensor, dst []detect.Detection) ([]detect.Detection, error) {
				return dst, err
			}))
			return nil
		}
		if err := slot.Each(t.Context(), set); err != nil {
			t.Fatal(err)
		}
		use(t, slot)
	}
	if h := slot.Health(); h.Frames != 3 || h.Errors != 2 || h.NotFinite != 1 || h.Detections != 0 {
		t.Errorf("%+v", h)
	}
	// A frame that was given up because the agent stops is no failure of the model.
	ended, cancel := context.WithCancel(t.Context())
	err := slot.Use(t.Context(), func(l *engine.Lane, _ *engine.ModelInfo) {
		cancel()
		f := engine.Frame{} // has no size: cannot be placed
		_, _, _ = l.Detect(ended, &f, nil)
	})
	if h := slot.Health(); err != nil || h.Frames != 3 || h.Begun != 3 {
		t.Errorf("%v, %+v", err, h)
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h := slot.Health(); h != (engine.Health{}) {
		t.Errorf("a closed slot has %+v", h)
	}
}

// Each sees every lane of one model, alone, while frames flow and models are exchanged; frames wait and none is lost.
func TestEachLane(t *testing.T) {
	var open, closed atomic.Int64
	const lanes, frames = 3, 400
	slot := engine.NewSlot(fakeModel{delay: jitter}.load("m", lanes, &closed))
	p, err := engine.NewPipeline(engine.PipelineOptions{
		Source: &fakeSource{n: frames, open: &open}, Slot: slot,
		Sink: sinkFunc(func(r *engine.Result) error { return r.Err }),
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(t.Context()) }()
	boom := errors.New("boom")
	for i := range 20 {
		seen := map[*engine.Lane]bool{}
		err := slot.Each(t.Context(), func(l *engine.Lane) error {
			seen[l] = true
			if i == 7 {
				return boom
			}
			return nil
		})
		if len(seen) != lanes || (i == 7) != errors.Is(err, boom) {
			t.Fatalf("round %d: %d lanes, %v", i, len(seen), err)
		}
		swapped := make(chan error, 1)
		go func() {
			swapped <- slot.Swap(t.Context(), fakeModel{delay: jitter}.load(fmt.Sprint(i), lanes, &closed))
		}()
		if err := slot.Each(t.Context(), func(*engine.Lane) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := <-swapped; err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil || p.Stats().Processed != frames {
		t.Errorf("%v, %+v", err, p.Stats())
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := slot.Each(t.Context(), func(*engine.Lane) error { return nil }); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("each after close: %v", err)
	}
}

// A source's threshold may change while it runs.
func TestScoreThresholdChanges(t *testing.T) {
	var open, closed atomic.Int64
	slot := engine.NewSlot(fakeModel{}.load("m", 1, &closed))
	var p *engine.Pipeline
	found := 0
	sink := sinkFunc(func(r *engine.Result) error {
		found += len(r.Detections)
		if r.Frame.Seq == 49 {
			p.SetScoreThreshold(0.51) // the one detection has 0.5
		}
		return nil
	})
	p, err := engine.NewPipeline(engine.PipelineOptions{Source: &fakeSource{n: 100, open: &open}, Slot: slot, Sink: sink, ScoreThreshold: 0.4})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found < 50 || found > 52 { // a frame or two may have been counted before the change
		t.Errorf("%d detections of 100 frames", found)
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Recent forgets what was long ago, and counts what reaches the model's own threshold only.
func TestRecentHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed atomic.Int64
		m := fakeModel{}.load("m", 1, &closed)
		m.Info.ScoreThreshold = 0.6 // the one detection of each frame has 0.5
		slot := engine.NewSlot(m)
		for minute, want := range []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 6, 7} {
			use(t, slot)
			if r := slot.Recent(); r.Frames != want || r.Detections != 0 {
				t.Errorf("after %d minutes: %+v, want %d frames", minute, r, want)
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Hour)
		if r := slot.Recent(); r != (engine.Health{}) {
			t.Errorf("an hour later: %+v", r)
		}
		use(t, slot)
		if r := slot.Recent(); r.Frames != 1 {
			t.Errorf("and then: %+v", r)
		}
		if h := slot.Health(); h.Frames != 13 {
			t.Errorf("in all: %+v", h)
		}
		if err := slot.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
