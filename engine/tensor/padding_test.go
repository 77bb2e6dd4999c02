package tensor

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// The parts of a batch each have their own padding, which is written once: cameras of several sizes that take turns in
// them leave nothing behind, and more parts than are remembered do no harm.
func TestProcessSeveralTensors(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	o := Options{Scale: 1, Std: [3]float32{1, 1, 1}, Pad: [3]uint8{114, 114, 114}}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	var parts [maxPadded + 2]engine.Input
	for i := range parts {
		parts[i] = input(32, 32, detect.Float32, false)
	}
	sizes := [][2]int{{64, 40}, {32, 20}, {40, 64}, {64, 64}} // the first two are placed alike
	for round := range 3 * len(parts) {
		size := sizes[r.IntN(len(sizes))]
		f, in := randomFrame(r, size[0], size[1], 0), parts[round%len(parts)]
		tr, err := letterbox.New(letterbox.Center, size[0], size[1], 32, 32)
		if err != nil {
			t.Fatal(err)
		}
		q, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		fresh := input(32, 32, detect.Float32, false)
		if err := q.Process(f, tr, fresh); err != nil {
			t.Fatal(err)
		}
		if err := p.Process(f, tr, in); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(in.Data, fresh.Data) {
			t.Fatalf("round %d, a frame of %v: the reused tensor differs from a fresh one", round, size)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.padded) != maxPadded {
		t.Errorf("%d tensors are remembered, want %d", len(p.padded), maxPadded)
	}
	tr, err := letterbox.New(letterbox.Center, 64, 40, 32, 32)
	if err != nil {
		t.Fatal(err)
	}
	// Where the padding is in place it is left alone, also when other parts were filled meanwhile.
	f := randomFrame(r, 64, 40, 0)
	for range 2 {
		for i := range 2 {
			if err := p.Process(f, tr, parts[i]); err != nil {
				t.Fatal(err)
			}
		}
		parts[0].Data[0] = 0x5a
	}
	if parts[0].Data[0] != 0x5a {
		t.Error("the padding was written once more")
	}
}
