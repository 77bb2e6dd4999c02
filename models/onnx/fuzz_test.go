package onnx

import (
	"errors"
	"testing"
)

// FuzzInspect: whatever the bytes, an answer or an error of a known kind, and never both or neither. What is
// accepted obeys the limits and has no unsafe path.
func FuzzInspect(f *testing.F) {
	whole, err := sample().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte{})
	f.Add([]byte("{\"a\": 1}"))
	f.Add([]byte("\xff\xd8\xff\xe0\x00\x10JFIF"))
	f.Add(model(sub(5, external("w", "../w.bin"))))
	f.Add(model(sub(1, str(4, "If"), sub(5, sub(6, sub(5, external("w", "w.bin")))))))
	f.Add(msg(model(sub(15, sub(1, str(8, "s")))), sub(20, sub(2)), sub(25, sub(7, str(4, "Add")), sub(11, sub(23, sub(2))))))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := Inspect(data)
		if err != nil {
			known := errors.Is(err, ErrNotONNX) || errors.Is(err, ErrTruncated) || errors.Is(err, ErrUnsafePath) || errors.Is(err, ErrLimit)
			if info != nil || !known {
				t.Fatalf("%+v, %v", info, err)
			}
			return
		}
		if info.IRVersion < 1 || info.Nodes > maxNodes || len(info.Inputs) > maxInputs || len(info.Metadata) > maxMetadata {
			t.Fatalf("accepted beyond the limits: %+v", info)
		}
		for _, location := range info.ExternalData {
			if err := checkLocation(location); err != nil {
				t.Fatalf("accepted: %v", err)
			}
		}
	})
}
