package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// entry is one entry of an archive to be made. Its type is a regular file unless it says otherwise.
type entry struct {
	name, body string
	flag       byte
	link       string
	pax        map[string]string
}

// pack makes a tar archive with the library.
func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Size: int64(len(e.body)), Mode: 0o6777, Typeflag: e.flag, Linkname: e.link, PAXRecords: e.pax}
		if e.flag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if e.flag == tar.TypeXGlobalHeader {
			h = &tar.Header{Typeflag: e.flag, PAXRecords: e.pax}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// raw makes one entry of a tar archive by hand, as the library would refuse to: the name as it stands, and a size that
// need not be that of the body.
func raw(name, size string, flag byte, link, body string) string {
	var h [block]byte
	copy(h[:100], name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:136], size)
	copy(h[136:], "00000000000\x00")
	copy(h[148:156], "        ")
	h[156] = flag
	copy(h[157:257], link)
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return string(h[:]) + body + strings.Repeat("\x00", -len(body)&(block-1))
}

// octal is a size as tar writes it.
func octal(n int) string { return fmt.Sprintf("%011o\x00", n) }

// file is a regular file made by hand, and end is the end of an archive.
func file(name, body string) string { return raw(name, octal(len(body)), tar.TypeReg, "", body) }

var end = strings.Repeat("\x00", 2*block)

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(data)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, data []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, append(opts, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))...)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(data, nil)
}

// place is a directory to unpack into, with others around it that nothing may change.
type place struct {
	around, dst string
	sources     []Source
}

func newPlace(t testing.TB) *place {
	t.Helper()
	around := t.TempDir()
	p := &place{around: around, dst: filepath.Join(around, "dst")}
	if err := errors.Join(os.Mkdir(p.dst, 0o700), os.WriteFile(filepath.Join(around, "secret"), []byte("secret"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return p
}

// add downloads a blob.
func (p *place) add(t testing.TB, name string, data []byte) {
	t.Helper()
	path := filepath.Join(p.around, fmt.Sprintf("blob%d", len(p.sources)))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	p.sources = append(p.sources, Source{Name: name, Path: path})
}

// unpack unpacks and checks what has to hold whatever the outcome: nothing around the directory has changed, and in it
// are regular files of ours and folders, no more than the limits allow.
func (p *place) unpack(t testing.TB, l Limits) (Contents, error) {
	t.Helper()
	c, err := Unpack(context.Background(), p.dst, p.sources, l)
	l = l.withDefaults()
	inside, bytesInside := 0, int64(0)
	walkErr := filepath.WalkDir(p.around, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, inDst := strings.CutPrefix(path, p.dst)
		if !inDst {
			if base := filepath.Base(path); path != p.around && base != "secret" && !strings.HasPrefix(base, "blob") {
				t.Errorf("there is %s outside", path)
			}
			return nil
		}
		want := fs.FileMode(fileMode)
		if d.IsDir() {
			want = dirMode | fs.ModeDir
		} else {
			bytesInside += info.Size()
		}
		if rel != "" {
			inside++
		}
		if info.Mode() != want {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return nil
	})
	if walkErr != nil {
		t.Fatal(walkErr)
	}
	if bytesInside > l.MaxBytes || inside > l.MaxFiles {
		t.Errorf("%d files and folders of %d bytes, the limits are %+v", inside, bytesInside, l)
	}
	if secret, err := os.ReadFile(filepath.Join(p.around, "secret")); err != nil || string(secret) != "secret" {
		t.Errorf("the file outside is now %q, %v", secret, err)
	}
	var typed *Error
	if err != nil && (!errors.As(err, &typed) || len(c.Files) != 0 || len(err.Error()) > 4<<10 || strings.Contains(err.Error(), "\n")) {
		t.Errorf("error %.300q of type %T with %+v", err, err, c)
	}
	return c, err
}

// code is that of an error of this package.
func code(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
