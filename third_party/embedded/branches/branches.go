// Package branches makes x86-64 machine code easier to compress: the targets of calls and jumps, which the processor
// counts from the instruction, are counted from the beginning of the file instead, so that all calls of one function
// look the same. It is the idea behind the BCJ filters of 7-Zip and xz, with a wider reach, because ONNX Runtime's code
// is larger than theirs: it makes zstd's result an eighth smaller.
package branches

import (
	"encoding/binary"
	"io"
)

const (
	// targetBits is how many bits of a target are changed; what lies farther away stays as it is. 32 MB in each direction
	// were the best for a library with 40 MB of code.
	targetBits = 26
	half       = 1 << (targetBits - 1)

	// length is that of an instruction: the byte E8 (call) or E9 (jmp) and a displacement in 32 bits, little endian
	// (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CALL and JMP).
	length = 5
)

// Encode changes code in place. Whatever the bytes are, Decode makes them what they were.
func Encode(code []byte) { convert(code, 0, 1) }

// convert works through code, which begins at position at of the file, and returns how many bytes are done: all but
// those at the end that may begin an instruction. Encoding and decoding come to the same decisions: the byte before a
// displacement is never changed, a displacement that is changed stays within the reach, and one that is not is passed over
// as a whole.
func convert(code []byte, at, sign int) (done int) {
	i := 0
	for i+length <= len(code) {
		if code[i]&0xfe != 0xe8 {
			i++
			continue
		}
		field := code[i+1 : i+length]
		v := int32(binary.LittleEndian.Uint32(field)) //nolint:gosec // the bits are what is wanted
		if v < -half || v >= half {
			i += length // nothing within it is changed either: decoding must see the same displacement
			continue
		}
		v += int32(sign * (at + i + length))            //nolint:gosec // modulo 2^targetBits in the end
		v = v << (32 - targetBits) >> (32 - targetBits) // back into the reach, with its sign
		binary.LittleEndian.PutUint32(field, uint32(v)) //nolint:gosec // as above
		i += length
	}
	return i
}

// Writer takes encoded bytes and writes what they were before. One goroutine.
type Writer struct {
	w    io.Writer
	buf  []byte
	held int // bytes at the front of buf that are not decoded yet
	at   int // the position of buf in the file
}

// roomy is how much a Writer decodes at once, in bytes: it stays in the processor's second cache.
const roomy = 256 << 10

// NewWriter makes a Writer. Whoever has written all calls Close.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w, buf: make([]byte, roomy)} }

// Write implements io.Writer.
func (d *Writer) Write(p []byte) (int, error) {
	taken := 0
	for taken < len(p) {
		n := copy(d.buf[d.held:], p[taken:])
		taken += n
		have := d.buf[:d.held+n]
		done := convert(have, d.at, -1)
		if _, err := d.w.Write(have[:done]); err != nil {
			return taken, err
		}
		d.at += done
		d.held = copy(d.buf, have[done:])
	}
	return taken, nil
}

// Close writes the last bytes. It does not close what it writes to.
func (d *Writer) Close() error {
	_, err := d.w.Write(d.buf[:d.held])
	d.held = 0
	return err
}
