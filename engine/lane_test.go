package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// fakeBatch is a fakeLane for several pictures at once. A picture of 255 cannot be fed, one of 254 not be read.
type fakeBatch struct {
	*fakeLane
	room  int
	ins   []byte
	views [][]detect.Tensor
	runs  []int // how many pictures each run took
}

var errFeed, errRead = errors.New("cannot be fed"), errors.New("cannot be read")

func newFakeBatch(room int, m fakeModel, closed *atomic.Int64) *fakeBatch {
	b := &fakeBatch{room: room, ins: make([]byte, room), runs: make([]int, 0, 1000)}
	b.fakeLane = &fakeLane{m: m, stop: make(chan struct{}), closed: closed, out: []detect.Tensor{{Data: make([]float32, 1)}}}
	for range room {
		b.views = append(b.views, []detect.Tensor{{Data: make([]float32, 1)}})
	}
	return b
}

func (b *fakeBatch) Process(f *engine.Frame, t letterbox.Transform, in engine.Input) error {
	if f.Pix[0] == 255 {
		return errFeed
	}
	return b.fakeLane.Process(f, t, in)
}

func (b *fakeBatch) Batch() int { return b.room }

func (b *fakeBatch) InputAt(i int) engine.Input {
	return engine.Input{Data: b.ins[i : i+1], Type: detect.Uint8, Width: 1, Height: 1}
}

func (b *fakeBatch) RunBatch(ctx context.Context, n int) ([][]detect.Tensor, error) {
	if b.value != 0 {
		panic("run after close")
	}
	b.runs = append(b.runs, n)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if b.m.delay != nil {
		time.Sleep(b.m.delay())
	}
	for i := range n {
		if int(b.ins[i]) == b.m.failOn {
			return nil, errFake
		}
		b.views[i][0].Data[0] = float32(b.ins[i])
	}
	return b.views[:n], nil
}

func (b *fakeBatch) Decode(outs []detect.Tensor, dst []detect.Detection) ([]detect.Detection, error) {
	dst, err := b.fakeLane.Decode(outs, dst)
	if dst[len(dst)-1].ClassID == 254 {
		err = errRead
	}
	return dst, err
}

// pictures are frames of one pixel that say how large they are.
func pictures(values ...byte) []*engine.Frame {
	var frames []*engine.Frame
	for i, v := range values {
		frames = append(frames, &engine.Frame{Pix: []byte{v, v, v}, Width: 10 + i, Height: 20 + i, Stride: 3, Format: engine.BGR24, CapturedAt: time.Now()})
	}
	return frames
}

// Every frame of a batch gets its own result in pixels of its own; what is wrong with one is its own trouble, and what is
// wrong with the run is that of all in it.
func TestDetectBatch(t *testing.T) {
	const failing = 13
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, row := range []struct {
		name   string
		ctx    context.Context
		values []byte
		errs   []error // nil: all are well
		runs   []int
		health engine.Health // of which Frames, Errors and Begun are compared
	}{
		{"full", t.Context(), []byte{1, 2, 3, 4}, nil, []int{4}, engine.Health{Begun: 4, Frames: 4}},
		{"some", t.Context(), []byte{7, 8}, nil, []int{2}, engine.Health{Begun: 2, Frames: 2}},
		{"one", t.Context(), []byte{9}, nil, nil, engine.Health{Begun: 1, Frames: 1}},
		{"none", t.Context(), nil, nil, nil, engine.Health{}},
		{"not fed", t.Context(), []byte{1, 255, 3}, []error{nil, errFeed, nil}, []int{2}, engine.Health{Begun: 3, Frames: 3, Errors: 1}},
		{"none fed", t.Context(), []byte{255, 255}, []error{errFeed, errFeed}, nil, engine.Health{Begun: 2, Frames: 2, Errors: 2}},
		{"not read", t.Context(), []byte{254, 2, 3}, []error{errRead, nil, nil}, []int{3}, engine.Health{Begun: 3, Frames: 3, Errors: 1}},
		{"run fails", t.Context(), []byte{1, failing, 255}, []error{errFake, errFake, errFeed}, []int{2}, engine.Health{Begun: 3, Frames: 3, Errors: 3}},
		{"given up", cancelled, []byte{1, 2}, []error{context.Canceled, context.Canceled}, []int{2}, engine.Health{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var closed atomic.Int64
			b := newFakeBatch(4, fakeModel{failOn: failing, delay: func() time.Duration { return 2 * time.Millisecond }}, &closed)
			lane := engine.NewLane(b, b, b, letterbox.Stretch)
			slot := engine.NewSlot(&engine.Model{Lanes: []*engine.Lane{lane}})
			if lane.Batch() != 4 {
				t.Errorf("batches of %d", lane.Batch())
			}
			frames, results := pictures(row.values...), make([]engine.Outcome, len(row.values))
			before := detect.Detection{ClassID: 1000}
			for i := range results {
				results[i].Detections = append(results[i].Detections, before)
			}
			lane.DetectBatch(row.ctx, frames, results)
			for i, r := range results {
				want := error(nil)
				if row.errs != nil {
					want = row.errs[i]
				}
				found := r.Detections[1:]
				switch {
				case r.Detections[0] != before:
					t.Errorf("frame %d: what was there is gone", i)
				case !errors.Is(r.Err, want) || (want == nil) != (r.Err == nil):
					t.Errorf("frame %d: %v, want %v", i, r.Err, want)
				case want != nil && !errors.Is(want, errRead):
					if len(found) != 0 {
						t.Errorf("frame %d has failed and found %v", i, found)
					}
				case len(found) != 1 || found[0].ClassID != int(row.values[i]) || found[0].Box != (detect.Box{X2: float32(10 + i), Y2: float32(20 + i)}):
					t.Errorf("frame %d of %d: %+v", i, row.values[i], found)
				case len(row.runs) > 0 && (r.Timing.Infer < 2*time.Millisecond/time.Duration(row.runs[0]) || r.Timing.Latency < 2*time.Millisecond):
					t.Errorf("frame %d: times %+v", i, r.Timing)
				}
			}
			if len(b.runs) != len(row.runs) || len(row.runs) > 0 && b.runs[0] != row.runs[0] {
				t.Errorf("runs of %v pictures, want %v", b.runs, row.runs)
			}
			if h := slot.Health(); h.Begun != row.health.Begun || h.Frames != row.health.Frames || h.Errors != row.health.Errors {
				t.Errorf("health %+v, want %+v", h, row.health)
			}
			if err := slot.Close(t.Context()); err != nil || closed.Load() != 2 {
				t.Errorf("%v, %d closes", err, closed.Load())
			}
		})
	}
}

// A session that takes one picture at a time serves frames one by one, and a lane of batches single frames.
func TestBatchOfOne(t *testing.T) {
	var closed atomic.Int64
	one := newFakeBatch(1, fakeModel{}, &closed)
	for _, lane := range []*engine.Lane{
		engine.NewLane(one, one, one, letterbox.Stretch),
		engine.NewLane(one, one.fakeLane, one, letterbox.Stretch), // which is no Batcher
	} {
		results := make([]engine.Outcome, 3)
		lane.DetectBatch(t.Context(), pictures(5, 255, 7), results)
		if lane.Batch() != 1 || len(one.runs) != 0 {
			t.Errorf("batches of %d, runs of %v", lane.Batch(), one.runs)
		}
		if results[0].Detections[0].ClassID != 5 || results[2].Detections[0].ClassID != 7 || !strings.Contains(results[1].Err.Error(), "preprocess: cannot be fed") {
			t.Errorf("%+v", results)
		}
	}
}

func TestDetectBatchDoesNotAllocate(t *testing.T) {
	var closed atomic.Int64
	b := newFakeBatch(8, fakeModel{failOn: -1}, &closed)
	lane := engine.NewLane(b, b, b, letterbox.Stretch)
	slot := engine.NewSlot(&engine.Model{Lanes: []*engine.Lane{lane}})
	frames, results := pictures(1, 2, 3, 4, 5, 6, 7, 8), make([]engine.Outcome, 8)
	if n := testing.AllocsPerRun(100, func() {
		for i := range results {
			results[i].Detections = results[i].Detections[:0]
		}
		lane.DetectBatch(t.Context(), frames, results)
	}); n != 0 {
		t.Errorf("%v allocations a batch, want 0", n)
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
