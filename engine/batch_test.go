package engine_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gnomon/engine"
	"gnomon/engine/letterbox"
)

// batches makes a model of one lane that takes so many frames at once, whatever their number for so long.
func batches(room int, run time.Duration) (*fakeBatch, *engine.Model) {
	var closed atomic.Int64
	b := newFakeBatch(room, fakeModel{failOn: 200, delay: func() time.Duration { return run }}, &closed)
	return b, &engine.Model{Info: engine.ModelInfo{Name: "b"}, Lanes: []*engine.Lane{engine.NewLane(b, b, b, letterbox.Stretch)}}
}

// A lane that takes several frames at once takes those of different cameras, in turns, and waits for more only if some
// camera is about to have one: at most half an interval of the fastest, and never when there are enough.
func TestBatchesAcrossCameras(t *testing.T) {
	for _, row := range []struct {
		name    string
		offsets []time.Duration // of each camera's frames
		every   time.Duration
		sizes   []int         // of the runs of an interval, once the intervals are known
		wait    time.Duration // the longest of a frame before its run
	}{
		{"all at once", []time.Duration{0, 0, 0, 0}, 100 * time.Millisecond, []int{4}, 0},
		{"more than there is room for", []time.Duration{0, 0, 0, 0, 0, 0}, 100 * time.Millisecond, []int{4, 2}, 5 * time.Millisecond},
		{"a little apart", []time.Duration{0, 4 * time.Millisecond, 9 * time.Millisecond}, 100 * time.Millisecond, []int{3}, 9 * time.Millisecond},
		{"enough without the last", []time.Duration{0, 4 * time.Millisecond, 9 * time.Millisecond, 14 * time.Millisecond, 25 * time.Millisecond}, 100 * time.Millisecond, []int{4, 1}, 14 * time.Millisecond},
		{"too far apart", []time.Duration{0, 40 * time.Millisecond}, 100 * time.Millisecond, []int{1, 1}, 0},
		{"half an interval", []time.Duration{0, 4 * time.Millisecond, 9 * time.Millisecond}, 16 * time.Millisecond, []int{2, 1}, 8 * time.Millisecond},
		{"alone", []time.Duration{0}, 100 * time.Millisecond, []int{1}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, m := batches(4, 5*time.Millisecond)
			inBubble(t, m, func(s *site) {
				var longest atomic.Int64
				memory := &buffers{}
				start := time.Now()
				for i, offset := range row.offsets {
					s.add(engine.PipelineOptions{
						Source: &cam{name: fmt.Sprint(i), every: row.every, start: start.Add(offset), memory: memory},
						Sink: sinkFunc(func(r *engine.Result) error {
							if r.Frame.Seq > 5 {
								longest.Store(max(longest.Load(), int64(r.Timing.Latency-5*time.Millisecond)))
							}
							return r.Err
						}),
					})
				}
				const intervals = 30
				time.Sleep(intervals*row.every + row.every*3/4)
				s.end()
				singles := slices.Clone(b.runs)
				if n := len(row.offsets) * intervals; total(s.shares()) < n-1 { // the last may still be waiting
					t.Errorf("%v frames, want %d", s.shares(), n)
				}
				// A run of one frame goes the ordinary way, which the fake does not note.
				want := slices.DeleteFunc(slices.Repeat(row.sizes, 10), func(n int) bool { return n == 1 })
				if got := singles[max(0, len(singles)-len(want)):]; !slices.Equal(got, want) {
					t.Errorf("runs of %v, want %v", got, want)
				}
				if got := time.Duration(longest.Load()); got > row.wait {
					t.Errorf("a frame waited %v, want %v at most", got, row.wait)
				}
			})
		})
	}
}

func total(shares []float64) int {
	n := 0.0
	for _, s := range shares {
		n += s
	}
	return int(n)
}

// Batches are fair under overload, results keep the order of each source, and a file fills what cameras leave.
func TestBatchesAreFair(t *testing.T) {
	b, m := batches(4, 40*time.Millisecond)
	inBubble(t, m, func(s *site) {
		var open atomic.Int64
		for i := range 10 {
			last := -1
			s.add(engine.PipelineOptions{
				Source: &cam{name: fmt.Sprint(i), every: 33 * time.Millisecond, memory: &buffers{}},
				Sink: sinkFunc(func(r *engine.Result) error {
					if int(r.Frame.Seq) <= last || r.Frame.Seq < 128 && r.Detections[0].ClassID != int(r.Frame.Seq) {
						return fmt.Errorf("frame %d after %d with %v", r.Frame.Seq, last, r.Detections)
					}
					last = int(r.Frame.Seq)
					return nil
				}),
			})
		}
		time.Sleep(10 * time.Second)
		for i, share := range s.shares() {
			if share < 98 || share > 102 {
				t.Errorf("source %d: %v of 1000 frames", i, share)
			}
		}
		file := s.add(engine.PipelineOptions{Source: &fakeSource{n: 100, open: &open}})
		time.Sleep(15 * time.Second)
		s.end()
		if n := total(s.shares()); len(b.runs) > n/4+n/50 {
			t.Errorf("%d runs for %d frames", len(b.runs), n)
		}
		if st := file.Stats(); st.Processed != 100 || st.Failed != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A file alone fills a lane: as many frames as it takes are decoded while the ones before are in the model.
func TestFileFillsBatches(t *testing.T) {
	b, m := batches(4, 10*time.Millisecond)
	inBubble(t, m, func(s *site) {
		var open atomic.Int64
		next := 0
		p := s.add(engine.PipelineOptions{Source: &fakeSource{n: 121, open: &open}, Sink: sinkFunc(func(r *engine.Result) error {
			if int(r.Frame.Seq) != next || r.Detections[0].ClassID != next {
				return fmt.Errorf("frame %d, want %d", r.Frame.Seq, next)
			}
			next++
			return r.Err
		})})
		time.Sleep(time.Second)
		s.end()
		if st := p.Stats(); st.Processed != 121 || len(b.runs) > 33 {
			t.Errorf("%+v, runs of %v", st, b.runs)
		}
	})
}

// A source that is stopped while its frame is in a run with others' does them no harm, a run that fails is a failure of
// each, and models that take one or several frames follow each other.
func TestBatchesAndTrouble(t *testing.T) {
	_, m := batches(4, 50*time.Millisecond)
	inBubble(t, m, func(s *site) {
		memory := &buffers{}
		camera := func() *cam { return &cam{every: 100 * time.Millisecond, memory: memory} }
		ctx, cancel := context.WithCancel(s.ctx)
		leader, err := engine.NewPipeline(engine.PipelineOptions{Source: camera(), Slot: s.slot, Sink: sinkFunc(func(r *engine.Result) error { return r.Err })})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- leader.Run(ctx) }()
		time.Sleep(time.Millisecond)
		for range 2 {
			s.add(engine.PipelineOptions{Source: camera(), Sink: sinkFunc(func(*engine.Result) error { return nil })})
		}
		time.Sleep(430 * time.Millisecond) // the fourth of each is in the model
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		time.Sleep(1100 * time.Millisecond)
		for _, p := range s.pipes {
			if st := p.Stats(); st.Failed != 0 || st.Processed < 14 {
				t.Errorf("%+v", st)
			}
		}
		var closed atomic.Int64
		if err := s.slot.Swap(s.ctx, takes(time.Millisecond).load("single", 2, &closed)); err != nil {
			t.Fatal(err)
		}
		if s.slot.Batch() != 1 || s.slot.Parallel() != 2 {
			t.Errorf("batches of %d in %d lanes", s.slot.Batch(), s.slot.Parallel())
		}
		time.Sleep(time.Second)
		_, next := batches(4, time.Millisecond)
		if err := s.slot.Swap(s.ctx, next); err != nil {
			t.Fatal(err)
		}
		time.Sleep(18200 * time.Millisecond) // frame 200 fails
		for _, p := range s.pipes {
			if st := p.Stats(); st.Failed != 1 || st.Processed+st.Busy < 200 || st.Busy > 2 {
				t.Errorf("%+v", st)
			}
		}
	})
}

// Nothing is allocated for frames that go through together either.
func TestBatchesDoNotAllocate(t *testing.T) {
	b, m := batches(4, 0)
	b.runs = nil
	slot := engine.NewSlot(m)
	var open atomic.Int64
	const frames = 20000
	count := func(n int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		st, err := runPipeline(t.Context(), t, engine.PipelineOptions{
			Source: &fakeSource{n: n, open: &open}, Slot: slot, Sink: sinkFunc(func(*engine.Result) error { return nil }),
		})
		if err != nil || st.Processed != uint64(n) {
			t.Fatal(st, err)
		}
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	few, many := count(200), count(frames)
	if many > few+frames/20 {
		t.Errorf("%d allocations for %d frames, %d for 200", many, frames, few)
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Warming up takes as many frames at once as may come, and tells what fails then only.
func TestWarmUpOfBatches(t *testing.T) {
	b, m := batches(4, 0)
	f := one
	if err := m.WarmUp(t.Context(), &f, nil); err != nil || len(b.runs) == 0 || slices.Min(b.runs) != 4 {
		t.Errorf("%v, runs of %v", err, b.runs)
	}
	b.m.failOn = 0 // the fake fails so for several only
	if err := m.WarmUp(t.Context(), &f, nil); !errors.Is(err, errFake) {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
