// Package spool keeps records on the disk until they have been delivered: a queue of four classes in one file.
//
// Add takes a record and returns at once; Run writes what was added, all that came within Options.CommitEvery in one
// commit. A record that has been committed survives the end of the process, SIGKILL and a power failure, as far as
// the disk keeps what it says it has written; one that is acknowledged before its commit is due never touches the
// disk. Take hands records out, the oldest first; they stay in the spool until Ack. Delivery is at least once: after
// a crash, records that were acknowledged within the last second, and those of a partly acknowledged block of 64 KB,
// come again.
//
// The file is bounded. When there is no room the oldest block of the least important class that has one is given up,
// and counted. A disk that is full, read-only or gone is no error: records wait in bounded memory, Stats says so, and
// the spool tries again. A file that can't be trusted is set aside, see Damage.
//
// The file is a bbolt database (go.etcd.io/bbolt): a bucket for each class, in it a bucket for each block, so that
// a block has pages of its own and costs the same to remove however many there are. Every block has its own checksum.
package spool

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// DefaultMaxBytes is what a week of one slow stream takes, or half a day of a camera at 30 records a second.
	DefaultMaxBytes = 512 << 20
	// MinMaxBytes leaves room for a commit beside what is there.
	MinMaxBytes = 4 << 20
	// DefaultMemory bounds the records that wait for a disk that doesn't take them.
	DefaultMemory = 8 << 20
	// DefaultCommitEvery is what may be lost, in time, when the power fails.
	DefaultCommitEvery = 50 * time.Millisecond
	// MaxCommitEvery keeps a slip in the configuration from making the spool useless.
	MaxCommitEvery = time.Minute

	// maxCommit bounds the bytes of one commit, which needs them twice: in memory and as free pages in the file.
	maxCommit = 4 << 20
	// deletesEvery is how long the removal of acknowledged records may wait for something to be written: each commit
	// wears the disk, and what is lost by waiting is only that records may come twice.
	deletesEvery = time.Second
)

// ErrClosed is returned by a spool that has been closed.
var ErrClosed = errors.New("the spool is closed")

// ErrNotDurable is returned by Wait and Put when the record is in the spool, but not on the disk, because the disk
// doesn't take it. It will be written when the disk is back.
var ErrNotDurable = errors.New("the record is kept in memory only")

// Options configures a Spool.
type Options struct {
	Dir      string // holds the file and what belongs to it; made if missing
	MaxBytes int64  // of the file; 0: DefaultMaxBytes
	Memory   int    // bytes of records that may wait for the disk; 0: DefaultMemory
	// CommitEvery is the longest that a record waits for its commit to begin; 0: there is no waiting, and records that
	// come while a commit is going on share the next one.
	CommitEvery time.Duration
	Log         *zap.Logger // gets trouble with the disk, when it begins and ends; nil: nobody does

	noSync bool         // for tests that look at what is in the file and not when
	fail   func() error // for tests: called before each commit
}

// Record is one that was taken from the spool, or is held since it was added. Its owner must not change the payload.
type Record struct {
	Class   Class
	Topic   string
	Payload []byte

	block *block
	index int
}

// Size is what the record counts for in bytes.
func (r Record) Size() int { return len(r.Topic) + len(r.Payload) }

// Spool is a durable queue. All methods may be called from any goroutine.
type Spool struct {
	opts Options
	wake chan struct{} // something is to be committed

	committing sync.Mutex // one at a time: Run's, or Close's
	taking     sync.Mutex // one at a time, because reading the file takes a while
	storing    sync.RWMutex
	store      *store    // nil: there is none at present. Guarded by storing
	lock       *lock     // guarded by committing
	loaded     bool      // what was in the file is in the queues. Guarded by committing
	large      time.Time // the file isn't made smaller before. Guarded by committing

	mu      sync.Mutex
	queues  [NumClasses]queue
	order   int64 // of the newest block
	oldest  int64 // of the oldest
	keys    uint64
	unsaved int           // bytes of records that are not in the file
	since   time.Time     // when the oldest of them came; zero: there are none
	deletes []ref         // blocks to remove from the file
	freed   time.Time     // when the first of deletes was added
	stored  int64         // bytes of blocks in the file, deletes not included
	took    time.Duration // by a commit, at most, about
	retry   time.Duration // between attempts while there is a fault
	last    time.Time     // when flush had nothing to complain of
	settled chan struct{} // closed after each commit, and replaced
	fault   error         // why nothing is written
	faultAt time.Time     // of the next attempt
	broken  error         // the file is damaged; the next commit begins a new one
	damage  Damage
	commits uint64
	tidied  bool // blocks before the newest may be in memory
	running bool
	closed  bool
	ended   chan struct{} // closed by Close
}

// ref names a block in the file.
type ref struct {
	class Class
	key   uint64
}

// Open opens the spool of a directory, or begins one, and starts no goroutine. An error is about the options, or says
// that another process has the spool; trouble with the disk is in Stats.
func Open(opts Options) (*Spool, error) {
	switch {
	case opts.Dir == "":
		return nil, errors.New("open the spool: no directory is given")
	case opts.MaxBytes == 0:
		opts.MaxBytes = DefaultMaxBytes
	case opts.MaxBytes < MinMaxBytes:
		return nil, fmt.Errorf("open the spool: its size may be %d bytes; allow at least %d", opts.MaxBytes, MinMaxBytes)
	}
	if opts.Memory == 0 {
		opts.Memory = DefaultMemory
	}
	if opts.Memory < MaxPayload+MaxTopic {
		return nil, fmt.Errorf("open the spool: its memory may be %d bytes; one record may need %d", opts.Memory, MaxPayload+MaxTopic)
	}
	if opts.CommitEvery < 0 || opts.CommitEvery > MaxCommitEvery {
		return nil, fmt.Errorf("open the spool: commits every %v; use 0 to %v", opts.CommitEvery, MaxCommitEvery)
	}
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	s := &Spool{opts: opts, wake: make(chan struct{}, 1), settled: make(chan struct{}), ended: make(chan struct{})}
	s.took = opts.CommitEvery / 4 // the first commit takes longer than most
	s.committing.Lock()
	defer s.committing.Unlock()
	if err := s.attach(); err != nil {
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("open the spool: %w", err)
		}
		s.failed(err)
	}
	return s, nil
}

// CommitEvery is what the options say.
func (s *Spool) CommitEvery() time.Duration { return s.opts.CommitEvery }

// Put adds a copy of a record and waits until it is on the disk. Run must be running. See Add and Wait.
func (s *Spool) Put(class Class, topic string, payload []byte) error {
	r, err := s.Add(class, topic, payload, false)
	if err != nil {
		return err
	}
	return s.Wait(r)
}

// Add takes a copy of a record and doesn't wait. With hold, the record counts as taken: the caller must Ack or
// Release it. An error is about the record, which is not in the spool then, or ErrClosed.
func (s *Spool) Add(class Class, topic string, payload []byte, hold bool) (Record, error) {
	switch {
	case !class.Valid():
		return Record{}, fmt.Errorf("there is no class %d of records", class)
	case topic == "" || len(topic) > MaxTopic:
		return Record{}, fmt.Errorf("the topic has %d bytes; use 1 to %d", len(topic), MaxTopic)
	case len(payload) > MaxPayload:
		return Record{}, fmt.Errorf("the payload has %d bytes; at most %d are allowed", len(payload), MaxPayload)
	}
	r := Record{Class: class, Topic: topic, Payload: append([]byte(nil), payload...)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Record{}, ErrClosed
	}
	b := s.openBlock(class, r.Size())
	r.block, r.index = b, b.count
	b.items = append(b.items, item{topic: topic, payload: r.Payload})
	b.count++
	b.memory += r.Size()
	b.bytes += int64(r.Size())
	q := &s.queues[class]
	q.records++
	q.bytes += int64(r.Size())
	if hold {
		b.held.add(r.index)
		b.nHeld++
	} else if q.read == nil {
		q.read = b
	}
	if s.unsaved += r.Size(); s.since.IsZero() {
		s.since = time.Now()
		signal(s.wake)
	} else if s.unsaved >= s.commitBytes() {
		signal(s.wake)
	}
	s.makeMemory()
	return r, nil
}

// openBlock is the block that a new record of a class goes to.
func (s *Spool) openBlock(class Class, size int) *block {
	q := &s.queues[class]
	if b := q.last; b != nil && b.items != nil && !b.sealed {
		if b.memory+size <= blockSize && b.count < maxRecords {
			return b
		}
		b.sealed = true
	}
	s.order++
	b := &block{class: class, order: s.order}
	q.push(b)
	return b
}

// Wait waits until a record that was added is in the file, or acknowledged, or given up. It returns ErrNotDurable,
// wrapped, if the disk doesn't take it, and ErrClosed if the spool ends before.
func (s *Spool) Wait(r Record) error {
	for {
		s.mu.Lock()
		b, settled, fault, closed := r.block, s.settled, s.fault, s.closed
		done := b.removed || b.items == nil || r.index < b.written || b.items[r.index].gone
		s.mu.Unlock()
		switch {
		case done:
			return nil
		case fault != nil:
			return fmt.Errorf("%w: %w", ErrNotDurable, fault)
		case closed:
			return ErrClosed
		}
		<-settled
	}
}

// signal leaves a note for whoever receives from a channel of capacity 1, unless one is there already.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
