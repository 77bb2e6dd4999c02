package branches

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// decode feeds a Writer with pieces of n bytes.
func decode(t *testing.T, code []byte, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out)
	for rest := code; len(rest) > 0; {
		k := min(n, len(rest))
		if m, err := w.Write(rest[:k]); m != k || err != nil {
			t.Fatalf("wrote %d of %d: %v", m, k, err)
		}
		rest = rest[k:]
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte{0xe8, 0xe8, 0xe9, 0, 0, 0xff, 0xe8, 0xff, 0xff, 0xff, 0xff, 0xe9, 1}, 3)
	f.Add([]byte{0xe8, 0xff, 0xff, 0xff, 0x01, 0xe8, 0, 0, 0, 0xfe, 0xe8, 0xff, 0xff, 0xff, 0xfd}, 1)
	f.Add([]byte{0xe8, 0x00, 0xe8, 0x00, 0x7f, 0x00, 0x00, 0x00, 0x00}, 9) // an instruction inside one that is out of reach
	f.Fuzz(func(t *testing.T, code []byte, n int) {
		packed := bytes.Clone(code)
		Encode(packed)
		if got := decode(t, packed, max(1, n&0xffff)); !bytes.Equal(got, code) {
			t.Errorf("%x became %x", code, got)
		}
	})
}

// Two calls of one function differ by where they are, and no longer once encoded. More than a buffer goes through.
func TestCallsLookAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	code := make([]byte, 3*roomy+7)
	for i := range code {
		code[i] = byte(r.UintN(256))
	}
	const target = 0x10000
	place := func(at int) []byte {
		v := target - at - length
		copy(code[at:], []byte{0x90, 0x90, 0x90, 0x90, 0xe8, byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}[4:])
		copy(code[at-4:], []byte{0x90, 0x90, 0x90, 0x90})
		return code[at : at+length]
	}
	one, other := place(5000), place(roomy-2) // the second spans two buffers
	if bytes.Equal(one, other) {
		t.Fatal("the calls are the same already")
	}
	before := bytes.Clone(code)
	Encode(code)
	if !bytes.Equal(one, other) {
		t.Errorf("%x and %x", one, other)
	}
	if got := decode(t, code, 100_000); !bytes.Equal(got, before) {
		t.Error("decoded, it is another")
	}
}

// Bytes at random, most of which look like instructions, near and far.
func TestRoundTripOfMany(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	of := []byte{0xe8, 0xe9, 0x00, 0xff, 0x01, 0xfe, 0x02, 0x7f}
	for range 20_000 {
		code := make([]byte, r.UintN(200))
		for i := range code {
			code[i] = of[r.UintN(uint(len(of)))]
		}
		packed := bytes.Clone(code)
		Encode(packed)
		if got := decode(t, packed, 1+int(r.UintN(50))); !bytes.Equal(got, code) {
			t.Fatalf("%x became %x", code, got)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriterPassesErrorsOn(t *testing.T) {
	if _, err := NewWriter(broken{}).Write(make([]byte, 100)); err == nil {
		t.Error("no error")
	}
}

func BenchmarkDecode(b *testing.B) {
	code := make([]byte, 16<<20)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range code {
		code[i] = byte(r.UintN(256))
	}
	b.SetBytes(int64(len(code)))
	for b.Loop() {
		w := NewWriter(bytes.NewBuffer(make([]byte, 0, len(code))))
		if _, err := w.Write(code); err != nil {
			b.Fatal(err)
		}
	}
}
