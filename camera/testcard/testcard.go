// Package testcard draws moving squares and discs whose boxes are known, for demonstrations and tests that need no
// camera and no file. A picture and its boxes are a function of its number alone, so that whoever knows the number, size
// and rate of a picture knows what is in it. Pure Go, imports nothing of gnomon.
package testcard

import "math"

// The sides that a card may have, in pixels: below the one the shapes could not be told apart, and above the other no
// camera takes pictures.
const (
	MinSide = 64
	MaxSide = 8192
)

// DefaultRate is the rate of a card that was made without one, in frames a second.
const DefaultRate = 25

// The classes of the shapes.
const (
	Square = iota
	Disc
)

// Labels are the names of the classes, in their order.
func Labels() []string { return []string{"square", "disc"} }

// Box is a shape in a picture: the pixels from X1, Y1 up to, not including, X2, Y2.
type Box struct {
	X1, Y1, X2, Y2 int
	Class          int // Square or Disc
	Name           string
}

// colour is a pixel, blue first.
type colour [3]byte

// shape runs to and fro in a lane of its own, so that none ever hides another.
type shape struct {
	class  int
	colour colour
	from   uint64 // where it is in picture 0, in units of one
	step   uint64 // how far it goes from one picture to the next
	top    int    // of its lane
}

const (
	// one is a pixel where fractions of pixels count.
	one = 1 << 16

	// lanes is how many shapes there are, one in each.
	lanes = 4

	// tile is the side of a square of the background's pattern.
	tile = 32
)

// Card draws pictures of one size. Its methods may be called from several goroutines at once.
type Card struct {
	width, height int
	strip         int // height of the line with the number
	lane          int // height of a lane
	side          int // of a square, and the diameter of a disc
	shapes        [lanes]shape
	even, odd     []byte // rows of the background
	dark          []byte // a row of the strip
}

// New returns a card for pictures of width x height pixels that come fps times a second: the shapes need some seconds
// from one side to the other. Sides beyond MinSide and MaxSide are taken as these, and a rate that is none as DefaultRate.
func New(width, height int, fps float64) *Card {
	if !(fps > 0) || math.IsInf(fps, 0) {
		fps = DefaultRate
	}
	c := &Card{width: min(max(width, MinSide), MaxSide), height: min(max(height, MinSide), MaxSide)}
	c.strip = c.height / 8
	c.lane = (c.height - c.strip) / lanes
	c.side = min(c.lane*3/4, c.width/2)
	seconds := [lanes]float64{5, 8, 4, 7} // from one side to the other
	colours := [lanes]colour{{40, 40, 230}, {60, 210, 60}, {240, 90, 30}, {40, 220, 240}}
	way := c.width - c.side
	for i := range c.shapes {
		c.shapes[i] = shape{
			class: i % 2, colour: colours[i], top: c.strip + i*c.lane,
			from: uint64(i * way / lanes * one), step: uint64(float64(way) * one / (seconds[i] * fps)),
		}
	}
	c.even, c.odd, c.dark = make([]byte, 3*c.width), make([]byte, 3*c.width), make([]byte, 3*c.width)
	for x := range c.width {
		shade := byte(90 + 60*x/c.width)
		a, b := shade, shade-16
		if x/tile%2 == 1 {
			a, b = b, a
		}
		copy(c.even[3*x:], []byte{a, a, a - 8})
		copy(c.odd[3*x:], []byte{b, b, b - 8})
		copy(c.dark[3*x:], []byte{48, 40, 40})
	}
	return c
}

// Size is that of the pictures, in pixels.
func (c *Card) Size() (width, height int) { return c.width, c.height }

// Boxes are the shapes of picture n, each whole and inside the picture; none touches another.
func (c *Card) Boxes(n uint64) []Box {
	names := Labels()
	boxes := make([]Box, 0, lanes)
	for i := range c.shapes {
		x, y := c.place(&c.shapes[i], n)
		boxes = append(boxes, Box{x, y, x + c.side, y + c.side, c.shapes[i].class, names[c.shapes[i].class]})
	}
	return boxes
}

// place is the top left corner of a shape in picture n.
func (c *Card) place(s *shape, n uint64) (x, y int) {
	return bounce(s.from+n*s.step, c.width-c.side), s.top + bounce(n*s.step/4, c.lane-c.side)
}

// bounce is where one is that has gone so far, in units of one, between 0 and way pixels.
func bounce(gone uint64, way int) int {
	there := uint64(way) * one
	if there == 0 {
		return 0
	}
	at := gone % (2 * there)
	if at > there {
		at = 2*there - at
	}
	return int(at / one)
}
