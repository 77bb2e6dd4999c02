package engine_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"gnomon/engine"
)

// In the steady state nothing is allocated between capture and sink, however many frames pass.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	var open, closed atomic.Int64
	slot := engine.NewSlot(fakeModel{}.load("m", 2, &closed))
	const warm, frames = 200, 5000
	var before, after runtime.MemStats
	sink := sinkFunc(func(r *engine.Result) error {
		switch r.Frame.Seq {
		case warm:
			runtime.ReadMemStats(&before)
		case warm + frames:
			runtime.ReadMemStats(&after)
		}
		return nil
	})
	st, err := runPipeline(t.Context(), t, engine.PipelineOptions{Source: &fakeSource{n: warm + frames + 1, open: &open}, Slot: slot, Sink: sink})
	if err != nil || st.Processed != warm+frames+1 {
		t.Fatal(st, err)
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The Go runtime itself allocates a little when goroutines block; a single allocation a frame would be 5000.
	if n := after.Mallocs - before.Mallocs; n > frames/20 {
		t.Errorf("%d allocations for %d frames", n, frames)
	}
}
