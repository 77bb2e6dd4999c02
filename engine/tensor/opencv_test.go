//go:build opencv

package tensor

import (
	"fmt"
	"image"
	"math/rand/v2"
	"testing"

	"gocv.io/x/gocv"

	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// The fused pass gives the bytes of OpenCV's own resize, for random sizes, but for one unit now and then: OpenCV
// rounds a row's last few pixels and its vectors' in two ways.
func TestProcessEqualsOpenCV(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	var differ, total int
	for range 60 {
		w, h := 2+r.IntN(900), 2+r.IntN(900)
		dw, dh := 32*(1+r.IntN(16)), 32*(1+r.IntN(16))
		f := randomFrame(r, w, h, 0)
		src, err := gocv.NewMatFromBytes(h, w, gocv.MatTypeCV8UC3, f.Pix)
		if err != nil {
			t.Fatal(err)
		}
		want := gocv.NewMat()
		if err := gocv.Resize(src, &want, image.Pt(dw, dh), 0, 0, gocv.InterpolationLinear); err != nil {
			t.Fatal(err)
		}
		tr, err := letterbox.New(letterbox.Stretch, w, h, dw, dh)
		if err != nil {
			t.Fatal(err)
		}
		in := input(dw, dh, detect.Uint8, true)
		p, err := New(Options{Scale: 1, Std: [3]float32{1, 1, 1}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Process(f, tr, in); err != nil {
			t.Fatal(err)
		}
		wantBytes, err := want.DataPtrUint8()
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range wantBytes {
			d := int(in.Data[i]) - int(b)
			if d < -1 || d > 1 {
				t.Fatalf("%dx%d to %dx%d: byte %d is %d, OpenCV has %d", w, h, dw, dh, i, in.Data[i], b)
			}
			if d != 0 {
				differ++
			}
		}
		total += len(wantBytes)
		for _, c := range []func() error{p.Close, src.Close, want.Close} {
			if err := c(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if share := float64(differ) / float64(total); share > 0.001 {
		t.Errorf("%.4f %% of all bytes differ from OpenCV's by one; at most 0.1 %% may", 100*share)
	} else {
		t.Logf("%d of %d bytes differ by one", differ, total)
	}
}

// What the fused pass replaces: OpenCV's resize, then blobFromImage, on one thread.
func BenchmarkOpenCV(b *testing.B) {
	gocv.SetNumThreads(1)
	for _, s := range [][4]int{{640, 480, 416, 312}, {768, 576, 416, 312}, {1920, 1080, 640, 360}} {
		b.Run(fmt.Sprintf("%dx%d to %dx%d", s[0], s[1], s[2], s[3]), func(b *testing.B) {
			f := randomFrame(rand.New(rand.NewPCG(9, 10)), s[0], s[1], 0)
			src, err := gocv.NewMatFromBytes(s[1], s[0], gocv.MatTypeCV8UC3, f.Pix)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = src.Close() }()
			small := gocv.NewMat()
			defer func() { _ = small.Close() }()
			for b.Loop() {
				if err := gocv.Resize(src, &small, image.Pt(s[2], s[3]), 0, 0, gocv.InterpolationLinear); err != nil {
					b.Fatal(err)
				}
				blob := gocv.BlobFromImage(small, 1/255.0, image.Pt(s[2], s[3]), gocv.Scalar{}, true, false)
				if err := blob.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
