package scene

const (
	columns = 64
	rows    = 36
	cells   = columns * rows

	// side is how many pixels of a cell are looked at in either direction: the mean of 9 has a third of a pixel's noise.
	side = 3

	// one is the unit of luma, of 0..255, in the grid.
	one = 1 << 16
)

const (
	// blackLuma is the brightest that black is: sensors and encoders add some to nothing.
	blackLuma = 20 * one

	// brightCells is how many cells of a black picture may be brighter: broken pixels. A date that the camera writes
	// into its picture covers more, so such a picture is not black, as a street at night with its lamps is not.
	brightCells = cells / 100
)

// grid is a picture in 64x36 cells.
type grid struct {
	luma          [cells]int32 // 0..255 in units of one
	width, height int
	x             [columns * side]int // offsets in a row, bytes
	y             [rows * side]int    // rows
}

// fit places the cells in pictures of this size, and tells whether it is another than before.
func (g *grid) fit(width, height int) bool {
	if g.width == width && g.height == height {
		return false
	}
	g.width, g.height = width, height
	for i := range g.x {
		g.x[i] = 3 * ((2*i + 1) * width / (2 * len(g.x)))
	}
	for i := range g.y {
		g.y[i] = (2*i + 1) * height / (2 * len(g.y))
	}
	return true
}

// sample fills the cells. The weights of the colours are those of ITU-R BT.601.
func (g *grid) sample(pix []byte, stride int) {
	for cy := range rows {
		var sums [columns]int32
		for i := range side {
			row := pix[g.y[cy*side+i]*stride:]
			for cx := range columns {
				var blue, green, red int32
				for _, x := range g.x[cx*side:][:side] {
					p := row[x:][:3]
					blue, green, red = blue+int32(p[0]), green+int32(p[1]), red+int32(p[2])
				}
				sums[cx] += 29*blue + 150*green + 77*red
			}
		}
		line := g.luma[cy*columns:][:columns]
		for cx := range line {
			line[cx] = sums[cx] * (one / 256) / (side * side)
		}
	}
}

// black tells whether the picture shows nothing.
func (g *grid) black() bool {
	bright := 0
	for _, l := range &g.luma {
		if l > blackLuma {
			bright++
		}
	}
	return bright <= brightCells
}
