package devcloud

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockDir keeps a second Cloud out of the same state. The lock goes with the process, however that ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("the state in %s is in use by another devcloud; stop that or choose another directory: %w", dir, err)
	}
	return f, nil
}
