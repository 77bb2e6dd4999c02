package spool

// blockSize is how many bytes of records make a block. In the file a block has pages of its own, so a large one wastes
// little and leaves few headers to look at when the spool is opened; a small one is what is given up at once when
// there is no room. With its headers this fills sixteen pages.
const blockSize = 64<<10 - 512

// bits is a set of the records of one block; nil is the empty one.
type bits []uint64

func (b bits) has(i int) bool { return i/64 < len(b) && b[i/64]>>(i%64)&1 != 0 }

// add reports whether i wasn't in the set before.
func (b *bits) add(i int) bool {
	for i/64 >= len(*b) {
		*b = append(*b, 0)
	}
	had := b.has(i)
	(*b)[i/64] |= 1 << (i % 64)
	return !had
}

// remove reports whether i was in the set.
func (b bits) remove(i int) bool {
	had := b.has(i)
	if had {
		b[i/64] &^= 1 << (i % 64)
	}
	return had
}

// block is a run of records of one class. The newest of a class is open: it grows, its records are in memory, and what
// has been written of it is a chunk for each commit. A full one is sealed: the next commit writes it as one chunk in
// place of those, and its records leave the memory.
type block struct {
	class Class
	order int64  // in memory: of two blocks of one class the smaller is the older
	key   uint64 // in the file; 0: it has nothing there
	count int    // records, acknowledged ones included
	bytes int64  // of topics and payloads of records that are not acknowledged, as far as they are known

	held   bits // handed out, not acknowledged
	acked  bits // those read back from the file are added when they are read
	nHeld  int
	nAcked int

	items   []item // in memory; nil: in the file only
	memory  int    // bytes of items
	written int    // items that are in the file
	sealed  bool
	busy    bool // being written
	removed bool // no longer in its queue

	stored int64 // bytes in the file, in whole pages
	prev   *block
	next   *block
}

// free is how many records nobody holds.
func (b *block) free() int { return b.count - b.nAcked - b.nHeld }

// live is how many records are not acknowledged.
func (b *block) live() int { return b.count - b.nAcked }

// pending is the size of the records that wait to be written.
func (b *block) pending() int {
	n := 0
	for _, it := range b.items[min(b.written, len(b.items)):] {
		n += it.size()
	}
	return n
}

// inFile is how many records that are not acknowledged the file has.
func (b *block) inFile() int {
	if b.items == nil {
		return b.live()
	}
	n := 0
	for _, it := range b.items[:b.written] {
		if !it.gone {
			n++
		}
	}
	return n
}

// unsaved reports whether the file lacks something of b.
func (b *block) unsaved() bool { return b.items != nil && (b.sealed || b.pending() > 0) }

// queue is the blocks of one class, the oldest first.
type queue struct {
	first, last *block
	// read is the first block that may have records which nobody holds; nil: none has.
	read *block

	records int   // not acknowledged
	bytes   int64 // of these
	onDisk  int   // of these, in the file
	dropped uint64
	lost    uint64 // found damaged
}

func (q *queue) push(b *block) {
	b.prev = q.last
	if q.last == nil {
		q.first = b
	} else {
		q.last.next = b
	}
	q.last = b
	if q.read == nil {
		q.read = b
	}
}

// remove takes a block out; its neighbours stay linked.
func (q *queue) remove(b *block) {
	if q.read == b {
		q.read = b.next
	}
	if b.prev == nil {
		q.first = b.next
	} else {
		b.prev.next = b.next
	}
	if b.next == nil {
		q.last = b.prev
	} else {
		b.next.prev = b.prev
	}
	b.prev, b.next, b.removed = nil, nil, true
}

// prepend puts blocks before all others.
func (q *queue) prepend(blocks []*block) {
	for i := len(blocks) - 1; i >= 0; i-- {
		b := blocks[i]
		b.next = q.first
		if q.first == nil {
			q.last = b
		} else {
			q.first.prev = b
		}
		q.first = b
	}
	if len(blocks) > 0 {
		q.read = q.first
	}
}
