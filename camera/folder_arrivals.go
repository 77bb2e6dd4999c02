package camera

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxBatch bounds how many names are kept of a folder; one with more pictures is gone through again for the rest.
	maxBatch = 1 << 16

	// maxRecent bounds the memory for what was read lately: twice the events that the kernel keeps by default, so that
	// all of them are known when some were lost.
	maxRecent = 1 << 15

	// dirChunk is how many entries of a folder are read at once.
	dirChunk = 1024

	// folderLook is how often a watched folder is looked for: one that was removed is no event while it is open.
	folderLook = time.Second

	// clockSlack is more than the kernel's time stamps lag behind its clock.
	clockSlack = time.Second

	// pollEvery is how often a folder is gone through where the kernel cannot tell of changes. A picture must have been the
	// same twice before it is read, so this is also how long a program may pause while it writes one.
	pollEvery = 2 * time.Second

	// pollShare bounds the time that this takes in folders with very many files: a tenth.
	pollShare = 10
)

// arrival is a picture in a watched folder.
type arrival struct {
	name    string
	changed int64 // when its file last was, ns since 1970 (ctime: nobody can set it, and moving a file changes it too)
}

func (a arrival) compare(b arrival) int {
	return cmp.Or(cmp.Compare(a.changed, b.changed), cmp.Compare(a.name, b.name))
}

// arrivals finds the pictures of a folder, those that are there first, in the order in which their files came: each once,
// and again when its file was written anew. Only regular files count; links are not followed. inotify(7) tells of new ones;
// on network file systems, which it does not see, the folder is gone through time and again. Its memory is bounded,
// however many files there are. One goroutine at a time, but for close.
//
// Two things it may miss. After events were lost (the kernel keeps some 16,000 while nobody reads): files that came while
// the clock was set back, or whose writer kept them open for long. On network file systems: files that came after
// their server's clock was set back, until it has caught up.
type arrivals struct {
	path string
	root *os.Root // nil: the folder is not there at present
	self fs.FileInfo
	poll bool // no events: go through the folder

	events *os.File // of inotify, for all of a's life; nil: there is none
	fd     int      // of events
	watch  int      // of the folder; -1: none
	buf    []byte
	lost   bool // events were lost: go through the folder

	scanning bool // the folder is being gone through
	started  time.Time
	took     time.Duration
	cursor   arrival // as far as here
	ceiling  int64   // up to those that changed then
	batch    []arrival
	newest   int64 // the latest change that was seen

	mark   int64 // everything that changed up to here has been read
	seed   maphash.Seed
	recent map[uint64]struct{} // what was read of later than mark
	ring   []recentArrival     // the same, the oldest at next
	next   int

	closed chan struct{}
	once   sync.Once

	most  int // maxBatch and pollEvery; tests have less
	every time.Duration
}

type recentArrival struct {
	sum     uint64
	changed int64
}

// newArrivals watches a folder that must be there at first.
func newArrivals(path string) (*arrivals, error) {
	a := &arrivals{path: path, watch: -1, seed: maphash.MakeSeed(), recent: map[uint64]struct{}{}, closed: make(chan struct{}), most: maxBatch, every: pollEvery}
	if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil {
		a.fd, a.events, a.buf = fd, os.NewFile(uintptr(fd), "inotify"), make([]byte, 64<<10)
	} // else the user has too many of them: go through the folder
	if err := a.enter(); err != nil {
		return nil, errors.Join(err, a.release())
	}
	return a, nil
}

// enter begins with the folder that is at path now.
func (a *arrivals) enter() error {
	root, err := os.OpenRoot(a.path)
	if err != nil {
		return fmt.Errorf("watch the folder %s: %w", a.path, err)
	}
	self, err := root.Stat(".")
	if err != nil {
		return errors.Join(fmt.Errorf("watch the folder %s: %w", a.path, err), root.Close())
	}
	if a.self == nil || !os.SameFile(a.self, self) { // another folder than before
		a.mark, a.newest = math.MinInt64, math.MinInt64
		clear(a.recent)
		a.ring, a.next = a.ring[:0], 0
	}
	a.root, a.self = root, self
	a.poll = a.events == nil || distant(a.path)
	if !a.poll {
		const changes = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_ONLYDIR
		a.watch, err = unix.InotifyAddWatch(a.fd, a.path, changes)
		a.poll = err != nil // the user has too many watches
	}
	a.begin()
	return nil
}

// begin has the folder gone through from mark on.
func (a *arrivals) begin() {
	a.lost, a.scanning, a.started = false, true, time.Now()
	a.cursor, a.ceiling = arrival{changed: a.mark + 1}, math.MaxInt64
	if a.poll { // nobody tells when a writer is done: what was there the last time and has not changed since
		a.ceiling = a.newest
	}
}

// leave is for a folder that is not at its path any more.
func (a *arrivals) leave() error {
	if a.watch >= 0 {
		_, _ = unix.InotifyRmWatch(a.fd, uint32(a.watch)) // the kernel may have done so
		a.watch = -1
	}
	root := a.root
	a.root, a.batch = nil, nil
	if root == nil {
		return nil
	}
	return root.Close()
}

// distant tells the file systems on which others may write without this kernel's knowing.
func distant(path string) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return true
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.V9FS_MAGIC,
		unix.CEPH_SUPER_MAGIC, unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC:
		return true
	}
	return false
}

// wait blocks until there is a picture to read. It returns io.EOF after close.
func (a *arrivals) wait(ctx context.Context) (arrival, error) {
	for {
		if err := a.over(ctx); err != nil {
			return arrival{}, err
		}
		if len(a.batch) > 0 {
			found := a.batch[0]
			a.batch = a.batch[1:]
			if a.known(found) { // two events of one change
				continue
			}
			return found, nil
		}
		if err := a.more(ctx); err != nil {
			return arrival{}, err
		}
	}
}

// over tells whether nobody waits any more.
func (a *arrivals) over(ctx context.Context) error {
	select {
	case <-a.closed:
		return io.EOF
	default:
		return ctx.Err()
	}
}

// more fills the batch, or waits a while.
func (a *arrivals) more(ctx context.Context) error {
	switch {
	case a.root == nil:
		if err := a.pause(ctx, folderLook); err != nil {
			return err
		}
		_ = a.enter() // it will be there again sometime
		return nil
	case a.moved():
		return a.leave()
	case a.scanning:
		return a.scan(ctx)
	case a.poll:
		if err := a.pause(ctx, max(a.every, pollShare*a.took)); err != nil {
			return err
		}
		a.begin()
		return nil
	case a.lost:
		a.begin()
		return nil
	}
	return a.listen(ctx)
}

// pause waits for d, ctx or close.
func (a *arrivals) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
	case <-a.closed:
	case <-ctx.Done():
	}
	return a.over(ctx)
}

// moved tells whether the folder is not the one at its path any more.
func (a *arrivals) moved() bool {
	at, err := os.Stat(a.path)
	return err != nil || !os.SameFile(at, a.self)
}

// scan goes through the folder once, for the first maxBatch of the pictures that come behind cursor.
func (a *arrivals) scan(ctx context.Context) error {
	truncated, err := a.pass(ctx)
	switch {
	case err == nil:
	case a.over(ctx) != nil:
		return a.over(ctx)
	case a.moved(): // meanwhile
		return a.leave()
	default: // no files left to open, a disk that stumbles: begin again a little later, with what has been read still known
		if err := a.pause(ctx, folderLook); err != nil {
			return err
		}
		a.begin()
		return nil
	}
	if n := len(a.batch); n > 0 {
		a.cursor = a.batch[n-1]
	}
	if truncated {
		return nil
	}
	a.scanning, a.took = false, time.Since(a.started)
	if a.poll {
		a.mark = max(a.mark, a.ceiling)
	} else {
		a.mark = max(a.mark, a.started.Add(-clockSlack).UnixNano())
	}
	return nil
}

func (a *arrivals) pass(ctx context.Context) (truncated bool, err error) {
	dir, err := a.root.Open(".")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	a.batch = nil
	for {
		if err := a.over(ctx); err != nil {
			return false, err
		}
		names, err := dir.Readdirnames(dirChunk)
		for _, name := range names {
			found, ok := a.look(name)
			if !ok || found.compare(a.cursor) <= 0 || a.known(found) {
				continue
			}
			a.newest = max(a.newest, found.changed)
			if found.changed <= a.ceiling {
				a.batch = append(a.batch, found)
			}
		}
		done := errors.Is(err, io.EOF)
		if err != nil && !done {
			return false, err
		}
		if len(a.batch) >= 2*a.most || done {
			truncated = a.cut() || truncated
		}
		if done {
			return truncated, nil
		}
	}
}

// cut puts the batch in order and keeps its first. It tells whether there were more.
func (a *arrivals) cut() bool {
	slices.SortFunc(a.batch, arrival.compare)
	n := min(len(a.batch), a.most)
	more := n < len(a.batch)
	clear(a.batch[n:]) // their names
	a.batch = a.batch[:n]
	return more
}

// look tells whether there is a file of this name that may be a picture.
func (a *arrivals) look(name string) (arrival, bool) {
	if !pictureExtension(name) {
		return arrival{}, false
	}
	info, err := a.root.Lstat(name)
	if err != nil {
		return arrival{}, false
	}
	return arrivalOf(name, info)
}

// arrivalOf is false for what is no regular file.
func arrivalOf(name string, info fs.FileInfo) (arrival, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return arrival{}, false
	}
	return arrival{name, time.Unix(st.Ctim.Unix()).UnixNano()}, true
}
