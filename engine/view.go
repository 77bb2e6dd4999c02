package engine

import (
	"errors"
	"slices"

	"gnomon/engine/detect"
)

// region is a part of the picture: x, y, width and height as shares of it. Zero is all of it.
type region [4]float64

func (r region) check() error {
	if r == (region{}) {
		return nil
	}
	const slack = 1e-9 // 0.1 + 0.9 is not 1
	for i := range 2 {
		if !(r[i] >= 0 && r[i+2] > 0 && r[i]+r[i+2] <= 1+slack) {
			return errors.New("the region must lie in the picture: x, y, width and height between 0 and 1, x + width and y + height at most 1")
		}
	}
	return nil
}

// view makes of a frame one that shows the region only, in the same memory: it is f's owner's, and valid as long as f is.
// x and y are where the region begins. Everything is a whole number of pairs of pixels, as cameras' colours are.
func (r region) view(f, view *Frame) (x, y int) {
	*view = *f
	view.Buffer = nil
	if r == (region{}) {
		return 0, 0
	}
	x, view.Width = span(r[0], r[2], f.Width)
	y, view.Height = span(r[1], r[3], f.Height)
	view.Pix = f.Pix[min(y*f.Stride+x*bytesPerPixel, len(f.Pix)):]
	return x, y
}

// bytesPerPixel is that of BGR24, the one format there is.
const bytesPerPixel = 3

// span is the even pixels from first on that cover the share of size.
func span(from, share float64, size int) (first, count int) {
	first = int(from*float64(size)) &^ 1
	end := min((int((from+share)*float64(size)+0.5)+1)&^1, size)
	if end <= first { // a tiny picture, or a tiny share
		first = max(0, min(first, size-2))
		end = min(first+2, size)
	}
	return first, end - first
}

// shift moves boxes from the region to the picture.
func shift(found []detect.Detection, x, y int) {
	if x == 0 && y == 0 {
		return
	}
	dx, dy := float32(x), float32(y)
	for i := range found {
		b := &found[i].Box
		b.X1, b.X2, b.Y1, b.Y2 = b.X1+dx, b.X2+dx, b.Y1+dy, b.Y2+dy
	}
}

// classes says which classes of one model are reported. It is never changed.
type classes struct {
	model *ModelInfo
	names *[]string // what it was made of
	keep  []bool    // by class
}

// SetLabels changes PipelineOptions.Labels from the next result on. Any goroutine may call it.
func (p *Pipeline) SetLabels(names []string) {
	if len(names) == 0 {
		p.labels.Store(nil)
		return
	}
	own := slices.Clone(names)
	p.labels.Store(&own)
}

// filter keeps the classes that are wanted, in place. It allocates only after the model or the labels have changed.
func (p *Pipeline) filter(found []detect.Detection, m *ModelInfo) []detect.Detection {
	names := p.labels.Load()
	if names == nil || m == nil {
		return found
	}
	c := p.classes.Load()
	if c == nil || c.model != m || c.names != names {
		c = &classes{model: m, names: names, keep: make([]bool, len(m.Labels))}
		for i, label := range m.Labels {
			c.keep[i] = slices.Contains(*names, label)
		}
		p.classes.Store(c)
	}
	return slices.DeleteFunc(found, func(d detect.Detection) bool {
		return d.ClassID < 0 || d.ClassID >= len(c.keep) || !c.keep[d.ClassID]
	})
}
