package testcard

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// extent finds the pixels of a colour.
func extent(pix []byte, width, height, stride int, c colour) (x1, y1, x2, y2, n int) {
	x1, y1 = width, height
	for y := range height {
		for x := range width {
			p := pix[y*stride+3*x:]
			if p[0] != c[0] || p[1] != c[1] || p[2] != c[2] {
				continue
			}
			x1, x2, y1, y2, n = min(x1, x), max(x2, x+1), min(y1, y), max(y2, y+1), n+1
		}
	}
	return x1, y1, x2, y2, n
}

// What Boxes says is what Draw has drawn, to the pixel, in every picture, at the ends of the shapes' ways too.
func TestBoxes(t *testing.T) {
	for _, size := range [][2]int{{64, 64}, {320, 240}, {101, 333}, {1000, 65}} {
		c := New(size[0], size[1], 10)
		w, h := c.Size()
		stride := 3*w + 5
		pix := make([]byte, h*stride)
		moved := map[int]bool{}
		first := c.Boxes(0)
		for n := uint64(0); n < 300; n += 7 {
			for i := range pix {
				pix[i] = 0xee // what is left of it was not drawn
			}
			c.Draw(n, pix, stride)
			boxes := c.Boxes(n)
			if len(boxes) != lanes {
				t.Fatalf("%d boxes", len(boxes))
			}
			for i, b := range boxes {
				x1, y1, x2, y2, count := extent(pix, w, h, stride, c.shapes[i].colour)
				if (Box{x1, y1, x2, y2, b.Class, b.Name}) != b {
					t.Fatalf("%v, picture %d: %+v, drawn at %d,%d to %d,%d", size, n, b, x1, y1, x2, y2)
				}
				whole := (x2 - x1) * (y2 - y1)
				if b.Name == "disc" {
					whole = int(math.Pi / 4 * float64(whole))
				}
				if d := count - whole; d < -c.side || d > c.side {
					t.Errorf("%v, picture %d: a %s of %d pixels, not %d", size, n, b.Name, count, whole)
				}
				moved[i] = moved[i] || b != first[i]
				if b.Name != Labels()[b.Class] {
					t.Errorf("class %d is called %s", b.Class, b.Name)
				}
			}
			if _, _, _, _, left := extent(pix, w, h, stride, colour{0xee, 0xee, 0xee}); left != 0 {
				t.Fatalf("%d pixels were not drawn", left)
			}
			if pix[stride-1] != 0xee {
				t.Fatal("drew between the rows")
			}
		}
		if len(moved) != lanes || slices.Contains([]bool{moved[0], moved[1], moved[2], moved[3]}, false) {
			t.Errorf("%v: moved: %v", size, moved)
		}
	}
}

// Each picture shows its number, and is the same whoever draws it; very large numbers are drawn too.
func TestPictures(t *testing.T) {
	draw := func(n uint64) string {
		c := New(160, 120, 0)
		w, h := c.Size()
		pix := make([]byte, 3*w*h)
		c.Draw(n, pix, 3*w)
		return string(pix)
	}
	seen := map[string]uint64{}
	for _, n := range []uint64{0, 1, 2, 9, 10, 11, 99, 100, 1 << 40, math.MaxUint64} {
		p := draw(n)
		if p != draw(n) {
			t.Errorf("picture %d differs from itself", n)
		}
		if other, ok := seen[p]; ok {
			t.Errorf("pictures %d and %d are the same", n, other)
		}
		seen[p] = n
	}
	c := New(0, 1<<20, math.NaN())
	if w, h := c.Size(); w != MinSide || h != MaxSide {
		t.Errorf("%dx%d", w, h)
	}
}

// Shapes move at the same speed whatever the rate is, and never far from one picture to the next.
func TestSpeed(t *testing.T) {
	slow, fast := New(640, 360, 5), New(640, 360, 50)
	for second := range uint64(60) {
		a, b, next := slow.Boxes(5*second), fast.Boxes(50*second), fast.Boxes(50*second+1)
		for i := range a {
			if d := a[i].X1 - b[i].X1; d < -1 || d > 1 {
				t.Fatalf("second %d: %v and %v", second, a[i], b[i])
			}
			if d := next[i].X1 - b[i].X1; d < -4 || d > 4 {
				t.Fatalf("second %d: from %v to %v", second, b[i], next[i])
			}
		}
	}
}

func TestDrawDoesNotAllocate(t *testing.T) {
	c := New(320, 240, 25)
	pix, n := make([]byte, 3*320*240), uint64(0)
	if got := testing.AllocsPerRun(20, func() { c.Draw(n, pix, 3*320); n++ }); got != 0 {
		t.Errorf("%v allocations for a picture", got)
	}
}

func BenchmarkDraw(b *testing.B) {
	c := New(1280, 720, 25)
	pix := make([]byte, 3*1280*720)
	for n := uint64(0); b.Loop(); n++ {
		c.Draw(n, pix, 3*1280)
	}
}

func ExampleCard_Boxes() {
	for _, b := range New(1280, 720, 25).Boxes(25)[:2] {
		fmt.Println(b.Name, b.X1, b.Y1, b.X2, b.Y2)
	}
	// Output:
	// square 232 111 349 228
	// disc 435 283 552 400
}
