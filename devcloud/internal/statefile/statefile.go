// Package statefile writes the small files in which devcloud keeps its state.
package statefile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write replaces a file in one step, so that a crash leaves the old content or the new one.
func Write(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone already after the rename
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
