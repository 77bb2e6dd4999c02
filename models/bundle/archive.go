package bundle

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// maxWindow is the most memory in bytes that a zstd archive may ask for: what zstd's own program accepts without being
// told to.
const maxWindow = 128 << 20

// unpacker takes one source after the other.
type unpacker struct {
	tree    *tree
	limits  Limits
	only    bool // there is one source
	entries int  // of all archives so far
}

// source unpacks one blob.
func (u *unpacker) source(ctx context.Context, layer int, s Source) error {
	where := fmt.Sprintf("%.100q", s.Name)
	info, err := os.Lstat(s.Path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return wrap(where, onDisk("look at the download", err))
	}
	f, err := os.Open(s.Path)
	if err != nil {
		return wrap(where, onDisk("open the download", err))
	}
	defer f.Close()
	in := &input{ctx: ctx, file: f}
	buffered := bufio.NewReaderSize(in, copySize)
	head, err := buffered.Peek(block)
	if err != nil && !errors.Is(err, io.EOF) {
		return wrap(where, in.broken(err))
	}
	switch k, what := kindOf(head); k {
	case kindTar:
		err = u.archive(layer, &stream{r: buffered, in: in, limit: u.limits.MaxBytes + overhead})
	case kindGzip, kindZstd:
		err = u.compressed(layer, k, in, buffered, info.Size())
	case kindForeign:
		err = fail(CodeUnsupported, "it is %s; pack the model with tar, gzip or zstd on top if you like, or give the ONNX file by itself", what)
	default:
		err = u.plain(s.Name, k, info.Size(), in, buffered)
	}
	if err != nil {
		return wrap(where, err)
	}
	return nil
}

// plain takes a blob that is a file by itself.
func (u *unpacker) plain(name string, k kind, size int64, in *input, r io.Reader) error {
	if u.only {
		if k == kindText {
			return fail(CodeIncomplete, "it is text or empty, and no model; check what was uploaded")
		}
		if name = path.Base(name); checkName(name) != "" || !isModel(name) {
			name = "model.onnx"
		}
	}
	if u.entries++; u.entries > u.limits.MaxFiles {
		return fail(CodeLimit, "there are more than %d files; give only what belongs to the model", u.limits.MaxFiles)
	}
	if why := checkName(name); why != "" {
		return fail(CodeUnsafe, "it needs a name that can be a file's, and this one %s", why)
	}
	return u.tree.write(name, forever, size, r, in.broken)
}

// compressed unpacks an archive that is compressed to size bytes.
func (u *unpacker) compressed(layer int, k kind, in *input, r io.Reader, size int64) error {
	var plain io.Reader
	if k == kindGzip {
		z, err := gzip.NewReader(r)
		if err != nil {
			return in.broken(err)
		}
		plain = z
	} else {
		// One block at a time: then there are no goroutines.
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return in.broken(err)
		}
		defer z.Close()
		plain = z
	}
	buffered := bufio.NewReaderSize(plain, copySize)
	head, err := buffered.Peek(block)
	if err != nil && !errors.Is(err, io.EOF) {
		return in.broken(err)
	}
	// An image may have layers without an entry: zeros only, which no header is.
	if kind, what := kindOf(head); kind != kindTar && (len(head) < block || !allZero(head)) {
		return fail(CodeUnsupported, "it is compressed, and inside is %s and no tar archive; compress a tar archive or nothing", what)
	}
	limit := u.limits.MaxBytes + overhead
	// A size above that would overflow, and leaves no room for a bomb anyway.
	if size < limit/int64(u.limits.MaxRatio) {
		limit = min(limit, size*int64(u.limits.MaxRatio)+ratioAllowance)
	}
	return u.archive(layer, &stream{r: buffered, in: in, limit: limit})
}

// archive unpacks a tar archive and reads it to its end, so that checksums behind it are looked at too.
func (u *unpacker) archive(layer int, s *stream) error {
	r := tar.NewReader(s)
	for {
		entryEnd := (s.read + block - 1) / block * block
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			const marks = 2 * block // the end is marked with two blocks of zeros
			if s.read-entryEnd < marks {
				return s.broken(errors.New("the end of the archive is missing"))
			}
			return s.rest()
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // names are checked below, and more closely
			return s.broken(err)
		}
		if u.entries++; u.entries > u.limits.MaxFiles {
			return fail(CodeLimit, "there are more than %d entries; pack only what belongs to the model", u.limits.MaxFiles)
		}
		if err := u.entry(layer, h, r, s); err != nil {
			return wrap(fmt.Sprintf("entry %.100q", h.Name), err)
		}
	}
}

// entry unpacks one entry.
func (u *unpacker) entry(layer int, h *tar.Header, r *tar.Reader, s *stream) error {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return fail(CodeUnsafe, "it is a sparse file; pack it without --sparse")
		}
	}
	dir := h.Typeflag == tar.TypeDir
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeXGlobalHeader:
		return nil // comments, as git archive writes them; nothing of it is applied
	default:
		return fail(CodeUnsafe, "it is %s; pack regular files only", typeText(h.Typeflag))
	}
	name := h.Name
	for strings.HasPrefix(name, "./") {
		name = name[2:]
	}
	if dir {
		if name == "" || name == "." {
			return nil // the folder that was packed
		}
		name = strings.TrimSuffix(name, "/")
	}
	switch why := checkName(name); {
	case why != "":
		return fail(CodeUnsafe, "it %s", why)
	case dir:
		return u.tree.claim(name, true, layer)
	case fromMac(name):
		if err := u.tree.checkSize(h.Size); err != nil {
			return err
		}
		_, err := u.tree.copy(nil, r, h.Size, s.broken)
		return err
	}
	return u.tree.write(name, layer, h.Size, r, s.broken)
}

// typeText says what an entry is that is neither file nor folder.
func typeText(flag byte) string {
	switch flag {
	case tar.TypeLink:
		return "a hard link"
	case tar.TypeSymlink:
		return "a symbolic link"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeFifo:
		return "a named pipe"
	case tar.TypeGNUSparse:
		return "a sparse file"
	}
	return fmt.Sprintf("of the type %q, which is neither file nor folder", flag)
}
