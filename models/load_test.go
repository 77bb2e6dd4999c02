package models

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gnomon/engine/detect"
	"gnomon/models/onnx"
)

// small is a model of two classes in the layout of YOLOv8 that no runtime would run, but that says what it is.
func small(t *testing.T, metadata ...onnx.Property) []byte {
	t.Helper()
	m := onnx.Model{
		IRVersion: 8, Opset: 13, Producer: "gnomon test", Metadata: metadata,
		Graph: onnx.Graph{
			Name:    "small",
			Inputs:  []onnx.Value{{Name: "images", Type: "float32", Shape: fixed(1, 3, 64, 64)}},
			Nodes:   []onnx.Node{{OpType: "Identity", Inputs: []string{"images"}, Outputs: []string{"output0"}}},
			Outputs: []onnx.Value{{Name: "output0", Type: "float32", Shape: fixed(1, 6, 84)}},
		},
	}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	data := small(t)
	path := writeFile(t, filepath.Join(dir, "a.onnx"), data)

	m, err := Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	sum := digestOf(data)
	if m.Manifest != nil || m.Path != path || m.SHA256 != sum || !bytes.Equal(m.Bytes, data) || m.Info.Producer != "gnomon test" {
		t.Errorf("wrong model: %+v", m)
	}
	if m.Spec.Name != "a" || m.Spec.Version != sum[:12] || m.Spec.Origins["name"].Where != FromFile || m.Spec.Origins["version"].Where != FromFile {
		t.Errorf("without a manifest: name %q, version %q", m.Spec.Name, m.Spec.Version)
	}

	writeFile(t, filepath.Join(dir, "a.yaml"), []byte("name: street\nversion: v1\nlabels_file: labels.txt\nsha256: "+strings.ToUpper(sum)))
	writeFile(t, filepath.Join(dir, "labels.txt"), []byte("cat\ndog\n"))
	if m, err = Load(path, ""); err != nil {
		t.Fatal(err)
	}
	if m.Spec.Name != "street" || m.Spec.Version != "v1" || !slices.Equal(m.Spec.Labels, []string{"cat", "dog"}) || m.Manifest == nil {
		t.Errorf("with a manifest beside: %+v", m.Spec)
	}
	if o := m.Spec.Origins["labels"]; o != (Origin{Value: "2 labels", Where: FromManifest, Why: "labels_file"}) {
		t.Errorf("origin of the labels: %+v", o)
	}

	other := writeFile(t, filepath.Join(dir, "other.yaml"), []byte("name: other"))
	if m, err = Load(path, other); err != nil || m.Spec.Name != "other" {
		t.Errorf("with a manifest by its path: %+v, %v", m, err)
	}

	if m, err = LoadBytes("builtin.onnx", data, []byte("labels: [cat, dog]")); err != nil || m.Spec.Name != "builtin" || m.Path != "" {
		t.Errorf("from memory: %+v, %v", m, err)
	}

	before := m.Spec
	if err := m.Resolve([]detect.TensorInfo{{Name: "output0", Type: detect.Float32, Shape: []int64{1, 8, 84}}}); err == nil || m.Spec != before {
		t.Errorf("real shapes of 4 classes for 2 labels: %v", err)
	}
	if err := m.Resolve([]detect.TensorInfo{{Name: "output0", Type: detect.Float32, Shape: []int64{1, 6, 84}}}); err != nil || m.Spec == before || m.Spec.Name != "builtin" {
		t.Errorf("real shapes: %v", err)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	data := small(t)
	good := writeFile(t, at("good.onnx"), data)
	writeFile(t, at("empty.onnx"), nil)
	writeFile(t, at("photo.onnx"), []byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x01\x00H\x00H\x00\x00\xff\xdb"))
	writeFile(t, at("cut.onnx"), data[:len(data)/2])
	writeFile(t, at("noise.onnx"), bytes.Repeat([]byte{0xa5}, 1000))
	writeFile(t, at("yml.onnx"), data)
	writeFile(t, at("yml.yml"), []byte("name: x"))
	writeFile(t, at("bad.onnx"), data)
	writeFile(t, at("bad.yaml"), []byte("name: x\nfamly: yolox"))
	writeFile(t, at("sum.onnx"), data)
	writeFile(t, at("sum.yaml"), []byte("sha256: "+digest))
	writeFile(t, at("few.onnx"), data)
	writeFile(t, at("few.yaml"), []byte("labels: [cat]"))
	if err := os.Mkdir(at("dir.onnx"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe.onnx"), 0o600); err != nil {
		t.Fatal(err)
	}
	large, err := os.Create(at("large.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(large.Truncate(MaxModelSize+1), large.Close()); err != nil { // a hole, no blocks on the disk
		t.Fatal(err)
	}
	tests := []struct{ path, manifest, want string }{
		{at("none.onnx"), "", "model %s: no such file"},
		{at("dir.onnx"), "", "model %s: it is a directory; give the path of a file in it"},
		{at("pipe.onnx"), "", "model %s: it is not a file but a pipe, socket or device"},
		{at("empty.onnx"), "", "model %s: the file is empty"},
		{at("large.onnx"), "", "model %s: the file has 1073741825 bytes, more than the 1073741824 that are allowed"},
		{at("photo.onnx"), "", "model %s: not an ONNX model: it looks like a JPEG picture"},
		{at("yml.onnx"), "", "model %s: the manifest beside it ends in .yml and would not be read; rename " + at("yml.yml") + " to " + at("yml.yaml")},
		{good, at("none.yaml"), "manifest " + at("none.yaml") + ": no such file"},
		{at("bad.onnx"), "", at("bad.yaml") + `:2:1: unknown key "famly" in the top level; did you mean "family"?`},
		{at("sum.onnx"), "", at("sum.yaml") + ":1:9: sha256 is " + strings.ToLower(digest) + ", but %s has " + digestOf(data) + "; the manifest belongs to another file, or the file is damaged"},
		{at("few.onnx"), "", at("few.yaml") + ":1:9: labels has 1 label, but the model has 2 classes; write one label for each class, in the model's order"},
	}
	for _, tt := range tests {
		want := strings.ReplaceAll(tt.want, "%s", tt.path)
		if _, err := Load(tt.path, tt.manifest); err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", filepath.Base(tt.path), err, want)
		}
	}
	for path, want := range map[string]error{at("none.onnx"): os.ErrNotExist, at("cut.onnx"): onnx.ErrTruncated, at("noise.onnx"): onnx.ErrNotONNX} {
		_, err := Load(path, "")
		if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "model "+path+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line that wraps %v", filepath.Base(path), err, want)
		}
	}
	if _, err := LoadBytes("m.onnx", nil, nil); err == nil || err.Error() != "model m.onnx: the file is empty" {
		t.Errorf("no bytes: %v", err)
	}
	if _, err := LoadBytes("m.onnx", data, []byte("labels: 1")); err == nil || !strings.HasPrefix(err.Error(), "m.yaml:1:9: labels must be a list") {
		t.Errorf("bad manifest in memory: %v", err)
	}
}

// TestLoadSaysWhichManifest checks that a model whose family cannot be told names the file to write that into.
func TestLoadSaysWhichManifest(t *testing.T) {
	m := onnx.Model{
		IRVersion: 8, Opset: 13,
		Graph: onnx.Graph{
			Name:    "undecided",
			Inputs:  []onnx.Value{{Name: "images", Type: "float32", Shape: fixed(1, 3, 64, 64)}},
			Nodes:   []onnx.Node{{OpType: "Identity", Inputs: []string{"images"}, Outputs: []string{"output0"}}},
			Outputs: []onnx.Value{{Name: "output0", Type: "float32", Shape: fixed(1, 84, 7)}},
		},
	}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, err = LoadBytes("some/x.onnx", data, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "model some/x.onnx: find out its family: ") || !strings.HasSuffix(err.Error(), " (it has no manifest; that would be the file x.yaml)") {
		t.Errorf("got %v", err)
	}
	if _, err = LoadBytes("x.onnx", data, []byte("labels: [a, b]")); err == nil || strings.Contains(err.Error(), "no manifest") {
		t.Errorf("with a manifest: %v", err)
	}
}

// TestRealModels reads the models that the project shares, where they are at hand.
func TestRealModels(t *testing.T) {
	dir := filepath.Join("..", "..", "shared", "models")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the shared models are not here:", dir)
	}
	for name, want := range map[string]struct {
		family detect.Family
		side   int
		where  Where
	}{
		"yolov8n_int8":     {detect.YOLOv8, 640, FromMetadata},
		"yolo11n_int8_320": {detect.YOLOv8, 320, FromMetadata},
	} {
		m, err := Load(filepath.Join(dir, name+".onnx"), "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s := m.Spec
		if s.Family != want.family || s.Width != want.side || s.Height != want.side || s.Classes != 80 || !slices.Equal(s.Labels, COCO80()) ||
			s.Origins["family"].Where != want.where || s.Color != RGB || len(s.Unclear) != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "yolox_nano.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := LoadBytes("yolox_nano.onnx", data, []byte("family: yolox\nlabels: coco80\ndecoded: false\nsha256: "+digestOf(data)))
	if err != nil {
		t.Fatal(err)
	}
	if s := m.Spec; s.Width != 416 || s.Classes != 80 || s.Color != BGR || s.Scale != 1 || len(s.Unclear) != 0 {
		t.Errorf("yolox_nano: %+v", s)
	}
	if _, err := Load(filepath.Join(dir, "yolox_nano.onnx"), ""); err == nil || !strings.Contains(fmt.Sprint(err), "one for each cell, as yolox has them") {
		t.Errorf("yolox_nano without a manifest: %v", err)
	}
	m, err = Load(filepath.Join(dir, "face_detection_yunet_2023mar.onnx"), "")
	if err != nil {
		t.Fatal(err)
	}
	if s := m.Spec; s.Family != detect.YuNet || s.Origins["family"].Where != FromShape || s.Width != 640 || !slices.Equal(s.Labels, []string{"face"}) || len(s.Unclear) != 0 {
		t.Errorf("yunet: %+v", s)
	}
}
