package bundle

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

const (
	dirMode  = 0o700 // models are nobody else's business, and nobody else may change them
	fileMode = 0o600
	// copySize is the unit of copying in bytes: large enough that an SD card is not asked too often.
	copySize = 256 << 10
	// forever is the layer of a file that no archive may replace.
	forever = -1
)

// tree is the directory that is filled.
type tree struct {
	root   *os.Root
	limits Limits
	names  map[string]taken // by the name in lower case
	files  map[string]File
	bytes  int64 // written so far, also of files that were replaced since
	buf    []byte
}

// taken is a name that is in use.
type taken struct {
	name  string
	dir   bool
	layer int // the archive that it came from
}

func newTree(root *os.Root, l Limits) *tree {
	return &tree{root: root, limits: l, names: map[string]taken{}, files: map[string]File{}, buf: make([]byte, copySize)}
}

// claim takes a name, and those of the folders around it, for an entry of a layer.
func (t *tree) claim(name string, dir bool, layer int) error {
	for i, r := range name {
		if r == '/' {
			if err := t.claimOne(name[:i], true, layer); err != nil {
				return err
			}
		}
	}
	return t.claimOne(name, dir, layer)
}

func (t *tree) claimOne(name string, dir bool, layer int) error {
	key := strings.ToLower(name)
	old, known := t.names[key]
	switch {
	case !known && len(t.names) == t.limits.MaxFiles:
		return fail(CodeLimit, "there are more than %d files and folders; pack only what belongs to the model", t.limits.MaxFiles)
	case known && old.name != name:
		return fail(CodeUnsafe, "it differs from %.100q in upper and lower case only; rename one of them", old.name)
	case known && old.dir != dir:
		return fail(CodeUnsafe, "it is a file here and a folder there; rename one of them")
	case known && !dir && (old.layer == layer || old.layer == forever || layer == forever):
		return fail(CodeUnsafe, "it is there twice; leave one of them")
	}
	t.names[key] = taken{name, dir, layer}
	return nil
}

// checkSize refuses a file that is too large before anything of it is written.
func (t *tree) checkSize(size int64) error {
	if size > t.limits.MaxBytes-t.bytes {
		return fail(CodeLimit, "the files have more than the %d bytes that are allowed; raise the limit or make the model smaller", t.limits.MaxBytes)
	}
	free, err := freeSpace(t.root)
	if err != nil {
		return err
	}
	if size > free-t.limits.KeepFree {
		return fail(CodeDiskFull, "there is no room for its %d bytes: %d are free, and %d of them are to stay so; make room", size, free, t.limits.KeepFree)
	}
	return nil
}

// write makes a file of exactly size bytes from r, under a name that was checked. broken turns an error of r into one
// of ours.
func (t *tree) write(name string, layer int, size int64, r io.Reader, broken func(error) error) error {
	if err := t.claim(name, false, layer); err != nil {
		return err
	}
	if err := t.checkSize(size); err != nil {
		return err
	}
	if _, replaced := t.files[name]; replaced {
		if err := t.root.Remove(name); err != nil {
			return onDisk("replace the file of an earlier layer", err)
		}
		delete(t.files, name)
	}
	if err := t.root.MkdirAll(path.Dir(name), dirMode); err != nil {
		return onDisk("make its folder", err)
	}
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return onDisk("create it", err)
	}
	sum, err := t.copy(f, r, size, broken)
	if closeErr := f.Close(); err == nil && closeErr != nil {
		err = onDisk("close it", closeErr)
	}
	if err != nil {
		return err
	}
	t.files[name] = File{Name: name, Size: size, SHA256: sum}
	return nil
}

// copy copies exactly size bytes and returns their digest. With a nil file they are dropped.
func (t *tree) copy(f *os.File, r io.Reader, size int64, broken func(error) error) (string, error) {
	hash := sha256.New()
	for done, end := int64(0), false; !end; {
		n, err := io.ReadFull(r, t.buf)
		end = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return "", broken(err)
		}
		if done == 0 {
			if k, what := kindOf(t.buf[:min(n, block)]); k != kindOther && k != kindText {
				return "", fail(CodeUnsupported, "it is %s within the model; unpack it before packing the model, or leave it out", what)
			}
		}
		done += int64(n)
		t.bytes += int64(n)
		if done > size || end && done != size {
			return "", broken(io.ErrUnexpectedEOF)
		}
		hash.Write(t.buf[:n])
		if f == nil {
			continue
		}
		if _, err := f.Write(t.buf[:n]); err != nil {
			return "", onDisk("write it", err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// list is all files by name.
func (t *tree) list() []File {
	files := make([]File, 0, len(t.files))
	for _, f := range t.files {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	return files
}

// freeSpace is how many bytes may still be written to the file system.
func freeSpace(root *os.Root) (int64, error) {
	d, err := root.Open(".")
	if err != nil {
		return 0, onDisk("look for free space", err)
	}
	defer d.Close()
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(int(d.Fd()), &st); err != nil {
		return 0, onDisk("look for free space", &fs.PathError{Op: "statfs", Path: root.Name(), Err: err})
	}
	return int64(min(st.Bavail*uint64(st.Bsize), math.MaxInt64)), nil
}
