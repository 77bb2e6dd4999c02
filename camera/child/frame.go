package child

import (
	"bytes"
	"fmt"
	"time"
)

// The formats that programs write. Pictures of Y4M come as I420 or Gray.
const (
	Y4M   = "y4m"   // YUV4MPEG2, C420 or Cmono: says its own size
	MJPEG = "mjpeg" // JPEGs one after the other, with or without something between them
	BGR   = "bgr"   // 3 bytes a pixel
	RGB   = "rgb"
	Gray  = "gray" // 1 byte a pixel
	I420  = "i420" // planes of Y, U and V, the latter two of half the width and height
	NV12  = "nv12" // a plane of Y, one of U and V in turn
	YUYV  = "yuyv" // Y, U, Y, V for two pixels
)

const (
	// maxPixels bounds a picture as that of a file is: more than any camera makes.
	maxPixels = 1 << 27

	// maxSide is the longest side, the most that a JPEG can have.
	maxSide = 1<<16 - 1
)

// Picture is one picture of a program.
type Picture struct {
	Format        string // any but Y4M
	Width, Height int    // pixels; those of a MJPEG picture as its header says
	Data          []byte // rows without gaps; the Stream's, until the next Next
	PTS           time.Duration
}

// Size is how many bytes Data has; 0 for MJPEG, which has as many as it needs.
func (p Picture) Size() int {
	n := p.Width * p.Height
	switch p.Format {
	case BGR, RGB:
		return 3 * n
	case I420, NV12:
		return n + n/2
	case YUYV:
		return 2 * n
	case Gray:
		return n
	}
	return 0
}

// check refuses sizes that cannot be.
func (p Picture) check() error {
	switch w, h := p.Width, p.Height; {
	case w < 1 || h < 1 || w > maxSide || h > maxSide || w*h > maxPixels:
		return fmt.Errorf("%w: pictures of %dx%d, more than %d pixels or none", ErrFormat, w, h, maxPixels)
	case (p.Format == I420 || p.Format == NV12) && (w|h)%2 != 0, p.Format == YUYV && w%2 != 0:
		return fmt.Errorf("%w: pictures of %dx%d in the format %s, which needs even numbers", ErrFormat, w, h, p.Format)
	}
	return nil
}

// framer finds pictures in what a program writes. next waits for one, sets p and tells how many it passed over for a
// newer one. After an error of its input it can be called again.
type framer interface {
	next(p *Picture) (skipped int, err error)
}

// newFramer makes the framer of o's format, or of what the first bytes are.
func newFramer(in *reader, o Options) (framer, error) {
	format := o.Command.Format
	buffer := o.Buffer
	if buffer == nil {
		buffer = func(p Picture) ([]byte, error) { return make([]byte, p.Size()), nil }
	}
	if format == "" {
		head, err := in.peek(len(y4mMagic))
		switch {
		case err != nil:
			return nil, err
		case string(head) == y4mMagic:
			format = Y4M
		case bytes.HasPrefix(head, []byte("\xff\xd8\xff")), bytes.HasPrefix(head, []byte("--")), bytes.HasPrefix(head, []byte("\r\n--")): // the latter two of multipart
			format = MJPEG
		default:
			return nil, fmt.Errorf("%w: neither Y4M nor JPEGs come out of it; write which format it is, with width and height", ErrFormat)
		}
	}
	switch format {
	case Y4M:
		return &y4m{in: in, buffer: buffer}, nil
	case MJPEG:
		return &mjpeg{in: in}, nil
	}
	p := Picture{Format: format, Width: o.Command.Width, Height: o.Command.Height}
	if p.Size() == 0 {
		return nil, fmt.Errorf("%w: the format %q is not known, or its width and height are missing", ErrFormat, format)
	}
	return newRaw(in, p, buffer)
}

// raw reads pictures of one size that follow each other without anything between them.
type raw struct {
	in  *reader
	p   Picture
	got int
}

func newRaw(in *reader, p Picture, buffer func(Picture) ([]byte, error)) (*raw, error) {
	data, err := allocate(p, buffer)
	if err != nil {
		return nil, err
	}
	p.Data = data
	return &raw{in: in, p: p}, nil
}

func allocate(p Picture, buffer func(Picture) ([]byte, error)) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	data, err := buffer(p)
	if err != nil {
		return nil, fmt.Errorf("memory for a picture of %dx%d: %w", p.Width, p.Height, err)
	}
	if len(data) < p.Size() {
		return nil, fmt.Errorf("memory for a picture of %dx%d has %d bytes of %d", p.Width, p.Height, len(data), p.Size())
	}
	return data[:p.Size()], nil
}

func (r *raw) next(p *Picture) (skipped int, err error) {
	for ; ; skipped++ {
		if err := r.in.fill(r.p.Data, &r.got); err != nil {
			return skipped, err
		}
		r.got = 0
		if skipped == r.in.most || r.in.ready() < len(r.p.Data) {
			*p = r.p
			return skipped, nil
		}
	}
}
