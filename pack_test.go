package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gnomon/models/bundle"
	"gnomon/models/store"
)

// What is packed is the same each time, and what the agent unpacks and understands.
func TestPack(t *testing.T) {
	t.Parallel()
	needParts(t)
	dir := t.TempDir()
	labelled := write(t, filepath.Join(dir, "my model.onnx"), read(t, "testdata/models/yolov8.onnx"))
	write(t, filepath.Join(dir, "my model.yaml"), []byte("# mine\nlabels_file: lists/labels.txt\nrelease: 3\nversion: old\n"))
	write(t, filepath.Join(dir, "lists", "labels.txt"), []byte("a\nb\nc\n"))
	for _, row := range []struct {
		name  string
		o     packOptions
		want  store.Meta // without files
		files []string
	}{
		{"without a manifest", packOptions{model: "testdata/models/yolov8.onnx"}, store.Meta{Name: "yolov8"}, []string{"yolov8.onnx", "yolov8.yaml"}},
		{"stamped without one", packOptions{model: "testdata/models/yolov8.onnx", version: "a: \"b\"", release: 7}, store.Meta{Name: "yolov8", Version: "a: \"b\"", Release: 7}, []string{"yolov8.onnx", "yolov8.yaml"}},
		{"with one", packOptions{model: "testdata/models/yolov5.onnx"}, store.Meta{Name: "test-yolov5", Version: "1.2"}, []string{"yolov5.onnx", "yolov5.yaml"}},
		{"stamped anew", packOptions{model: "testdata/models/yolov5.onnx", version: "2"}, store.Meta{Name: "test-yolov5", Version: "2"}, []string{"yolov5.onnx", "yolov5.yaml"}},
		{"with that of another", packOptions{model: "testdata/models/yolov8.onnx", manifest: "testdata/models/nhwc.yaml"}, store.Meta{}, nil},
		{"with labels", packOptions{model: labelled}, store.Meta{Name: "my model", Version: "old", Release: 3}, []string{"lists/labels.txt", "my model.onnx", "my model.yaml"}},
		{"with golden pictures", packOptions{model: "testdata/models/yolov8.onnx", golden: goldenFolder(t, 0), release: 1}, store.Meta{Name: "yolov8", Release: 1}, []string{"golden/golden.json", "golden/wide_256x128.png", "yolov8.onnx", "yolov8.yaml"}},
		{"the one inside the program", packOptions{model: "default", version: "9", release: 9}, store.Meta{Name: "nanodet-g", Version: "9", Release: 9}, []string{"nanodet-g.onnx", "nanodet-g.yaml"}},
	} {
		p, err := packModel(row.o)
		if row.files == nil {
			if err == nil {
				t.Errorf("%s: no error", row.name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if again, err := packModel(row.o); err != nil || !bytes.Equal(p.Tar, again.Tar) || p.SHA256 != digestOf(p.Tar) {
			t.Errorf("%s: not the same twice (%v), or another digest", row.name, err)
		}
		into := t.TempDir()
		c, err := bundle.Unpack(t.Context(), into, []bundle.Source{{Name: "x", Path: write(t, filepath.Join(t.TempDir(), "x"), p.Tar)}}, bundle.Limits{})
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		meta, err := describeVersion(into, c)
		var names []string
		for _, f := range c.Files {
			names = append(names, f.Name)
		}
		if err != nil || meta.Name != row.want.Name || meta.Version != row.want.Version || meta.Release != row.want.Release || strings.Join(names, " ") != strings.Join(row.files, " ") {
			t.Errorf("%s: %+v of %q, %v", row.name, meta, names, err)
		}
		if p.Version != row.want.Version || p.Release != row.want.Release {
			t.Errorf("%s: version %q, release %d", row.name, p.Version, p.Release)
		}
		if (c.Golden != "") != (row.o.golden != "") {
			t.Errorf("%s: golden %q", row.name, c.Golden)
		}
	}
}

func TestRestamp(t *testing.T) {
	for _, row := range []struct {
		before string
		o      packOptions
		want   string
	}{
		{"", packOptions{}, ""},
		{"a: 1\n", packOptions{}, "a: 1\n"},
		{"a: 1", packOptions{release: 2}, "a: 1\nrelease: 2\n"},
		{"# c\nversion: 1 # why\nrelease: 1\na: 1\n", packOptions{version: "2"}, "# c\nrelease: 1\na: 1\nversion: \"2\"\n"},
		{"release: 1\nversion: 1\n", packOptions{version: "2", release: 3}, "version: \"2\"\nrelease: 3\n"},
		{"input: {\n  version: 1}\n", packOptions{version: "2"}, "input: {\n  version: 1}\nversion: \"2\"\n"},
		{"release: 1\r\na: 1\r\n", packOptions{release: 3}, "a: 1\r\nrelease: 3\n"},
	} {
		got, err := restamp([]byte(row.before), row.o)
		if err != nil || string(got) != row.want {
			t.Errorf("%q: %q, %v", row.before, got, err)
		}
	}
}

// The command writes the archive and says its name and digest; what is wrong with a model is said before anything is
// written.
func TestPackCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "m.tar")
	stdout, _, err := inProcess(t, "models", "pack", "testdata/models/yolov5.onnx", "--release", "7", "--output", out)
	if err != nil {
		t.Fatal(err)
	}
	if data := read(t, out); stdout != out+"\nsha256 "+digestOf(data)+"\n" {
		t.Errorf("printed %q", stdout)
	}
	for _, row := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"testdata/models/unknown_head.onnx"}, exitFailed, "are those of no known family"},
		{[]string{"testdata/models/none.onnx"}, exitFailed, "none.onnx: no such file"},
		{[]string{"testdata/models/yolov8.onnx", "--golden", "none"}, exitFailed, "none: no such file"},
		{[]string{"testdata/models/yolov8.onnx", "--manifest", "none.yaml"}, exitFailed, "none.yaml"},
		{[]string{"testdata/models/yolov8.onnx", "--release", "-1"}, exitUsage, "--release must not be negative"},
		{nil, exitUsage, "one model file"},
	} {
		out := filepath.Join(t.TempDir(), "m.tar")
		_, code, err := inProcess(t, append([]string{"models", "pack", "--output", out}, row.args...)...)
		if _, e := os.Stat(out); code != row.code || !strings.Contains(err.Error(), row.want) || e == nil {
			t.Errorf("%v: exit code %d, %v", row.args, code, err)
		}
	}
}

// What is desired is a whole entry: a shadow merges, and members that an older entry had must go.
func TestDesiredModel(t *testing.T) {
	data, err := json.Marshal(desiredModel{URI: "s3://b/k", Release: 2}.full())
	if want := `{"allow_downgrade":null,"probation_s":null,"release":2,"sha256":null,"signature":null,"uri":"s3://b/k","version":null}`; err != nil || string(data) != want {
		t.Errorf("%s, %v", data, err)
	}
	a := strings.Repeat("a", 64)
	for ref, want := range map[string]string{
		"s3://b/m/" + a + ".tar": a, "oci://h/r@sha256:" + a: a, "s3://b/m/street.tar": "", "oci://h/r:tag": "", "builtin": "", "s3://b/m/" + a[1:] + "g.tar": "",
	} {
		if got := digestIn(ref); got != want {
			t.Errorf("%s: %q", ref, got)
		}
	}
	for _, row := range []struct {
		pinned, ref string
		want        bool
	}{
		{"oci://h:1/r@sha256:" + a, "oci://h:1/r:tag", true},
		{"oci://h:1/r@sha256:" + a, "oci://h:1/r@sha256:" + a, false},
		{"oci://h:1/rest@sha256:" + a, "oci://h:1/r:tag", false},
		{"builtin", "oci://h:1/r:tag", false},
		{"", "builtin", false},
	} {
		if got := isOfTag(row.pinned, row.ref); got != row.want {
			t.Errorf("%s of %s: %v", row.pinned, row.ref, got)
		}
	}
}

func TestSafeName(t *testing.T) {
	for name, want := range map[string]string{"Yolo11n": "yolo11n", "a b__c": "a-b-c", "-é-": "model", "": "model"} {
		if got := safeName(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}
