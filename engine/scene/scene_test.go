package scene

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	testWidth, testHeight = 256, 144 // of a scene whose places are told as in 640x360
	testStep              = 200 * time.Millisecond
)

// studio makes pictures: a still scene with edges and gradients, under a light, with objects before it and noise on it.
type studio struct {
	pix     []byte
	light   float64 // factor
	offset  float64
	noise   float64 // standard deviation of each colour of each pixel
	objects []image.Rectangle
	random  *rand.Rand
	at      time.Time
}

func newStudio() *studio {
	return &studio{pix: make([]byte, 3*testWidth*testHeight), light: 1, random: rand.New(rand.NewPCG(1, 2)), at: time.Unix(1e9, 0)}
}

// show takes a picture and has it looked at.
func (s *studio) show(w *Watch) bool {
	noise := [1 << 10]float64{} // of a table: a million normal values take too long
	for i := range noise {
		noise[i] = s.random.NormFloat64() * s.noise
	}
	for row := range testHeight {
		shift := s.random.IntN(len(noise))
		for column := range testWidth {
			x, y := column*640/testWidth, row*360/testHeight
			v := 30 + 40*math.Floor(float64(x)/80)/8 + float64(y)/6
			if x/40%3 == 0 && y > 180 {
				v += 50
			}
			for _, o := range s.objects {
				if (image.Point{X: x, Y: y}).In(o) {
					v = 160
				}
			}
			v = v*s.light + s.offset
			for c := range 3 {
				s.pix[3*(row*testWidth+column)+c] = byte(min(max(v+noise[(3*column+c+shift)%len(noise)], 0), 255))
			}
		}
	}
	s.at = s.at.Add(testStep)
	return w.Look(s.pix, testWidth, testHeight, 3*testWidth, s.at)
}

// settle shows n pictures and returns how many passed.
func (s *studio) settle(w *Watch, n int) (passed int) {
	for range n {
		if s.show(w) {
			passed++
		}
	}
	return passed
}

// What moves opens the gate; noise and light do not.
func TestMotion(t *testing.T) {
	const n = 20 // pictures after the scene has settled: less than passEvery
	for _, c := range []struct {
		name  string
		noise float64
		step  func(s *studio, i int)
		moved bool
	}{
		{"nothing", 0, func(*studio, int) {}, false},
		{"noise", 6, func(*studio, int) {}, false},
		{"much noise", 20, func(*studio, int) {}, false},
		{"slow dawn", 3, func(s *studio, i int) { s.light = 1 + 0.02*float64(i) }, false},
		{"a light is switched on", 3, func(s *studio, i int) { s.light = 1.4 }, false},
		{"a light is switched off", 3, func(s *studio, i int) { s.light = 0.5 }, false},
		{"fog", 3, func(s *studio, i int) { s.light, s.offset = 0.8, 40 }, false},
		{"a small object", 3, func(s *studio, i int) { s.objects = []image.Rectangle{image.Rect(8*i, 100, 8*i+60, 160)} }, true},
		{"a small object in much noise", 20, func(s *studio, i int) { s.objects = []image.Rectangle{image.Rect(8*i, 100, 8*i+60, 160)} }, true},
		{"a lorry", 3, func(s *studio, i int) { s.objects = []image.Rectangle{image.Rect(0, 40, 500, 340)} }, true},
		{"an object while the light changes", 3, func(s *studio, i int) {
			s.light, s.objects = 1.4, []image.Rectangle{image.Rect(300, 100, 380, 200)}
		}, true},
		{"the camera is turned", 3, func(s *studio, i int) {
			copy(s.pix, s.pix[90:])
			s.objects = []image.Rectangle{image.Rect(i, 0, 640, 360)}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, w := newStudio(), New(Options{Motion: 0.01})
			s.noise = c.noise
			if !s.show(w) {
				t.Error("the first picture did not pass")
			}
			if passed := s.settle(w, 10); passed != 0 {
				t.Errorf("%d pictures passed of a scene that stands still", passed)
			}
			moved := false
			most := 0.0
			for i := range n {
				c.step(s, i)
				moved = s.show(w) || moved
				most = max(most, w.State().Change)
			}
			if moved != c.moved {
				t.Errorf("moved: %v, change of up to %.4f", moved, most)
			}
		})
	}
}

// The gate stays open for a moment after the motion, a picture passes every few seconds without any, and what came to
// rest has become part of the background after a while.
func TestGate(t *testing.T) {
	s, w := newStudio(), New(Options{Motion: 0.01})
	s.noise = 3
	s.settle(w, 10)
	s.objects = []image.Rectangle{image.Rect(100, 100, 160, 160)}
	s.show(w)
	s.objects = nil
	held := time.Duration(s.settle(w, 40)) * testStep
	if held < holdTime-2*testStep || held > holdTime+2*testStep {
		t.Errorf("open for %v after the motion, want %v", held, holdTime)
	}
	const minute = int(time.Minute / testStep)
	if passed := s.settle(w, minute); passed < 5 || passed > 7 {
		t.Errorf("%d pictures passed in a minute without motion", passed)
	}
	s.objects = []image.Rectangle{image.Rect(100, 100, 160, 160)}
	if !s.show(w) {
		t.Error("an object that appears did not pass")
	}
	s.settle(w, minute)
	if passed := s.settle(w, minute); passed > 7 {
		t.Errorf("%d pictures passed in a minute although what came has been at rest for long", passed)
	}
	if off := New(Options{FrozenAfter: time.Minute}); s.settle(off, 5) != 5 {
		t.Error("without a gate every picture passes")
	}
}

// A picture of another size begins anew; one that is too short or has no size passes and is not read; a clock that runs
// back changes nothing.
func TestSizesAndClocks(t *testing.T) {
	w := New(Options{Motion: 0.01, FrozenAfter: time.Second, BlackAfter: time.Second})
	pix := make([]byte, 3*64*64)
	at := time.Unix(1e9, 0)
	look := func(width, height int) bool {
		at = at.Add(testStep)
		return w.Look(pix, width, height, 3*width, at)
	}
	for range 20 {
		look(64, 64)
	}
	if s := w.State(); !s.Frozen || !s.Black || s.Since.IsZero() {
		t.Errorf("after four seconds of one black picture: %+v", s)
	}
	at = at.Add(-time.Hour)
	if look(64, 64) || !w.State().Frozen {
		t.Errorf("the clock ran back: %+v", w.State())
	}
	for i, size := range [][2]int{{32, 32}, {1, 1}, {64, 2}, {2, 64}} {
		if !look(size[0], size[1]) || w.State().Frozen {
			t.Errorf("size %d: %+v", i, w.State())
		}
		if look(size[0], size[1]) {
			t.Errorf("size %d: nothing moved and it passed", i)
		}
	}
	for _, bad := range [][2]int{{0, 0}, {64, 65}, {-1, 4}, {1 << 20, 1}} {
		if !look(bad[0], bad[1]) {
			t.Errorf("%v did not pass", bad)
		}
	}
	if !w.Look(nil, 1, 1, 3, at) {
		t.Error("no bytes")
	}
}

// TestHealth tells frozen and black cameras from those that look at little.
func TestHealth(t *testing.T) {
	const n = 40
	flat := func(v byte) func(*studio, int) {
		return func(s *studio, _ int) {
			for i := range s.pix {
				s.pix[i] = v
			}
		}
	}
	for _, c := range []struct {
		name          string
		draw          func(s *studio, i int)
		frozen, black bool
	}{
		{"still", flat(90), true, false},
		{"black", flat(3), true, true},
		{"one bit of one pixel in each picture", func(s *studio, i int) { flat(90)(s, i); s.pix[3*(17*testWidth+5)] += byte(i % 2) }, false, false},
		{"key frames every two seconds", func(s *studio, i int) { flat(90+byte(i/10%2))(s, i) }, false, false},
		{"black with noise", func(s *studio, i int) {
			for j := range s.pix {
				s.pix[j] = byte(s.random.IntN(12))
			}
		}, false, true},
		{"a night with lamps", func(s *studio, i int) {
			flat(2)(s, i)
			for y := 50; y < 80; y++ {
				for x := 100; x < 200; x++ {
					s.pix[3*(y*testWidth+x)+1] = 250
				}
			}
		}, true, false},
		{"dark grey", flat(30), true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, w := newStudio(), New(Options{FrozenAfter: 4 * time.Second, BlackAfter: 3 * time.Second})
			start := s.at
			for i := range n {
				c.draw(s, i)
				w.Look(s.pix, testWidth, testHeight, 3*testWidth, s.at)
				if early := i < 15 && w.State() != (State{}); early {
					t.Fatalf("after %v: %+v", s.at.Sub(start), w.State())
				}
				s.at = s.at.Add(testStep)
			}
			state := w.State()
			if state.Frozen != c.frozen || state.Black != c.black {
				t.Fatalf("%+v", state)
			}
			if (c.frozen || c.black) != !state.Since.IsZero() || (c.frozen || c.black) && !state.Since.Equal(start) {
				t.Errorf("since %v, the start was %v", state.Since, start)
			}
			// A new picture ends it.
			for i := range s.pix {
				s.pix[i] = byte(i) | 64
			}
			w.Look(s.pix, testWidth, testHeight, 3*testWidth, s.at)
			if got := w.State(); got != (State{}) {
				t.Errorf("afterwards: %+v", got)
			}
		})
	}
}

// A picture that changes in one place only is noticed however large it is.
func TestFrozenSeesEveryRow(t *testing.T) {
	const width, height = 16, 5000
	pix := make([]byte, 3*width*height)
	for y := 0; y < height; y += 331 {
		w := New(Options{FrozenAfter: time.Second})
		at := time.Unix(1e9, 0)
		for i := range 200 {
			pix[3*width*y+7] = byte(i / 70)
			w.Look(pix, width, height, 3*width, at)
			at = at.Add(testStep)
			if i > 140 && w.changed.since < w.now-15*time.Second-maxPhases*testStep {
				t.Fatalf("a change of row %d was missed", y)
			}
		}
	}
}

func TestLookDoesNotAllocate(t *testing.T) {
	w := New(Options{Motion: 0.01, FrozenAfter: time.Minute, BlackAfter: time.Minute})
	pix, at := make([]byte, 3*320*240), time.Unix(1e9, 0)
	if n := testing.AllocsPerRun(100, func() {
		at = at.Add(testStep)
		pix[100]++
		w.Look(pix, 320, 240, 3*320, at)
	}); n != 0 {
		t.Errorf("%v allocations for a picture", n)
	}
}

func BenchmarkLook(b *testing.B) {
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"motion", Options{Motion: 0.01}},
		{"all", Options{Motion: 0.01, FrozenAfter: time.Minute, BlackAfter: time.Minute}},
	} {
		b.Run(c.name, func(b *testing.B) {
			const width, height = 1920, 1080
			var pictures [4][]byte // not all in the cache
			for i := range pictures {
				pictures[i] = make([]byte, 3*width*height)
				for j := range pictures[i] {
					pictures[i][j] = byte(j*7 + i)
				}
			}
			w, at := New(c.o), time.Unix(1e9, 0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				at = at.Add(time.Second / 25)
				w.Look(pictures[i%4], width, height, 3*width, at)
			}
		})
	}
}
