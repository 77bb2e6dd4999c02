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
)

// Sixteen cameras and one that is ten times as fast share a model that can look at a fifth of what comes. Each gets the
// same, and what is looked at is always the newest: no older than a frame interval when its turn comes.
func TestTurnsAreFair(t *testing.T) {
	var closed atomic.Int64
	inBubble(t, takes(40*time.Millisecond).load("m", 1, &closed), func(s *site) {
		var memory buffers
		var oldest atomic.Int64
		for i := range 17 {
			every := 200 * time.Millisecond
			if i == 16 {
				every /= 10
			}
			s.add(engine.PipelineOptions{
				Source: &cam{name: fmt.Sprint(i), every: every, memory: &memory},
				Sink: sinkFunc(func(r *engine.Result) error {
					oldest.Store(max(oldest.Load(), int64(r.Timing.Latency-40*time.Millisecond-every)))
					return r.Err
				}),
			})
			time.Sleep(11 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		s.end()
		shares := s.shares()
		for i, share := range shares {
			if want := 60.0 * 25 / 17; share < want-2 || share > want+2 {
				t.Errorf("source %d: %v frames, want %v: %v", i, share, want, shares)
			}
		}
		if oldest.Load() > 0 {
			t.Errorf("a frame was %v older than it need have been", time.Duration(oldest.Load()))
		}
		for i, p := range s.pipes {
			if st := p.Stats(); st.Dropped != st.Busy || st.Captured-st.Processed-st.Busy > 1 {
				t.Errorf("source %d: %+v", i, st)
			}
		}
	})
}

// A source whose sink or whose decoder hangs, and one that ends, disturb nobody. The lanes are never idle for them.
func TestOneSourceBlocksNoOther(t *testing.T) {
	var closed atomic.Int64
	inBubble(t, takes(10*time.Millisecond).load("m", 2, &closed), func(s *site) {
		var memory buffers
		wall := make(chan struct{})
		camera := func(name string) *cam { return &cam{name: name, every: 100 * time.Millisecond, memory: &memory} }
		s.add(engine.PipelineOptions{Source: camera("hangs in the sink"), Sink: sinkFunc(func(*engine.Result) error { <-wall; return nil })})
		hangs := camera("hangs in the decoder")
		hangs.stuck = wall
		s.add(engine.PipelineOptions{Source: hangs})
		ends := camera("ends")
		ends.n = 5
		s.add(engine.PipelineOptions{Source: ends})
		for i := range 4 {
			s.add(engine.PipelineOptions{Source: camera(fmt.Sprint(i))})
		}
		time.Sleep(10*time.Second + 50*time.Millisecond)
		for i, want := range []float64{0, 0, 5, 100, 100, 100, 100} {
			if got := s.shares()[i]; i != 0 && got != want {
				t.Errorf("source %d: %v frames, want %v", i, got, want)
			}
		}
		close(wall)
	})
}

// Files take part in the turns: they lose nothing, get what is left, and keep no camera waiting for longer than its turn.
func TestFilesTakeTurns(t *testing.T) {
	var open, closed atomic.Int64
	inBubble(t, takes(10*time.Millisecond).load("m", 1, &closed), func(s *site) {
		var memory buffers
		camera := s.add(engine.PipelineOptions{Source: &cam{name: "cam", every: 50 * time.Millisecond, memory: &memory}, Sink: sinkFunc(func(r *engine.Result) error {
			if r.Timing.Latency > 20*time.Millisecond {
				return fmt.Errorf("the camera waited: %v", r.Timing.Latency)
			}
			return r.Err
		})})
		var files []*engine.Pipeline
		for range 3 {
			files = append(files, s.add(engine.PipelineOptions{Source: &fakeSource{n: 200, open: &open}}))
		}
		time.Sleep(8 * time.Second)
		for _, f := range files {
			if st := f.Stats(); st.Processed != 200 || st.Dropped != 0 {
				t.Errorf("%+v", st)
			}
		}
		if st := camera.Stats(); st.Dropped != 0 || st.Processed < 159 {
			t.Errorf("%+v", st)
		}
		s.end()
		if _, most := memory.read(); open.Load() != 0 || most > 3 {
			t.Errorf("%d buffers left, the camera had %d", open.Load(), most)
		}
	})
}

// Who asks for a lane with Use gets it when the sources that were before have had theirs, whatever they want, and leaves
// the line when it gives up.
func TestUseTakesATurn(t *testing.T) {
	var closed atomic.Int64
	inBubble(t, takes(10*time.Millisecond).load("m", 1, &closed), func(s *site) {
		var memory buffers
		for i := range 4 {
			s.add(engine.PipelineOptions{Source: &cam{name: fmt.Sprint(i), every: time.Millisecond, memory: &memory}})
		}
		time.Sleep(time.Second)
		for range 10 {
			start := time.Now()
			if err := s.slot.Use(s.ctx, func(*engine.Lane, *engine.ModelInfo) {}); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(start); waited > 50*time.Millisecond {
				t.Errorf("waited %v", waited)
			}
		}
		ctx, cancel := context.WithTimeout(s.ctx, time.Millisecond)
		defer cancel()
		if err := s.slot.Use(ctx, func(*engine.Lane, *engine.ModelInfo) { t.Error("called") }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// Closing a slot ends the pipelines that use it, those that wait for a picture included, and who waits for a lane.
func TestCloseEndsPipelines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed atomic.Int64
		var memory buffers
		slot := engine.NewSlot(takes(time.Second).load("m", 1, &closed))
		ended := make(chan error, 3)
		for _, every := range []time.Duration{time.Hour, 10 * time.Millisecond} {
			p, err := engine.NewPipeline(engine.PipelineOptions{
				Source: &cam{every: every, memory: &memory}, Slot: slot, Sink: sinkFunc(func(*engine.Result) error { return nil }),
			})
			if err != nil {
				t.Fatal(err)
			}
			go func() { ended <- p.Run(t.Context()) }()
		}
		time.Sleep(100 * time.Millisecond)
		go func() { ended <- slot.Use(t.Context(), func(*engine.Lane, *engine.ModelInfo) { t.Error("called") }) }()
		synctest.Wait()
		if err := slot.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := <-ended; !errors.Is(err, engine.ErrClosed) {
				t.Errorf("ended with %v", err)
			}
		}
		if open, _ := memory.read(); open != 0 {
			t.Errorf("%d buffers left", open)
		}
	})
}

// A frame that is too old when its turn comes is dropped if a newer one may be expected; a source does not starve of that.
func TestStale(t *testing.T) {
	for _, row := range []struct {
		name            string
		every, lag, age time.Duration
		stale           uint64 // of 100; at most, and at least but for one
	}{
		{"fresh enough", 100 * time.Millisecond, 0, time.Second, 0},
		{"always too old", 100 * time.Millisecond, 5 * time.Second, time.Second, 50}, // the first two teach the interval
		{"too old, and the next is far", time.Second, 5 * time.Second, 500 * time.Millisecond, 0},
		{"by default", 100 * time.Millisecond, 2 * time.Second, 0, 50},
		{"never too old", 100 * time.Millisecond, 5 * time.Second, -1, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			var closed atomic.Int64
			inBubble(t, takes(10*time.Millisecond).load("m", 1, &closed), func(s *site) {
				p := s.add(engine.PipelineOptions{Source: &cam{every: row.every, lag: row.lag, memory: &buffers{}}, MaxAge: row.age})
				time.Sleep(100*row.every + row.every/2)
				if st := p.Stats(); st.Stale+1 < row.stale || st.Stale > row.stale || st.Processed+st.Stale != 100 || st.Dropped != st.Stale {
					t.Errorf("%+v", st)
				}
			})
		})
	}
	// While the lanes are held nothing is looked at; what waited meanwhile is old, the next is not.
	var closed atomic.Int64
	inBubble(t, takes(time.Millisecond).load("m", 1, &closed), func(s *site) {
		gone := &cam{every: 10 * time.Millisecond, memory: &buffers{}, n: 51}
		s.add(engine.PipelineOptions{Source: reader{quiet{gone}}, MaxAge: 100 * time.Millisecond})
		time.Sleep(405 * time.Millisecond)
		release := make(chan struct{})
		go func() {
			_ = s.slot.Each(s.ctx, func(*engine.Lane) error { <-release; return nil })
		}()
		time.Sleep(time.Second)
		close(release)
		time.Sleep(10 * time.Millisecond)
		if st := s.pipes[0].Stats(); st.Stale != 1 || st.Processed != 40 || st.Busy != 10 {
			t.Errorf("%+v", st)
		}
	})
}

// quiet is a camera that hangs after its last picture instead of ending.
type quiet struct{ *cam }

func (q quiet) Read(ctx context.Context, f *engine.Frame) error {
	if q.seq == q.n {
		<-ctx.Done()
		return ctx.Err()
	}
	return q.cam.Read(ctx, f)
}
