//go:build opencv

package camera

import (
	"context"
	"errors"
	"image"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gnomon/engine"
)

// A watched folder delivers what is there and what comes, passes over what is broken, reads a picture that was half
// written when it is whole, and goes on until somebody ends it.
func TestWatchedFolder(t *testing.T) {
	leakFree(t)
	dir := t.TempDir()
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src, err := Open(Options{Name: "in", URI: dir, Watch: true}) // an empty folder is none of a mistake
	if err != nil {
		t.Fatal(err)
	}
	if src.Live() {
		t.Error("a folder is not live: nothing of it may be dropped")
	}
	var f engine.Frame
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	expect := func(seq uint64, name string, size image.Point) {
		t.Helper()
		if err := src.Read(ctx, &f); err != nil {
			t.Fatal(err)
		}
		if f.Seq != seq || f.Origin != filepath.Join(dir, name) || image.Pt(f.Width, f.Height) != size {
			t.Fatalf("number %d, %s, %dx%d", f.Seq, f.Origin, f.Width, f.Height)
		}
	}
	small, large := picture(t, 32, 24, true), picture(t, 64, 48, true)
	write("a.jpg", small)
	expect(0, "a.jpg", image.Pt(32, 24))
	write("cut.jpg", large[:len(large)*2/3])
	write("not.jpg", []byte("a text"))
	write("b.png", picture(t, 20, 10, false))
	expect(1, "b.png", image.Pt(20, 10))
	if n, err := src.(*watchedFolder).Skipped(); n != 2 || !errors.Is(err, ErrNotMedia) {
		t.Errorf("%d were passed over, the last: %v", n, err)
	}
	write("cut.jpg", large)
	expect(2, "cut.jpg", image.Pt(64, 48))
	write("cut.jpg", small)
	expect(3, "cut.jpg", image.Pt(32, 24))

	waiting, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	read := func(ctx context.Context) { ended <- src.Read(ctx, &f) }
	go read(waiting)
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go read(t.Context())
	if err := errors.Join(src.Close(), src.Close()); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := src.Read(t.Context(), &f); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(Options{URI: filepath.Join(dir, "a.jpg"), Watch: true}); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
}

// A bitmap says how long it is: one that is still being written is not taken for whole.
func TestCutBitmap(t *testing.T) {
	whole := append([]byte("BM\x0a\x00\x00\x00"), 1, 2, 3, 4)
	for n, want := range map[int]error{10: nil, 9: ErrCutShort, 3: ErrCutShort} {
		if err := complete(whole[:n]); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if err := complete([]byte("BM\x00\x00\x00\x00rest")); err != nil {
		t.Error(err)
	}
}
