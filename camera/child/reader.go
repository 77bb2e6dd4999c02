package child

import (
	"bytes"
	"fmt"
)

const (
	// firstBuffer is what a reader begins with: the headers of Y4M, and most JPEGs of small cameras.
	firstBuffer = 64 << 10

	// maxEncoded bounds a JPEG, and with it the buffer: 134 million pixels in good quality.
	maxEncoded = 64 << 20
)

// input is where bytes come from. Read waits for at least one, ready tells how many are there.
type input interface {
	Read(p []byte) (int, error)
	ready() int
}

// reader keeps what was read and not used yet. What an error interrupts goes on with the next call.
type reader struct {
	in   input
	buf  []byte
	r, w int // buf[r:w] is unused
	most int // how many pictures may be passed over for a newer one
}

func newReader(in input) *reader {
	return &reader{in: in, buf: make([]byte, firstBuffer), most: maxSkip}
}

// unused is what was read and not consumed, valid until the next call of anything.
func (r *reader) unused() []byte { return r.buf[r.r:r.w] }

func (r *reader) consume(n int) { r.r += n }

// ready is how many bytes are there without waiting.
func (r *reader) ready() int { return r.w - r.r + r.in.ready() }

// more reads once, making room first.
func (r *reader) more() error {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	if r.w == len(r.buf) {
		switch {
		case r.r > 0:
			r.w = copy(r.buf, r.buf[r.r:r.w])
			r.r = 0
		case len(r.buf) >= maxEncoded:
			return fmt.Errorf("%w: a picture has more than %d MB", ErrFormat, maxEncoded>>20)
		default:
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
	}
	n, err := r.in.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// peek waits until there are n unused bytes.
func (r *reader) peek(n int) ([]byte, error) {
	for r.w-r.r < n {
		if err := r.more(); err != nil {
			return nil, err
		}
	}
	return r.buf[r.r : r.r+n], nil
}

// line waits for a whole line and returns it without its end. It is not consumed. A longer one than limit is none.
func (r *reader) line(limit int) ([]byte, error) {
	for {
		have := r.unused()
		if i := bytes.IndexByte(have[:min(len(have), limit+1)], '\n'); i >= 0 {
			return have[:i], nil
		}
		if len(have) > limit {
			return nil, fmt.Errorf("%w: a header has more than %d bytes", ErrFormat, limit)
		}
		if err := r.more(); err != nil {
			return nil, err
		}
	}
}

// fill reads p from got on, past the buffer, and keeps got up to date.
func (r *reader) fill(p []byte, got *int) error {
	n := copy(p[*got:], r.unused())
	r.consume(n)
	*got += n
	for *got < len(p) {
		n, err := r.in.Read(p[*got:])
		*got += n
		if err != nil && n == 0 {
			return err
		}
	}
	return nil
}
