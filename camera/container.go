package camera

import (
	"encoding/binary"
	"io"
	"os"
)

// cutShort tells whether a video file ends before its container says: AVI (RIFF), MP4 and MOV (ISO base media) and
// Matroska name the size of what they hold, so this is certain, whereas the number of frames that a header announces
// is often only near the truth. Files of other kinds, and those that leave the size open, are not judged.
func cutShort(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return false
	}
	head := make([]byte, 64)
	n, _ := io.ReadFull(f, head) // shorter files are judged by what there is
	head = head[:n]
	switch {
	case n >= 12 && string(head[:4]) == "RIFF":
		size := int64(binary.LittleEndian.Uint32(head[4:]))
		return size > 0 && size < 1<<32-1 && 8+size > st.Size()
	case n >= 8 && string(head[4:8]) == "ftyp":
		return boxBeyond(f, st.Size())
	case n >= 4 && string(head[:4]) == "\x1a\x45\xdf\xa3":
		return segmentBeyond(head, st.Size())
	}
	return false
}

// maxBoxes bounds the walk over the top level of an MP4 file: fragmented ones have two a second.
const maxBoxes = 1 << 20

// boxBeyond walks the boxes on the top level (ISO/IEC 14496-12, 4.2): a 32-bit size and a type, or size 1 and a
// 64-bit size after them, or size 0 for "to the end of the file".
func boxBeyond(r io.ReaderAt, end int64) bool {
	at := int64(0)
	for range maxBoxes {
		if at == end {
			return false
		}
		var h [16]byte
		n, _ := r.ReadAt(h[:], at)
		if n < 8 {
			return true // a box begins here and does not even have its head
		}
		size := int64(binary.BigEndian.Uint32(h[:]))
		switch {
		case size == 0:
			return false
		case size == 1 && n == len(h):
			size = int64(binary.BigEndian.Uint64(h[8:]))
		}
		if size < 8 {
			return false // not a box: padding that some recorders write
		}
		if size > end-at {
			return true
		}
		at += size
	}
	return false
}

// segmentBeyond looks at the size of the segment after the EBML header (RFC 8794, RFC 9559). All ones mean unknown.
func segmentBeyond(head []byte, end int64) bool {
	_, size, at, ok := element(head, 0)
	if !ok {
		return false
	}
	const segment = 0x18538067
	id, length, body, ok := element(head, at+size)
	return ok && id == segment && length >= 0 && body+length > end
}

// element reads the id and the size of the EBML element at offset, and where its contents begin. An unknown size is
// -1.
func element(b []byte, offset int64) (id, size, body int64, ok bool) {
	id, n, ok := vint(b, offset, false)
	if !ok {
		return 0, 0, 0, false
	}
	size, m, ok := vint(b, offset+n, true)
	if !ok {
		return 0, 0, 0, false
	}
	if size == 1<<(7*m)-1 {
		size = -1
	}
	return id, size, offset + n + m, true
}

// vint reads a variable-size integer: the zeros before the first one bit say how many bytes follow.
func vint(b []byte, at int64, strip bool) (v, n int64, ok bool) {
	if at < 0 || at >= int64(len(b)) || b[at] == 0 {
		return 0, 0, false
	}
	n = 1
	for mask := byte(0x80); b[at]&mask == 0; mask >>= 1 {
		n++
	}
	if at+n > int64(len(b)) {
		return 0, 0, false
	}
	for i := range n {
		v = v<<8 | int64(b[at+i])
	}
	if strip {
		v &^= 1 << (7 * n)
	}
	return v, n, true
}
