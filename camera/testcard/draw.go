package testcard

import "math"

// Draw writes picture n into pix, every pixel of it: rows of BGR, stride bytes apart, as many as Size says. It allocates
// nothing, and panics if pix is too short.
func (c *Card) Draw(n uint64, pix []byte, stride int) {
	for y := range c.height {
		row := c.even
		switch {
		case y < c.strip:
			row = c.dark
		case y/tile%2 == 1:
			row = c.odd
		}
		copy(pix[y*stride:][:3*c.width], row)
	}
	for i := range c.shapes {
		s := &c.shapes[i]
		x, y := c.place(s, n)
		for dy := range c.side {
			from, to := 0, c.side
			if s.class == Disc {
				from, to = c.chord(dy)
			}
			line(pix[(y+dy)*stride:], x+from, x+to, s.colour)
		}
	}
	c.number(n, pix, stride)
}

// chord is the part of row dy of a disc that is inside: the pixels whose centre is within half a diameter of the disc's.
func (c *Card) chord(dy int) (from, to int) {
	d := c.side
	off := 2*dy - (d - 1)
	half := math.Sqrt(float64(d*d - off*off))
	return int(math.Ceil((float64(d-1) - half) / 2)), int(math.Floor((float64(d-1)+half)/2)) + 1
}

func line(row []byte, from, to int, c colour) {
	for p := row[3*from : 3*to]; len(p) >= 3; p = p[3:] {
		p[0], p[1], p[2] = c[0], c[1], c[2]
	}
}

// The digits are drawn with 3x5 squares, of which the strip has room for 7 one above the other.
const (
	glyphWidth  = 3
	glyphHeight = 5
	glyphRoom   = 7
)

// glyph is a digit: five rows of three bits from the top, the left one the highest.
func glyph(digit uint64) uint16 {
	return [10]uint16{
		0b111_101_101_101_111, 0b010_110_010_010_111, 0b111_001_111_100_111, 0b111_001_111_001_111, 0b101_101_111_001_001,
		0b111_100_111_001_111, 0b111_100_111_101_111, 0b111_001_010_010_010, 0b111_101_111_101_111, 0b111_101_111_001_111,
	}[digit]
}

// number writes n into the strip, so that people see that the pictures go on. Digits that do not fit are left out, the
// first ones first.
func (c *Card) number(n uint64, pix []byte, stride int) {
	dot := c.strip / glyphRoom
	room := c.width / (dot * (glyphWidth + 1))
	digits := 1
	for rest := n / 10; rest > 0 && digits < room; rest /= 10 {
		digits++
	}
	for at := digits - 1; at >= 0; at-- {
		g := glyph(n % 10)
		n /= 10
		left := dot + at*dot*(glyphWidth+1)
		for bit := range glyphWidth * glyphHeight {
			if g>>(glyphWidth*glyphHeight-1-bit)&1 == 0 {
				continue
			}
			x, y := left+bit%glyphWidth*dot, (bit/glyphWidth+1)*dot
			for dy := range dot {
				line(pix[(y+dy)*stride:], x, x+dot, colour{255, 255, 255})
			}
		}
	}
}
