package yamldoc_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"gnomon/config/yamldoc"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	full := bytes.Repeat([]byte("x"), yamldoc.MaxSize)
	err := errors.Join(
		os.WriteFile(at("full"), full, 0o600),
		os.WriteFile(at("large"), append(full, 'x'), 0o600),
		syscall.Mkfifo(at("pipe"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	got, err := yamldoc.ReadFile(yamldoc.AnyFolder{}, at("full"))
	if err != nil || !bytes.Equal(got, full) {
		t.Errorf("the largest file: %d bytes, %v", len(got), err)
	}
	for name, want := range map[string]string{
		"large": "it is larger than the 262144 bytes that are allowed",
		"pipe":  "it is not a file but a pipe, socket or device",
		"":      "it is a directory; give the path of a file in it",
		"none":  "no such file",
	} {
		_, err := yamldoc.ReadFile(yamldoc.AnyFolder{}, at(name))
		if err == nil || err.Error() != want || errors.Is(err, fs.ErrNotExist) != (name == "none") {
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := yamldoc.ReadFile(root, "full"); err != nil {
		t.Errorf("inside the folder: %v", err)
	}
	if _, err := yamldoc.ReadFile(root, "../full"); err == nil {
		t.Error("a name left its folder")
	}
}
