package camera

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// listen waits for the kernel to tell of changes, folderLook at most.
func (a *arrivals) listen(ctx context.Context) error {
	if err := a.events.SetReadDeadline(time.Now().Add(folderLook)); err != nil {
		return fmt.Errorf("watch the folder %s: %w", a.path, err)
	}
	// Set after the deadline above, an earlier one stays. close does the same.
	stop := context.AfterFunc(ctx, a.wake)
	defer stop()
	if err := a.over(ctx); err != nil {
		return err
	}
	n, err := a.events.Read(a.buf)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return a.over(ctx)
	case err != nil:
		return fmt.Errorf("watch the folder %s: %w", a.path, err)
	}
	return a.take(a.buf[:n])
}

// wake ends a listen.
func (a *arrivals) wake() {
	if a.events != nil {
		_ = a.events.SetReadDeadline(time.Unix(1, 0)) // it can, listen has
	}
}

// take puts what events tell of into the batch. They lie one after the other as inotify(7) says: the watch, what
// happened, a cookie and the length of the name, 32 bits each, then the name with zeros behind it. As many as the buffer
// holds bound the batch.
func (a *arrivals) take(events []byte) error {
	const header = 16
	for len(events) >= header {
		watch, mask := int32(binary.NativeEndian.Uint32(events)), binary.NativeEndian.Uint32(events[4:])
		size := int(binary.NativeEndian.Uint32(events[12:]))
		if size > len(events)-header {
			break // the kernel does not cut events
		}
		name := events[header:][:size]
		events = events[header+size:]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			a.lost = true
		case int(watch) != a.watch: // of a folder that was here before
		case mask&(unix.IN_IGNORED|unix.IN_UNMOUNT) != 0:
			a.watch = -1
			return a.leave()
		default:
			name, _, _ := bytes.Cut(name, []byte{0})
			if found, ok := a.look(string(name)); ok && !a.known(found) {
				a.batch = append(a.batch, found)
			}
		}
	}
	return nil
}

func (a *arrivals) sum(f arrival) uint64 {
	return maphash.String(a.seed, f.name) ^ uint64(f.changed)*0x9e3779b97f4a7c15
}

// known tells whether it was read lately.
func (a *arrivals) known(f arrival) bool {
	_, ok := a.recent[a.sum(f)]
	return ok
}

// did notes that f was read: another event of it, or another look at the folder, is none of a new picture. One that could
// not be read may have been half written; the writer's next change makes it another arrival, and its last one need not.
func (a *arrivals) did(f arrival) {
	if f.changed <= a.mark || a.known(f) {
		return
	}
	now := recentArrival{a.sum(f), f.changed}
	a.recent[now.sum] = struct{}{}
	if len(a.ring) < maxRecent {
		a.ring = append(a.ring, now)
		return
	}
	old := a.ring[a.next]
	a.ring[a.next] = now
	a.next = (a.next + 1) % maxRecent
	delete(a.recent, old.sum)
	a.mark = max(a.mark, old.changed)
}

// open opens a picture, which is the caller's to close, and tells what it is by now: it may have changed meanwhile. What is
// no regular file any more is none.
func (a *arrivals) open(f arrival) (*os.File, arrival, error) {
	if a.root == nil {
		return nil, f, os.ErrNotExist
	}
	file, err := a.root.OpenFile(f.name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, f, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, f, errors.Join(err, file.Close())
	}
	now, ok := arrivalOf(f.name, info)
	if !ok {
		return nil, f, errors.Join(fmt.Errorf("%s is not a regular file", f.name), file.Close())
	}
	return file, now, nil
}

// close ends a wait. Any goroutine may call it.
func (a *arrivals) close() {
	a.once.Do(func() { close(a.closed) })
	a.wake()
}

// release frees everything, after the last call of the others.
func (a *arrivals) release() error {
	err := a.leave()
	if a.events != nil {
		err = errors.Join(err, a.events.Close())
	}
	return err
}
