package logs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

const (
	// positionsSchema names the form of the file.
	positionsSchema = "gnomon.positions/1"
	// maxPositions is the largest file that is read, in bytes; one for a hundred log files has 30 KB.
	maxPositions = 1 << 20
	// headLen is how much of its beginning tells a log file from another: a line or two with their times.
	headLen = 256
)

// saved is what the file of positions holds: what has been handed over. Nothing is said about what was never read.
type saved struct {
	Schema  string               `json:"schema"`
	Journal string               `json:"journal,omitempty"` // a cursor
	Kernel  *kernelPosition      `json:"kernel,omitempty"`
	Files   map[string]filePlace `json:"files,omitempty"` // by path
}

// kernelPosition is the last message of the kernel's that was handed over.
type kernelPosition struct {
	BootID string `json:"boot_id"` // the kernel's
	Seq    uint64 `json:"seq"`
}

// filePlace is where the next line of a file begins. Which file it was is told by its number on its device and by its
// first bytes, because the number of a deleted file is used again.
type filePlace struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Offset int64  `json:"offset"`
	Head   head   `json:"head"`
}

// head is the digest of the first bytes of a file.
type head struct {
	Len    int    `json:"len"` // at most headLen
	SHA256 string `json:"sha256"`
}

func headOf(data []byte) head {
	sum := sha256.Sum256(data)
	return head{len(data), hex.EncodeToString(sum[:])}
}

// positions keeps saved on the disk. Lines that were read and are not yet handed over are counted.
type positions struct {
	path string // empty: nothing is kept

	mu      sync.Mutex
	v       saved
	changed bool
	open    int // lines read and not handed over
}

// openPositions reads the file. If it is there and cannot be used it is set aside, and the error says so; the positions
// are empty then, and good.
func openPositions(path string) (*positions, error) {
	p := &positions{path: path, v: saved{Schema: positionsSchema, Files: map[string]filePlace{}}}
	if path == "" {
		return p, nil
	}
	v, err := readPositions(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, nil
	case err != nil:
		aside := path + ".bad"
		return p, fmt.Errorf("the positions in the logs are lost, so some lines may be missing; what was in the file is in %s: %w", aside, errors.Join(err, os.Rename(path, aside)))
	}
	if v.Files == nil {
		v.Files = map[string]filePlace{}
	}
	p.v = v
	return p, nil
}

func readPositions(path string) (saved, error) {
	var v saved
	info, err := os.Stat(path)
	if err != nil {
		return v, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxPositions {
		return v, fmt.Errorf("%s is no file of at most %d bytes", path, maxPositions)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("read %s: %w", path, err)
	}
	if v.Schema != positionsSchema {
		return v, fmt.Errorf("%s is of another version: %.40q", path, v.Schema)
	}
	return v, nil
}

// read notes that a line was read, and returns what to call when it has been handed over; that notes the position behind
// it.
func (p *positions) read(note func(*saved)) (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.open--
		if note != nil {
			note(&p.v)
			p.changed = true
		}
	}
}

// unread takes back read, for a line that nobody gets.
func (p *positions) unread() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
}

// set notes something else.
func (p *positions) set(note func(*saved)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	note(&p.v)
	p.changed = true
}

// get looks at what is noted.
func (p *positions) get(look func(*saved)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	look(&p.v)
}

// idle reports whether all that was read has been handed over.
func (p *positions) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open == 0
}

// save writes the file if there is something new. Whatever happens meanwhile, the file is the old one or the new one.
func (p *positions) save() error {
	p.mu.Lock()
	changed := p.changed && p.path != ""
	p.changed = false
	data, err := json.Marshal(p.v)
	p.mu.Unlock()
	if !changed {
		return nil
	}
	if err == nil {
		err = replaceFile(p.path, data)
	}
	if err != nil {
		p.mu.Lock()
		p.changed = true
		p.mu.Unlock()
		return fmt.Errorf("keep the positions in the logs: %w", err)
	}
	return nil
}

// replaceFile writes a file beside path, and puts it there when it is on the disk.
func replaceFile(path string, data []byte) (err error) {
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
