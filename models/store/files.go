package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// makeDir makes the store's directory, and syncs its parent so that a power cut does not lose it.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return nil // a parent that may be searched but not read; the directory itself is there
	}
	defer parent.Close()
	return ignoreUnsupported(parent.Sync())
}

// checkDir refuses a directory that others could change a model in.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New("it is not a directory; name another place or move the file away")
	}
	if info.Mode().Perm()&othersModify != 0 {
		return fmt.Errorf("others may write to it (mode %#o), so they could replace a model; run: chmod 700 %s", info.Mode().Perm(), dir)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d and this process runs as user %d; run as that user or change its owner", owner.Uid, os.Geteuid())
	}
	return nil
}

// writeFile replaces the file name by data so that a reader, also after a crash, sees the old or the new contents.
// The directory still has to be synced. The steps are named after what.
func (s *Store) writeFile(root *os.Root, name, what string, data []byte) (err error) {
	temp := name + tempSuffix
	if err := s.step(what + ": create"); err != nil {
		return err
	}
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()         //nolint:errcheck // the first error is the one that matters
			root.Remove(temp) //nolint:errcheck // Open removes it otherwise
		}
	}()
	half := len(data) / 2
	if _, err := f.Write(data[:half]); err != nil {
		return err
	}
	if err := s.step(what + ": write the second half"); err != nil {
		return err
	}
	if _, err := f.Write(data[half:]); err != nil {
		return err
	}
	if err := s.step(what + ": sync"); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := s.step(what + ": rename"); err != nil {
		return err
	}
	return root.Rename(temp, name)
}

// readFile reads a regular file of at most limit bytes.
func readFile(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := openRegular(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrInvalid, name, limit)
	}
	return data, nil
}

// openRegular opens a file only if it and the folders above it are what they seem: a link or a pipe could lead
// elsewhere or block for ever.
func openRegular(root *os.Root, name string) (*os.File, error) {
	for at := path.Dir(name); at != "."; at = path.Dir(at) {
		info, err := root.Lstat(at)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("%w: %s is not a directory", ErrInvalid, at)
		}
	}
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrInvalid, name)
	}
	return root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// syncDir makes renames in a directory last. Some file systems cannot, and then do not need it.
func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return ignoreUnsupported(d.Sync())
}

func ignoreUnsupported(err error) error {
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

// treeSize sums the regular files below a directory, in bytes. What cannot be read counts as nothing: the sum only
// guides how much is collected.
func treeSize(root *os.Root, name string) int64 {
	var total int64
	//nolint:errcheck // see above
	fs.WalkDir(root.FS(), name, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total
}

// discard removes staging/NAME or versions/NAME so that it is there wholly or not at all: it is renamed into the
// trash first, which Open empties.
func (s *Store) discard(parent, name string) error {
	from, to := path.Join(parent, name), path.Join(trashDir, parent+"-"+name)
	if _, err := s.root.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := s.step("discard: move"); err != nil {
		return err
	}
	if err := s.root.RemoveAll(to); err != nil {
		return err
	}
	if err := s.root.Rename(from, to); err != nil {
		return err
	}
	if err := s.step("discard: sync"); err != nil {
		return err
	}
	if err := syncDir(s.root, parent); err != nil {
		return err
	}
	if err := s.step("discard: delete"); err != nil {
		return err
	}
	return s.root.RemoveAll(to)
}

// explain puts before an error of the disk what a person can do about it.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the disk is full; free some space or lower the bound for stored models: %w", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the file system is read-only; check the disk for errors and mount it writable again: %w", err)
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("the disk reports an I/O error; check the kernel's log and replace the disk if it goes on: %w", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("permission denied; check who owns the directory and its files: %w", err)
	}
	return err
}
