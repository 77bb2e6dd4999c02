package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, root, name, content string) {
	t.Helper()
	full := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFindTexts(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "mod")
	for _, name := range []string{
		"LICENSE", "NOTICE.md", "PATENTS", "license.go", "LICENSES/MIT.txt", "README.md", "a/COPYING", "a/b/licence.txt",
		"a/b/c/LICENSE", "other/LICENSE", "edl-v10", "LICENSE-MIT", "../LICENSE",
	} {
		write(t, root, name, name)
	}
	m := module{path: "example.com/m", dir: root, dirs: []string{root, filepath.Join(root, "a", "b")}}
	texts, err := findTexts(m)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, x := range texts {
		got[x.name] = x.terms
		if x.content != x.name {
			t.Errorf("%s holds %q", x.name, x.content)
		}
	}
	want := map[string]bool{
		"LICENSE": true, "LICENSE-MIT": true, "NOTICE.md": false, "PATENTS": false, "a/COPYING": true, "a/b/licence.txt": true, "edl-v10": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("texts, and whether they are terms (-want +got):\n%s", diff)
	}
}

func TestFindTextsRefusesHugeFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, "LICENSE", strings.Repeat("x", maxText+1))
	_, err := findTexts(module{path: "example.com/m", dir: root})
	if err == nil || !strings.Contains(err.Error(), "too long for a licence") {
		t.Errorf("got %v", err)
	}
	write(t, root, "LICENSE", strings.Repeat("x", maxText))
	if _, err := findTexts(module{path: "example.com/m", dir: root}); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}

func TestHolders(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"", ""},
		{"Copyright [yyyy] [name of copyright owner]", ""},
		{"the above copyright notice and 2 more", ""},
		{"Copyright 2009 The Go Authors.", "2009 The Go Authors"},
		{"Copyright (c) 2009,2014 Google Inc. All rights reserved.", "2009,2014 Google Inc."},
		{"// Copyright © 2015 A B <a@example.com>", "2015 A B"},
		{"Copyright (C) 2014 A\n\n copyright 2015, B.\nCopyright (c) 2014 A\n", "2014 A; 2015, B"},
	}
	for _, tt := range tests {
		if got := holders([]text{{content: tt.text}}); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}
	if got := holders([]text{{content: "Copyright 2001 A"}, {content: "Copyright 2001 A\nCopyright 2002 B"}}); got != "2001 A; 2002 B" {
		t.Errorf("of two texts: %q", got)
	}
}
