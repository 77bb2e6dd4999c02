package child

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// maxJunk bounds what is passed over in search of a whole picture: headers between pictures are short, and after a
// broken picture or two the next one is whole.
const maxJunk = 8 << 20

// mjpeg finds JPEGs (ITU-T T.81, annex B) one after the other, each from its SOI to its EOI.
type mjpeg struct {
	in   *reader
	walk walker
	junk int
	held int // bytes of the last picture, to be consumed
}

// next returns the newest picture that is wholly there, or waits for the next.
func (m *mjpeg) next(p *Picture) (skipped int, err error) {
	m.in.consume(m.held)
	m.held = 0
	for {
		found, err := m.find()
		if err != nil {
			return skipped, err
		}
		if !found {
			if err := m.in.more(); err != nil {
				return skipped, err
			}
			continue
		}
		if skipped < m.in.most && m.newer() {
			m.in.consume(m.walk.at)
			m.walk = walker{}
			skipped++
			continue
		}
		m.junk, m.held = 0, m.walk.at
		*p = Picture{Format: MJPEG, Width: m.walk.width, Height: m.walk.height, Data: m.in.unused()[:m.held:m.held]}
		m.walk = walker{}
		return skipped, nil
	}
}

// newer tells whether another whole picture lies behind the one that the walker has found.
func (m *mjpeg) newer() bool {
	for {
		if wholeIn(m.in.unused()[m.walk.at:]) {
			return true
		}
		if m.in.in.ready() == 0 || len(m.in.unused()) >= maxEncoded/2 || m.in.more() != nil {
			return false
		}
	}
}

// wholeIn tells whether there is a whole picture in b.
func wholeIn(b []byte) bool {
	for {
		i := bytes.Index(b, soi())
		if i < 0 {
			return false
		}
		b = b[i:]
		var w walker
		if w.to(b) == nil {
			return w.whole
		}
		b = b[max(w.at, 1):]
	}
}

// find looks for a picture in what is unused, which then begins with it.
func (m *mjpeg) find() (bool, error) {
	for {
		b := m.in.unused()
		if m.walk.at == 0 {
			i := bytes.Index(b, soi())
			if i < 0 {
				i = max(0, len(b)-len(soi())+1) // the last bytes may be the beginning of one
				return false, m.skip(i)
			}
			if err := m.skip(i); err != nil {
				return false, err
			}
			b = b[i:]
		}
		err := m.walk.to(b)
		if err == nil {
			return m.walk.whole, nil
		}
		if !errors.Is(err, errBroken) {
			return false, err
		}
		n := max(m.walk.at, 1) // where the next one may begin
		m.walk = walker{}
		if err := m.skip(n); err != nil {
			return false, err
		}
	}
}

func (m *mjpeg) skip(n int) error {
	m.in.consume(n)
	if m.junk += n; m.junk > maxJunk {
		return fmt.Errorf("%w: no whole JPEG in %d MB", ErrFormat, maxJunk>>20)
	}
	return nil
}

// soi is how a JPEG begins: the marker SOI and the first byte of the next one.
func soi() []byte { return []byte{0xff, 0xd8, 0xff} }

// The markers that matter (ITU-T T.81, table B.1).
const (
	markTEM  = 0x01
	markSOF0 = 0xc0 // to 0xcf, but for the three below
	markDHT  = 0xc4
	markJPG  = 0xc8
	markDAC  = 0xcc
	markRST0 = 0xd0
	markRST7 = 0xd7
	markSOI  = 0xd8
	markEOI  = 0xd9
	markSOS  = 0xda
)

// errBroken says that what began as a JPEG is none. The walker's at is where to look for the next, if it is not 0.
var errBroken = errors.New("not a JPEG")

// walker goes through a JPEG marker by marker. Segments are passed over as a whole, so a thumbnail in one is not taken
// for a picture.
type walker struct {
	at            int  // up to where it got; behind the picture when it is whole
	scan          bool // in entropy-coded data
	scanned       bool
	whole         bool
	width, height int
}

// to goes on as far as b reaches, which begins with the picture's SOI. nil and not whole: it needs more.
func (w *walker) to(b []byte) error {
	if w.at == 0 {
		w.at = 2
	}
	for !w.whole {
		if w.scan {
			i := bytes.IndexByte(b[w.at:], 0xff)
			if i < 0 {
				w.at = len(b)
				return nil
			}
			w.at += i
		}
		if len(b) < w.at+2 {
			return nil
		}
		done, err := w.marker(b)
		if err != nil || !done {
			return err
		}
	}
	return nil
}

// marker handles the one at w.at; false: its segment is not all there.
func (w *walker) marker(b []byte) (bool, error) {
	switch m := b[w.at+1]; {
	case b[w.at] != 0xff:
		return false, w.broken()
	case m == 0xff: // fill byte
		w.at++
	case m == 0 && w.scan: // a stuffed 0xff of the data
		w.at += 2
	case m >= markRST0 && m <= markRST7 && w.scan, m == markTEM:
		w.at += 2
	case m == markSOI: // the rest of the picture before it is missing: this is the next one
		return false, errBroken
	case m == markEOI:
		w.at += 2
		if w.width == 0 || !w.scanned {
			return false, errBroken
		}
		w.whole = true
	case m < markSOF0 || m >= markRST0 && m <= markRST7:
		return false, w.broken()
	default:
		return w.segment(b, m)
	}
	return true, nil
}

func (w *walker) segment(b []byte, m byte) (bool, error) {
	if len(b) < w.at+4 {
		return false, nil
	}
	end := w.at + 2 + int(binary.BigEndian.Uint16(b[w.at+2:]))
	if end < w.at+4 {
		return false, w.broken()
	}
	if len(b) < end {
		return false, nil
	}
	if frame := m >= markSOF0 && m < markRST0 && m != markDHT && m != markJPG && m != markDAC; frame {
		if end < w.at+9 {
			return false, w.broken()
		}
		w.height, w.width = int(binary.BigEndian.Uint16(b[w.at+5:])), int(binary.BigEndian.Uint16(b[w.at+7:]))
		if (Picture{Width: w.width, Height: w.height}).check() != nil {
			return false, w.broken()
		}
	}
	w.at = end
	w.scan = m == markSOS
	w.scanned = w.scanned || w.scan
	return true, nil
}

// broken sends the search back to right behind the SOI: a length that is wrong must not hide the next picture.
func (w *walker) broken() error {
	w.at = 0
	return errBroken
}
