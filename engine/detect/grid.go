package detect

// level is one feature map of a head: w x h cells, row by row from the top left, stride pixels apart.
type level struct {
	stride, w, h int
	start        int // row of its first cell when the levels are joined
}

// grid is the feature maps of a head, strides ascending.
type grid []level

// newGrid lays out the feature maps of a width x height input. Sides that a stride does not divide round up, as
// strided convolutions with padding do.
func newGrid(width, height int, strides ...int) grid {
	g := make(grid, 0, len(strides))
	start := 0
	for _, s := range strides {
		l := level{stride: s, w: (width + s - 1) / s, h: (height + s - 1) / s, start: start}
		start += l.cells()
		g = append(g, l)
	}
	return g
}

func (l level) cells() int { return l.w * l.h }

// rows is the number of cells of all levels.
func (g grid) rows() int {
	last := g[len(g)-1]
	return last.start + last.cells()
}

// cell is the column, line and stride of a row of the joined levels, which must be below rows.
func (g grid) cell(row int) (x, y, stride float32) {
	i := len(g) - 1
	for row < g[i].start {
		i--
	}
	n := row - g[i].start
	return float32(n % g[i].w), float32(n / g[i].w), float32(g[i].stride)
}
