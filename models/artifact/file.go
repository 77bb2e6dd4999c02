package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// fileSource reads a local file. It is copied and never linked, so that nobody can change it afterwards. A link at the
// end of the path is refused; directories on the way may be links, as they are what the administrator made them.
type fileSource struct{ path string }

func (s fileSource) open(_ context.Context, m mark) (*answer, error) {
	// Non-blocking, because opening a named pipe would wait for a writer.
	file, err := os.OpenFile(s.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, wrap(CodeNotFound, "correct the reference or copy the model there", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, wrap(CodeAccessDenied, "give this process the right to read it", err)
	case errors.Is(err, syscall.ELOOP):
		return nil, fail(CodeAccessDenied, "%s is a link; name the file that it leads to", s.path)
	case err != nil:
		return nil, wrap(CodeDiskError, "open the model", err)
	}
	a, err := s.answer(file, m)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return a, nil
}

func (s fileSource) answer(file *os.File, m mark) (*answer, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, wrap(CodeDiskError, "look at the model", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fail(CodeAccessDenied, "%s is no regular file; name one", s.path)
	}
	a := &answer{body: file, total: info.Size(), etag: fmt.Sprintf(`"%d-%d"`, info.ModTime().UnixNano(), info.Size())}
	if m.Offset == 0 {
		return a, nil
	}
	if m.ETag != a.etag {
		return nil, errChanged
	}
	if a.offset, err = file.Seek(m.Offset, io.SeekStart); err != nil {
		return nil, wrap(CodeDiskError, "read the model", err)
	}
	return a, nil
}
