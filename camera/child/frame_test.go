package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"testing"
)

// bytesIn gives what a program wrote in pieces, as a pipe does: ready tells how much of it is there already.
type bytesIn struct {
	data  []byte
	piece int  // the most that one Read returns
	keep  bool // no picture may be passed over
	fail  bool // every other Read is called off
	calls int
}

func (b *bytesIn) Read(p []byte) (int, error) {
	b.calls++
	switch {
	case b.fail && b.calls%2 == 1:
		return 0, context.Canceled
	case len(b.data) == 0:
		return 0, errEnd
	}
	n := copy(p[:min(len(p), b.piece)], b.data)
	b.data = b.data[n:]
	return n, nil
}

func (b *bytesIn) ready() int { return len(b.data) }

// all reads pictures until something ends it. Their data is copied.
func all(in *bytesIn, c Command) (pictures []Picture, skipped int, err error) {
	small := func(p Picture) ([]byte, error) {
		if p.Size() > 1<<20 {
			return nil, errors.New("too much for a test")
		}
		return make([]byte, p.Size()), nil
	}
	var f framer
	r := newReader(in)
	if in.keep {
		r.most = 0
	}
	for {
		if f == nil {
			f, err = newFramer(r, Options{Command: c, Buffer: small})
		}
		var p Picture
		if err == nil {
			var n int
			n, err = f.next(&p)
			skipped += n
		}
		if in.fail && errors.Is(err, context.Canceled) {
			err = nil
			continue
		}
		if err != nil {
			return pictures, skipped, err
		}
		p.Data = bytes.Clone(p.Data)
		pictures = append(pictures, p)
	}
}

// everyWay reads in every way in which a pipe can deliver: byte by byte, at once, and with interruptions.
func everyWay(t *testing.T, data []byte, c Command, check func(t *testing.T, pictures []Picture, err error)) {
	t.Helper()
	for name, in := range map[string]bytesIn{
		"bytes": {piece: 1, keep: true}, "pieces": {piece: 7, keep: true}, "at once": {piece: 1 << 20, keep: true}, "interrupted": {piece: 5, keep: true, fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			in.data = data
			pictures, _, err := all(&in, c)
			check(t, pictures, err)
		})
	}
}

// ramp is n bytes that tell where they are.
func ramp(n, from int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(from + i)
	}
	return b
}

func TestY4M(t *testing.T) {
	var data bytes.Buffer
	data.WriteString("YUV4MPEG2 W4 H2 F30000:1001 Ip A1:1 C420jpeg XYSCSS=420JPEG\n")
	for i := range 3 {
		data.WriteString([]string{"FRAME\n", "FRAME Ip XCOM=FRAME\n", "FRAME \n"}[i])
		data.Write(ramp(12, 100*i))
	}
	data.WriteString("FRAME\n12345")
	everyWay(t, data.Bytes(), Command{}, func(t *testing.T, pictures []Picture, err error) {
		if len(pictures) != 3 || !errors.Is(err, errEnd) {
			t.Fatalf("%d pictures, %v", len(pictures), err)
		}
		for i, p := range pictures {
			if p.Format != I420 || p.Width != 4 || p.Height != 2 || !bytes.Equal(p.Data, ramp(12, 100*i)) {
				t.Errorf("picture %d: %+v", i, p)
			}
		}
	})
}

// Odd sizes lose a row and a column; gaps that GStreamer leaves between rows are recognised and left out.
func TestY4MLayouts(t *testing.T) {
	for _, c := range []struct {
		head          string
		width, height int // of the picture
		padded        bool
	}{
		{"W5 H3 C420mpeg2", 4, 2, false},
		{"W5 H3 C420", 4, 2, true},
		{"W36 H2", 36, 2, true},
		{"W36 H2", 36, 2, false},
		{"W6 H3 Cmono", 6, 3, true},
		{"W6 H3 Cmono", 6, 3, false},
	} {
		t.Run(fmt.Sprint(c.head, c.padded), func(t *testing.T) {
			var w, h int
			if _, err := fmt.Sscanf(c.head, "W%d H%d", &w, &h); err != nil {
				t.Fatal(err)
			}
			format := I420
			if bytes.HasSuffix([]byte(c.head), []byte("mono")) {
				format = Gray
			}
			l, padded := layouts(format, w, h)
			if c.padded {
				l = padded
			}
			frame := bytes.Repeat([]byte{'.'}, l.size())
			draw := func(b []byte, stride, width, height int, v byte) {
				for y := range height {
					for x := range width {
						b[y*stride+x] = v + byte(y)
					}
				}
			}
			draw(frame, l.stride, w, h, 'A')
			luma, chroma := l.stride*l.rows, l.chromaStride*l.chromaRows
			if chroma > 0 {
				draw(frame[luma:], l.chromaStride, (w+1)/2, (h+1)/2, 'a')
				draw(frame[luma+chroma:], l.chromaStride, (w+1)/2, (h+1)/2, 'k')
			}
			var want []byte
			for _, plane := range []struct {
				w, h int
				v    byte
			}{{c.width, c.height, 'A'}, {c.width / 2, c.height / 2, 'a'}, {c.width / 2, c.height / 2, 'k'}} {
				for y := range plane.h {
					want = append(want, bytes.Repeat([]byte{plane.v + byte(y)}, plane.w)...)
				}
				if format == Gray {
					break
				}
			}
			data := []byte("YUV4MPEG2 " + c.head + "\n")
			for range 3 {
				data = append(append(data, "FRAME\n"...), frame...)
			}
			everyWay(t, data, Command{Format: Y4M}, func(t *testing.T, pictures []Picture, err error) {
				if len(pictures) != 3 || !errors.Is(err, errEnd) {
					t.Fatalf("%d pictures, %v", len(pictures), err)
				}
				for i, p := range pictures {
					if p.Format != format || p.Width != c.width || p.Height != c.height || !bytes.Equal(p.Data, want) {
						t.Errorf("picture %d: %dx%d %q, want %q", i, p.Width, p.Height, p.Data, want)
					}
				}
			})
		})
	}
}

func TestRaw(t *testing.T) {
	for _, c := range []Command{
		{Format: BGR, Width: 3, Height: 3},
		{Format: RGB, Width: 2, Height: 1},
		{Format: Gray, Width: 5, Height: 1},
		{Format: I420, Width: 4, Height: 2},
		{Format: NV12, Width: 2, Height: 2},
		{Format: YUYV, Width: 2, Height: 3},
	} {
		n := Picture{Format: c.Format, Width: c.Width, Height: c.Height}.Size()
		everyWay(t, ramp(3*n+1, 0), c, func(t *testing.T, pictures []Picture, err error) {
			if len(pictures) != 3 || !errors.Is(err, errEnd) || !bytes.Equal(pictures[2].Data, ramp(n, 2*n)) || pictures[1].Format != c.Format {
				t.Errorf("%+v: %v, %v", c, pictures, err)
			}
		})
	}
}

func jpegOf(t testing.TB, w, h int, gray uint8) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = gray + uint8(i%7)
	}
	img.Set(0, 0, color.White)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestMJPEG(t *testing.T) {
	first, second := jpegOf(t, 40, 30, 10), jpegOf(t, 64, 48, 200)
	// A picture with another one in its EXIF data, fill bytes, and restart markers in its scan.
	thumb := jpegOf(t, 8, 8, 0)
	segment := append([]byte{0xff, 0xff, 0xff, 0xe1, byte((len(thumb) + 2) >> 8), byte(len(thumb) + 2)}, thumb...)
	third := append(append([]byte{0xff, 0xd8}, segment...), first[2:len(first)-2]...)
	third = append(third, 0xff, 0xd3, 0xff, 0x00, 1, 0xff, 0xd9)

	var data bytes.Buffer
	data.WriteString("--frame\r\nContent-Length: 5\r\n\r\n")
	data.Write(first)
	data.WriteString("\r\n\xff\xd8 no\xff")
	data.Write(second)
	data.Write(third)
	data.Write(second[:len(second)/2]) // cut short by
	data.Write(first)
	data.Write([]byte{0xff, 0xd8, 0xff, 0xe0, 0xff, 0xff}) // a length that reaches over the next
	data.Write(second)
	data.Write(second)
	data.Write(make([]byte, 70000))
	want := [][]byte{first, second, third, first, second, second}
	everyWay(t, data.Bytes(), Command{}, func(t *testing.T, pictures []Picture, err error) {
		if len(pictures) != len(want) || !errors.Is(err, errEnd) {
			t.Fatalf("%d pictures, %v", len(pictures), err)
		}
		for i, p := range pictures {
			if !bytes.Equal(p.Data, want[i]) || p.Format != MJPEG || p.Width*3 != p.Height*4 {
				t.Errorf("picture %d: %dx%d, %d bytes, want %d", i, p.Width, p.Height, len(p.Data), len(want[i]))
			}
		}
	})
}

// Of several pictures that are there, the newest is taken and the rest counted.
func TestNewest(t *testing.T) {
	var y, m []byte
	y = append(y, "YUV4MPEG2 W2 H2 C420\n"...)
	for i := range 5 {
		y = append(append(y, "FRAME\n"...), ramp(6, 10*i)...)
		m = append(m, jpegOf(t, 16, 16, uint8(10*i))...)
	}
	y = append(y, "FRAME\n12"...) // not whole
	m = append(m, 0xff, 0xd8, 0xff)
	for _, c := range []struct {
		c    Command
		data []byte
		want []byte
	}{
		{Command{Format: Y4M}, y, ramp(6, 40)},
		{Command{Format: MJPEG}, m, jpegOf(t, 16, 16, 40)},
		{Command{Format: Gray, Width: 10, Height: 1}, ramp(57, 0), ramp(10, 40)},
	} {
		pictures, skipped, err := all(&bytesIn{data: c.data, piece: 100}, c.c)
		if len(pictures) != 1 || skipped != 4 || !bytes.Equal(pictures[0].Data, c.want) || !errors.Is(err, errEnd) {
			t.Errorf("%s: %d pictures, %d skipped, %v", c.c.Format, len(pictures), skipped, err)
		}
	}
	// A flood has an end.
	pictures, skipped, _ := all(&bytesIn{data: make([]byte, 100), piece: 100}, Command{Format: Gray, Width: 1, Height: 1})
	if len(pictures) != 2 || skipped != 98 {
		t.Errorf("%d pictures, %d skipped of 100", len(pictures), skipped)
	}
}

func TestRefused(t *testing.T) {
	junk := bytes.Repeat([]byte{0xff, 0xd8, 0xff, 0x02}, maxJunk/4+4)
	for name, c := range map[string]struct {
		data []byte
		c    Command
	}{
		"text":           {[]byte("hello, world\n"), Command{}},
		"no size":        {[]byte("YUV4MPEG2 C420\nFRAME\n"), Command{}},
		"not a number":   {[]byte("YUV4MPEG2 Wx H4\nFRAME\n"), Command{}},
		"too large":      {[]byte("YUV4MPEG2 W60000 H60000\nFRAME\n"), Command{}},
		"negative":       {[]byte("YUV4MPEG2 W-4 H-4\nFRAME\n"), Command{}},
		"444":            {[]byte("YUV4MPEG2 W4 H4 C444\nFRAME\n"), Command{}},
		"10 bits":        {[]byte("YUV4MPEG2 W4 H4 C420p10\nFRAME\n"), Command{}},
		"long header":    {append([]byte("YUV4MPEG2 W4 H4 X"), bytes.Repeat([]byte{'x'}, 2000)...), Command{}},
		"frames":         {[]byte("YUV4MPEG2 W2 H2\nFRAMES\n123456"), Command{}},
		"no JPEG":        {make([]byte, maxJunk+100), Command{Format: MJPEG}},
		"broken JPEG":    {junk, Command{Format: MJPEG}},
		"odd":            {ramp(100, 0), Command{Format: I420, Width: 3, Height: 2}},
		"odd yuyv":       {ramp(100, 0), Command{Format: YUYV, Width: 3, Height: 2}},
		"raw too large":  {ramp(100, 0), Command{Format: Gray, Width: 60000, Height: 60000}},
		"raw, no size":   {ramp(100, 0), Command{Format: BGR}},
		"unknown format": {ramp(100, 0), Command{Format: "h264"}},
	} {
		pictures, _, err := all(&bytesIn{data: c.data, piece: 1 << 16, keep: true}, c.c)
		if !errors.Is(err, ErrFormat) || len(pictures) > 1 {
			t.Errorf("%s: %d pictures, %v", name, len(pictures), err)
		}
	}
}

func fuzz(f *testing.F, c Command, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s, uint8(3))
		f.Add(s, uint8(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		pictures, _, err := all(&bytesIn{data: data, piece: int(piece) + 1, keep: true}, c)
		if err == nil {
			t.Fatal("no end")
		}
		for _, p := range pictures {
			if n := p.Size(); n != 0 && n != len(p.Data) || len(p.Data) == 0 || p.Width < 1 || p.Height < 1 {
				t.Fatalf("%dx%d %s with %d bytes", p.Width, p.Height, p.Format, len(p.Data))
			}
		}
		// However it is cut into pieces, the pictures are the same.
		whole, _, _ := all(&bytesIn{data: data, piece: 1 << 20, keep: true}, c)
		if len(whole) != len(pictures) {
			t.Fatalf("%d pictures in pieces, %d at once", len(pictures), len(whole))
		}
		_, _, _ = all(&bytesIn{data: data, piece: 9}, c)
	})
}

func FuzzY4M(f *testing.F) {
	fuzz(f, Command{}, []byte("YUV4MPEG2 W2 H2 F25:1 C420\nFRAME\n123456FRAME x\n123456"), []byte("YUV4MPEG2 W3 H3\nFRAME\n1234567890123456789"), []byte("YUV4MPEG2 W4 H2 Cmono\nFRAME\n12345678FRAME\n"))
}

func FuzzRaw(f *testing.F) {
	fuzz(f, Command{Format: NV12, Width: 2, Height: 2}, ramp(20, 0))
}

func FuzzMJPEG(f *testing.F) {
	j := jpegOf(f, 8, 8, 0)
	fuzz(f, Command{Format: MJPEG}, j, append(append([]byte("--x\r\n"), j...), j[:100]...), bytes.Repeat(j, 3))
}
