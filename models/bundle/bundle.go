package bundle

import (
	"context"
	"errors"
	"io"
	"os"
)

// Source is a downloaded blob.
type Source struct {
	Name string // that it should have, with / between folders; may come from anywhere
	Path string // absolute, where its bytes lie; a regular file that nobody changes meanwhile
}

// Limits bound what comes out of the blobs. Values that are not above zero stand for the defaults given here.
type Limits struct {
	// MaxBytes is for all files together after decompression, those that are dropped or replaced included. 4 GiB: the
	// largest model that is loaded has 1 GiB.
	MaxBytes int64
	// MaxFiles is for files and folders, and again for the entries of all archives. 1000: a model that has each of its
	// tensors in a file has a few hundred.
	MaxFiles int
	// MaxRatio is how many times larger an archive may be than its compressed form, beyond the first 10 MiB. 200:
	// quantised weights come to 2 or 3, labels to 10; the most that gzip can do is 1032.
	MaxRatio int
	// KeepFree is how many bytes stay free on the file system. 0: none, but a file that does not fit is not begun.
	KeepFree int64
}

// The defaults of Limits.
const (
	defaultMaxBytes = 4 << 30
	defaultMaxFiles = 1000
	defaultMaxRatio = 200
)

func (l Limits) withDefaults() Limits {
	const most = 1 << 50 // bytes; keeps sums far from overflowing
	if l.MaxBytes <= 0 {
		l.MaxBytes = defaultMaxBytes
	}
	l.MaxBytes = min(l.MaxBytes, most)
	if l.MaxFiles <= 0 {
		l.MaxFiles = defaultMaxFiles
	}
	if l.MaxRatio <= 0 {
		l.MaxRatio = defaultMaxRatio
	}
	l.KeepFree = min(max(l.KeepFree, 0), most)
	return l
}

const (
	// ratioAllowance is what an archive may have without regard to its ratio, in bytes: a golden picture of one colour
	// in a small archive is no attack.
	ratioAllowance = 10 << 20
	// overhead is what archives may have beside their files, in bytes: headers, padding, and zeros at the end.
	overhead = 64 << 20
)

// File is one file of a model version. It has the shape of the File of models/store.
type File struct {
	Name   string // relative to the directory, with / between folders
	Size   int64  // bytes
	SHA256 string // 64 lower-case hexadecimal digits
}

// Contents is what Unpack found. Names are those of Files.
type Contents struct {
	Model    string // the ONNX file
	Manifest string // the manifest; empty when there is none
	Golden   string // golden/golden.json beside the model; empty when there is none
	Files    []File // all, by name
}

// Unpack writes the files that the sources hold into dst and says which is which. dst is an existing, empty directory
// that nobody else may write to. Files have mode 0600, folders 0700; nothing is synced to the disk. On an error dst may
// hold some of the files, and the caller removes it.
//
// Archives hold regular files and folders; empty folders are left out. PAX and GNU headers are read, owners, modes and
// times ignored. Links, devices, sparse files, whiteouts, names that are twice in an archive or differ in upper and
// lower case only, and archives within an archive are refused. After the end of a tar archive, which has to be there,
// zeros are tolerated and nothing else; gzip and zstd may consist of several members and frames with nothing behind.
//
// A source that is no archive is a file by its name. If it is the only one it is the model, and is called model.onnx
// where its name does not do.
//
// There has to be exactly one file that ends in .onnx. Its manifest is the file beside it with its name and .yaml, else
// model.yaml or manifest.yaml, else the only one that ends in .yaml.
//
// All errors are *Error. Cancelling ctx ends it between two reads.
func Unpack(ctx context.Context, dst string, sources []Source, l Limits) (Contents, error) {
	l = l.withDefaults()
	root, err := os.OpenRoot(dst)
	if err != nil {
		return Contents{}, onDisk("open the directory to unpack into", err)
	}
	defer root.Close()
	if err := checkDir(root); err != nil {
		return Contents{}, wrap("unpack into "+dst, err)
	}
	u := &unpacker{tree: newTree(root, l), limits: l, only: len(sources) == 1}
	for i, s := range sources {
		if err := u.source(ctx, i, s); err != nil {
			return Contents{}, err
		}
	}
	return Find(u.tree.list())
}

// checkDir demands an empty directory that others cannot write to: they could exchange a file while it is written.
func checkDir(root *os.Root) error {
	const othersModify = 0o022
	info, err := root.Stat(".")
	if err != nil {
		return onDisk("look at it", err)
	}
	if info.Mode().Perm()&othersModify != 0 {
		return fail(CodeDiskError, "others may write to it (mode %#o); run chmod 700 on it", info.Mode().Perm())
	}
	d, err := root.Open(".")
	if err != nil {
		return onDisk("look into it", err)
	}
	defer d.Close()
	switch _, err := d.Readdirnames(1); {
	case err == nil:
		return fail(CodeDiskError, "it is not empty; remove what is in it")
	case !errors.Is(err, io.EOF):
		return onDisk("look into it", err)
	}
	return nil
}
