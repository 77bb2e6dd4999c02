package scene

import "time"

const (
	// adaptTime is the time constant of the background: a car that parks has become part of it in some twenty seconds.
	adaptTime = 10 * time.Second

	// A cell has changed when it differs from the background by more than noiseFactor times what half of the cells do:
	// about four standard deviations of noise. It is at least minDifference, which compression alone makes, and at most
	// maxDifference, so that a camera that is turned is not taken for a noisy one.
	noiseFactor   = 6
	minDifference = 6 * one
	maxDifference = 24 * one

	// minLight is the least change of the median that may be one of the light and not of an object.
	minLight = 2 * one

	// minContrast is the variance of a background, in luma squared, below which the light's gain cannot be told.
	minContrast = 16

	// maxGain bounds the change of light from one moment to adaptTime later, either way.
	maxGain = 4 * one
)

// The histograms that medians are taken from have four bins a unit of luma.
const (
	binShift = 14
	bins     = 2048
)

// background is what the cells look like when nothing moves.
type background struct {
	mean [cells]int32 // in units of one
	diff [cells]int32 // what a picture differs by
	hist [bins]uint16
}

// change is the share of the cells that differ from the background by more than the noise and the light do. The
// background then takes on the picture as much as step, the time since the one before, asks for.
func (b *background) change(luma *[cells]int32, step time.Duration, fresh bool) float64 {
	if fresh {
		b.mean = *luma
		return 0
	}
	b.subtract(luma, one)
	n, light := b.outliers()
	if n > 0 && (light >= minLight || light <= -minLight) {
		// The light may have become brighter by a factor. If that explains more than a difference does, it has.
		if gain := b.gain(luma); gain > 0 {
			b.subtract(luma, gain)
			scaled, _ := b.outliers()
			n = min(n, scaled)
		}
	}
	rate := int64(min(step, adaptTime/2) * one / adaptTime)
	for i, l := range luma {
		b.mean[i] += int32(int64(l-b.mean[i]) * rate / one)
	}
	return float64(n) / cells
}

// subtract sets diff to the picture less the background under a light of gain.
func (b *background) subtract(luma *[cells]int32, gain int64) {
	for i, l := range luma {
		b.diff[i] = l - int32(int64(b.mean[i])*gain/one)
	}
}

// outliers counts the cells whose difference is further from the median, the change of the light, than noise is. It
// leaves the distances from the median in diff.
func (b *background) outliers() (n int, light int32) {
	light = b.median()
	for i, d := range &b.diff {
		b.diff[i] = max(d-light, light-d)
	}
	limit := min(max(noiseFactor*b.median(), minDifference), maxDifference)
	for _, d := range &b.diff {
		if d > limit {
			n++
		}
	}
	return n, light
}

// median is the one of diff, to within a bin. Values off the histogram count as its ends.
func (b *background) median() int32 {
	clear(b.hist[:])
	for _, d := range &b.diff {
		b.hist[min(max(d>>binShift+bins/2, 0), bins-1)]++
	}
	seen := uint16(0)
	for i, n := range &b.hist {
		if seen += n; seen > cells/2 {
			return int32(i-bins/2) << binShift
		}
	}
	return 0
}

// gain is the factor, in units of one, that takes the background nearest to the picture: the slope of the least squares.
// 0: it cannot be told, or is none that light makes. Where a picture is overexposed no factor fits, and a lamp that is
// switched on lights some things more than others: that counts as motion, until it has become part of the background.
func (b *background) gain(luma *[cells]int32) int64 {
	const shift = 8 // products of two values in units of one would not fit
	var x, y, xx, xy int64
	for i, l := range luma {
		m, l := int64(b.mean[i]>>shift), int64(l>>shift)
		x, y, xx, xy = x+m, y+l, xx+m*m, xy+m*l
	}
	varX, cov := xx-x*x/cells, xy-x*y/cells
	if varX>>(2*(16-shift)) < minContrast*cells || cov <= 0 {
		return 0
	}
	gain := int64(float64(cov) / float64(varX) * one)
	if gain > maxGain || gain < one*one/maxGain {
		return 0
	}
	return gain
}
