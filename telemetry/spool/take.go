package spool

import "time"

// Take hands out the records of the oldest block of a class that has some which nobody holds: up to 64 KB, or one
// record that is larger. They belong to the caller until Ack or Release. None are returned if there are none, or if
// the file can't be read at the moment.
func (s *Spool) Take(class Class) []Record {
	if !class.Valid() {
		return nil
	}
	s.taking.Lock()
	defer s.taking.Unlock()
	for {
		b, records := s.takeNext(class)
		if b == nil || records != nil {
			return records
		}
		if records, ok := s.takeStored(b); !ok || records != nil {
			return records
		}
	}
}

// takeNext finds the block to take from. Its records are returned with it if they are in memory.
func (s *Spool) takeNext(class Class) (*block, []Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.queues[class]
	for q.read != nil && q.read.free() == 0 {
		q.read = q.read.next
	}
	b := q.read
	if b == nil || b.items == nil {
		return b, nil
	}
	return b, s.handOut(b, b.items)
}

// handOut makes the caller the holder of those records of b that nobody holds.
func (s *Spool) handOut(b *block, items []item) []Record {
	out := make([]Record, 0, b.free())
	for i, it := range items {
		if it.gone || b.acked.has(i) || !b.held.add(i) {
			continue
		}
		b.nHeld++
		out = append(out, Record{Class: b.class, Topic: it.topic, Payload: it.payload, block: b, index: i})
	}
	return out
}

// takeStored reads a block from the file. No records and true: look again.
func (s *Spool) takeStored(b *block) ([]Record, bool) {
	s.storing.RLock()
	st := s.store
	var items []item
	var err error
	if st != nil {
		items, err = st.read(b.class, b.key)
	}
	s.storing.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case b.removed:
		return nil, true
	case st == nil || s.broken != nil:
		return nil, false
	case err != nil:
		s.broken = err
		signal(s.wake)
		return nil, false
	}
	if len(items) != b.count { // headers that were good when the spool was opened are not any more
		items = make([]item, b.count)
		for i := range items {
			items[i].lost = true
		}
	}
	s.losses(b, items)
	if b.removed {
		return nil, true
	}
	return s.handOut(b, items), true
}

// losses accounts for records that could not be read.
func (s *Spool) losses(b *block, items []item) {
	q := &s.queues[b.class]
	known := int64(0)
	lost := 0
	for i := range items {
		switch {
		case items[i].lost:
			if !b.acked.has(i) && !b.held.has(i) {
				lost++
				b.acked.add(i)
			}
			items[i].gone = true
		case !items[i].gone && !b.acked.has(i):
			known += int64(items[i].size())
		}
	}
	if lost == 0 {
		return
	}
	lost = min(lost, b.free()) // some of them were gone before, and nobody can tell which
	b.nAcked += lost
	q.records -= lost
	q.onDisk -= lost
	q.lost += uint64(lost)
	q.bytes -= b.bytes - known
	b.bytes = known
	if b.live() == 0 {
		s.discard(b)
	}
}

// Release gives records back, as if they had not been taken.
func (s *Spool) Release(records []Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		b := r.block
		if b == nil || !b.held.remove(r.index) {
			continue
		}
		b.nHeld--
		q := &s.queues[b.class]
		if b.removed {
			q.dropped++ // there was no room for it while it was held
			continue
		}
		if q.read == nil || b.order < q.read.order {
			q.read = b
		}
	}
}

// Ack removes records that have been delivered.
func (s *Spool) Ack(records []Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		b := r.block
		if b == nil || !b.held.remove(r.index) {
			continue
		}
		b.nHeld--
		b.nAcked++
		if b.removed {
			continue
		}
		size := r.Size()
		b.bytes -= int64(size)
		q := &s.queues[b.class]
		q.records--
		q.bytes -= int64(size)
		switch {
		case b.items == nil:
			b.acked.add(r.index)
			q.onDisk--
		case r.index < b.written:
			b.items[r.index] = item{gone: true}
			q.onDisk--
		default:
			b.items[r.index] = item{gone: true}
			s.saved(size)
		}
		if b.live() == 0 {
			s.discard(b)
		}
	}
}

// saved takes bytes off those that wait for the disk.
func (s *Spool) saved(size int) {
	if s.unsaved -= size; s.unsaved == 0 {
		s.since = time.Time{}
	}
}

// discard takes a block out of its queue and, with the next commit, out of the file. Its records are accounted for.
func (s *Spool) discard(b *block) {
	q := &s.queues[b.class]
	q.remove(b)
	if b.items != nil {
		s.saved(b.pending())
	}
	b.items = nil
	if b.busy {
		return // settle does the rest
	}
	s.forget(b)
}

// forget has the file's copy of a block removed.
func (s *Spool) forget(b *block) {
	if b.key == 0 {
		return
	}
	if len(s.deletes) == 0 {
		s.freed = time.Now()
		signal(s.wake)
	}
	s.stored -= b.stored
	s.deletes = append(s.deletes, ref{class: b.class, key: b.key})
}
