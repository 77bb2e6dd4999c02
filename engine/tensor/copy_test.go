package tensor

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// needed counts the pixels of one axis whose weight is not 0 for some pixel of the resized picture: those that no way of
// computing it can leave unread.
func needed(src, n int) int {
	used := make([]bool, src)
	for i := range n {
		at, frac := sample(i, src, n)
		w0, w1 := weights(frac)
		if w0 != 0 {
			used[min(max(at, 0), src-1)] = true
		}
		if w1 != 0 {
			used[min(max(at+1, 0), src-1)] = true
		}
	}
	count := 0
	for _, u := range used {
		if u {
			count++
		}
	}
	return count
}

func TestNeeded(t *testing.T) {
	rows := []struct{ src, n, want int }{
		{4, 4, 4},          // as it is
		{1920, 640, 640},   // every third pixel lies under a centre, with the whole weight
		{1080, 360, 360},   // likewise
		{4, 2, 4},          // halves of neighbours
		{2, 8, 2},          // enlarged
		{640, 416, 640},    // a pixel and a half for each: nothing is passed over
		{8000, 1000, 2000}, // two of eight
	}
	for _, row := range rows {
		if got := needed(row.src, row.n); got != row.want {
			t.Errorf("%d to %d: %d pixels, want %d", row.src, row.n, got, row.want)
		}
	}
}

// BenchmarkCopy is the floor that preprocessing is measured against: memmove of as many bytes as it must touch. Read: the
// pixels of the source whose weight is not 0, row by row, 3 bytes each, to a buffer of one row. Written: what the picture
// covers of the float32 tensor, 12 bytes a pixel; the padding is written once for all frames and does not count.
func BenchmarkCopy(b *testing.B) {
	benchmarkCopy(b, 1, func(tr letterbox.Transform) int { return 3 * needed(tr.SrcW, tr.NewW) })
}

// freshFrames is how many frames the benchmarks named Fresh go round: together they are larger than the caches, so that
// each comes from memory, as one does that a camera wrote.
const freshFrames = 64

// BenchmarkCopyFresh is BenchmarkCopy with frames that are not in the caches. Of a row that is needed it reads every byte:
// memory comes in lines of 64, which hold 21 pixels, and none of them can be left out at these sizes.
func BenchmarkCopyFresh(b *testing.B) {
	benchmarkCopy(b, freshFrames, func(tr letterbox.Transform) int { return 3 * tr.SrcW })
}

func benchmarkCopy(b *testing.B, frames int, rowBytes func(letterbox.Transform) int) {
	benchmarkFrames(b, frames, func(b *testing.B, next func() *engine.Frame, tr letterbox.Transform) {
		rows, width := needed(tr.SrcH, tr.NewH), rowBytes(tr)
		line := make([]byte, width)
		from, tensor := make([]byte, 12*tr.NewW*tr.NewH), make([]byte, 12*tr.NewW*tr.NewH)
		b.SetBytes(int64(rows*width + len(tensor)))
		for b.Loop() {
			f := next()
			for y := range rows {
				at := y * (tr.SrcH - 1) / max(1, rows-1) * f.Stride // spread over the picture, as they are
				copy(line, f.Pix[at:at+width])
			}
			copy(tensor, from)
		}
	})
}

// BenchmarkProcessFresh is BenchmarkProcess with frames that are not in the caches.
func BenchmarkProcessFresh(b *testing.B) {
	benchmarkFrames(b, freshFrames, func(b *testing.B, next func() *engine.Frame, tr letterbox.Transform) {
		in := input(tr.DstW, tr.DstH, detect.Float32, false)
		p, err := New(Options{Scale: 1 / 255.0, Std: [3]float32{1, 1, 1}})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = p.Close() }()
		for b.Loop() {
			if err := p.Process(next(), tr, in); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// benchmarkFrames calls run for the usual sizes, with a function that goes round so many frames.
func benchmarkFrames(b *testing.B, frames int, run func(b *testing.B, next func() *engine.Frame, tr letterbox.Transform)) {
	for _, s := range [][4]int{{640, 480, 416, 416}, {768, 576, 416, 416}, {1920, 1080, 640, 640}} {
		b.Run(fmt.Sprintf("%dx%d to %dx%d", s[0], s[1], s[2], s[3]), func(b *testing.B) {
			tr, err := letterbox.New(letterbox.Center, s[0], s[1], s[2], s[3])
			if err != nil {
				b.Fatal(err)
			}
			ring := []*engine.Frame{randomFrame(rand.New(rand.NewPCG(9, 10)), s[0], s[1], 0)}
			for len(ring) < frames {
				f := *ring[0]
				f.Pix = append([]byte(nil), f.Pix...)
				ring = append(ring, &f)
			}
			at := 0
			run(b, func() *engine.Frame {
				at = (at + 1) % len(ring)
				return ring[at]
			}, tr)
		})
	}
}
