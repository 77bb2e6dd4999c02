package tensor

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// randomFrame is a w x h picture of noise, with rows further apart than they need to be.
func randomFrame(r *rand.Rand, w, h, extra int) *engine.Frame {
	stride := 3*w + extra
	pix := make([]byte, stride*h)
	for i := range pix {
		pix[i] = byte(r.Uint32())
	}
	return &engine.Frame{Pix: pix, Width: w, Height: h, Stride: stride, Format: engine.BGR24}
}

// naive is the same resize by its definition, in floating point, without any trick: the expectation of every test
// that runs where there is no OpenCV.
func naive(f *engine.Frame, t letterbox.Transform, x, y, c int) float64 {
	axis := func(i, src, n int) (int, int, float64) {
		at := (float64(i)+0.5)*float64(src)/float64(n) - 0.5
		lo := math.Floor(at)
		frac := at - lo
		return min(max(int(lo), 0), src-1), min(max(int(lo)+1, 0), src-1), frac
	}
	x0, x1, fx := axis(x, f.Width, t.NewW)
	y0, y1, fy := axis(y, f.Height, t.NewH)
	p := func(x, y int) float64 { return float64(f.Pix[y*f.Stride+3*x+c]) }
	top := p(x0, y0)*(1-fx) + p(x1, y0)*fx
	bottom := p(x0, y1)*(1-fx) + p(x1, y1)*fx
	return top*(1-fy) + bottom*fy
}

func input(w, h int, typ detect.ElementType, nhwc bool) engine.Input {
	size := map[detect.ElementType]int{detect.Float32: 4, detect.Float16: 2, detect.Uint8: 1}[typ]
	mem := make([]uint64, (3*w*h*size+7)/8) // aligned for every type
	data := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(mem))), 3*w*h*size)
	for i := range data {
		data[i] = 0xa5 // whatever is not written shows
	}
	return engine.Input{Data: data, Type: typ, Width: w, Height: h, NHWC: nhwc}
}

// element reads channel c of the model's order at x, y.
func element(in engine.Input, x, y, c int) float64 {
	i := c*in.Width*in.Height + y*in.Width + x
	if in.NHWC {
		i = 3*(y*in.Width+x) + c
	}
	p := unsafe.Pointer(unsafe.SliceData(in.Data))
	switch in.Type {
	case detect.Float32:
		return float64(unsafe.Slice((*float32)(p), len(in.Data)/4)[i])
	case detect.Float16:
		return float64(half(unsafe.Slice((*uint16)(p), len(in.Data)/2)[i]))
	}
	return float64(in.Data[i])
}

// half decodes binary16 by its definition.
func half(h uint16) float32 {
	frac, exp := float64(h&0x3ff), int(h>>10&0x1f)
	v := math.Ldexp(1+frac/1024, exp-15)
	if exp == 0 {
		v = math.Ldexp(frac/1024, -14)
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return float32(v)
}

func TestProcessAgainstDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	sizes := [][4]int{{640, 480, 416, 416}, {7, 5, 32, 64}, {1, 1, 16, 16}, {1920, 108, 64, 64}, {33, 200, 96, 64}, {64, 64, 64, 64}, {128, 128, 64, 64}, {3, 900, 32, 32}}
	types := []detect.ElementType{detect.Float32, detect.Float16, detect.Uint8}
	for _, s := range sizes {
		for _, mode := range letterbox.Modes() {
			for _, typ := range types {
				for flags := range 4 {
					nhwc, rgb := flags&1 != 0, flags&2 != 0
					t.Run(fmt.Sprintf("%v %s %s nhwc=%v rgb=%v", s, mode, typ, nhwc, rgb), func(t *testing.T) {
						o := Options{RGB: rgb, Scale: 1 / 255.0, Mean: [3]float32{0.1, 0.2, 0.3}, Std: [3]float32{0.5, 0.6, 0.7}, Pad: [3]uint8{114, 10, 250}}
						if typ == detect.Uint8 {
							o.Scale, o.Mean, o.Std = 1, [3]float32{}, [3]float32{1, 1, 1}
						}
						checkOne(t, r, s, mode, typ, nhwc, o)
					})
				}
			}
		}
	}
}

func checkOne(t *testing.T, r *rand.Rand, s [4]int, mode letterbox.Mode, typ detect.ElementType, nhwc bool, o Options) {
	t.Helper()
	f := randomFrame(r, s[0], s[1], r.IntN(9))
	tr, err := letterbox.New(mode, s[0], s[1], s[2], s[3])
	if err != nil {
		t.Fatal(err)
	}
	in := input(s[2], s[3], typ, nhwc)
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if err := p.Process(f, tr, in); err != nil {
		t.Fatal(err)
	}
	for y := range s[3] {
		for x := range s[2] {
			for c := range 3 {
				byteValue := float64(o.Pad[c])
				if x >= tr.PadX && x < tr.PadX+tr.NewW && y >= tr.PadY && y < tr.PadY+tr.NewH {
					bgr := c
					if o.RGB {
						bgr = 2 - c
					}
					byteValue = naive(f, tr, x-tr.PadX, y-tr.PadY, bgr)
				}
				got := element(in, x, y, c)
				// Back to bytes: one unit of the picture for the fixed point, and what the type rounds away.
				gotByte := (got*float64(o.Std[c]) + float64(o.Mean[c])) / o.Scale
				tol := 1.01
				if typ == detect.Float16 {
					tol += 255 * math.Abs(got) / 1024
				}
				if math.Abs(gotByte-byteValue) > tol {
					t.Fatalf("element %d,%d channel %d is %v, which is byte %.3f; want %.3f", x, y, c, got, gotByte, byteValue)
				}
			}
		}
	}
}

// A camera that changes its size leaves no trace of the old picture in the padding.
func TestProcessSizeChange(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	o := Options{Scale: 1, Std: [3]float32{1, 1, 1}, Pad: [3]uint8{114, 114, 114}}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	in, fresh := input(64, 64, detect.Float32, false), input(64, 64, detect.Float32, false)
	for _, size := range [][2]int{{64, 64}, {64, 20}, {20, 64}, {64, 20}} {
		f := randomFrame(r, size[0], size[1], 0)
		tr, err := letterbox.New(letterbox.Center, size[0], size[1], 64, 64)
		if err != nil {
			t.Fatal(err)
		}
		q, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			p  *Preprocessor
			in engine.Input
		}{{p, in}, {q, fresh}} {
			if err := step.p.Process(f, tr, step.in); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if string(in.Data) != string(fresh.Data) {
			t.Fatalf("after a frame of %v the reused tensor differs from a fresh one", size)
		}
	}
}

func TestProcessErrors(t *testing.T) {
	good := func() (*engine.Frame, letterbox.Transform, engine.Input) {
		tr, err := letterbox.New(letterbox.Stretch, 8, 8, 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		return randomFrame(rand.New(rand.NewPCG(5, 6)), 8, 8, 0), tr, input(16, 16, detect.Float32, false)
	}
	rows := []struct {
		name, want string
		spoil      func(*engine.Frame, *letterbox.Transform, *engine.Input)
	}{
		{"format", "pixel format 9 is not supported", func(f *engine.Frame, _ *letterbox.Transform, _ *engine.Input) { f.Format = 9 }},
		{"size", "the frame is 9x8, its placement is for 8x8", func(f *engine.Frame, _ *letterbox.Transform, _ *engine.Input) { f.Width = 9 }},
		{"short", "the frame's memory (191 bytes, stride 24) is too small for 8x8", func(f *engine.Frame, _ *letterbox.Transform, _ *engine.Input) { f.Pix = f.Pix[:191] }},
		{"stride", "the frame's memory (192 bytes, stride 23) is too small for 8x8", func(f *engine.Frame, _ *letterbox.Transform, _ *engine.Input) { f.Stride = 23 }},
		{"input", "the input is 17x16, the placement is for 16x16", func(_ *engine.Frame, _ *letterbox.Transform, in *engine.Input) { in.Width = 17 }},
		{"placement", "the placement reaches beyond the input", func(_ *engine.Frame, tr *letterbox.Transform, _ *engine.Input) { tr.PadX = 1 }},
		{"type", "an input of type int64 cannot be filled with pixels", func(_ *engine.Frame, _ *letterbox.Transform, in *engine.Input) { in.Type = detect.Int64 }},
		{"bytes", "the input has 3068 bytes, 3072 are needed", func(_ *engine.Frame, _ *letterbox.Transform, in *engine.Input) { in.Data = in.Data[4:] }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f, tr, in := good()
			row.spoil(f, &tr, &in)
			p, err := New(Options{Scale: 1, Std: [3]float32{1, 1, 1}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = p.Close() }()
			if err := p.Process(f, tr, in); err == nil || err.Error() != row.want {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
	if _, err := New(Options{Scale: 1}); err == nil {
		t.Error("a std of 0 was accepted")
	}
	if _, err := New(Options{Std: [3]float32{1, 1, 1}}); err == nil {
		t.Error("a scale of 0 was accepted")
	}
}

func TestProcessDoesNotAllocate(t *testing.T) {
	f := randomFrame(rand.New(rand.NewPCG(7, 8)), 640, 480, 0)
	tr, err := letterbox.New(letterbox.Center, 640, 480, 416, 416)
	if err != nil {
		t.Fatal(err)
	}
	in := input(416, 416, detect.Float32, false)
	p, err := New(Options{Scale: 1, Std: [3]float32{1, 1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if n := testing.AllocsPerRun(10, func() {
		if err := p.Process(f, tr, in); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a frame, want 0", n)
	}
}

func TestFloat16(t *testing.T) {
	for bits := range 1 << 16 {
		h := uint16(bits)
		if h>>10&0x1f == 31 {
			continue
		}
		if got := float32to16(half(h)); got != h && h != 0x8000 {
			t.Fatalf("bits %#04x become %#04x", h, got)
		}
	}
	inf := float32(math.Inf(1))
	for _, row := range []struct {
		in   float32
		want uint16
	}{{65519, 0x7bff}, {65520, 0x7c00}, {inf, 0x7c00}, {-inf, 0xfc00}, {1 + 1.0/2048, 0x3c00}, {1 + 3.0/2048, 0x3c02}, {float32(math.NaN()), 0x7e00}} {
		if got := float32to16(row.in); got != row.want {
			t.Errorf("%v becomes %#04x, want %#04x", row.in, got, row.want)
		}
	}
}

func BenchmarkProcess(b *testing.B) {
	for _, s := range [][4]int{{640, 480, 416, 416}, {768, 576, 416, 416}, {1920, 1080, 640, 640}} {
		b.Run(fmt.Sprintf("%dx%d to %dx%d", s[0], s[1], s[2], s[3]), func(b *testing.B) {
			f := randomFrame(rand.New(rand.NewPCG(9, 10)), s[0], s[1], 0)
			tr, err := letterbox.New(letterbox.Center, s[0], s[1], s[2], s[3])
			if err != nil {
				b.Fatal(err)
			}
			in := input(s[2], s[3], detect.Float32, false)
			p, err := New(Options{Scale: 1 / 255.0, Std: [3]float32{1, 1, 1}})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = p.Close() }()
			for b.Loop() {
				if err := p.Process(f, tr, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Whatever the processor offers, the bytes are those of the plain code, and nothing behind the picture is read: the
// page there would end the test.
func TestLevels(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	best := bestLevel()
	if best == plainLevel {
		t.Skip("this processor has the plain code only")
	}
	for range 100 {
		w, h := 1+r.IntN(2500), 1+r.IntN(12)
		dw, dh := 16*(1+r.IntN(50)), 16*(1+r.IntN(8))
		tr, err := letterbox.New(letterbox.Modes()[r.IntN(3)], w, h, dw, dh)
		if err != nil {
			t.Fatal(err)
		}
		f := randomFrame(r, w, h, r.IntN(3))
		f.Pix = f.Pix[:(h-1)*f.Stride+3*w]
		o := Options{Scale: 1 / 255.0, Mean: [3]float32{0.485, 0.456, 0.406}, Std: [3]float32{0.229, 0.224, 0.225}}
		if r.IntN(2) == 0 {
			o.Mean, o.Std = [3]float32{}, [3]float32{1, 1, 1}
		}
		typ, nhwc := []detect.ElementType{detect.Float32, detect.Float16, detect.Uint8}[r.IntN(3)], r.IntN(3) == 0
		var plain []byte
		for level := plainLevel; level <= best; level++ {
			p, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			p.level = level
			in := input(dw, dh, typ, nhwc)
			if err := p.Process(guarded(t, f), tr, in); err != nil {
				t.Fatal(err)
			}
			if level == plainLevel {
				plain = in.Data
			} else if !bytes.Equal(in.Data, plain) {
				t.Fatalf("%dx%d to %+v, %s nhwc=%v: level %d differs from the plain code", w, h, tr, typ, nhwc, level)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// guarded copies a frame so that its last byte is the last before a page that nobody may read.
func guarded(t *testing.T, f *engine.Frame) *engine.Frame {
	t.Helper()
	page := os.Getpagesize()
	size := (len(f.Pix)+page-1)/page*page + page
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	if err := unix.Mprotect(mem[size-page:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	g := *f
	g.Pix = mem[size-page-len(f.Pix) : size-page : size-page]
	copy(g.Pix, f.Pix)
	return &g
}
