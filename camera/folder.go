//go:build opencv

package camera

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // sizes of pictures
	_ "image/png"  // sizes of pictures
	"io"
	"os"
	"sync/atomic"
	"time"

	"gocv.io/x/gocv"

	"gnomon/engine"
)

const (
	// maxPixels bounds a picture: 134 million pixels, more than any camera makes, are 400 MB as BGR.
	maxPixels = 1 << 27

	// maxPictureBytes bounds a picture file; the largest camera raws have a tenth of it.
	maxPictureBytes = 256 << 20

	// maxNamedErrors bounds how many broken pictures the error at the end of a folder names.
	maxNamedErrors = 5

	// folderRate is how many pictures a second a folder shows when paced.
	folderRate = 5
)

// pictures makes frames of the files of a folder.
type pictures struct {
	o   Options
	seq uint64
	due time.Time
}

// folder delivers the pictures of a directory in the order of their names, or one picture. A picture that cannot be
// read is skipped; at the end Read returns an error that names it instead of io.EOF.
type folder struct {
	pictures
	files  []string
	next   int
	broken []error
	bad    int
	closed atomic.Bool
}

func openFolder(o Options) (engine.Source, error) {
	if o.Files != nil {
		return &folder{pictures: pictures{o: o}, files: o.Files}, nil
	}
	if o.Watch {
		return openWatched(o)
	}
	files, err := Pictures(o.URI)
	if err != nil {
		return nil, err
	}
	return &folder{pictures: pictures{o: o}, files: files}, nil
}

// Name is the source's name.
func (p *pictures) Name() string { return p.o.Name }

// Live is false: no picture is lost.
func (p *pictures) Live() bool { return false }

// Rate is the rate at which the folder is shown when paced.
func (p *pictures) Rate() float64 { return folderRate }

// Frames is the number of pictures; 0 when they repeat for ever.
func (f *folder) Frames() int {
	if f.o.Loop {
		return 0
	}
	return len(f.files)
}

// Read fills dst with the next picture that can be decoded.
func (f *folder) Read(ctx context.Context, dst *engine.Frame) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if f.closed.Load() {
			return io.EOF
		}
		if f.next == len(f.files) {
			if f.bad == len(f.files) || !f.o.Loop {
				return f.end()
			}
			f.next, f.bad, f.broken = 0, 0, nil
		}
		path := f.files[f.next]
		f.next++
		if err := f.load(path, dst); err != nil {
			f.bad++
			if len(f.broken) < maxNamedErrors {
				f.broken = append(f.broken, err)
			}
			continue
		}
		return f.pace(ctx)
	}
}

func (p *pictures) load(path string, dst *engine.Frame) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return p.decode(file, path, dst)
}

// decode makes a frame of a file, which path names.
func (p *pictures) decode(file *os.File, path string, dst *engine.Frame) error {
	data, err := readBounded(file, path)
	if err != nil {
		return err
	}
	if err := errors.Join(complete(data), bounded(data)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	b := bufferOf(dst)
	if err := b.renew(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := gocv.IMDecodeIntoMat(data, gocv.IMReadColor, &b.mat); err != nil || b.mat.Empty() {
		return fmt.Errorf("%s: %w", path, ErrNotMedia)
	}
	dst.CapturedAt = time.Now()
	dst.Seq, dst.Origin = p.seq, path
	dst.PTS = time.Duration(p.seq) * time.Second / folderRate
	p.seq++
	if err := b.expose(dst); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// bounded refuses pictures that would fill the memory: a small file may claim any size. What the standard decoders
// cannot read is left to OpenCV and its own, wider limit.
func bounded(data []byte) error {
	c, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err == nil && c.Width*c.Height > maxPixels {
		return fmt.Errorf("the picture has %dx%d pixels, more than the %d that are allowed", c.Width, c.Height, maxPixels)
	}
	return nil
}

// complete refuses pictures that are cut short: the decoders fill what is missing with grey or garbage and say nothing,
// and what is found in that is worse than an error.
func complete(data []byte) error {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG")): // ends with the chunk IEND; programs may append to it
		if !bytes.Contains(data[len(data)/2:], []byte("IEND")) {
			return ErrCutShort
		}
	case bytes.HasPrefix(data, []byte("\xff\xd8")): // ends with the marker EOI; a thumbnail near the front has its own
		if !bytes.Contains(data[len(data)/2:], []byte("\xff\xd9")) {
			return ErrCutShort
		}
	case bytes.HasPrefix(data, []byte("BM")): // says how long it is; some programs leave that 0
		if len(data) < 6 || int64(binary.LittleEndian.Uint32(data[2:])) > int64(len(data)) {
			return ErrCutShort
		}
	}
	return nil
}

func readBounded(file *os.File, path string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(file, maxPictureBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case len(data) == 0:
		return nil, fmt.Errorf("%s is empty (0 bytes): %w", path, ErrNotMedia)
	case len(data) > maxPictureBytes:
		return nil, fmt.Errorf("%s is larger than %d MB", path, maxPictureBytes>>20)
	}
	return data, nil
}

// end is what Read returns after the last picture.
func (f *folder) end() error {
	switch {
	case f.bad == 0:
		return io.EOF
	case len(f.files) == 1:
		return f.broken[0]
	}
	err := fmt.Errorf("%s: %d of %d pictures could not be read: %w", f.o.URI, f.bad, len(f.files), errors.Join(f.broken...))
	if f.bad > len(f.broken) {
		err = fmt.Errorf("%w; and %d more", err, f.bad-len(f.broken))
	}
	return err
}

func (p *pictures) pace(ctx context.Context) error {
	if !p.o.Realtime {
		return nil
	}
	now := time.Now()
	if wait := p.due.Sub(now); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		now = p.due
	}
	p.due = now.Add(time.Second / folderRate)
	return nil
}

// Close makes the next Read return io.EOF.
func (f *folder) Close() error {
	f.closed.Store(true)
	return nil
}

// String names the source in logs.
func (f *folder) String() string { return fmt.Sprintf("%d pictures from %s", len(f.files), f.o.URI) }
