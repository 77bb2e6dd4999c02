package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// fakeSource makes n frames of one pixel that carries the frame's number; live ones come at an interval.
type fakeSource struct {
	n     int
	live  bool
	every time.Duration
	fail  error
	next  int
	open  *atomic.Int64 // buffers that exist
}

type fakeBuffer struct {
	pix  [3]byte
	open *atomic.Int64
}

func (b *fakeBuffer) Close() error { b.open.Add(-1); return nil }

func (s *fakeSource) Name() string { return "fake" }
func (s *fakeSource) Live() bool   { return s.live }
func (s *fakeSource) Close() error { return nil }
func (s *fakeSource) Read(ctx context.Context, f *engine.Frame) error {
	if s.every > 0 {
		select {
		case <-time.After(s.every):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.next == s.n {
		if s.fail != nil {
			return s.fail
		}
		return io.EOF
	}
	b, ok := f.Buffer.(*fakeBuffer)
	if !ok {
		b = &fakeBuffer{open: s.open}
		s.open.Add(1)
		f.Buffer = b
	}
	b.pix[0] = byte(s.next)
	f.Pix, f.Width, f.Height, f.Stride, f.Format = b.pix[:], 1, 1, 3, engine.BGR24
	f.Seq, f.CapturedAt = uint64(s.next), time.Now()
	s.next++
	return nil
}

// fakeModel makes lanes whose sessions read what Close poisons, so that the race detector sees any overlap, and
// answer with one box whose class is the pixel that came in.
type fakeModel struct {
	delay  func() time.Duration
	failOn int // frame number, 0: never
	hang   bool
	before func(frame int) // called in each run
}

type fakeLane struct {
	m      fakeModel
	in     [1]byte
	value  int // poisoned by Close
	stop   chan struct{}
	once   sync.Once
	closed *atomic.Int64
	out    []detect.Tensor
}

func (l *fakeLane) Process(f *engine.Frame, _ letterbox.Transform, in engine.Input) error {
	in.Data[0] = f.Pix[0]
	return nil
}

func (l *fakeLane) Input() engine.Input {
	return engine.Input{Data: l.in[:], Type: detect.Uint8, Width: 1, Height: 1}
}

var errFake = errors.New("fake failure")

func (l *fakeLane) Run(ctx context.Context) ([]detect.Tensor, error) {
	if l.m.hang {
		<-l.stop
		return nil, engine.ErrInterrupted
	}
	if l.m.before != nil {
		l.m.before(int(l.in[0]))
	}
	if l.m.delay != nil {
		time.Sleep(l.m.delay())
	}
	if l.value != 0 {
		panic("run after close")
	}
	if n := int(l.in[0]); n != 0 && n == l.m.failOn {
		return nil, errFake
	}
	l.out[0].Data[0] = float32(l.in[0])
	return l.out, nil
}

func (l *fakeLane) Outputs() []detect.TensorInfo { return nil }

func (l *fakeLane) Interrupt() { l.once.Do(func() { close(l.stop) }) }

func (l *fakeLane) Close() error {
	l.value = -1
	l.closed.Add(1)
	return nil
}

// Decode answers one box over the whole input, of the class that the tensor holds.
func (l *fakeLane) Decode(outs []detect.Tensor, dst []detect.Detection) ([]detect.Detection, error) {
	return append(dst, detect.Detection{Box: detect.Box{X2: 1, Y2: 1}, Score: 0.5, ClassID: int(outs[0].Data[0])}), nil
}

func (l *fakeLane) Classes() int { return 256 }

func (m fakeModel) load(name string, lanes int, closed *atomic.Int64) *engine.Model {
	out := &engine.Model{Info: engine.ModelInfo{Name: name}}
	for range lanes {
		l := &fakeLane{m: m, stop: make(chan struct{}), closed: closed, out: []detect.Tensor{{Data: make([]float32, 1)}}}
		out.Lanes = append(out.Lanes, engine.NewLane(l, l, l, letterbox.Stretch))
	}
	return out
}

// sinkFunc adapts a function.
type sinkFunc func(*engine.Result) error

func (f sinkFunc) Handle(r *engine.Result) error { return f(r) }

func jitter() time.Duration { return time.Duration(rand.IntN(300)) * time.Microsecond }

func runPipeline(ctx context.Context, t *testing.T, o engine.PipelineOptions) (engine.Stats, error) {
	t.Helper()
	p, err := engine.NewPipeline(o)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Run(ctx)
	return p.Stats(), err
}

// A lossless source loses nothing and results arrive in order, whatever the lanes' timing; buffers are all freed.
func TestLosslessInOrder(t *testing.T) {
	for _, lanes := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(lanes), func(t *testing.T) {
			var open, closed atomic.Int64
			slot := engine.NewSlot(fakeModel{delay: jitter}.load("m", lanes, &closed))
			const frames = 200
			next := 0
			sink := sinkFunc(func(r *engine.Result) error {
				if r.Frame.Seq != uint64(next) || len(r.Detections) != 1 || r.Detections[0].ClassID != next || r.Model.Name != "m" {
					return fmt.Errorf("result %d: frame %d, %v", next, r.Frame.Seq, r.Detections)
				}
				next++
				return nil
			})
			st, err := runPipeline(t.Context(), t, engine.PipelineOptions{Source: &fakeSource{n: frames, open: &open}, Slot: slot, Sink: sink})
			if err != nil {
				t.Fatal(err)
			}
			if next != frames || st.Captured != frames || st.Processed != frames || st.Dropped != 0 || st.Detections != frames {
				t.Errorf("%d delivered, stats %+v", next, st)
			}
			if open.Load() != 0 {
				t.Errorf("%d frame buffers are still open", open.Load())
			}
			if err := slot.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if int(closed.Load()) != 2*lanes { // each fake is session and preprocessor at once
				t.Errorf("%d closes, want %d", closed.Load(), 2*lanes)
			}
		})
	}
}

// While a result waits for that of a slower frame before it, the lane that it came from takes the next frame; and no more
// frames are in the model than there are lanes.
func TestWaitingForTheTurnKeepsNoLane(t *testing.T) {
	var open, closed, inModel atomic.Int64
	third := make(chan struct{})
	m := fakeModel{before: func(frame int) {
		if inModel.Add(1) > 2 {
			t.Error("three frames in a model with two lanes")
		}
		defer inModel.Add(-1)
		switch frame {
		case 0:
			select {
			case <-third:
			case <-time.After(10 * time.Second):
				t.Error("the third frame waits for the first")
			}
		case 2:
			close(third)
		}
	}}
	slot := engine.NewSlot(m.load("m", 2, &closed))
	st, err := runPipeline(t.Context(), t, engine.PipelineOptions{
		Source: &fakeSource{n: 40, open: &open}, Slot: slot, Sink: sinkFunc(func(*engine.Result) error { return nil }),
	})
	if err != nil || st.Processed != 40 {
		t.Errorf("%v, %+v", err, st)
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A live source never waits: slow inference drops old frames, counts them, and the last frame is seen.
func TestLiveDropsOldest(t *testing.T) {
	var open, closed atomic.Int64
	slot := engine.NewSlot(fakeModel{delay: func() time.Duration { return 5 * time.Millisecond }}.load("m", 1, &closed))
	last := -1
	sink := sinkFunc(func(r *engine.Result) error {
		if int(r.Frame.Seq) <= last {
			return fmt.Errorf("frame %d after %d", r.Frame.Seq, last)
		}
		last = int(r.Frame.Seq)
		return nil
	})
	const frames = 150
	st, err := runPipeline(t.Context(), t, engine.PipelineOptions{Source: &fakeSource{n: frames, live: true, every: 500 * time.Microsecond, open: &open}, Slot: slot, Sink: sink})
	if err != nil {
		t.Fatal(err)
	}
	if st.Dropped == 0 || st.Dropped+st.Processed != frames {
		t.Errorf("%d dropped and %d processed of %d", st.Dropped, st.Processed, frames)
	}
	if last != frames-1 {
		t.Errorf("the last frame seen is %d, want %d", last, frames-1)
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A failing frame is a result with an error, not the end.
func TestFrameErrorIsCounted(t *testing.T) {
	var open, closed atomic.Int64
	slot := engine.NewSlot(fakeModel{failOn: 7}.load("m", 2, &closed))
	var errs []error
	sink := sinkFunc(func(r *engine.Result) error {
		if r.Err != nil {
			errs = append(errs, r.Err)
			if len(r.Detections) != 0 {
				return errors.New("detections with a failed run")
			}
		}
		return nil
	})
	st, err := runPipeline(t.Context(), t, engine.PipelineOptions{Source: &fakeSource{n: 20, open: &open}, Slot: slot, Sink: sink})
	if err != nil || st.Failed != 1 || st.Processed != 20 || len(errs) != 1 || !errors.Is(errs[0], errFake) {
		t.Errorf("err %v, stats %+v, errors %v", err, st, errs)
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The end of a source with an error, and of a sink with one, ends the run with that error and frees everything.
func TestSourceAndSinkErrors(t *testing.T) {
	var open, closed atomic.Int64
	slot := engine.NewSlot(fakeModel{}.load("m", 2, &closed))
	boom := errors.New("boom")
	_, err := runPipeline(t.Context(), t, engine.PipelineOptions{
		Source: &fakeSource{n: 3, fail: boom, open: &open}, Slot: slot,
		Sink: sinkFunc(func(*engine.Result) error { return nil }),
	})
	if !errors.Is(err, boom) {
		t.Errorf("source error: got %v", err)
	}
	_, err = runPipeline(t.Context(), t, engine.PipelineOptions{
		Source: &fakeSource{n: 1000, open: &open}, Slot: slot,
		Sink: sinkFunc(func(r *engine.Result) error {
			if r.Frame.Seq == 5 {
				return boom
			}
			return nil
		}),
	})
	if !errors.Is(err, boom) {
		t.Errorf("sink error: got %v", err)
	}
	if open.Load() != 0 {
		t.Errorf("%d frame buffers are still open", open.Load())
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Cancelling ends a run in which nothing moves, and is no error.
func TestCancel(t *testing.T) {
	var open, closed atomic.Int64
	slot := engine.NewSlot(fakeModel{}.load("m", 1, &closed))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := runPipeline(ctx, t, engine.PipelineOptions{
		Source: &fakeSource{n: 1, live: true, every: time.Hour, open: &open}, Slot: slot,
		Sink: sinkFunc(func(*engine.Result) error { return nil }),
	})
	if err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("err %v after %v", err, time.Since(start))
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Models are exchanged between two frames, again and again: no frame is lost, none sees a closed model, every old
// model is closed.
func TestSwapBetweenFrames(t *testing.T) {
	var open, closed atomic.Int64
	const lanes, swaps, frames = 3, 40, 600
	slot := engine.NewSlot(fakeModel{delay: jitter}.load("m0", lanes, &closed))
	names := map[string]int{}
	done := make(chan error, 1)
	delivered := make(chan struct{}, frames)
	sink := sinkFunc(func(r *engine.Result) error {
		names[r.Model.Name]++
		delivered <- struct{}{}
		return r.Err
	})
	p, err := engine.NewPipeline(engine.PipelineOptions{Source: &fakeSource{n: frames, open: &open}, Slot: slot, Sink: sink})
	if err != nil {
		t.Fatal(err)
	}
	go func() { done <- p.Run(t.Context()) }()
	for i := 1; i <= swaps; i++ {
		for range 10 {
			<-delivered
		}
		// The number of lanes may change with the model.
		if err := slot.Swap(t.Context(), fakeModel{delay: jitter}.load(fmt.Sprint("m", i), 1+i%lanes, &closed)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if st := p.Stats(); st.Processed != frames || st.Failed != 0 {
		t.Errorf("stats %+v", st)
	}
	if len(names) < swaps/2 {
		t.Errorf("only %d models were ever used: %v", len(names), names)
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	total := lanes
	for i := 1; i <= swaps; i++ {
		total += 1 + i%lanes
	}
	if int(closed.Load()) != 2*total {
		t.Errorf("%d closes, want %d", closed.Load(), 2*total)
	}
	if err := slot.Use(t.Context(), func(*engine.Lane, *engine.ModelInfo) {}); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("use after close: %v", err)
	}
	if err := slot.Swap(t.Context(), fakeModel{}.load("late", 1, &closed)); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("swap after close: %v", err)
	}
}

// A run that hangs is interrupted when the one who closes runs out of patience.
func TestCloseInterrupts(t *testing.T) {
	var closed atomic.Int64
	slot := engine.NewSlot(fakeModel{hang: true}.load("m", 2, &closed))
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		_ = slot.Use(t.Context(), func(l *engine.Lane, _ *engine.ModelInfo) {
			close(started)
			_, _, err := l.Detect(t.Context(), &engine.Frame{Pix: make([]byte, 3), Width: 1, Height: 1, Stride: 3, Format: engine.BGR24}, nil)
			ended <- err
		})
	}()
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := slot.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, engine.ErrInterrupted) {
		t.Errorf("the run ended with %v", err)
	}
	if closed.Load() != 4 {
		t.Errorf("%d closes, want 4", closed.Load())
	}
}

// The threshold of a source drops the low end of each result.
func TestScoreThreshold(t *testing.T) {
	var open, closed atomic.Int64
	for _, row := range []struct {
		min  float32
		want uint64
	}{{0, 10}, {0.5, 10}, {0.51, 0}} {
		slot := engine.NewSlot(fakeModel{}.load("m", 1, &closed))
		st, err := runPipeline(t.Context(), t, engine.PipelineOptions{
			Source: &fakeSource{n: 10, open: &open}, Slot: slot, ScoreThreshold: row.min,
			Sink: sinkFunc(func(*engine.Result) error { return nil }),
		})
		if err != nil || st.Detections != row.want {
			t.Errorf("threshold %v: %d detections, want %d (%v)", row.min, st.Detections, row.want, err)
		}
		if err := slot.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPipelineNeedsItsParts(t *testing.T) {
	if _, err := engine.NewPipeline(engine.PipelineOptions{}); err == nil {
		t.Error("a pipeline without parts was made")
	}
}
