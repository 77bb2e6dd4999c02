package bundle

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is what contents are, told by their first bytes.
type kind int

const (
	kindOther kind = iota // an ONNX file, weights, a picture
	kindText
	kindTar
	kindGzip
	kindZstd
	kindForeign // an archive that is not read here
)

// block is the unit of a tar archive in bytes, and as much as it takes to tell what something is.
const block = 512

// kindOf tells what begins with head, which has block bytes unless there are fewer. The name is for messages. Weights
// are arbitrary bytes, so nothing counts as a sign of an archive that has fewer than three of its own.
func kindOf(head []byte) (k kind, name string) {
	for _, m := range [...]struct {
		magic string
		kind  kind
		name  string
	}{
		{"\x28\xb5\x2f\xfd", kindZstd, "a zstd file"},
		{"PK\x03\x04", kindForeign, "a zip archive or a PyTorch file"},
		{"PK\x05\x06", kindForeign, "an empty zip archive"},
		{"\xfd7zXZ\x00", kindForeign, "an xz file"},
		{"7z\xbc\xaf\x27\x1c", kindForeign, "a 7z archive"},
		{"Rar!\x1a\x07", kindForeign, "a RAR archive"},
		{"\x04\x22\x4d\x18", kindForeign, "an lz4 file"},
	} {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.kind, m.name
		}
	}
	const (
		gzipReserved = 0xe0 // bits of the flags that RFC 1952 wants to be zero
		bzip2Block   = "1AY&SY"
	)
	switch {
	case len(head) == 0:
		return kindText, "nothing"
	case len(head) > 3 && head[0] == 0x1f && head[1] == 0x8b && head[2] == 8 && head[3]&gzipReserved == 0:
		return kindGzip, "a gzip file"
	case bytes.HasPrefix(head, []byte("BZh")) && len(head) > 4 && bytes.HasPrefix(head[4:], []byte(bzip2Block)):
		return kindForeign, "a bzip2 file"
	case isTar(head):
		return kindTar, "a tar archive"
	case isText(head):
		return kindText, "text"
	}
	return kindOther, "a binary file"
}

// isTar recognises the header of a tar archive by its checksum, which all variants of the format have: the sum of its
// bytes, those of the checksum itself taken as spaces (POSIX, pax interchange format).
func isTar(head []byte) bool {
	const from, to = 148, 156
	if len(head) < block {
		return false
	}
	want, err := strconv.ParseInt(strings.Trim(string(head[from:to]), " \x00"), 8, 64)
	if err != nil || head[0] == 0 {
		return false
	}
	sum := int64(to-from) * ' '
	for i, b := range head[:block] {
		if i < from || i >= to {
			sum += int64(b)
		}
	}
	return sum == want
}

// isText tells whether the bytes are UTF-8 text; the last character may be cut.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return len(b) < utf8.UTFMax && !utf8.FullRune(b)
		}
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return false
		}
		b = b[n:]
	}
	return true
}
