package models

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"gnomon/models/onnx"
)

// field is a length-delimited field of a protobuf message.
func field(num protowire.Number, body string) string {
	return string(protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), body))
}

// outsourced is the model small with one more constant: two numbers of float32 that lie in another file. It is
// spelled out in bytes, because the writer makes none such.
func outsourced(t *testing.T, pairs ...string) []byte {
	tensor := "\x08\x02\x10\x01" + field(8, "w") // dims [2], float32
	for i := 0; i < len(pairs); i += 2 {
		tensor += field(13, field(1, pairs[i])+field(2, pairs[i+1]))
	}
	// protobuf joins a second graph to the first one.
	return append(small(t), field(7, field(5, tensor+"\x70\x01"))...)
}

// inlined is what the model outsourced becomes with its numbers inside.
func inlined(t *testing.T, weights string) []byte {
	return append(small(t), field(7, field(5, "\x08\x02\x10\x01"+field(8, "w")+field(9, weights)))...)
}

func TestLoadExternalData(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Mkdir(at("a"), 0o755), os.Mkdir(at("a/sub"), 0o755), os.Symlink("sub", at("a/link"))); err != nil {
		t.Fatal(err)
	}
	data := outsourced(t, "location", "./sub/w.bin", "offset", "2", "length", "8")
	path := writeFile(t, at("a/m.onnx"), data)
	writeFile(t, at("a/sub/w.bin"), []byte("--abcdefgh"))
	writeFile(t, at("a/unused.bin"), nil)
	// The names are relative to the model, not to the manifest.
	manifest := writeFile(t, at("m.yaml"), []byte("external_data: [sub/w.bin, unused.bin]\nsha256: "+digestOf(data)))
	m, err := Load(path, manifest)
	if err != nil {
		t.Fatal(err)
	}
	if m.SHA256 != digestOf(data) || !bytes.Equal(m.Bytes, inlined(t, "abcdefgh")) || m.Spec.Name != "m" {
		t.Errorf("digest %s of %d bytes: %q", m.SHA256, len(data), m.Bytes)
	}
	// A link between folders inside is nobody's danger.
	writeFile(t, path, outsourced(t, "location", "link/w.bin"))
	writeFile(t, manifest, []byte("external_data: [link/w.bin]"))
	if m, err = Load(path, manifest); err != nil || !bytes.Equal(m.Bytes, inlined(t, "--abcdef")) {
		t.Errorf("through a linked folder: %v", err)
	}
}

func TestLoadExternalDataErrors(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	writeFile(t, at("secret"), []byte("abcdefgh"))
	if err := os.Mkdir(at("m"), 0o755); err != nil {
		t.Fatal(err)
	}
	path, manifest := at("m/x.onnx"), at("m/x.yaml")
	writeFile(t, at("m/w"), []byte("abcdefgh"))
	err := errors.Join(
		os.Symlink("../secret", at("m/out")), os.Symlink("w", at("m/link")), os.Symlink("..", at("m/up")),
		os.Mkdir(at("m/dir"), 0o755), syscall.Mkfifo(at("m/pipe"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	located := func(name string) []string { return []string{"location", name} }
	inManifest, inModel := manifest+":1:", "model "+path+": "
	for _, tt := range []struct {
		manifest string // "-" for none
		entries  []string
		want     string
	}{
		{"-", located("w"), inModel + `its weights are in other files; if they came with the model, write in the manifest external_data: ["w"], or save it with the weights inside (it has no manifest; that would be the file x.yaml)`},
		{"name: x", located("./w"), inManifest + `1: external_data does not list all files that ` + path + ` has its weights in; if they came with the model, write external_data: ["w"]`},
		{"external_data: [v]", located("w"), inManifest + `16: external_data does not list all files that ` + path + ` has its weights in; if they came with the model, write external_data: ["w"]`},
		{"external_data: [w]", located("W"), inManifest + `16: external_data does not list all files that ` + path + ` has its weights in; if they came with the model, write external_data: ["W"]`},
		{"external_data: [w, none]", located("w"), inManifest + `20: external_data lists "none": no such file`},
		{"external_data: [dir]", located("dir"), inManifest + `17: external_data lists "dir": it is a directory; give the path of a file in it`},
		{"external_data: [pipe]", located("pipe"), inManifest + `17: external_data lists "pipe": it is not a file but a pipe, socket or device`},
		{"external_data: [link]", located("link"), inManifest + `17: external_data lists "link": it is a symbolic link; put the file itself there`},
		{"external_data: [out]", located("out"), inManifest + `17: external_data lists "out": it is a symbolic link; put the file itself there`},
		{"external_data: [up/secret]", located("up/secret"), inManifest + `17: external_data lists "up/secret": path escapes from parent`},
		{"external_data: [../secret]", located("w"), inManifest + `17: external_data[0] is "../secret"; name a file in the model's folder or below it, in the shortest way`},
		{"external_data: [w]", located("../secret"), inModel + `graph: initialiser "w": unsafe external data: location "../secret" leads out of its folder; external data must be files beside the model or in folders below it`},
		{"external_data: [w]", located("/secret"), inModel + `graph: initialiser "w": unsafe external data: location "/secret" is not relative; external data must be files beside the model or in folders below it`},
		{"external_data: [w]", located(`a\w`), inModel + `its weights are in the file "a\\w", and a backslash is a separator on some systems and a letter on others: save the model with / or with the weights inside`},
		{"external_data: [w]", []string{"location", "w", "offset", "1"}, inModel + `put its weights inside: unusable external data: tensor "w": read "w": it has 8 bytes, and the model wants 8 from byte 1 on; the file belongs to another model, or is cut`},
		{"external_data: [w]", []string{"location", "w", "offset", "9223372036854775807"}, inModel + `put its weights inside: unusable external data: tensor "w": read "w": it has 8 bytes, and the model wants 8 from byte 9223372036854775807 on; the file belongs to another model, or is cut`},
		{"external_data: [w]", []string{"location", "w", "offset", "-1"}, inModel + `put its weights inside: tensor "w": unusable external data: the offset of its data is "-1", which is no number of bytes from 0`},
		{"external_data: [w]", []string{"location", "w", "length", "4"}, inModel + `put its weights inside: tensor "w": unusable external data: its shape [2] of float32 needs 8 bytes, and it claims 4 of "w"`},
		{"external_data: [w]\nsha256: " + digest, located("w"), manifest + ":2:9: sha256 is "},
	} {
		writeFile(t, path, outsourced(t, tt.entries...))
		if tt.manifest == "-" {
			os.Remove(manifest) //nolint:errcheck // it is there or not
		} else {
			writeFile(t, manifest, []byte(tt.manifest))
		}
		if m, err := Load(path, ""); m != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s, %q:\ngot  %v\nwant %s", tt.manifest, tt.entries, err, tt.want)
		}
	}

	writeFile(t, path, small(t))
	writeFile(t, manifest, []byte("external_data: [none]"))
	if _, err := Load(path, ""); err == nil || err.Error() != inManifest+`17: external_data lists "none": no such file` {
		t.Errorf("a model that has its weights inside: %v", err)
	}
	const inMemory = "model x.onnx: its weights are in other files, and a model in memory has no folder to find them in: save it with the weights inside"
	if _, err := LoadBytes("x.onnx", outsourced(t, "location", "w"), []byte("external_data: [w]")); err == nil || err.Error() != inMemory {
		t.Errorf("in memory: %v", err)
	}
}

// TestExternalDataLimit: what comes in counts, however small the files are that it comes from.
func TestExternalDataLimit(t *testing.T) {
	dir := t.TempDir()
	tensor := "\x08\x80\x80\x80\x80\x01\x10\x03" + field(13, field(1, "location")+field(2, "w")) + "\x70\x01" // 1<<28 of int8
	path := writeFile(t, filepath.Join(dir, "x.onnx"), append(small(t), strings.Repeat(field(7, field(5, tensor)), 4)...))
	writeFile(t, filepath.Join(dir, "x.yaml"), []byte("external_data: [w]"))
	f, err := os.Create(filepath.Join(dir, "w"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(1<<28), f.Close()); err != nil { // a hole, no blocks on the disk
		t.Fatal(err)
	}
	if _, err := Load(path, ""); !errors.Is(err, onnx.ErrLimit) || !strings.Contains(fmt.Sprint(err), fmt.Sprint(MaxModelSize)) {
		t.Errorf("four times 256 MiB: %v", err)
	}
}
