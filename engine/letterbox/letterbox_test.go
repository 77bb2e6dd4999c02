package letterbox

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestPlacements(t *testing.T) {
	for _, c := range []struct {
		mode                   Mode
		srcW, srcH, dstW, dstH int
		newW, newH, padX, padY int
		scaleX, scaleY         float64
	}{
		{Center, 768, 576, 416, 416, 416, 312, 0, 52, 416. / 768, 416. / 768},
		{TopLeft, 768, 576, 416, 416, 416, 312, 0, 0, 416. / 768, 416. / 768},
		{Stretch, 768, 576, 416, 416, 416, 416, 0, 0, 416. / 768, 416. / 576},
		{Center, 1920, 1080, 640, 640, 640, 360, 0, 140, 1. / 3, 1. / 3},
		{TopLeft, 1920, 1080, 640, 640, 640, 360, 0, 0, 1. / 3, 1. / 3},
		{Center, 1080, 1920, 640, 640, 360, 640, 140, 0, 1. / 3, 1. / 3},
		{Center, 640, 640, 640, 640, 640, 640, 0, 0, 1, 1},
		{Center, 320, 240, 640, 640, 640, 480, 0, 80, 2, 2}, // pictures are enlarged too
		// Rectangular inputs, wider and narrower than the picture.
		{Center, 1920, 1080, 640, 384, 640, 360, 0, 12, 1. / 3, 1. / 3},
		{Center, 640, 480, 640, 384, 512, 384, 64, 0, 0.8, 0.8},
		{Stretch, 640, 480, 320, 192, 320, 192, 0, 0, 0.5, 0.4},
		// An odd bar: the smaller half is left or above.
		{Center, 640, 427, 640, 640, 640, 427, 0, 106, 1, 1},
		{Center, 427, 640, 640, 640, 427, 640, 106, 0, 1, 1},
		// Halves: Center takes the even neighbour, 200.5 to 200 and 201.5 to 202; TopLeft cuts.
		{Center, 640, 401, 320, 320, 320, 200, 0, 60, 0.5, 0.5},
		{Center, 640, 403, 320, 320, 320, 202, 0, 59, 0.5, 0.5},
		{TopLeft, 640, 403, 320, 320, 320, 201, 0, 0, 0.5, 0.5},
		{TopLeft, 640, 399, 416, 416, 416, 259, 0, 0, 0.65, 0.65}, // 259.35
		// Sides never vanish, nor grow out of the input.
		{Center, MaxSide, 1, 640, 640, 640, 1, 0, 319, 640. / MaxSide, 640. / MaxSide},
		{TopLeft, 1, MaxSide, 640, 640, 1, 640, 0, 0, 640. / MaxSide, 640. / MaxSide},
		{Center, 1, 1, MaxSide, MaxSide, MaxSide, MaxSide, 0, 0, MaxSide, MaxSide},
		{Stretch, 1, MaxSide, MaxSide, 1, MaxSide, 1, 0, 0, MaxSide, 1. / MaxSide},
	} {
		t.Run(fmt.Sprintf("%s %dx%d into %dx%d", c.mode, c.srcW, c.srcH, c.dstW, c.dstH), func(t *testing.T) {
			got, err := New(c.mode, c.srcW, c.srcH, c.dstW, c.dstH)
			if err != nil {
				t.Fatal(err)
			}
			want := Transform{c.srcW, c.srcH, c.dstW, c.dstH, c.newW, c.newH, c.padX, c.padY, c.scaleX, c.scaleY}
			if math.Abs(got.ScaleX-want.ScaleX) > 1e-12 || math.Abs(got.ScaleY-want.ScaleY) > 1e-12 {
				t.Errorf("scale is %v, %v, want %v, %v", got.ScaleX, got.ScaleY, want.ScaleX, want.ScaleY)
			}
			got.ScaleX, got.ScaleY = want.ScaleX, want.ScaleY
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		mode                   Mode
		srcW, srcH, dstW, dstH int
		want                   string
	}{
		{Center, 0, 480, 640, 640, "letterbox 0x480 into 640x640: every side must be between 1 and 32768 pixels"},
		{Center, 640, -1, 640, 640, "letterbox 640x-1 into 640x640: every side must be between 1 and 32768 pixels"},
		{TopLeft, 640, 480, 0, 640, "letterbox 640x480 into 0x640: every side must be between 1 and 32768 pixels"},
		{Stretch, 640, 480, 640, MaxSide + 1, "letterbox 640x480 into 640x32769: every side must be between 1 and 32768 pixels"},
		{Stretch, math.MaxInt, math.MinInt, 1, 1, "every side must be between 1 and 32768 pixels"},
		{"", 640, 480, 640, 640, `resize mode "" is unknown; use one of [letterbox letterbox-top-left stretch]`},
		{"crop", 640, 480, 640, 640, `resize mode "crop" is unknown; use one of [letterbox letterbox-top-left stretch]`},
	} {
		got, err := New(c.mode, c.srcW, c.srcH, c.dstW, c.dstH)
		if err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s %dx%d into %dx%d: error is %v, want %q", c.mode, c.srcW, c.srcH, c.dstW, c.dstH, err, c.want)
		}
		if got != (Transform{}) {
			t.Errorf("%s: a transform besides the error: %+v", c.mode, got)
		}
	}
}

// sides draws picture and input sizes of all orders of magnitude.
func sides(rng *rand.Rand) int {
	return 1 + int(math.Pow(MaxSide-1, rng.Float64()))
}

// TestProperties holds for every picture and input.
func TestProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 20000 {
		mode := Modes()[rng.IntN(len(Modes()))]
		tr, err := New(mode, sides(rng), sides(rng), sides(rng), sides(rng))
		if err != nil {
			t.Fatal(err)
		}
		if tr.NewW < 1 || tr.NewH < 1 || tr.PadX < 0 || tr.PadY < 0 || tr.PadX+tr.NewW > tr.DstW || tr.PadY+tr.NewH > tr.DstH {
			t.Fatalf("%s: the picture does not lie inside the input: %+v", mode, tr)
		}
		if mode != Stretch && tr.ScaleX != tr.ScaleY {
			t.Fatalf("%s changes the aspect ratio: %+v", mode, tr)
		}
		short := 0 // TopLeft cuts what floating point leaves just below the whole side
		if mode == TopLeft {
			short = 1
		}
		if tr.NewW < tr.DstW-short && tr.NewH < tr.DstH-short {
			t.Fatalf("%s: the picture fills neither side of the input: %+v", mode, tr)
		}
		if mode == Center {
			left, right := tr.PadX, tr.DstW-tr.NewW-tr.PadX
			top, bottom := tr.PadY, tr.DstH-tr.NewH-tr.PadY
			if right-left < 0 || right-left > 1 || bottom-top < 0 || bottom-top > 1 {
				t.Fatalf("bars are not even: %+v", tr)
			}
		}
		roundTrip(t, mode, tr, rng)
	}
}

func roundTrip(t *testing.T, mode Mode, tr Transform, rng *rand.Rand) {
	t.Helper()
	x, y := rng.Float32()*float32(tr.SrcW), rng.Float32()*float32(tr.SrcH)
	ix, iy := tr.Forward(x, y)
	bx, by := tr.Inverse(ix, iy)
	// The way through float32 input coordinates costs a rounding of them, magnified by the way back.
	tolX := 4e-7*float64(tr.DstW)/tr.ScaleX + 1e-3
	tolY := 4e-7*float64(tr.DstH)/tr.ScaleY + 1e-3
	if math.Abs(float64(bx-x)) > tolX || math.Abs(float64(by-y)) > tolY {
		t.Fatalf("%s %+v: %v,%v comes back as %v,%v by way of %v,%v", mode, tr, x, y, bx, by, ix, iy)
	}
	// A point of the picture lies on the resized picture, which rounding may have made a pixel smaller or larger.
	if ix < float32(tr.PadX)-0.01 || float64(ix) > float64(tr.PadX+tr.NewW)+1.01 || iy < float32(tr.PadY)-0.01 || float64(iy) > float64(tr.PadY+tr.NewH)+1.01 {
		t.Fatalf("%s %+v: %v,%v lies at %v,%v, outside the picture", mode, tr, x, y, ix, iy)
	}
	cx, cy := tr.InverseClip(ix, iy)
	if cx < 0 || cy < 0 || cx > float32(tr.SrcW) || cy > float32(tr.SrcH) {
		t.Fatalf("%s %+v: clipped to %v,%v", mode, tr, cx, cy)
	}
}

func TestKnownPoints(t *testing.T) {
	tr, err := New(Center, 1920, 1080, 640, 640)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][4]float32{ // source x, y; input x, y
		{0, 0, 0, 140},
		{1920, 1080, 640, 500},
		{960, 540, 320, 320},
		{30, 60, 10, 160},
	} {
		if x, y := tr.Forward(c[0], c[1]); x != c[2] || y != c[3] {
			t.Errorf("Forward(%v, %v) = %v, %v, want %v, %v", c[0], c[1], x, y, c[2], c[3])
		}
		if x, y := tr.Inverse(c[2], c[3]); x != c[0] || y != c[1] {
			t.Errorf("Inverse(%v, %v) = %v, %v, want %v, %v", c[2], c[3], x, y, c[0], c[1])
		}
	}
}

func TestInverseClip(t *testing.T) {
	tr, err := New(Center, 1920, 1080, 640, 640)
	if err != nil {
		t.Fatal(err)
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range [][4]float32{ // input x, y; source x, y
		{10, 160, 30, 60},
		{-5, 100, 0, 0},        // left of the picture, in the bar above it
		{700, 620, 1920, 1080}, // right of it, in the bar below
		{nan, nan, 0, 0},
		{inf, -inf, 1920, 0},
		{math.MaxFloat32, -math.MaxFloat32, 1920, 0},
	} {
		if x, y := tr.InverseClip(c[0], c[1]); x != c[2] || y != c[3] {
			t.Errorf("InverseClip(%v, %v) = %v, %v, want %v, %v", c[0], c[1], x, y, c[2], c[3])
		}
	}
	if x, y := tr.Inverse(-30, 110); x != -90 || y != -90 {
		t.Errorf("Inverse(-30, 110) = %v, %v: it must not clip", x, y)
	}
}
