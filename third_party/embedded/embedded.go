// Package embedded holds the parts inside the binary: the ONNX Runtime library, and the default model with
// its manifest. third_party/native.sh puts them under parts/ before a build; in a bare clone
// they are absent, everything still compiles, and asking for one returns ErrMissing.
package embedded

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/zstd"

	"gnomon/third_party/embedded/branches"
)

// ErrMissing is wrapped by every error about a part that this build does not contain.
var ErrMissing = errors.New("not inside this build")

// hint tells what to do about a missing part.
const hint = "build with `make build`, which fetches it, instead of a bare `go build`"

//go:embed all:parts/common
var common embed.FS

// MaxUnpacked bounds what a part may unpack to: the largest, ONNX Runtime, has 45 MB.
const MaxUnpacked = 256 << 20

// Runtime writes the embedded ONNX Runtime library, unpacked, to w.
func Runtime(w io.Writer) error {
	const what = "ONNX Runtime"
	name := platformDir + "/libonnxruntime.so.zst"
	if !branchesEncoded {
		return unpack(w, platform, name, what)
	}
	d := branches.NewWriter(w)
	if err := unpack(d, platform, name, what); err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return fmt.Errorf("unpack %s: %w", what, err)
	}
	return nil
}

// Model returns the default model, an ONNX file in memory, and its manifest in YAML.
func Model() (onnx, manifest []byte, err error) {
	manifest, err = common.ReadFile("parts/common/nanodet-g.yaml")
	if err != nil {
		return nil, nil, missing("the default model")
	}
	var buf buffer
	if err := unpack(&buf, common, "parts/common/nanodet-g.onnx.zst", "the default model"); err != nil {
		return nil, nil, err
	}
	return buf, manifest, nil
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

func missing(what string) error { return fmt.Errorf("%s is %w: %s", what, ErrMissing, hint) }

func unpack(w io.Writer, from fs.FS, name, what string) error {
	f, err := from.Open(name)
	if err != nil {
		return missing(what)
	}
	defer func() { _ = f.Close() }()
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxUnpacked))
	if err != nil {
		return fmt.Errorf("unpack %s: %w", what, err)
	}
	defer z.Close()
	if _, err := io.Copy(w, io.LimitReader(z, MaxUnpacked)); err != nil {
		return fmt.Errorf("unpack %s: %w", what, err)
	}
	return nil
}
