package onnx

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// guessKind names what people most often hand over instead of an ONNX model; empty when it is none of those.
func guessKind(data []byte) string {
	for _, k := range [...]struct {
		offset int
		magic  string
		kind   string
	}{
		{0, "version https://git-lfs", "a Git LFS pointer; fetch the file that it stands for with git lfs pull"},
		{0, "\xff\xd8\xff", "a JPEG picture"},
		{0, "\x89PNG\r\n", "a PNG picture"},
		{0, "PK\x03\x04", "a zip archive or a PyTorch file; export it to ONNX first"},
		{0, "\x1f\x8b", "a gzip file; unpack it first"},
		{0, "\x28\xb5\x2f\xfd", "a zstd file; unpack it first"},
		{4, "TFL3", "a TensorFlow Lite model; convert it to ONNX first"},
		{4, "ORTM", "a model in ONNX Runtime's own format; use the .onnx file that it was made from"},
	} {
		if len(data) >= k.offset && bytes.HasPrefix(data[k.offset:], []byte(k.magic)) {
			return k.kind
		}
	}
	const enough = 512 // bytes that tell text from something else
	head := data[:min(len(data), enough)]
	trimmed := bytes.TrimSpace(head)
	switch {
	case !isText(head):
		return ""
	case bytes.HasPrefix(trimmed, []byte("{")), bytes.HasPrefix(trimmed, []byte("[")):
		return "JSON"
	case bytes.HasPrefix(trimmed, []byte("<")):
		return "a web page or XML"
	}
	return "text"
}

// isText reports whether the bytes are printable UTF-8; the last character may be cut.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return len(b) < utf8.UTFMax && !utf8.FullRune(b)
		}
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return false
		}
		b = b[n:]
	}
	return true
}
