package detect

// boxReach is how many input sides a box may reach beyond the input before it is cut: far enough that no true
// object is touched, near enough that areas and intersections stay exact to a fraction of a pixel.
const boxReach = 4

// bounds is where boxes are cut.
type bounds struct {
	min, max [2]float32 // x, y
}

func newBounds(width, height int) bounds {
	w, h := float32(width), float32(height)
	return bounds{min: [2]float32{-boxReach * w, -boxReach * h}, max: [2]float32{(boxReach + 1) * w, (boxReach + 1) * h}}
}

// center makes a box of its centre and size; false when nothing of it has area.
func (b bounds) center(cx, cy, w, h float32) (Box, bool) {
	return b.corners(cx-w/2, cy-h/2, cx+w/2, cy+h/2)
}

// corners makes a box of its corners; false when nothing of it has area. Corners may be infinite, and NaN where an
// infinite centre met an infinite size, which is no area.
func (b bounds) corners(x1, y1, x2, y2 float32) (Box, bool) {
	box := Box{
		X1: max(x1, b.min[0]), Y1: max(y1, b.min[1]),
		X2: min(x2, b.max[0]), Y2: min(y2, b.max[1]),
	}
	return box, box.Area() > 0 // sides of 1e-30 have no area in float32
}
