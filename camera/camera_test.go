//go:build opencv

package camera

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gnomon/engine"
	"gnomon/engine/detect"
)

// leakFree fails the test if it leaves Mats behind.
func leakFree(t *testing.T) {
	t.Helper()
	before := LiveMats()
	t.Cleanup(func() {
		if n := LiveMats() - before; n != 0 {
			t.Errorf("%d OpenCV pictures are still open", n)
		}
	})
}

// readAll reads a source to its end and returns what each frame was, with the error that ended it.
func readAll(t *testing.T, src engine.Source, limit int) (seqs []uint64, pts []time.Duration, sizes []image.Point, err error) {
	t.Helper()
	var f engine.Frame
	defer func() {
		if e := errors.Join(f.Close(), src.Close(), src.Close()); e != nil {
			t.Error(e)
		}
	}()
	for range limit {
		if err = src.Read(context.Background(), &f); err != nil {
			return seqs, pts, sizes, err
		}
		seqs, pts, sizes = append(seqs, f.Seq), append(pts, f.PTS), append(sizes, image.Pt(f.Width, f.Height))
		if f.CapturedAt.IsZero() || f.Stride != 3*f.Width || len(f.Pix) != f.Stride*f.Height || f.Format != engine.BGR24 {
			t.Fatalf("frame %d: %d bytes, %dx%d, stride %d, format %d, at %v", f.Seq, len(f.Pix), f.Width, f.Height, f.Stride, f.Format, f.CapturedAt)
		}
	}
	return seqs, pts, sizes, nil
}

// clip writes a small video of n frames with a square that moves, and returns its path.
func clip(t *testing.T, name string, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	a, err := NewAnnotator(path, 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		pix := make([]byte, 64*48*3)
		for y := 10; y < 30; y++ {
			for x := i % 40; x < i%40+20; x++ {
				pix[3*(y*64+x)+2] = 255
			}
		}
		f := &engine.Frame{Pix: pix, Width: 64, Height: 48, Stride: 192, Format: engine.BGR24, Seq: uint64(i)}
		if err := a.Write(f, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSampleVideo(t *testing.T) {
	leakFree(t)
	path := os.Getenv("GNOMON_SAMPLE")
	if path == "" {
		t.Skip("needs the sample video: GNOMON_SAMPLE, which the Makefile sets, is empty")
	}
	src, err := Open(Options{Name: "sample", URI: path})
	if err != nil {
		t.Fatal(err)
	}
	seqs, pts, sizes, err := readAll(t, src, 1000)
	if !errors.Is(err, io.EOF) || len(seqs) != 795 {
		t.Fatalf("%d frames and %v, want 795 and the end", len(seqs), err)
	}
	for i := range seqs {
		if seqs[i] != uint64(i) || pts[i] != time.Duration(i)*100*time.Millisecond || sizes[i] != image.Pt(768, 576) {
			t.Fatalf("frame %d has number %d at %v, %v", i, seqs[i], pts[i], sizes[i])
		}
	}
}

// What the annotator writes, the source reads: every container, frame by frame, and again when it loops.
func TestVideoRoundTrip(t *testing.T) {
	leakFree(t)
	for _, name := range []string{"a.avi", "a.mp4", "a.mov", "a.mkv"} {
		t.Run(name, func(t *testing.T) {
			path := clip(t, name, 25)
			src, err := Open(Options{Name: "clip", URI: path})
			if err != nil {
				t.Fatal(err)
			}
			if src.Live() || src.Name() != "clip" {
				t.Error("a file is not live")
			}
			seqs, pts, _, err := readAll(t, src, 100)
			if !errors.Is(err, io.EOF) || len(seqs) != 25 {
				t.Fatalf("%d frames and %v, want 25 and the end", len(seqs), err)
			}
			for i := range pts {
				if d := pts[i] - time.Duration(i)*100*time.Millisecond; d < -time.Millisecond || d > time.Millisecond {
					t.Fatalf("frame %d is at %v", i, pts[i])
				}
			}
			src, err = Open(Options{Name: "clip", URI: path, Loop: true})
			if err != nil {
				t.Fatal(err)
			}
			seqs, pts, _, err = readAll(t, src, 60)
			if err != nil || len(seqs) != 60 || seqs[59] != 59 {
				t.Fatalf("looping: %d frames and %v", len(seqs), err)
			}
			for i := 1; i < len(pts); i++ {
				if d := pts[i] - pts[i-1]; d < 99*time.Millisecond || d > 101*time.Millisecond {
					t.Fatalf("looping: frame %d follows after %v", i, d)
				}
			}
		})
	}
}

func TestRealtimePacing(t *testing.T) {
	leakFree(t)
	src, err := Open(Options{Name: "clip", URI: clip(t, "a.avi", 25), Realtime: true})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, _, _, err = readAll(t, src, 6); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 490*time.Millisecond { // five intervals of 100 ms; slow machines may take longer
		t.Errorf("six frames at 10 a second came within %v", d)
	}
	src, err = Open(Options{Name: "clip", URI: clip(t, "b.avi", 25), Realtime: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	var f engine.Frame
	for err == nil {
		err = src.Read(ctx, &f)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled while waiting for the next frame: %v", err)
	}
	if err := errors.Join(f.Close(), src.Close()); err != nil {
		t.Error(err)
	}
}

func TestTruncatedVideo(t *testing.T) {
	leakFree(t)
	for _, name := range []string{"a.avi", "a.mkv", "a.mp4"} {
		path := clip(t, name, 60)
		if cutShort(path) {
			t.Errorf("%s: the whole file is taken for cut short", name)
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cut := write(t, t.TempDir(), name, whole[:len(whole)/2])
		if !cutShort(cut) {
			t.Errorf("%s: half of it is taken for whole", name)
		}
		src, err := Open(Options{Name: "cut", URI: cut})
		if name == "a.mp4" { // its index is at the end
			if !errors.Is(err, ErrNotMedia) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		seqs, _, _, err := readAll(t, src, 100)
		if !errors.Is(err, ErrTruncated) || len(seqs) < 10 {
			t.Errorf("%s: %d frames and %v", name, len(seqs), err)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"rtsp://user:p%ss@cam/x": "rtsp://***@cam/x", "rtsp://u:1#x@cam/y": "rtsp://***@cam/y", "rtsp://cam/x": "rtsp://cam/x",
		"/a@b/c.avi": "/a@b/c.avi", "http://a:b/c@d/e": "http://***@d/e",
	} {
		if got := Redact(in); got != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
}

// A small file that claims a huge picture is refused before anything is decoded.
func TestHugePicture(t *testing.T) {
	leakFree(t)
	whole := picture(t, 16, 16, false)
	binary.BigEndian.PutUint32(whole[16:], 40000) // width and height in IHDR, and its checksum
	binary.BigEndian.PutUint32(whole[20:], 40000)
	binary.BigEndian.PutUint32(whole[29:], crc32.ChecksumIEEE(whole[12:29]))
	src, err := Open(Options{Name: "p", URI: write(t, t.TempDir(), "huge.png", whole)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err = readAll(t, src, 1); err == nil || !strings.Contains(err.Error(), "40000x40000 pixels, more than the 134217728") {
		t.Error(err)
	}
}

// Reading frames allocates nothing on the Go heap once the buffers are there.
func TestReadDoesNotAllocate(t *testing.T) {
	src, err := Open(Options{Name: "clip", URI: clip(t, "a.avi", 200)})
	if err != nil {
		t.Fatal(err)
	}
	var f engine.Frame
	defer func() { _ = errors.Join(f.Close(), src.Close()) }()
	if n := testing.AllocsPerRun(100, func() {
		if err := src.Read(context.Background(), &f); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a frame, want 0", n)
	}
}

// picture encodes a w x h picture: left half red, right half blue.
func picture(t *testing.T, w, h int, asJPEG bool) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{R: 255, A: 255}
			if x >= w/2 {
				c = color.RGBA{B: 255, A: 255}
			}
			img.Set(x, y, c)
		}
	}
	var buf bytes.Buffer
	var err error
	if asJPEG {
		err = jpeg.Encode(&buf, img, &jpeg.Options{Quality: 95})
	} else {
		err = png.Encode(&buf, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFolder(t *testing.T) {
	leakFree(t)
	dir := t.TempDir()
	write(t, dir, "b.png", picture(t, 20, 10, false))
	write(t, dir, "a.jpg", picture(t, 40, 30, true))
	write(t, dir, "c.txt", []byte("no picture"))
	write(t, dir, "d.jpg", nil)
	write(t, dir, "e.jpg", []byte("not a jpeg"))
	for name, whole := range map[string][]byte{"f.jpg": picture(t, 100, 100, true), "g.png": picture(t, 100, 100, false)} {
		write(t, dir, name, whole[:2*len(whole)/3])
	}
	src, err := Open(Options{Name: "folder", URI: dir})
	if err != nil {
		t.Fatal(err)
	}
	_, _, sizes, err := readAll(t, src, 10)
	if len(sizes) != 2 || sizes[0] != image.Pt(40, 30) || sizes[1] != image.Pt(20, 10) {
		t.Errorf("pictures %v", sizes)
	}
	if err == nil || !errors.Is(err, ErrNotMedia) || !strings.Contains(err.Error(), "4 of 6 pictures could not be read") || !strings.Contains(err.Error(), "d.jpg is empty (0 bytes)") || !strings.Contains(err.Error(), "e.jpg") || !errors.Is(err, ErrCutShort) || strings.Count(err.Error(), ErrCutShort.Error()) != 2 {
		t.Errorf("end: %v", err)
	}
}

func TestOnePicture(t *testing.T) {
	leakFree(t)
	path := write(t, t.TempDir(), "named-wrongly.avi", picture(t, 20, 10, false))
	src, err := Open(Options{Name: "p", URI: path})
	if err != nil {
		t.Fatal(err)
	}
	var f engine.Frame
	if err := src.Read(t.Context(), &f); err != nil {
		t.Fatal(err)
	}
	if left, right := f.Pix[:3], f.Pix[3*19:3*20]; !bytes.Equal(left, []byte{0, 0, 255}) || !bytes.Equal(right, []byte{255, 0, 0}) {
		t.Errorf("left pixel %v, right pixel %v: want red and blue as BGR", left, right)
	}
	if f.Origin != path {
		t.Errorf("origin %q", f.Origin)
	}
	if err := src.Read(t.Context(), &f); !errors.Is(err, io.EOF) {
		t.Errorf("after the only picture: %v", err)
	}
	if err := errors.Join(f.Close(), src.Close()); err != nil {
		t.Error(err)
	}
}

func TestOpenErrors(t *testing.T) {
	leakFree(t)
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	rows := []struct{ uri, want string }{
		{filepath.Join(dir, "none.avi"), "none.avi: no such file"},
		{write(t, dir, "zero.jpg", nil), "zero.jpg is empty (0 bytes): neither a picture nor a video that can be read"},
		{write(t, dir, "text.mp4", []byte("this is not a video at all, it is text")), "text.mp4: neither a picture nor a video that can be read"},
		{empty, "no pictures in this folder (.jpg, .jpeg, .png, .bmp)"},
		{"/dev/video97", "/dev/video97: no such camera; `ls /dev/video*` shows those that there are"},
		{"gopher://x/y", `the scheme "gopher" is not known; use a path, /dev/videoN, rtsp://, rtmp://, http://, udp:// or tcp://`},
		{"rtsps://user:secret@h/y", "rtsps://***@h/y: encrypted streams are not built in; use rtsp, or a proxy on this machine"},
		{"rtsp://user:secret@127.0.0.1:1/y", "rtsp://***@127.0.0.1:1/y: the camera cannot be reached: nothing listens at this port; check the address, and that the camera is up"},
		{"/dev/null", "/dev/null cannot be opened: it is in use by another program, is not a capture device, or this user may not read it (group video)"},
	}
	for _, row := range rows {
		src, err := Open(Options{Name: "x", URI: row.uri})
		if err == nil {
			t.Errorf("%s: opened", row.uri)
			_ = src.Close()
			continue
		}
		if !strings.HasSuffix(strings.TrimSuffix(err.Error(), ": "+ErrNotMedia.Error()), strings.TrimSuffix(row.want, ": "+ErrNotMedia.Error())) {
			t.Errorf("got  %v\nwant …%s", err, row.want)
		}
	}
}

func TestAnnotate(t *testing.T) {
	leakFree(t)
	dir := t.TempDir()
	pix := make([]byte, 200*100*3)
	f := &engine.Frame{Pix: pix, Width: 200, Height: 100, Stride: 600, Format: engine.BGR24}
	dets := []detect.Detection{{Box: detect.Box{X1: 50, Y1: 40, X2: 150, Y2: 90}, Score: 0.9, ClassID: 0}, {Box: detect.Box{X1: -5, Y1: 0, X2: 500, Y2: 20}, ClassID: 99}}
	out := filepath.Join(dir, "out.png")
	a, err := NewAnnotator(out, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Write(f, dets, []string{"person"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Write(f, dets, nil); err == nil || !strings.Contains(err.Error(), "is one picture and there are several frames") {
		t.Errorf("second picture: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pix, make([]byte, len(pix))) {
		t.Error("the frame itself was drawn on")
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := img.At(100, 90).RGBA(); r+g+b == 0 {
		t.Error("no line along the lower edge of the box")
	}
	if r, g, b, _ := img.At(100, 65).RGBA(); r+g+b != 0 {
		t.Error("the middle of the box is painted over")
	}
	for _, bad := range []struct{ out, want string }{
		{filepath.Join(dir, "none", "x.mp4"), "cannot write there"},
		{filepath.Join(dir, "x.txt"), "cannot tell from the name what to write"},
	} {
		if _, err := NewAnnotator(bad.out, 0); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: %v", bad.out, err)
		}
	}
}
