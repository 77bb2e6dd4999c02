//go:build opencv

package tensor

import (
	"fmt"
	"image"
	"math/rand/v2"
	"testing"

	"gocv.io/x/gocv"
)

// BenchmarkOpenCVReused is BenchmarkOpenCV in its best form: into a blob that is there already, so that no memory is asked
// for. Asking for it anew for every picture makes it up to ten times slower in some processes and not in others.
func BenchmarkOpenCVReused(b *testing.B) {
	gocv.SetNumThreads(1)
	for _, s := range [][4]int{{640, 480, 416, 312}, {768, 576, 416, 312}, {1920, 1080, 640, 360}} {
		b.Run(fmt.Sprintf("%dx%d to %dx%d", s[0], s[1], s[2], s[3]), func(b *testing.B) {
			f := randomFrame(rand.New(rand.NewPCG(9, 10)), s[0], s[1], 0)
			src, err := gocv.NewMatFromBytes(s[1], s[0], gocv.MatTypeCV8UC3, f.Pix)
			if err != nil {
				b.Fatal(err)
			}
			small, blob, size := gocv.NewMat(), gocv.NewMat(), image.Pt(s[2], s[3])
			defer func() {
				for _, m := range []*gocv.Mat{&src, &small, &blob} {
					_ = m.Close()
				}
			}()
			for b.Loop() {
				if err := gocv.Resize(src, &small, size, 0, 0, gocv.InterpolationLinear); err != nil {
					b.Fatal(err)
				}
				gocv.BlobFromImages([]gocv.Mat{small}, &blob, 1/255.0, size, gocv.Scalar{}, true, false, gocv.MatTypeCV32F)
			}
		})
	}
}
