//go:build opencv

package camera

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"testing"

	"gocv.io/x/gocv"

	"gnomon/engine"
	"gnomon/engine/detect"
)

// numbered writes a 4x2 picture whose pixels are 1 to 8 times ten in every channel, row by row, and returns its path.
func numbered(t *testing.T) string {
	t.Helper()
	m, err := gocv.NewMatFromBytes(2, 4, gocv.MatTypeCV8UC1, []byte{10, 20, 30, 40, 50, 60, 70, 80})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	path := filepath.Join(t.TempDir(), "numbered.png")
	if !gocv.IMWrite(path, m) {
		t.Fatal("cannot write")
	}
	return path
}

func rows(f *engine.Frame) (out [][]int) {
	for y := range f.Height {
		var row []int
		for x := range f.Width {
			row = append(row, int(f.Pix[y*f.Stride+3*x])/10)
		}
		out = append(out, row)
	}
	return out
}

// Pictures are cut, then turned clockwise, then mirrored; the rest of the frame stays.
func TestOrient(t *testing.T) {
	leakFree(t)
	path := numbered(t)
	half := [4]float64{0.5, 0, 0.5, 1}
	for _, row := range []struct {
		o    Options
		want string
	}{
		{Options{}, "[[1 2 3 4] [5 6 7 8]]"},
		{Options{Crop: [4]float64{0, 0, 1, 1}}, "[[1 2 3 4] [5 6 7 8]]"},
		{Options{Rotate: 90}, "[[5 1] [6 2] [7 3] [8 4]]"},
		{Options{Rotate: 180}, "[[8 7 6 5] [4 3 2 1]]"},
		{Options{Rotate: 270}, "[[4 8] [3 7] [2 6] [1 5]]"},
		{Options{Flip: "horizontal"}, "[[4 3 2 1] [8 7 6 5]]"},
		{Options{Flip: "vertical"}, "[[5 6 7 8] [1 2 3 4]]"},
		{Options{Flip: "both"}, "[[8 7 6 5] [4 3 2 1]]"},
		{Options{Rotate: 90, Flip: "horizontal"}, "[[1 5] [2 6] [3 7] [4 8]]"},
		{Options{Crop: half}, "[[3 4] [7 8]]"},
		{Options{Crop: [4]float64{0.25, 0.5, 0.5, 0.5}}, "[[6 7]]"},
		{Options{Crop: [4]float64{0.9, 0.9, 0.01, 0.01}}, "[[8]]"},
		{Options{Crop: half, Rotate: 90, Flip: "vertical"}, "[[8 4] [7 3]]"},
	} {
		row.o.Name, row.o.URI = "p", path
		src, err := Open(row.o)
		if err != nil {
			t.Fatal(err)
		}
		var f engine.Frame
		if err := src.Read(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(rows(&f)); got != row.want || f.Origin != path || f.CapturedAt.IsZero() || f.Format != engine.BGR24 {
			t.Errorf("%+v: %s from %q at %v, want %s", row.o, got, f.Origin, f.CapturedAt, row.want)
		}
		if n := src.(interface{ Frames() int }).Frames(); n != 1 {
			t.Errorf("%d frames", n)
		}
		if err := src.Read(t.Context(), &f); !errors.Is(err, io.EOF) {
			t.Errorf("after the last: %v", err)
		}
		if err := errors.Join(src.Close(), src.Close(), f.Close()); err != nil {
			t.Error(err)
		}
		if err := src.Read(t.Context(), &f); !errors.Is(err, io.EOF) {
			t.Errorf("after closing: %v", err)
		}
		_ = f.Close()
	}
}

// Turning allocates nothing, and a live source stays one that can pass pictures over.
func TestOrientLive(t *testing.T) {
	leakFree(t)
	pix := make([]byte, 3*640*480)
	h := &pictureHandle{pix: pix}
	l, err := openLive(t.Context(), Options{Name: "cam"}, Stream, "cam", &stream{h: h, uri: "cam"})
	if err != nil {
		t.Fatal(err)
	}
	src, ok := orient(Options{Rotate: 90, Crop: [4]float64{0, 0, 0.5, 1}}, l).(engine.Grabber)
	if !ok {
		t.Fatal("no Grabber any more")
	}
	var f engine.Frame
	ctx := context.Background()
	for range 3 {
		if err := src.Grab(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(50, func() {
		if err := src.Read(ctx, &f); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a frame, want 0", n)
	}
	if f.Width != 480 || f.Height != 320 || f.Seq != 3+50 || f.PTS != l.pts || !f.CapturedAt.Equal(l.taken.at) || f.Stride != 3*480 {
		t.Errorf("%dx%d, stride %d, number %d, %v", f.Width, f.Height, f.Stride, f.Seq, f.PTS)
	}
	if s := fmt.Sprint(src); s != "stream cam, 640x480, 25 frames/s announced" {
		t.Errorf("it is %s", s)
	}
	if err := errors.Join(src.Close(), f.Close()); err != nil {
		t.Error(err)
	}
}

// pictureHandle gives the same picture again and again, from Go's memory.
type pictureHandle struct {
	fakeHandle
	pix []byte
}

func (h *pictureHandle) retrieve(f *engine.Frame) error {
	f.Pix, f.Width, f.Height, f.Stride, f.Format = h.pix, 640, 480, 3*640, engine.BGR24
	return nil
}

// What is drawn on may be part of a larger picture.
func TestAnnotateCropped(t *testing.T) {
	leakFree(t)
	src, err := Open(Options{Name: "p", URI: numbered(t), Crop: [4]float64{0.5, 0, 0.5, 1}})
	if err != nil {
		t.Fatal(err)
	}
	var f engine.Frame
	out := filepath.Join(t.TempDir(), "out.png")
	a, err := NewAnnotator(out, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(src.Read(t.Context(), &f), a.Write(&f, []detect.Detection{}, nil), a.Close(), src.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	img, _, err := image.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint32{30, 40, 70, 80} {
		if r, _, _, _ := img.At(i%2, i/2).RGBA(); r>>8 != want {
			t.Errorf("pixel %d is %d, want %d", i, r>>8, want)
		}
	}
}
