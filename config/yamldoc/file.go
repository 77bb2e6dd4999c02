package yamldoc

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Folder is a place that files are opened in: *os.Root satisfies it, which keeps names inside one folder.
type Folder interface {
	Open(name string) (*os.File, error)
	Stat(name string) (fs.FileInfo, error)
}

// AnyFolder is the whole file system, as the process sees it.
type AnyFolder struct{}

// Open implements Folder.
func (AnyFolder) Open(name string) (*os.File, error) { return os.Open(name) }

// Stat implements Folder.
func (AnyFolder) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// OpenFile opens a regular file for reading, which the caller closes, and tells what it is. It looks before it opens,
// since opening a named pipe would wait for a writer. The error says what is wrong without naming the file, which is
// the caller's to do; a missing file wraps fs.ErrNotExist.
func OpenFile(in Folder, name string) (*os.File, fs.FileInfo, error) {
	info, err := in.Stat(name)
	if err != nil {
		return nil, nil, plainPathError(err)
	}
	switch {
	case info.IsDir():
		return nil, nil, errors.New("it is a directory; give the path of a file in it")
	case !info.Mode().IsRegular():
		return nil, nil, errors.New("it is not a file but a pipe, socket or device")
	}
	f, err := in.Open(name)
	if err != nil {
		return nil, nil, plainPathError(err)
	}
	return f, info, nil
}

// ReadFile reads a whole regular file of at most MaxSize bytes. Its errors are like those of OpenFile.
func ReadFile(in Folder, name string) ([]byte, error) {
	f, _, err := OpenFile(in, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, plainPathError(err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("it is larger than the %d bytes that are allowed", MaxSize)
	}
	return data, nil
}

// plainPathError drops what the os package puts before the cause of an error: the operation and the path, which the
// caller's message names already.
func plainPathError(err error) error {
	var p *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return noSuchFile{}
	case errors.As(err, &p):
		return p.Err
	}
	return err
}

// noSuchFile is fs.ErrNotExist in plain words.
type noSuchFile struct{}

func (noSuchFile) Error() string        { return "no such file" }
func (noSuchFile) Is(target error) bool { return target == fs.ErrNotExist }
