package camera

import (
	"math"

	"gnomon/engine"
)

// orientation is what is done to each picture: cut, then turned, then mirrored.
type orientation struct {
	crop     [4]float64 // x, y, width, height as shares; zero: all of it
	quarters int        // clockwise
	mirror   int        // bit 0: left and right, bit 1: top and bottom
}

func orientationOf(o Options) orientation {
	t := orientation{crop: o.Crop, quarters: o.Rotate / 90 & 3}
	switch o.Flip {
	case "horizontal":
		t.mirror = 1
	case "vertical":
		t.mirror = 2
	case "both":
		t.mirror = 3
	}
	if o.Crop == [4]float64{0, 0, 1, 1} {
		t.crop = [4]float64{}
	}
	return t
}

// none tells that pictures stay as they are.
func (t orientation) none() bool { return t == orientation{} }

// turns tells that pixels move; cutting alone moves none.
func (t orientation) turns() bool { return t.quarters != 0 || t.mirror != 0 }

// cut makes f show its part of the same memory: at least one pixel, and none beyond the picture.
func (t orientation) cut(f *engine.Frame) {
	if t.crop == [4]float64{} {
		return
	}
	left, width := span(t.crop[0], t.crop[2], f.Width)
	top, height := span(t.crop[1], t.crop[3], f.Height)
	f.Pix = f.Pix[top*f.Stride+3*left:]
	f.Pix = f.Pix[:(height-1)*f.Stride+3*width]
	f.Width, f.Height = width, height
}

// span is where a share of n pixels begins, and how many it has.
func span(start, length float64, n int) (first, count int) {
	first = min(max(int(math.Round(start*float64(n))), 0), n-1)
	end := min(max(int(math.Round((start+length)*float64(n))), first+1), n)
	return first, end - first
}
