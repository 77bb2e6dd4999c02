//go:build opencv

package camera

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"gnomon/engine"
)

// watchedFolder delivers the pictures of a directory, and then new ones as they come. It loses none and never ends by
// itself: a folder that is removed is waited for. Opened anew, it begins with all that are there.
type watchedFolder struct {
	pictures
	arrivals *arrivals

	mu     sync.Mutex // guards arrivals against Close, but for its close
	closed bool

	skipMu  sync.Mutex
	skipped uint64
	lastErr error
}

func openWatched(o Options) (*watchedFolder, error) {
	st, err := os.Stat(o.URI)
	switch {
	case err != nil:
		return nil, err
	case !st.IsDir():
		return nil, &fs.PathError{Op: "watch", Path: o.URI, Err: syscall.ENOTDIR}
	}
	a, err := newArrivals(filepath.Clean(o.URI))
	if err != nil {
		return nil, err
	}
	return &watchedFolder{pictures: pictures{o: o}, arrivals: a}, nil
}

// Frames is 0: there is always another one.
func (w *watchedFolder) Frames() int { return 0 }

// Read fills dst with the next picture that can be decoded, once there is one. One that cannot be is passed over and
// counted: when it is written anew, it is another.
func (w *watchedFolder) Read(ctx context.Context, dst *engine.Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed {
		found, err := w.arrivals.wait(ctx)
		if err != nil {
			return err
		}
		err = w.read(found, dst)
		for short(err) { // it is there: another time
			if err := w.arrivals.pause(ctx, folderLook); err != nil {
				return err
			}
			err = w.read(found, dst)
		}
		switch {
		case err == nil:
			return w.pace(ctx)
		case !errors.Is(err, fs.ErrNotExist): // removed again
			w.skip(err)
		}
	}
	return io.EOF
}

func (w *watchedFolder) read(found arrival, dst *engine.Frame) error {
	file, now, err := w.arrivals.open(found)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // was only read
	if err := w.decode(file, filepath.Join(w.o.URI, now.name), dst); err != nil {
		return err
	}
	w.arrivals.did(now)
	return nil
}

// short tells an error of the machine's from one of the picture's.
func short(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

func (w *watchedFolder) skip(err error) {
	w.skipMu.Lock()
	defer w.skipMu.Unlock()
	w.skipped, w.lastErr = w.skipped+1, err
}

// Skipped is how many pictures could not be read, and why the last of them. Any goroutine may call it. A picture that
// somebody is still writing may be among them; it is read when it is whole.
func (w *watchedFolder) Skipped() (uint64, error) {
	w.skipMu.Lock()
	defer w.skipMu.Unlock()
	return w.skipped, w.lastErr
}

// Close ends a Read that waits. Any goroutine may call it.
func (w *watchedFolder) Close() error {
	w.arrivals.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	return w.arrivals.release()
}

// String names the source in logs.
func (w *watchedFolder) String() string { return fmt.Sprintf("new pictures in %s", w.o.URI) }
