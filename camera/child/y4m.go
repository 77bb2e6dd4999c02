package child

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The two words of YUV4MPEG2 (yuv4mpeg(5) of the MJPEG tools).
const (
	y4mMagic = "YUV4MPEG2 "
	y4mFrame = "FRAME"
)

const (
	// maxHeader bounds the header of a stream and of a frame. Those of ffmpeg have 60 bytes.
	maxHeader = 1024

	// maxRate bounds a frame rate in a header; nonsense must not become a limit of nanoseconds.
	maxRate = 1000
)

// y4m reads YUV4MPEG2: one header with the size, then frames with a short header each.
type y4m struct {
	in     *reader
	buffer func(Picture) ([]byte, error)
	rate   float64 // frames a second; 0: unknown

	p      Picture // even width and height, for OpenCV can convert no others; Format "" until the header was read
	packed layout
	padded layout // as GStreamer's y4menc up to 1.24 writes it, with its own alignment
	pick   bool   // which of the two it is, is not known yet
	file   []byte // one frame as it is written; it is p.Data where nothing has to be left out
	body   bool   // in the middle of a frame
	got    int
}

func (y *y4m) next(p *Picture) (skipped int, err error) {
	if y.p.Format == "" {
		if err := y.header(); err != nil {
			return 0, err
		}
	}
	for ; ; skipped++ {
		if err := y.frame(); err != nil {
			return skipped, err
		}
		if skipped == y.in.most || y.in.ready() < len(y4mFrame)+1+len(y.file) {
			*p = y.p
			return skipped, nil
		}
	}
}

// header reads the stream's.
func (y *y4m) header() error {
	line, err := y.in.line(maxHeader)
	if err != nil {
		return err
	}
	words := strings.Split(string(line), " ")
	if words[0]+" " != y4mMagic {
		return fmt.Errorf("%w: it does not begin as Y4M does", ErrFormat)
	}
	var width, height int
	colour := "420" // what a header without C means
	for _, word := range words[1:] {
		if word == "" {
			continue
		}
		value := word[1:]
		switch word[0] {
		case 'W':
			width, err = strconv.Atoi(value)
		case 'H':
			height, err = strconv.Atoi(value)
		case 'C':
			colour = value
		case 'F':
			y.rate = fraction(value)
		}
		if err != nil {
			return fmt.Errorf("%w: a Y4M header without a size", ErrFormat)
		}
	}
	y.in.consume(len(line) + 1)
	return y.prepare(colour, width, height)
}

func (y *y4m) prepare(colour string, width, height int) error {
	p := Picture{Width: width, Height: height}
	if err := p.check(); err != nil {
		return err
	}
	switch colour {
	case "420", "420jpeg", "420mpeg2", "420paldv": // the same bytes, sampled at other places
		p.Format, p.Width, p.Height = I420, width&^1, height&^1
	case "mono":
		p.Format = Gray
	default:
		return fmt.Errorf("%w: Y4M with the colours C%s; write C420 (ffmpeg -pix_fmt yuv420p)", ErrFormat, colour)
	}
	data, err := allocate(p, y.buffer)
	if err != nil {
		return err
	}
	p.Data = data
	y.packed, y.padded = layouts(p.Format, width, height)
	y.file = data
	if n := y.packed.size(); n != len(data) {
		y.file = make([]byte, n)
	}
	y.pick = y.packed != y.padded
	y.p = p
	return nil
}

// fraction reads a rate such as 30000:1001; 0: it is none.
func fraction(s string) float64 {
	num, den, _ := strings.Cut(s, ":")
	n, errN := strconv.ParseUint(num, 10, 32)
	d, errD := strconv.ParseUint(den, 10, 32)
	rate := float64(n) / float64(d)
	if errN != nil || errD != nil || math.IsNaN(rate) || rate > maxRate {
		return 0
	}
	return rate
}

// frame reads one frame with its header.
func (y *y4m) frame() error {
	if !y.body {
		line, err := y.in.line(maxHeader)
		if err != nil {
			return err
		}
		switch {
		case bytes.HasPrefix(line, []byte(y4mMagic)):
			return ErrChanged
		case !isFrame(line):
			return fmt.Errorf("%w: there is something else between two frames", ErrFormat)
		}
		y.in.consume(len(line) + 1)
		y.body, y.got = true, 0
	}
	if err := y.in.fill(y.file, &y.got); err != nil {
		return err
	}
	if y.pick {
		if err := y.choose(); err != nil {
			return err
		}
	}
	y.body = false
	if &y.file[0] != &y.p.Data[0] {
		y.packed.compact(y.p.Data, y.file, y.p)
	}
	return nil
}

func isFrame(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte(y4mFrame))
	return ok && (len(rest) == 0 || rest[0] == ' ')
}

// choose finds out by what follows the first frame whether its rows were padded.
func (y *y4m) choose() error {
	if len(y.file) == y.packed.size() {
		head, err := y.in.peek(len(y4mFrame))
		switch {
		case err == nil && string(head) == y4mFrame, errors.Is(err, errEnd):
			y.pick = false
			return nil
		case err != nil:
			return err
		}
		y.file = append(bytes.Clone(y.file), make([]byte, y.padded.size()-len(y.file))...)
	}
	if err := y.in.fill(y.file, &y.got); err != nil {
		return err
	}
	y.packed, y.pick = y.padded, false
	return nil
}

// layout is how the planes of a frame lie in what is written: luma, then twice chroma unless there is none.
type layout struct{ stride, rows, chromaStride, chromaRows int }

// layouts are the layout that the format prescribes, and GStreamer's (gst_video_info_set_format): rows are multiples of
// 4 bytes, and chroma goes by a size that was made even.
func layouts(format string, width, height int) (packed, padded layout) {
	up := func(n, to int) int { return (n + to - 1) / to * to }
	if format == Gray {
		return layout{stride: width, rows: height}, layout{stride: up(width, 4), rows: height}
	}
	packed = layout{width, height, (width + 1) / 2, (height + 1) / 2}
	return packed, layout{up(width, 4), up(height, 2), up(up(width, 2)/2, 4), up(height, 2) / 2}
}

func (l layout) size() int { return l.stride*l.rows + 2*l.chromaStride*l.chromaRows }

// compact copies p's part of every plane of src to dst, without the gaps.
func (l layout) compact(dst, src []byte, p Picture) {
	plane := func(stride, rows, width, height int) {
		for y := range height {
			dst = dst[copy(dst, src[y*stride:y*stride+width]):]
		}
		src = src[stride*rows:]
	}
	plane(l.stride, l.rows, p.Width, p.Height)
	if p.Format == I420 {
		plane(l.chromaStride, l.chromaRows, p.Width/2, p.Height/2)
		plane(l.chromaStride, l.chromaRows, p.Width/2, p.Height/2)
	}
}
