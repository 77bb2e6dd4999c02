package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// The format of a bbolt file, as far as it is checked here. All numbers are little-endian on the machines that gnomon
// runs on.
const (
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	noFreelist   = ^uint64(0)
	pageHeader   = 16 // id 8, flags 2, count 2, overflow 4
	elementSize  = 16 // of a branch page: offset 4, key 4, page 8; of a leaf page: flags 4, offset 4, key 4, value 4
	flagBranch   = 1
	flagLeaf     = 2
	flagBucket   = 1 // of an element
	bucketHeader = 16
	metaSize     = 64
	maxDepth     = 32   // of pages: far above what a file of any size needs
	maxKey       = 1024 // far above any key of ours
)

// verifier follows every page that is in use from the root.
type verifier struct {
	file  io.ReaderAt
	pages uint64 // in the file
	used  map[uint64]struct{}
}

// verify checks the structure of a file before bbolt opens it: bbolt makes its list of free pages by looking at all
// the others, in a goroutine of its own, and there a page that is not what it should be ends the process. What is in
// the values isn't looked at: they have checksums.
func verify(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	root, pages, err := readMeta(f)
	if err != nil {
		return err
	}
	if uint64(info.Size()) < pages*pageSize {
		return &damage{fmt.Sprintf("the file has %d bytes, and should have at least %d", info.Size(), pages*pageSize)}
	}
	v := verifier{file: f, pages: pages, used: map[uint64]struct{}{}}
	_, err = v.page(root, nil, nil, 0)
	return err
}

// readMeta finds the root and the number of pages in the newer of the two meta pages.
func readMeta(f io.ReaderAt) (root, pages uint64, err error) {
	var newest, list uint64
	var size uint32
	found := false
	for i := range int64(2) {
		var p [pageHeader + metaSize]byte
		if _, err := f.ReadAt(p[:], i*pageSize); err != nil {
			if errors.Is(err, io.EOF) {
				continue
			}
			return 0, 0, err
		}
		m := p[pageHeader:]
		le := binary.LittleEndian
		sum := fnv.New64a()
		_, _ = sum.Write(m[:metaSize-8])
		if le.Uint32(m) != boltMagic || le.Uint32(m[4:]) != boltVersion || le.Uint64(m[56:]) != sum.Sum64() {
			continue
		}
		if id := le.Uint64(m[48:]); !found || id > newest {
			newest, found = id, true
			root, pages, list, size = le.Uint64(m[16:]), le.Uint64(m[40:]), le.Uint64(m[32:]), le.Uint32(m[8:])
		}
	}
	switch {
	case !found:
		return 0, 0, &damage{"both beginnings of the file are damaged"}
	case size != pageSize || newest > 1 && list != noFreelist: // a new file has an empty list until the first commit
		return 0, 0, &damage{"the file is a database, but not one of gnomon's"}
	}
	return root, pages, nil
}

func (v *verifier) bad(id uint64, format string, args ...any) error {
	return &damage{fmt.Sprintf("page %d: ", id) + fmt.Sprintf(format, args...)}
}

// page checks a page and those below it. Its keys must not be below least, nor reach limit; nil: no bound. It returns
// the last key.
func (v *verifier) page(id uint64, least, limit []byte, depth int) ([]byte, error) {
	if id < 2 || id >= v.pages || depth > maxDepth {
		return nil, v.bad(id, "it is out of bounds")
	}
	buf := make([]byte, pageSize)
	if _, err := v.file.ReadAt(buf, int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	le := binary.LittleEndian
	flags, count, overflow := le.Uint16(buf[8:]), int(le.Uint16(buf[10:])), uint64(le.Uint32(buf[12:]))
	if le.Uint64(buf) != id || flags != flagBranch && flags != flagLeaf || overflow >= v.pages-id {
		return nil, v.bad(id, "its beginning is damaged")
	}
	for i := id; i <= id+overflow; i++ {
		if _, twice := v.used[i]; twice {
			return nil, v.bad(i, "it is used twice")
		}
		v.used[i] = struct{}{}
	}
	p := view{file: v.file, at: int64(id) * pageSize, size: int(overflow+1) * pageSize, first: buf}
	last := least
	for i := range count {
		e, key, err := p.element(i, flags == flagLeaf)
		if err != nil {
			return nil, v.bad(id, "element %d: %v", i, err)
		}
		if c := bytes.Compare(last, key); i > 0 && c >= 0 || i == 0 && last != nil && c > 0 || limit != nil && bytes.Compare(key, limit) >= 0 {
			return nil, v.bad(id, "its keys are not in order")
		}
		last = key
		switch {
		case flags == flagBranch:
			next := limit
			if i+1 < count {
				if _, next, err = p.element(i+1, false); err != nil {
					return nil, v.bad(id, "element %d: %v", i+1, err)
				}
			}
			if _, err := v.page(le.Uint64(e[8:]), key, next, depth+1); err != nil {
				return nil, err
			}
		case le.Uint32(e)&flagBucket != 0:
			if err := v.bucket(id, &p, i, e, depth); err != nil {
				return nil, err
			}
		}
	}
	if flags == flagBranch && count == 0 {
		return nil, v.bad(id, "nothing is below it")
	}
	return last, nil
}

// bucket checks an element that is a bucket: a page of its own, or one inside the value.
func (v *verifier) bucket(id uint64, p *view, i int, e []byte, depth int) error {
	at, length := p.value(i, e)
	if length < bucketHeader {
		return v.bad(id, "element %d is too short", i)
	}
	value, err := p.bytes(at, min(length, pageSize))
	if err != nil {
		return v.bad(id, "element %d: %v", i, err)
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		_, err := v.page(root, nil, nil, depth+1)
		return err
	}
	inner := view{size: len(value) - bucketHeader, first: value[bucketHeader:]}
	if inner.size < pageHeader || binary.LittleEndian.Uint16(inner.first[8:]) != flagLeaf {
		return v.bad(id, "element %d is no bucket", i)
	}
	for j := range int(binary.LittleEndian.Uint16(inner.first[10:])) {
		e, _, err := inner.element(j, true)
		if err != nil || binary.LittleEndian.Uint32(e)&flagBucket != 0 {
			return v.bad(id, "element %d has a damaged one inside", i)
		}
	}
	return nil
}

// view is one page with what overflows from it. Only the beginning has been read.
type view struct {
	file  io.ReaderAt
	at    int64
	size  int
	first []byte
}

var errOutside = errors.New("it reaches out of its page")

func (p *view) bytes(off, n int) ([]byte, error) {
	if off < 0 || n < 0 || off > p.size-n {
		return nil, errOutside
	}
	if off+n <= len(p.first) {
		return p.first[off : off+n], nil
	}
	buf := make([]byte, n)
	if _, err := p.file.ReadAt(buf, p.at+int64(off)); err != nil {
		return nil, err
	}
	return buf, nil
}

// element returns the fixed part of an element and its key, and makes sure that a value is inside the page.
func (p *view) element(i int, leaf bool) (e, key []byte, err error) {
	if e, err = p.bytes(pageHeader+i*elementSize, elementSize); err != nil {
		return nil, nil, err
	}
	le := binary.LittleEndian
	pos, length := le.Uint32(e), le.Uint32(e[4:])
	if leaf {
		pos, length = le.Uint32(e[4:]), le.Uint32(e[8:])
	}
	if length > maxKey || int64(pos) > int64(p.size) {
		return nil, nil, errOutside
	}
	off := pageHeader + i*elementSize + int(pos)
	if leaf {
		if value := le.Uint32(e[12:]); int64(off)+int64(length)+int64(value) > int64(p.size) {
			return nil, nil, errOutside
		}
	}
	key, err = p.bytes(off, int(length))
	return e, key, err
}

// value is where the value of a leaf's element is.
func (p *view) value(i int, e []byte) (at, length int) {
	le := binary.LittleEndian
	return pageHeader + i*elementSize + int(le.Uint32(e[4:])) + int(le.Uint32(e[8:])), int(le.Uint32(e[12:]))
}
