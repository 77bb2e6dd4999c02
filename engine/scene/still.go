package scene

import "hash/maphash"

const (
	// rowsPerLook is how many rows of a picture are compared with those of the same picture before: the whole of a
	// large picture would cost more than the rest of the look.
	rowsPerLook = 32

	// maxPhases bounds the memory for their hashes; pictures beyond 2016 rows are compared with more at once.
	maxPhases = 63
)

// stillness notices that pictures are identical, byte for byte. Each look compares every nth row with what it was n looks
// ago, so after n looks all rows have been compared. A sensor's noise changes some of them in every picture, and an
// encoder that leaves out what stands still renews the picture with each key frame, seconds later. What it takes for
// frozen although it is not: generated pictures and screens where nothing changes, and encoders whose key frames are
// further apart than the time after which a picture counts as frozen.
type stillness struct {
	seed   maphash.Seed
	sums   [maxPhases]uint64
	phases int
	next   int
	seen   int // looks since the beginning
	equal  int // looks since the last change
}

func (s *stillness) init() { s.seed = maphash.MakeSeed() }

func (s *stillness) reset(height int) {
	s.phases = min((height+rowsPerLook-1)/rowsPerLook|1, maxPhases) // odd: what flickers has an even period
	s.next, s.seen, s.equal = 0, 0, 0
}

// changed compares the rows whose turn it is.
func (s *stillness) changed(pix []byte, width, height, stride int) bool {
	var sum uint64
	for y := s.next; y < height; y += s.phases {
		sum = sum*0x9e3779b97f4a7c15 + maphash.Bytes(s.seed, pix[y*stride:][:3*width])
	}
	before := s.sums[s.next]
	s.sums[s.next] = sum
	s.next = (s.next + 1) % s.phases
	s.seen++
	if s.seen <= s.phases { // there is nothing yet to compare with
		return false
	}
	if sum != before {
		s.equal = 0
		return true
	}
	s.equal++
	return false
}

// complete tells whether all rows have been compared since the last change.
func (s *stillness) complete() bool { return s.equal >= s.phases }
