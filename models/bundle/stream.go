package bundle

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// input reads a blob. It remembers what went wrong, so that a disk that fails is not taken for an archive that is
// damaged, whatever decompressors make of the error.
type input struct {
	ctx  context.Context
	file *os.File
	err  error
}

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	if err := in.failed(); err != nil {
		return 0, err
	}
	n, err := in.file.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		in.err = onDisk("read the download", err)
		err = in.err
	}
	return n, err
}

// failed is what went wrong so far, or that the caller has enough.
func (in *input) failed() error {
	if in.err == nil && in.ctx.Err() != nil {
		in.err = fail(CodeCancelled, "unpacking was stopped: %w", context.Cause(in.ctx))
	}
	return in.err
}

// broken is what an error of something that reads from in means.
func (in *input) broken(err error) error {
	switch {
	case in.err != nil:
		return in.err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fail(CodeLimit, "unpacking it takes more than the %d bytes of memory that are allowed; compress it with zstd -19 or lower", maxWindow)
	}
	return fail(CodeDamaged, "it is cut or damaged; pack and upload it again: %w", err)
}

// stream is a tar archive, decompressed and counted.
type stream struct {
	r     io.Reader
	in    *input
	limit int64 // bytes
	read  int64
	err   error
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if s.err == nil {
		s.err = s.in.failed() // a bomb makes much out of one read of the blob
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.read += int64(n)
	switch {
	case s.read > s.limit:
		s.err = fail(CodeLimit, "it expands to more than the %d bytes that are allowed for an archive of its size; if it is no bomb, compress it less", s.limit)
	case err != nil && !errors.Is(err, io.EOF):
		s.err = s.in.broken(err)
	default:
		return n, err
	}
	return n, s.err
}

// broken is what an error of something that reads from s means.
func (s *stream) broken(err error) error {
	if s.err != nil {
		return s.err
	}
	return s.in.broken(err)
}

// rest reads what follows the end of a tar archive. Programs fill up to the block size of a tape with zeros.
func (s *stream) rest() error {
	buf := make([]byte, copySize)
	for {
		n, err := s.Read(buf)
		if !allZero(buf[:n]) {
			return s.broken(errors.New("something follows the end of the archive"))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return s.broken(err)
		}
	}
}

func allZero(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}
