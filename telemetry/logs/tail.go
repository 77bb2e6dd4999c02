package logs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// chunk is how much is read at once.
	chunk = 64 << 10
	// minHead is the least beginning by which a file is found again under another name.
	minHead = 16
	// maxRotated bounds the files that are looked at for that.
	maxRotated = 1000
)

// tail is an open log file.
type tail struct {
	f             *os.File
	device, inode uint64
	modified      time.Time
	head          head
	fresh         bool // it came while we waited for it

	at       int64  // where the next line begins
	pending  []byte // what was read from there on
	skipping bool   // the line at at was handed over in part, or began before we came
}

// openTail opens a file at its beginning.
func openTail(path string) (*tail, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would wait for its writer
	if err != nil {
		return nil, err
	}
	t := &tail{f: f}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		_ = f.Close() // was only read
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = f.Close() // was only read
		return nil, fmt.Errorf("%s is not a file that can be followed", path)
	}
	t.device, t.inode, t.modified = uint64(st.Dev), st.Ino, time.Unix(st.Mtim.Unix()) //nolint:unconvert // Dev has other types on other processors
	t.headStands()
	return t, nil
}

// size is how long the file is now; 0 if that cannot be told.
func (t *tail) size() int64 {
	info, err := t.f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// headStands reports whether the file still begins as it did. It remembers more of its beginning when there is more.
func (t *tail) headStands() bool {
	buf := make([]byte, headLen)
	n, _ := t.f.ReadAt(buf, 0) // less than all is what there is
	if n < t.head.Len || headOf(buf[:t.head.Len]) != t.head && t.head.Len > 0 {
		return false
	}
	if n > t.head.Len {
		t.head = headOf(buf[:n])
	}
	return true
}

// begins reports whether the file begins with what place tells, and reaches as far.
func (t *tail) begins(place filePlace) bool {
	if place.Head.Len < 0 || place.Head.Len > headLen || place.Offset < 0 || t.size() < place.Offset {
		return false
	}
	buf := make([]byte, place.Head.Len)
	n, _ := t.f.ReadAt(buf, 0) // less than all is what there is
	return n == len(buf) && (n == 0 || headOf(buf) == place.Head)
}

// continues reports whether place is one in this very file. Another number is well if all of the beginning is the same:
// somebody copied the file.
func (t *tail) continues(place filePlace) bool {
	same := t.device == place.Device && t.inode == place.Inode
	return t.begins(place) && (same || place.Head.Len == headLen)
}

func (t *tail) place() filePlace { return filePlace{t.device, t.inode, t.at, t.head} }

// jump goes to an offset; if that is in the middle of a line, reading begins with the next one.
func (t *tail) jump(at int64) {
	before := []byte{'\n'}
	if at > 0 {
		_, _ = t.f.ReadAt(before, at-1) // what cannot be read will be found when it is read next
	}
	t.at, t.pending, t.skipping = at, t.pending[:0], before[0] != '\n'
}

// restart is for a file that was emptied.
func (t *tail) restart() {
	t.at, t.pending, t.skipping, t.head = 0, t.pending[:0], false, head{}
	t.headStands()
}

// catchUp leaves out what is there beyond limit bytes. It returns how much.
func (t *tail) catchUp(limit int64) int64 {
	skipped := t.size() - limit - t.at
	if skipped <= 0 {
		return 0
	}
	t.jump(t.at + skipped)
	return skipped
}

// next is the next line without its line feed; of a long one its first part, with whole false. There is none, io.EOF,
// until the line feed is there.
func (t *tail) next() (line string, whole bool, err error) {
	for {
		i := bytes.IndexByte(t.pending, '\n')
		switch {
		case i >= 0 && t.skipping:
			t.take(i + 1)
			t.skipping = false
			continue
		case i >= 0 && i <= maxRead:
			line = string(t.pending[:i])
			t.take(i + 1)
			return line, true, nil
		case t.skipping:
			t.take(len(t.pending))
		case len(t.pending) >= maxRead:
			line = string(t.pending[:maxRead])
			t.take(maxRead)
			t.skipping = true
			return line, false, nil
		}
		n, err := t.fill()
		if n == 0 {
			return "", false, err
		}
	}
}

// fill reads on. Without an error it has read something.
func (t *tail) fill() (int, error) {
	have := len(t.pending)
	if cap(t.pending) < have+chunk {
		t.pending = append(make([]byte, 0, have+chunk+maxRead), t.pending...)
	}
	n, err := t.f.ReadAt(t.pending[have:have+chunk], t.at+int64(have))
	t.pending = t.pending[:have+n]
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// take goes on behind n bytes.
func (t *tail) take(n int) {
	t.at += int64(n)
	t.pending = t.pending[n:]
}

// remainder is what is there of a line without a line feed.
func (t *tail) remainder() string {
	line := ""
	if !t.skipping {
		line = string(t.pending)
	}
	t.take(len(t.pending))
	return line
}

func (t *tail) close() { _ = t.f.Close() } // it was only read

// findRotated finds the file that was at path before, by its beginning: path.1, path-20261124 and the like, the newest
// of several. Compressed ones are not found.
func findRotated(path string, place filePlace) *tail {
	if place.Head.Len < minHead {
		return nil
	}
	dir, base := filepath.Split(path)
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var found *tail
	for looked := 0; len(entries) > 0 && looked < maxRotated; entries = entries[1:] {
		e := entries[0]
		if e.Name() == base || !strings.HasPrefix(e.Name(), stem) || !e.Type().IsRegular() {
			continue
		}
		looked++
		t, err := openTail(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		if !t.begins(place) || found != nil && found.modified.After(t.modified) {
			t.close()
			continue
		}
		if found != nil {
			found.close()
		}
		found = t
	}
	return found
}
