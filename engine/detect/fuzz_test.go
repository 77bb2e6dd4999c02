package detect

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"
)

// floats fills dst with the bytes as little-endian float32, from offset at and around again; zeros when there are
// none.
func floats(dst []float32, data []byte, at int) {
	if len(data) < 4 {
		return
	}
	n := len(data) / 4
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[(at+i)%n*4:]))
	}
}

// FuzzDecode gives every family's decoder arbitrary numbers.
func FuzzDecode(f *testing.F) {
	seed := func(values ...float32) {
		var data []byte
		for _, v := range values {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		for _, threshold := range []uint8{0, 64, 255} {
			f.Add(threshold, threshold, uint8(3), data)
		}
	}
	seed()
	seed(0.5)
	seed(nan, inf, -inf, 1, 0.5)
	seed(1, 2, 3, 4, 0.9, 0.8, 0.7, 0.1, 30, 20)
	seed(3e38, -3e38, 88.8, 104, 1e-45, 1, 1)
	seed(1, 2, 30, 20, 1, 2)
	f.Fuzz(func(t *testing.T, score, iou, limit uint8, data []byte) {
		for _, h := range heads() {
			h.p.MultiLabel = limit%2 == 1
			at := 0
			for i := range h.tensors {
				floats(h.tensors[i].Data, data, at)
				at += len(h.tensors[i].Data)
			}
			h.p.ScoreThreshold = float32(score) / 255
			h.p.IoUThreshold = float32(iou) / 255
			h.p.MaxDetections = 1 + int(limit)
			d := mustDecoder(t, h.p, infos(h.tensors...))
			got, err := d.Decode(h.tensors, nil)
			if err != nil && !errors.Is(err, ErrNotFinite) && !errors.Is(err, ErrClassRange) && !errors.Is(err, ErrScoreRange) {
				t.Fatalf("%s: %v", h.name, err)
			}
			checkSound(t, h.p, got)
			checkSuppressed(t, h.p, got)
			again, _ := d.Decode(h.tensors, nil)
			if !slices.Equal(got, again) {
				t.Fatalf("%s: the second run gives %v, the first %v", h.name, again, got)
			}
		}
	})
}

func checkSuppressed(t *testing.T, p Params, got []Detection) {
	t.Helper()
	if p.Family.Final() {
		return
	}
	for i, a := range got {
		for _, b := range got[:i] {
			if a.ClassID == b.ClassID && a.Box.IoU(b.Box) > p.IoUThreshold {
				t.Fatalf("%+v and %+v overlap by more than %v", a, b, p.IoUThreshold)
			}
		}
	}
}

// FuzzShapes gives the decoders arbitrary shapes, promised and delivered.
func FuzzShapes(f *testing.F) {
	f.Add(uint8(0), uint16(80), uint16(64), uint16(64), int64(84), int64(84), int64(84), int64(84), uint8(1))
	f.Add(uint8(0), uint16(0), uint16(64), uint16(64), int64(84), int64(7), int64(84), int64(7), uint8(1))
	f.Add(uint8(1), uint16(3), uint16(64), uint16(32), int64(-1), int64(8), int64(126), int64(8), uint8(1))
	f.Add(uint8(2), uint16(0), uint16(64), uint16(32), int64(-1), int64(-1), int64(0), int64(6), uint8(1))
	f.Add(uint8(3), uint16(3), uint16(1), uint16(1), int64(3), int64(8), int64(3), int64(8), uint8(1))
	f.Add(uint8(4), uint16(3), uint16(64), uint16(32), int64(42), int64(35), int64(42), int64(35), uint8(1))
	f.Add(uint8(4), uint16(32), uint16(64), uint16(32), int64(-1), int64(32), int64(43), int64(32), uint8(2))
	f.Add(uint8(4), uint16(32), uint16(8), uint16(8), int64(1), int64(32), int64(1), int64(32), uint8(8))
	f.Fuzz(func(t *testing.T, family uint8, classes, w, h uint16, a, b, gotA, gotB int64, count uint8) {
		fam := Families()[int(family)%len(Families())]
		p := params(fam, int(classes), int(w), int(h))
		var outputs []TensorInfo
		var tensors []Tensor
		for i := range int(count % 9) {
			name := []string{"cls", "dis"}[i%2]
			outputs = append(outputs, info(name, 1, a, b))
			tensors = append(tensors, Tensor{Name: name, Shape: []int64{1, gotA, gotB}})
		}
		if f, why, err := GuessFamily(outputs); err == nil && (why == "" || !slices.Contains(Families(), f)) {
			t.Errorf("guessed %q because %q", f, why)
		}
		if n, err := ClassesFromShape(fam, outputs); n < 0 || n > ClassesLimit || err != nil && n != 0 {
			t.Errorf("%d classes, %v", n, err)
		}
		d, err := NewDecoder(p, outputs)
		if err != nil {
			return
		}
		if gotA >= 0 && gotB >= 0 && gotA < 1<<11 && gotB < 1<<11 {
			for i := range tensors {
				tensors[i].Data = slices.Repeat([]float32{0.5}, int(gotA*gotB))
			}
		}
		got, err := d.Decode(tensors, nil)
		if err != nil && len(got) > 0 && !errors.Is(err, ErrClassRange) {
			t.Errorf("%d detections with %v", len(got), err)
		}
		checkSound(t, p, got)
	})
}

// FuzzNamedShapes changes the shapes that the families with named outputs promise and deliver.
func FuzzNamedShapes(f *testing.F) {
	for which := range uint8(5) {
		f.Add(which, uint16(3), uint8(1), int64(-1), int64(20), int64(21), uint8(0))
		f.Add(which, uint16(0), uint8(0), int64(20), int64(4), int64(4), uint8(1))
	}
	f.Fuzz(func(t *testing.T, which uint8, classes uint16, at uint8, promised, delivered, again int64, cut uint8) {
		var all []head
		for _, h := range heads() {
			if f := h.p.Family; f == RTDETR || f == RFDETR || f == YuNet || f == SSD {
				all = append(all, h)
			}
		}
		h := all[int(which)%len(all)]
		h.p.Classes = int(classes)
		outputs := infos(h.tensors...)
		i := int(at) % len(outputs)
		side := len(outputs[i].Shape) - 1 - int(at/128)%len(outputs[i].Shape)
		outputs[i].Shape[side] = promised
		if cut%3 == 2 {
			outputs[i].Shape = outputs[i].Shape[1:]
		}
		if n, err := ClassesFromShape(h.p.Family, outputs); n < 0 || n > ClassesLimit || err != nil && n != 0 {
			t.Errorf("%d classes, %v", n, err)
		}
		if f, why, err := GuessFamily(outputs); err == nil && (why == "" || !slices.Contains(Families(), f)) {
			t.Errorf("guessed %q because %q", f, why)
		}
		d, err := NewDecoder(h.p, outputs)
		if err != nil {
			return
		}
		for _, v := range []int64{delivered, again} {
			h.tensors[i].Shape = slices.Clone(h.tensors[i].Shape)
			h.tensors[i].Shape[side] = v
			got, err := d.Decode(h.tensors, nil)
			if err != nil && len(got) > 0 && !errors.Is(err, ErrClassRange) {
				t.Errorf("%d detections with %v", len(got), err)
			}
			checkSound(t, h.p, got)
		}
	})
}
