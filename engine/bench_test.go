package engine_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"gnomon/engine"
)

// spin is work for a processor, as a model's is.
func spin(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

// BenchmarkPipeline takes frames of a lossless source through a model that does nothing, and through one that takes as
// long as a fast model does.
func BenchmarkPipeline(b *testing.B) {
	for _, run := range []time.Duration{0, 200 * time.Microsecond} {
		for _, lanes := range []int{1, 2} {
			b.Run(fmt.Sprintf("run=%v/lanes=%d", run, lanes), func(b *testing.B) {
				var open, closed atomic.Int64
				m := fakeModel{before: func(int) { spin(run) }}
				slot := engine.NewSlot(m.load("m", lanes, &closed))
				p, err := engine.NewPipeline(engine.PipelineOptions{
					Source: &fakeSource{n: b.N, open: &open}, Slot: slot, Sink: sinkFunc(func(*engine.Result) error { return nil }),
				})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				if err := p.Run(b.Context()); err != nil {
					b.Fatal(err)
				}
				if err := slot.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
