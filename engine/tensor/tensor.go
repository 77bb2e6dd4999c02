// Package tensor turns the pixels of a frame into a model's input: resize, placement, colour order, normalisation,
// element type and layout in one pass over the source.
package tensor

/*
#cgo CFLAGS: -O3
#include <stdlib.h>
#include "resize.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// Options say how a pixel's byte v of a channel becomes an element: (v*Scale - Mean) / Std.
type Options struct {
	RGB   bool       // the model's first channel is red; otherwise blue
	Scale float64    // not 0; 1/255 for models that take 0..1, 1 for 0..255
	Mean  [3]float32 // in the model's order of channels
	Std   [3]float32 // in the model's order of channels; none may be 0
	Pad   [3]uint8   // colour of the padding, in the model's order of channels
}

// vectorLoad is how many bytes the vector code reads at a pixel.
const vectorLoad = 8

// weightOne is the weight 1 in the 11-bit fixed point of the resize.
const weightOne = 1 << 11

// Preprocessor fills input tensors. It satisfies engine.Preprocessor: one goroutine at a time. Everything that
// depends on the sizes is computed when they change; padding is written once and then left alone, so a
// preprocessor must be the only writer of the tensors that it fills.
type Preprocessor struct {
	o       Options
	level   int // of the code that runs; all compute the same bytes
	plan    C.gnomon_plan
	store   C.gnomon_store
	tables  *C.uint16_t
	planned letterbox.Transform
	stride  int
	padded  []padding // oldest first, at most maxPadded
}

// padding is a tensor whose padding is in place for pictures that are put there so.
type padding struct {
	data                   *byte
	newW, newH, padX, padY int
}

// maxPadded is how many tensors a preprocessor remembers: as many as a batch has pictures.
const maxPadded = 32

// plainLevel is the level of the code that every processor can run.
const plainLevel = int(C.GNOMON_PLAIN)

// bestLevel is the level of the fastest code that this processor can run.
func bestLevel() int { return int(C.gnomon_level()) }

// New makes a preprocessor. Close frees its memory.
func New(o Options) (*Preprocessor, error) {
	for i, s := range o.Std {
		if s == 0 || math.IsNaN(float64(s)) {
			return nil, fmt.Errorf("std of channel %d is %v; it divides, so it must be a number other than 0", i, s)
		}
	}
	if o.Scale == 0 || math.IsNaN(o.Scale) {
		return nil, fmt.Errorf("scale is %v; it must be a number other than 0", o.Scale)
	}
	return &Preprocessor{o: o, level: bestLevel()}, nil
}

// Process resizes f as t says and writes every element of in.
func (p *Preprocessor) Process(f *engine.Frame, t letterbox.Transform, in engine.Input) error {
	if err := check(f, t, in); err != nil {
		return err
	}
	if p.planned != t {
		p.free()
		if err := p.makePlan(t); err != nil {
			return err
		}
		p.makeStore(in)
		p.planned = t
	}
	data := unsafe.SliceData(in.Data)
	p.keepPadded(in, padding{data, t.NewW, t.NewH, t.PadX, t.PadY})
	C.gnomon_fill(&p.plan, &p.store, (*C.uint8_t)(unsafe.SliceData(f.Pix)), C.int64_t(f.Stride), unsafe.Pointer(data))
	return nil
}

// Close frees the preprocessor's memory. It is idempotent; the preprocessor may be used again afterwards.
func (p *Preprocessor) Close() error {
	p.free()
	p.padded = nil
	return nil
}

// keepPadded writes the padding of in unless it is there already, as want says.
func (p *Preprocessor) keepPadded(in engine.Input, want padding) {
	i := slices.IndexFunc(p.padded, func(have padding) bool { return have.data == want.data })
	if i >= 0 && p.padded[i] == want {
		return
	}
	p.pad(in)
	switch {
	case i >= 0:
		p.padded[i] = want
	case len(p.padded) == maxPadded:
		p.padded = append(slices.Delete(p.padded, 0, 1), want)
	default:
		p.padded = append(p.padded, want)
	}
}

func check(f *engine.Frame, t letterbox.Transform, in engine.Input) error {
	switch {
	case f.Format != engine.BGR24:
		return fmt.Errorf("pixel format %d is not supported", f.Format)
	case f.Width != t.SrcW || f.Height != t.SrcH:
		return fmt.Errorf("the frame is %dx%d, its placement is for %dx%d", f.Width, f.Height, t.SrcW, t.SrcH)
	case f.Width < 1 || f.Height < 1 || f.Stride < 3*f.Width || len(f.Pix) < (f.Height-1)*f.Stride+3*f.Width:
		return fmt.Errorf("the frame's memory (%d bytes, stride %d) is too small for %dx%d", len(f.Pix), f.Stride, f.Width, f.Height)
	case in.Width != t.DstW || in.Height != t.DstH:
		return fmt.Errorf("the input is %dx%d, the placement is for %dx%d", in.Width, in.Height, t.DstW, t.DstH)
	case t.PadX < 0 || t.PadY < 0 || t.NewW < 1 || t.NewH < 1 || t.PadX+t.NewW > in.Width || t.PadY+t.NewH > in.Height:
		return errors.New("the placement reaches beyond the input")
	}
	var size int
	switch in.Type {
	case detect.Float32:
		size = 4
	case detect.Float16:
		size = 2
	case detect.Uint8:
		size = 1
	default:
		return fmt.Errorf("an input of type %s cannot be filled with pixels", in.Type)
	}
	if len(in.Data) != 3*in.Width*in.Height*size {
		return fmt.Errorf("the input has %d bytes, %d are needed", len(in.Data), 3*in.Width*in.Height*size)
	}
	return nil
}

// carve hands out pieces of one C allocation.
type carve struct{ next unsafe.Pointer }

func carved[T any](c *carve, n int) []T {
	s := unsafe.Slice((*T)(c.next), n)
	var zero T
	// Pieces start at multiples of 64 bytes: whole cache lines and vectors.
	c.next = unsafe.Add(c.next, (n*int(unsafe.Sizeof(zero))+63)/64*64)
	return s
}

func (p *Preprocessor) makePlan(t letterbox.Transform) error {
	w, h := t.NewW, t.NewH
	line := func(n int) int { return (n + 63) / 64 * 64 }
	blocks := w / C.GNOMON_BLOCK
	total := line(4*C.GNOMON_BLOCK*blocks+1) + 2*line(4*w) + line(2*2*w) + 2*line(4*h) + 2*line(2*h) + line(2*2*3*w) + line(3*w)
	c := carve{C.aligned_alloc(64, C.size_t(total))}
	if c.next == nil {
		return fmt.Errorf("out of memory: %d bytes for preprocessing", total)
	}
	x0, x1 := carved[C.int32_t](&c, w), carved[C.int32_t](&c, w)
	wx := carved[C.int16_t](&c, 2*w)
	y0, y1 := carved[C.int32_t](&c, h), carved[C.int32_t](&c, h)
	wy0, wy1 := carved[C.int16_t](&c, h), carved[C.int16_t](&c, h)
	pick := carved[C.uint8_t](&c, 4*C.GNOMON_BLOCK*blocks+1)
	rows, out := carved[C.int16_t](&c, 2*3*w), carved[C.uint8_t](&c, 3*w)
	near := 0
	for x := range w {
		i, frac := sample(x, t.SrcW, w)
		// Outside the picture OpenCV gives the edge column the whole weight.
		j := i + 1
		if i < 0 {
			i, j, frac = 0, 0, 0
		}
		if j >= t.SrcW {
			i, j, frac = t.SrcW-1, t.SrcW-1, 0
		}
		x0[x], x1[x] = C.int32_t(3*i), C.int32_t(3*j)
		wx[2*x], wx[2*x+1] = weights(frac)
		if x == near && 3*i+vectorLoad <= 3*t.SrcW && (j == i+1 || wx[2*x+1] == 0) {
			near++
		}
	}
	for y := range h {
		i, frac := sample(y, t.SrcH, h)
		y0[y], y1[y] = C.int32_t(min(max(i, 0), t.SrcH-1)), C.int32_t(min(max(i+1, 0), t.SrcH-1))
		wy0[y], wy1[y] = weights(frac)
	}
	p.plan = C.gnomon_plan{
		new_w: C.int32_t(w), new_h: C.int32_t(h), pad_x: C.int32_t(t.PadX), pad_y: C.int32_t(t.PadY),
		dst_w: C.int32_t(t.DstW), dst_h: C.int32_t(t.DstH),
		x0: &x0[0], x1: &x1[0], wx: &wx[0], near_w: C.int32_t(near),
		level: C.int32_t(p.level), src_bytes: C.int32_t(3 * t.SrcW),
		blocks: C.int32_t(pickBytes(x0, wx, near, pick)), pick: &pick[0],
		y0: &y0[0], y1: &y1[0], wy0: &wy0[0], wy1: &wy1[0], rows: &rows[0], line: &out[0],
	}
	return nil
}

// pickBytes fills in where the wide code finds the pixels of its blocks, and returns how many blocks it can do: those that
// are near and whose pixels lie close enough together.
func pickBytes(x0 []C.int32_t, wx []C.int16_t, near int, pick []C.uint8_t) int {
	const lanes = 4 // bytes for a column
	blocks := near / C.GNOMON_BLOCK
	for b := range blocks {
		first := x0[b*C.GNOMON_BLOCK]
		for i := range C.GNOMON_BLOCK {
			x := b*C.GNOMON_BLOCK + i
			at, next := x0[x]-first, x0[x]-first+3
			if wx[2*x+1] == 0 { // the pixel to the right has no weight, and may lie outside
				next = at
			}
			if next+2 >= C.GNOMON_REACH {
				return b
			}
			pick[lanes*x], pick[lanes*x+1], pick[lanes*x+2], pick[lanes*x+3] = C.uint8_t(at), 0, C.uint8_t(next), 0
		}
	}
	return blocks
}

// sample is where pixel i of n lies in a row of src pixels: the pixel to the left and the way to the next one.
// Half-pixel centres; single precision as OpenCV computes it.
func sample(i, src, n int) (int, float32) {
	at := float32((float64(i)+0.5)*(float64(src)/float64(n)) - 0.5)
	floor := float32(math.Floor(float64(at)))
	return int(floor), at - floor
}

func weights(frac float32) (C.int16_t, C.int16_t) {
	return C.int16_t(math.RoundToEven(float64((1 - frac) * weightOne))), C.int16_t(math.RoundToEven(float64(frac * weightOne)))
}

// channel maps blue, green, red to the model's order.
func (p *Preprocessor) channel(bgr int) int {
	if p.o.RGB {
		return 2 - bgr
	}
	return bgr
}

// affine writes (v*Scale - Mean) / Std of the model's channel c as (v - sub) / div. For the usual cases, v/255 and
// (v - mean)/std, these are the very operations of the families' own pipelines.
func (p *Preprocessor) affine(c int) (sub, div C.float) {
	return C.float(float64(p.o.Mean[c]) / p.o.Scale), C.float(float64(p.o.Std[c]) / p.o.Scale)
}

// value is the element for byte v of the model's channel c.
func (p *Preprocessor) value(v uint8, c int) float32 {
	sub, div := p.affine(c)
	return (float32(v) - float32(sub)) / float32(div)
}

func (p *Preprocessor) makeStore(in engine.Input) {
	p.tables = (*C.uint16_t)(C.malloc(3 * 256 * 2))
	tables := unsafe.Slice(p.tables, 3*256)
	s := C.gnomon_store{_type: C.GNOMON_F32}
	if in.NHWC {
		s.nhwc = 1
	}
	switch in.Type {
	case detect.Float16:
		s._type = C.GNOMON_F16
	case detect.Uint8:
		s._type = C.GNOMON_U8
	}
	for bgr := range 3 {
		c := p.channel(bgr)
		s.place[bgr] = C.int32_t(c)
		s.sub[bgr], s.div[bgr] = p.affine(c)
		s.inverse[bgr] = C.gnomon_inverse(s.sub[bgr], s.div[bgr])
		for v := range 256 {
			tables[256*bgr+v] = C.uint16_t(p.bits(p.value(uint8(v), c), in.Type))
		}
		s.table[bgr] = &tables[256*bgr]
	}
	p.store = s
}

// bits is the element as the tables hold it.
func (p *Preprocessor) bits(v float32, t detect.ElementType) uint16 {
	if t == detect.Uint8 {
		return uint16(math.RoundToEven(float64(min(max(v, 0), 255))))
	}
	return float32to16(v)
}

// pad fills the whole tensor with the padding colour; the picture is drawn over it.
func (p *Preprocessor) pad(in engine.Input) {
	n := in.Width * in.Height
	at := func(i, c int) int {
		if in.NHWC {
			return 3*i + c
		}
		return c*n + i
	}
	base := unsafe.Pointer(unsafe.SliceData(in.Data))
	for c := range 3 {
		v := p.value(p.o.Pad[c], c)
		switch in.Type {
		case detect.Float32:
			data := unsafe.Slice((*float32)(base), 3*n)
			for i := range n {
				data[at(i, c)] = v
			}
		case detect.Float16:
			data := unsafe.Slice((*uint16)(base), 3*n)
			for i, b := 0, p.bits(v, in.Type); i < n; i++ {
				data[at(i, c)] = b
			}
		default:
			for i, b := 0, uint8(p.bits(v, in.Type)); i < n; i++ {
				in.Data[at(i, c)] = b
			}
		}
	}
}

func (p *Preprocessor) free() {
	C.free(unsafe.Pointer(p.plan.x0)) // the first piece is where the allocation starts
	C.free(unsafe.Pointer(p.tables))
	p.plan, p.store, p.tables = C.gnomon_plan{}, C.gnomon_store{}, nil
	p.planned = letterbox.Transform{}
}

// float32to16 rounds to the nearest IEEE 754 binary16, ties to even, and returns its bits.
func float32to16(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b >> 16 & 0x8000)
	abs := b & 0x7fffffff
	switch {
	case abs > 0x7f800000: // NaN
		return sign | 0x7e00
	case abs >= 0x477ff000: // rounds to 65536 or more
		return sign | 0x7c00
	case abs < 0x38800000: // subnormal: multiples of 2^-24
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(abs))*(1<<24)))
	}
	half := abs - (127-15)<<23
	half += 0xfff + half>>13&1
	return sign | uint16(half>>13)
}
