package bundle

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// model stands for an ONNX file.
const model = "\x08\x08 a model"

// street is a version with everything that one may have.
func street() []entry {
	return []entry{
		{flag: tar.TypeXGlobalHeader, pax: map[string]string{"comment": "0123"}},
		{name: "./", flag: tar.TypeDir},
		{name: "./street/", flag: tar.TypeDir},
		{name: "./street/street.onnx", body: model},
		{name: "street/._street.onnx", body: "\x00\x05\x16\x07"},
		{name: "street/.DS_Store", body: "\x00\x00\x00\x01Bud1"},
		{name: "street/street.yaml", body: "external_data: [w.bin]\n"},
		{name: "street/labels.txt", body: "cat\ndog\n"},
		{name: "street/w.bin", body: strings.Repeat("w", 700)},
		{name: "street/golden/golden.json", body: "{}"},
		{name: "street/golden/" + strings.Repeat("ü", 100) + ".jpg", body: "\xff\xd8\xff"}, // takes a PAX header
		{name: "street/empty/", flag: tar.TypeDir},
		{name: "street/LICENCE", pax: map[string]string{"SCHILY.xattr.user.x": "y"}},
	}
}

func TestUnpack(t *testing.T) {
	archive := pack(t, street()...)
	want := Contents{Model: "street/street.onnx", Manifest: "street/street.yaml", Golden: "street/golden/golden.json"}
	for _, e := range street() {
		name := strings.TrimPrefix(e.name, "./")
		if e.flag == 0 && !fromMac(name) {
			sum := sha256.Sum256([]byte(e.body))
			want.Files = append(want.Files, File{name, int64(len(e.body)), hex.EncodeToString(sum[:])})
		}
	}
	slices.SortFunc(want.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	for name, data := range map[string][]byte{
		"tar": archive, "tar.gz": gzipped(t, archive), "tar.zst": zstded(t, archive),
		"gzip in members":  append(gzipped(t, archive[:block]), gzipped(t, archive[block:])...),
		"zstd in frames":   append(zstded(t, archive[:block]), zstded(t, archive[block:])...),
		"zeros at the end": append(archive[:len(archive):len(archive)], make([]byte, 9000)...),
	} {
		p := newPlace(t)
		p.add(t, "sha256:"+strings.Repeat("0", 64), data) // an archive's name does not matter
		got, err := p.unpack(t, Limits{})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
		for _, e := range street() {
			if e.flag != 0 || fromMac(e.name) {
				continue
			}
			if text, err := os.ReadFile(filepath.Join(p.dst, e.name)); err != nil || string(text) != e.body {
				t.Errorf("%s: %s: %q, %v", name, e.name, text, err)
			}
		}
	}
}

// TestUnpackPieces: files that come one by one, and images of several layers.
func TestUnpackPieces(t *testing.T) {
	type blob struct {
		name string
		data []byte
	}
	layer := func(entries ...entry) blob { return blob{"layer", gzipped(t, pack(t, entries...))} }
	for _, tt := range []struct {
		name  string
		blobs []blob
		model string
		files map[string]string
		code  Code
	}{
		{"a model", []blob{{"street.onnx", []byte(model)}}, "street.onnx", map[string]string{"street.onnx": model}, ""},
		{"a key", []blob{{"models/v1/street.ONNX", []byte(model)}}, "street.ONNX", map[string]string{"street.ONNX": model}, ""},
		{"a digest", []blob{{"sha256:0123", []byte(model)}}, "model.onnx", map[string]string{"model.onnx": model}, ""},
		{"no name", []blob{{"", []byte(model)}}, "model.onnx", map[string]string{"model.onnx": model}, ""},
		{"a name to escape with", []blob{{"../../x\\y.onnx", []byte(model)}}, "model.onnx", map[string]string{"model.onnx": model}, ""},
		{"two files", []blob{{"m.onnx", []byte(model)}, {"golden/x.txt", []byte("x")}}, "m.onnx", map[string]string{"m.onnx": model, "golden/x.txt": "x"}, ""},
		{"a file and an archive", []blob{{"m.onnx", []byte(model)}, layer(entry{name: "m.yaml", body: "a"})}, "m.onnx", map[string]string{"m.onnx": model, "m.yaml": "a"}, ""},
		{"layers", []blob{
			layer(entry{name: "m/m.onnx", body: "old"}, entry{name: "m/w", body: "stays"}),
			layer(),
			layer(entry{name: "m/", flag: tar.TypeDir}, entry{name: "m/m.onnx", body: model}),
		}, "m/m.onnx", map[string]string{"m/m.onnx": model, "m/w": "stays"}, ""},

		{"nothing", nil, "", nil, CodeIncomplete},
		{"text", []blob{{"m.onnx", []byte("<html>no such key</html>")}}, "", nil, CodeIncomplete},
		{"an empty file", []blob{{"m.onnx", nil}}, "", nil, CodeIncomplete},
		{"two files, one without a name", []blob{{"m.onnx", []byte(model)}, {"sha256:0123", []byte("x")}}, "", nil, CodeUnsafe},
		{"two files, one outside", []blob{{"m.onnx", []byte(model)}, {"../x", []byte("x")}}, "", nil, CodeUnsafe},
		{"a file twice", []blob{{"m.onnx", []byte(model)}, {"m.onnx", []byte(model)}}, "", nil, CodeUnsafe},
		{"a file over an archive's", []blob{layer(entry{name: "m.onnx", body: model}), {"m.onnx", []byte(model)}}, "", nil, CodeUnsafe},
		{"an archive's over a file", []blob{{"m.onnx", []byte(model)}, layer(entry{name: "m.onnx", body: model})}, "", nil, CodeUnsafe},
		{"a layer that deletes", []blob{layer(entry{name: "m.onnx"}), layer(entry{name: ".wh.m.onnx"})}, "", nil, CodeUnsafe},
		{"a layer that hides", []blob{layer(entry{name: "m/m.onnx"}), layer(entry{name: "m/.wh..wh..opq"})}, "", nil, CodeUnsafe},
		{"layers that differ in case", []blob{layer(entry{name: "a/m.onnx"}), layer(entry{name: "A/x"})}, "", nil, CodeUnsafe},
		{"a file for a folder", []blob{layer(entry{name: "a/m.onnx"}), layer(entry{name: "a"})}, "", nil, CodeUnsafe},
		{"a folder for a file", []blob{layer(entry{name: "m.onnx"}), layer(entry{name: "m.onnx/a"})}, "", nil, CodeUnsafe},
	} {
		p := newPlace(t)
		for _, b := range tt.blobs {
			p.add(t, b.name, b.data)
		}
		c, err := p.unpack(t, Limits{})
		if code(err) != tt.code || c.Model != tt.model || len(c.Files) != len(tt.files) {
			t.Errorf("%s: %+v, %v, want %q", tt.name, c, err, tt.code)
		}
		for name, want := range tt.files {
			if text, err := os.ReadFile(filepath.Join(p.dst, name)); err != nil || string(text) != want {
				t.Errorf("%s: %s: %q, %v", tt.name, name, text, err)
			}
		}
	}
}

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		files                   string
		model, manifest, golden string
		code                    Code
	}{
		{"m.onnx", "m.onnx", "", "", ""},
		{"m.onnx m.yaml model.yaml x.yaml", "m.onnx", "m.yaml", "", ""},
		{"m.onnx model.yaml x.yaml", "m.onnx", "model.yaml", "", ""},
		{"a/m.onnx a/manifest.yaml", "a/m.onnx", "a/manifest.yaml", "", ""},
		{"a/m.onnx a/street.yaml b/x.yaml", "a/m.onnx", "a/street.yaml", "", ""},
		{"a/m.onnx b/data.yaml", "a/m.onnx", "", "", ""},
		{"m.onnx m.yaml m.yml a/model.yaml", "m.onnx", "m.yaml", "", ""},
		{"m.onnx golden/golden.json", "m.onnx", "", "golden/golden.json", ""},
		{"a/m.onnx a/golden/golden.json", "a/m.onnx", "", "a/golden/golden.json", ""},
		{"m.onnx golden.json golden/other.json", "m.onnx", "", "", ""},

		{"m.txt m.yaml", "", "", "", CodeIncomplete},
		{"m.onnx a/n.ONNX", "", "", "", CodeAmbiguous},
		{"m.onnx model.yaml manifest.yaml", "", "", "", CodeAmbiguous},
		{"m.onnx a.yaml b.yaml", "", "", "", CodeAmbiguous},
		{"m.onnx m.yml", "", "", "", CodeAmbiguous},
		{"a/m.onnx model.yaml", "", "", "", CodeAmbiguous},
		{"a/m.onnx golden/golden.json", "", "", "", CodeAmbiguous},
		{"m.onnx golden/golden.json a/golden/golden.json", "", "", "", CodeAmbiguous},
	} {
		var files []File
		for _, name := range strings.Fields(tt.files) {
			files = append(files, File{Name: name})
		}
		c, err := Find(files)
		if c.Model != tt.model || c.Manifest != tt.manifest || c.Golden != tt.golden || code(err) != tt.code {
			t.Errorf("%s: %q, %q, %q, %v", tt.files, c.Model, c.Manifest, c.Golden, err)
		}
	}
}

func TestUnpackIntoWhatIsUnfit(t *testing.T) {
	archive := pack(t, entry{name: "m.onnx", body: model})
	for name, spoil := range map[string]func(p *place) error{
		"not there":        func(p *place) error { return os.Remove(p.dst) },
		"not empty":        func(p *place) error { return os.WriteFile(filepath.Join(p.dst, "x"), nil, 0o600) },
		"open to others":   func(p *place) error { return os.Chmod(p.dst, 0o777) },
		"no such download": func(p *place) error { return os.Remove(p.sources[0].Path) },
		"download is a link": func(p *place) error {
			return errors.Join(os.Remove(p.sources[0].Path), os.Symlink("secret", p.sources[0].Path))
		},
	} {
		p := newPlace(t)
		p.add(t, "m.tar", archive)
		if err := spoil(p); err != nil {
			t.Fatal(err)
		}
		if c, err := Unpack(context.Background(), p.dst, p.sources, Limits{}); code(err) != CodeDiskError || c.Files != nil {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestUnpackCancelled(t *testing.T) {
	for _, data := range [][]byte{[]byte(model), pack(t, entry{name: "m.onnx", body: model}), zstded(t, pack(t, entry{name: "m.onnx", body: model}))} {
		p := newPlace(t)
		p.add(t, "m.onnx", data)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := Unpack(ctx, p.dst, p.sources, Limits{})
		var e *Error
		if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || e.Code != CodeCancelled || !e.Temporary() {
			t.Errorf("%v", err)
		}
	}
}

func TestCodes(t *testing.T) {
	for _, info := range Codes() {
		if info.Meaning == "" || (&Error{Code: info.Code}).Temporary() != info.Temporary {
			t.Errorf("%+v", info)
		}
	}
}
