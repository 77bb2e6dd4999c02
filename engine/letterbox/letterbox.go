// Package letterbox computes how a source picture is placed inside a model's input, and the way back.
//
// A Transform is the one description of that placement: preprocessing draws with it and boxes are mapped back
// with it; nobody derives a second inverse. Pure Go, imports nothing of gnomon.
package letterbox

import (
	"fmt"
	"math"
)

// Mode says how a picture is fitted into the model's input.
type Mode string

// The modes.
const (
	// Center keeps the aspect ratio and centres the picture between two bars (YOLOv5 and its descendants).
	Center Mode = "letterbox"
	// TopLeft keeps the aspect ratio and puts the picture in the corner, the bar right or below (YOLOX).
	TopLeft Mode = "letterbox-top-left"
	// Stretch fills the input and lets the aspect ratio go (NanoDet, DETR).
	Stretch Mode = "stretch"
)

// Modes lists all modes in the order in which help texts show them.
func Modes() []Mode { return []Mode{Center, TopLeft, Stretch} }

// Transform places a picture of SrcW x SrcH pixels inside an input of DstW x DstH pixels: the picture is resized
// to NewW x NewH and its top left corner lies at PadX, PadY; everything else is padding. The zero value is
// invalid; New makes valid ones. It is a plain value: copy it freely.
type Transform struct {
	SrcW, SrcH int
	DstW, DstH int
	NewW, NewH int
	PadX, PadY int
	// ScaleX and ScaleY are input pixels per source pixel, as boxes are scaled with. In the letterbox modes both
	// are the ratio r = min(DstW/SrcW, DstH/SrcH), not NewW/SrcW: the families' own demos divide by r, and NewW is
	// less than a pixel away from SrcW*r, unless that is below 1.
	ScaleX, ScaleY float64
}

// MaxSide bounds the sides that New accepts: larger pictures are not camera frames, and products of two sides
// stay far below the range of an int.
const MaxSide = 1 << 15

// New computes the placement of a srcW x srcH picture in a dstW x dstH input. It returns an error for a side that
// is not in 1..MaxSide or an unknown mode.
//
// Rounding follows the families: Center as Ultralytics does (side round(side*r), left and top pad
// round(slack/2 - 0.1)), TopLeft as YOLOX does (side int(side*r), which for some sizes leaves the longer side one
// pixel short of the input because side*r falls just below a whole number).
func New(mode Mode, srcW, srcH, dstW, dstH int) (Transform, error) {
	for _, side := range [...]int{srcW, srcH, dstW, dstH} {
		if side < 1 || side > MaxSide {
			return Transform{}, fmt.Errorf("letterbox %dx%d into %dx%d: every side must be between 1 and %d pixels", srcW, srcH, dstW, dstH, MaxSide)
		}
	}
	t := Transform{SrcW: srcW, SrcH: srcH, DstW: dstW, DstH: dstH}
	r := min(float64(dstW)/float64(srcW), float64(dstH)/float64(srcH))
	switch mode {
	case Center:
		t.ScaleX, t.ScaleY = r, r
		t.NewW = clampSide(math.RoundToEven(float64(srcW)*r), dstW)
		t.NewH = clampSide(math.RoundToEven(float64(srcH)*r), dstH)
		t.PadX = centerPad(dstW - t.NewW)
		t.PadY = centerPad(dstH - t.NewH)
	case TopLeft:
		t.ScaleX, t.ScaleY = r, r
		t.NewW = clampSide(math.Trunc(float64(srcW)*r), dstW)
		t.NewH = clampSide(math.Trunc(float64(srcH)*r), dstH)
	case Stretch:
		t.ScaleX = float64(dstW) / float64(srcW)
		t.ScaleY = float64(dstH) / float64(srcH)
		t.NewW, t.NewH = dstW, dstH
	default:
		return Transform{}, fmt.Errorf("resize mode %q is unknown; use one of %v", mode, Modes())
	}
	return t, nil
}

// clampSide keeps a resized side inside the input: a very long picture must not vanish to zero pixels, and
// floating point must not make it one pixel too long.
func clampSide(side float64, limit int) int {
	return max(1, min(int(side), limit))
}

// centerPad is the left or top bar for the given slack; the other bar takes the odd pixel.
func centerPad(slack int) int {
	return max(0, int(math.RoundToEven(float64(slack)/2-0.1)))
}

// Forward maps a point of the source picture to the model's input.
func (t Transform) Forward(x, y float32) (float32, float32) {
	return float32(float64(x)*t.ScaleX) + float32(t.PadX), float32(float64(y)*t.ScaleY) + float32(t.PadY)
}

// Inverse maps a point of the model's input back to the source picture, without clipping.
func (t Transform) Inverse(x, y float32) (float32, float32) {
	return float32((float64(x) - float64(t.PadX)) / t.ScaleX), float32((float64(y) - float64(t.PadY)) / t.ScaleY)
}

// InverseClip maps a point back and clips it to the source picture; NaN becomes 0.
func (t Transform) InverseClip(x, y float32) (float32, float32) {
	sx, sy := t.Inverse(x, y)
	return clip(sx, float32(t.SrcW)), clip(sy, float32(t.SrcH))
}

func clip(v, limit float32) float32 {
	if !(v > 0) { // also NaN
		return 0
	}
	return min(v, limit)
}
