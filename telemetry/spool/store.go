package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	// pageSize is the same everywhere, so that a disk can be moved to another machine.
	pageSize = 4096
	// allocSize is by how much the file grows at once: each time costs an fsync more. The disk gives
	// its room when it is written, not before.
	allocSize = 8 << 20
	// lockWait is how long the database waits for its own lock, which nobody else should have.
	lockWait = time.Second
	// firstPages are those of an empty file. A shorter one never held anything.
	firstPages = 4
)

// damage is a reason not to trust a file.
type damage struct{ reason string }

func (d *damage) Error() string { return d.reason }

func isDamage(err error) bool {
	_, is := errors.AsType[*damage](err)
	return is || errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) || errors.Is(err, berrors.ErrVersionMismatch)
}

// guarded calls what uses the database, whose library panics on a damaged file. Pages that the disk can't read any more
// are a fault of memory access, because the file is mapped.
func guarded(what string, f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if p := recover(); p != nil {
			err = &damage{fmt.Sprintf("%s: %v", what, p)}
		}
	}()
	return f()
}

// store is the file. A nil one has nothing in it.
type store struct {
	db   *bolt.DB
	path string
}

// contents is what a file has in it, as far as the headers tell.
type contents struct {
	blocks  [NumClasses][]*block
	useless []ref // nothing in them can be read
	lastKey uint64
}

func options(o *Options) *bolt.Options {
	return &bolt.Options{
		Timeout: lockWait, PageSize: pageSize, NoSync: o.noSync, NoGrowSync: o.noSync,
		// The list of free pages is made anew when the file is opened: writing it with each commit would cost more
		// than all the rest after a long backlog.
		NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
		// Mapped once and for all.
		InitialMmapSize: int(o.MaxBytes), MaxSize: int(o.MaxBytes),
	}
}

func growBy(o *Options) int { return int(min(allocSize, o.MaxBytes/16)) }

func openStore(path string, o *Options) (*store, contents, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.Size() < firstPages*pageSize:
		if err := os.Remove(path); err != nil {
			return nil, contents{}, err
		}
	case err == nil:
		if err := verify(path); err != nil {
			return nil, contents{}, err
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, contents{}, err
	}
	st := &store{path: path}
	var c contents
	err = guarded("open", func() (err error) {
		if st.db, err = bolt.Open(path, 0o600, options(o)); err != nil {
			return err
		}
		st.db.AllocSize = growBy(o)
		return st.db.View(c.load)
	})
	if err != nil {
		if st.db != nil {
			_ = st.close()
		}
		return nil, contents{}, err
	}
	return st, c, nil
}

func (st *store) close() error {
	if st == nil {
		return nil
	}
	return guarded("close", st.db.Close)
}

// size is that of the file in bytes.
func (st *store) size() int64 {
	if st == nil {
		return 0
	}
	info, err := os.Stat(st.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func bucketName(class Class) []byte { return []byte(class.String()) }

func blockName(key uint64) []byte { return binary.BigEndian.AppendUint64(nil, key) }

func chunkName(from int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(from)) }

// load reads the headers.
func (c *contents) load(tx *bolt.Tx) error {
	for class := range Class(NumClasses) {
		bucket := tx.Bucket(bucketName(class))
		if bucket == nil {
			continue
		}
		err := bucket.ForEachBucket(func(name []byte) error {
			if len(name) != 8 {
				return &damage{"a block has no proper name"}
			}
			b := &block{class: class, key: binary.BigEndian.Uint64(name), sealed: true}
			c.lastKey = max(c.lastKey, b.key)
			err := bucket.Bucket(name).ForEach(func(_, chunk []byte) error {
				if h, err := parseHeader(chunk, class, b.key); err == nil { // otherwise there is one chunk less
					b.count += h.records
					b.nAcked += h.gone
					b.bytes += int64(h.size)
					b.stored += fileSize(h.body, 0)
				}
				return nil
			})
			if b.live() == 0 {
				c.useless = append(c.useless, ref{class: class, key: b.key})
				return err
			}
			c.blocks[class] = append(c.blocks[class], b)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// read returns the records of a block. Those of a damaged chunk are marked as lost.
func (st *store) read(class Class, key uint64) (items []item, err error) {
	err = guarded("read", func() error {
		return st.db.View(func(tx *bolt.Tx) error {
			var b *bolt.Bucket
			if bucket := tx.Bucket(bucketName(class)); bucket != nil {
				b = bucket.Bucket(blockName(key))
			}
			if b == nil {
				return nil
			}
			return b.ForEach(func(_, chunk []byte) error {
				items = append(items, readChunk(chunk, class, key)...)
				return nil
			})
		})
	})
	return items, err
}

// readChunk returns copies of a chunk's records, marked as lost if only its header is whole, and none if not even that.
func readChunk(chunk []byte, class Class, key uint64) []item {
	h, err := parseHeader(chunk, class, key)
	if err != nil {
		return nil // as when the file was opened
	}
	items, err := parseChunk(append([]byte(nil), chunk...), class, key)
	if err == nil {
		return items
	}
	lost := make([]item, h.records)
	for i := range lost {
		lost[i].lost = true
	}
	return lost
}

// commit carries out a plan. When it returns without an error, everything is on the disk.
func (st *store) commit(p plan) error {
	return guarded("commit", func() error {
		tx, err := st.db.Begin(true)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing after Commit
		for _, d := range p.deletes {
			if err := remove(tx, d); err != nil {
				return err
			}
		}
		for i := range p.writes {
			if err := put(tx, &p.writes[i]); err != nil {
				return err
			}
		}
		return tx.Commit()
	})
}

func remove(tx *bolt.Tx, d ref) error {
	bucket := tx.Bucket(bucketName(d.class))
	if bucket == nil {
		return nil
	}
	if err := bucket.DeleteBucket(blockName(d.key)); !errors.Is(err, berrors.ErrBucketNotFound) {
		return err
	}
	return nil
}

func put(tx *bolt.Tx, w *write) error {
	bucket, err := tx.CreateBucketIfNotExists(bucketName(w.class))
	if err != nil {
		return err
	}
	if w.whole {
		if err := remove(tx, ref{class: w.class, key: w.key}); err != nil {
			return err
		}
	}
	b, err := bucket.CreateBucketIfNotExists(blockName(w.key))
	if err != nil {
		return err
	}
	bucket.FillPercent, b.FillPercent = 1, 1 // keys only grow
	return b.Put(chunkName(w.from), appendChunk(nil, w.class, w.key, w.items))
}

// copyTo writes everything to a new file.
func (st *store) copyTo(path string, o *Options) error {
	return guarded("copy", func() error {
		dst, err := bolt.Open(path, 0o600, options(o))
		if err != nil {
			return err
		}
		dst.AllocSize = growBy(o)
		return errors.Join(bolt.Compact(dst, st.db, maxCommit), dst.Sync(), dst.Close())
	})
}

// fileSize is about what a chunk with records of so many bytes takes in the file.
func fileSize(size, records int) int64 {
	const perRecord, perChunk, perBlock = 4, headerSize + 64, 128
	return int64((size+records*perRecord+perChunk+pageSize-1)/pageSize*pageSize + perBlock)
}
