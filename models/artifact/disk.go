package artifact

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const fileMode = 0o600 // models are nobody else's business

// openRegular opens a file of an earlier Fetch. A Root follows links inside of it, and opening a named pipe would block,
// so its kind is looked at before; the directory is private, and nobody changes it in between.
func openRegular(root *os.Root, name string, flags int) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	return root.OpenFile(name, flags, 0)
}

// createRegular makes an empty file in the place of whatever is there.
func createRegular(root *os.Root, name string) (*os.File, error) {
	if err := root.RemoveAll(name); err != nil {
		return nil, err
	}
	return root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
}

// writeFile replaces a small file as a whole.
func writeFile(root *os.Root, name string, data []byte) error {
	temp := name + ".tmp"
	file, err := createRegular(root, temp)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	return root.Rename(temp, name)
}

// space fails unless the disk holds that many more bytes beside what has to stay free.
func space(root *os.Root, more, keep int64) error {
	dir, err := root.Open(".")
	if err != nil {
		return diskError("look for free space", err)
	}
	defer dir.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &fs); err != nil {
		return wrap(CodeDiskError, "look for free space", err)
	}
	//nolint:unconvert // the types differ between platforms
	if free := int64(fs.Bavail) * int64(fs.Bsize); free < more+keep {
		return fail(CodeDiskFull, "the disk has %d bytes free; the download needs %d more and %d have to stay free: make room",
			free, more, keep)
	}
	return nil
}

// diskError gives an error of the file system its code.
func diskError(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return wrap(CodeDiskFull, "the disk is full; make room: "+what, err)
	}
	return wrap(CodeDiskError, what, err)
}
