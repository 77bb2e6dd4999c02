package engine_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// film is a file whose frames have the given times.
type film struct {
	times []time.Duration
	next  int
}

func (f *film) Name() string { return "film" }
func (f *film) Live() bool   { return false }
func (f *film) Close() error { return nil }

func (f *film) Read(_ context.Context, dst *engine.Frame) error {
	if f.next == len(f.times) {
		return io.EOF
	}
	dst.Pix, dst.Width, dst.Height, dst.Stride, dst.Format = []byte{1, 2, 3}, 1, 1, 3, engine.BGR24
	dst.Seq, dst.PTS, dst.CapturedAt = uint64(f.next), f.times[f.next], time.Now()
	f.next++
	return nil
}

// at makes the times of n frames, so many a second, each up to jitter early or late.
func at(n int, fps float64, jitter time.Duration) []time.Duration {
	var out []time.Duration
	for i := range n {
		d := time.Duration(float64(i) * float64(time.Second) / fps)
		if jitter > 0 && i > 0 {
			d += rand.N(2*jitter) - jitter
		}
		out = append(out, d)
	}
	return out
}

// every is 0, n, 2n, ….
func every(n, below int) []uint64 {
	var out []uint64
	for i := 0; i < below; i += n {
		out = append(out, uint64(i))
	}
	return out
}

// Frames are looked at by their own times: regularly where that is possible, never more often than was asked for, and
// what a stall kept away is not made up for.
func TestDetectFPS(t *testing.T) {
	stall := at(120, 25, 0) // of ten seconds and a bit, after the 20th frame
	for i := range 100 {
		stall[20+i] += 10110 * time.Millisecond
	}
	back := append(at(20, 25, 0), at(20, 25, 0)...)
	for _, row := range []struct {
		name  string
		times []time.Duration
		fps   float64
		want  []uint64 // nil: so many frames
		least int
		most  int
	}{
		{"a fifth", at(1000, 25, 0), 5, every(5, 1000), 0, 0},
		{"a fifth of what comes unevenly", at(1000, 25, 10*time.Millisecond), 5, every(5, 1000), 0, 0},
		{"a fifth of what comes in heaps", at(1000, 25, 60*time.Millisecond), 5, nil, 180, 201},
		{"a third of 29.97", at(999, 29.97, 0), 9.99, every(3, 999), 0, 0},
		{"no whole part", at(3000, 30, 0), 7, nil, 699, 701},
		{"nearly all", at(2500, 25, 0), 24, nil, 2399, 2401},
		{"as many as there are", at(500, 25, 15*time.Millisecond), 25, nil, 490, 500},
		{"more than there are", at(500, 10, 0), 25, every(1, 500), 0, 0},
		{"all", at(500, 25, 0), 0, every(1, 500), 0, 0},
		{"after a stall", stall, 5, append([]uint64{0, 5, 10, 15}, every(5, 120)[4:]...), 0, 0},
		{"a file that begins anew", back, 5, every(5, 40), 0, 0},
		{"without times", make([]time.Duration, 30), 5, every(1, 30), 0, 0},
		{"one an hour", at(7201, 1, 0), 1. / 3600, []uint64{0, 3600, 7200}, 0, 0},
		{"hardly ever", at(100, 1, 0), 1e-300, []uint64{0}, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			var closed atomic.Int64
			slot := engine.NewSlot(fakeModel{}.load("m", 1, &closed))
			var got []uint64
			st, err := runPipeline(t.Context(), t, engine.PipelineOptions{
				Source: &film{times: row.times}, Slot: slot, DetectFPS: row.fps,
				Sink: sinkFunc(func(r *engine.Result) error { got = append(got, r.Frame.Seq); return r.Err }),
			})
			if err != nil || int(st.Paced)+len(got) != len(row.times) || st.Dropped != st.Paced {
				t.Fatal(err, st)
			}
			if row.want != nil && !slices.Equal(got, row.want) {
				t.Errorf("got %d frames: %v…, want %d: %v…", len(got), got[:min(len(got), 20)], len(row.want), row.want[:min(len(row.want), 20)])
			}
			if row.want == nil && (len(got) < row.least || len(got) > row.most) {
				t.Errorf("%d frames, want %d to %d", len(got), row.least, row.most)
			}
			if err := slot.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// gateFunc adapts a function.
type gateFunc func(*engine.Frame) bool

func (g gateFunc) Pass(f *engine.Frame) bool { return g(f) }

// The gate is asked about the frames that are due, in their order, and what it refuses is not looked at. A frame that it
// let in is not given up for one that it refuses.
func TestGate(t *testing.T) {
	var closed atomic.Int64
	inBubble(t, takes(100*time.Millisecond).load("m", 1, &closed), func(s *site) {
		var asked, seen []uint64
		p := s.add(engine.PipelineOptions{
			Source: &cam{every: 20 * time.Millisecond, memory: &buffers{}, n: 99}, DetectFPS: 25,
			Gate: gateFunc(func(f *engine.Frame) bool {
				asked = append(asked, f.Seq)
				return f.Seq%20 == 0 || f.Seq%20 == 2
			}),
			Sink: sinkFunc(func(r *engine.Result) error { seen = append(seen, r.Frame.Seq); return r.Err }),
		})
		time.Sleep(3 * time.Second)
		s.end()
		if want := every(2, 99); !slices.Equal(asked, want) {
			t.Errorf("asked about %v, want %v", asked, want)
		}
		// The second of a pair comes while the first is in the model, and waits while others are refused.
		if want := []uint64{0, 2, 20, 22, 40, 42, 60, 62, 80, 82}; !slices.Equal(seen, want) {
			t.Errorf("looked at %v, want %v", seen, want)
		}
		if st := p.Stats(); st.Paced != 49 || st.Still != 40 || st.Processed != 10 || st.Dropped != 89 {
			t.Errorf("%+v", st)
		}
	})
}

// seer is a model that finds one box over all that it sees, and notes what that was. It counts for the labels of boxes
// what comes in turn.
type seer struct {
	*fakeLane
	sizes [][3]int // width, height and the first pixel
	found []detect.Detection
}

func (s *seer) Process(f *engine.Frame, t letterbox.Transform, in engine.Input) error {
	s.sizes = append(s.sizes, [3]int{f.Width, f.Height, int(f.Pix[0])})
	_ = f.Pix[(f.Height-1)*f.Stride+3*f.Width-1] // is there
	return s.fakeLane.Process(f, t, in)
}

func (s *seer) Decode(_ []detect.Tensor, dst []detect.Detection) ([]detect.Detection, error) {
	return append(dst, s.found...), nil
}

func newSeer(found ...detect.Detection) (*seer, *engine.Slot) {
	var closed atomic.Int64
	s := &seer{fakeLane: &fakeLane{stop: make(chan struct{}), closed: &closed, out: []detect.Tensor{{Data: make([]float32, 1)}}}, found: found}
	return s, engine.NewSlot(&engine.Model{Info: engine.ModelInfo{Labels: []string{"cat", "dog", "bird"}}, Lanes: []*engine.Lane{engine.NewLane(s, s, s, letterbox.Stretch)}})
}

// grid is one picture of so many pixels, each of which has its column plus ten times its row in the first byte, in rows
// of eight bytes more than it needs.
type grid struct {
	width, height int
	done          bool
}

func (g *grid) Name() string { return "grid" }
func (g *grid) Live() bool   { return false }
func (g *grid) Close() error { return nil }

func (g *grid) Read(_ context.Context, f *engine.Frame) error {
	if g.done {
		return io.EOF
	}
	g.done = true
	stride := 3*g.width + 8
	f.Pix = make([]byte, stride*g.height)
	for y := range g.height {
		for x := range g.width {
			f.Pix[y*stride+3*x] = byte(x + 10*y)
		}
	}
	f.Width, f.Height, f.Stride, f.Format = g.width, g.height, stride, engine.BGR24
	return nil
}

// The model sees the region only, as the gate does, in the frame's own memory; boxes are in pixels of the frame, which the sink gets whole.
func TestRegion(t *testing.T) {
	for _, row := range []struct {
		region        [4]float64
		width, height int
		sees          [3]int // width, height, first pixel
		box           detect.Box
	}{
		{[4]float64{}, 10, 8, [3]int{10, 8, 0}, detect.Box{X2: 10, Y2: 8}},
		{[4]float64{0, 0, 1, 1}, 9, 7, [3]int{9, 7, 0}, detect.Box{X2: 9, Y2: 7}},
		{[4]float64{0.2, 0.25, 0.6, 0.5}, 10, 8, [3]int{6, 4, 22}, detect.Box{X1: 2, Y1: 2, X2: 8, Y2: 6}},
		{[4]float64{0.3, 0.4, 0.3, 0.2}, 10, 8, [3]int{4, 4, 22}, detect.Box{X1: 2, Y1: 2, X2: 6, Y2: 6}}, // 3 to 6 and 3.2 to 4.8
		{[4]float64{0.5, 0.5, 0.5, 0.5}, 9, 7, [3]int{5, 5, 24}, detect.Box{X1: 4, Y1: 2, X2: 9, Y2: 7}},
		{[4]float64{0.999, 0.999, 0.001, 0.001}, 10, 8, [3]int{2, 2, 68}, detect.Box{X1: 8, Y1: 6, X2: 10, Y2: 8}},
		{[4]float64{0.9, 0.9, 0.1, 0.1}, 1, 1, [3]int{1, 1, 0}, detect.Box{X2: 1, Y2: 1}},
		{[4]float64{0.1, 0.1, 0.9, 0.9}, 10, 8, [3]int{10, 8, 0}, detect.Box{X2: 10, Y2: 8}},
	} {
		t.Run(fmt.Sprint(row.region, row.width), func(t *testing.T) {
			model, slot := newSeer(detect.Detection{Box: detect.Box{X2: 1, Y2: 1}, Score: 0.5})
			_, err := runPipeline(t.Context(), t, engine.PipelineOptions{
				Source: &grid{width: row.width, height: row.height}, Slot: slot, Region: row.region,
				Gate: gateFunc(func(f *engine.Frame) bool { return [3]int{f.Width, f.Height, int(f.Pix[0])} == row.sees }),
				Sink: sinkFunc(func(r *engine.Result) error {
					if f := r.Frame; f.Width != row.width || f.Height != row.height || f.Pix[0] != 0 || r.Detections[0].Box != row.box {
						t.Errorf("a frame of %dx%d, %v; want %v", f.Width, f.Height, r.Detections, row.box)
					}
					return r.Err
				}),
			})
			if err != nil || !slices.Equal(model.sizes, [][3]int{row.sees}) {
				t.Errorf("sees %v, want %v (%v)", model.sizes, row.sees, err)
			}
			if err := slot.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, bad := range [][4]float64{{0, 0, 0, 1}, {0, 0, 1.1, 1}, {-0.1, 0, 0.5, 0.5}, {0.6, 0, 0.5, 1}, {0, 0.6, 1, 0.5}} {
		_, slot := newSeer()
		if _, err := engine.NewPipeline(engine.PipelineOptions{Source: &grid{}, Slot: slot, Sink: sinkFunc(nil), Region: bad}); err == nil {
			t.Errorf("region %v was accepted", bad)
		}
	}
}

// Only the classes that are wanted are reported, which may change while frames flow and when the model does.
func TestLabels(t *testing.T) {
	found := []detect.Detection{{ClassID: 2, Score: 0.9}, {ClassID: 0, Score: 0.8}, {ClassID: 7, Score: 0.7}, {ClassID: 1, Score: 0.6}, {ClassID: -1, Score: 0.5}}
	for i := range found {
		found[i].Box = detect.Box{X2: 1, Y2: 1}
	}
	_, slot := newSeer(found...)
	var p *engine.Pipeline
	var got [][]int
	sink := sinkFunc(func(r *engine.Result) error {
		var ids []int
		for _, d := range r.Detections {
			ids = append(ids, d.ClassID)
		}
		got = append(got, ids)
		switch len(got) {
		case 1:
			p.SetLabels([]string{"bird"})
		case 2:
			p.SetLabels([]string{"unicorn"})
		case 3:
			p.SetLabels(nil)
		}
		return r.Err
	})
	// One worker: the change is in the very next result.
	o := engine.PipelineOptions{Source: &film{times: at(4, 1, 0)}, Slot: slot, Sink: sink, Labels: []string{"dog", "cat", "unicorn"}, ScoreThreshold: 0.55}
	p, err := engine.NewPipeline(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "[[0 1] [2] [] [2 0 7 1]]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if st := p.Stats(); st.Detections != 7 {
		t.Errorf("%+v", st)
	}
	if err := slot.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
