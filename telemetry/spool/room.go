package spool

// victim is the block to give up when the file is full: the oldest of the least important class that has one. One with
// records that are being delivered comes last.
func (s *Spool) victim() *block {
	for _, held := range []bool{false, true} {
		for class := NumClasses - 1; class >= 0; class-- {
			for b := s.queues[class].first; b != nil; b = b.next {
				if held || b.nHeld == 0 {
					return b
				}
			}
		}
	}
	return nil
}

// makeMemory gives up what is more than may wait for the disk; that may be the record that has just come.
func (s *Spool) makeMemory() {
	for s.unsaved > s.opts.Memory {
		b := s.memoryVictim()
		if b == nil {
			return
		}
		s.drop(b)
	}
}

// memoryVictim is the same among the blocks that wait to be written.
func (s *Spool) memoryVictim() *block {
	for _, held := range []bool{false, true} {
		for class := NumClasses - 1; class >= 0; class-- {
			var found *block
			for b := s.queues[class].last; b != nil && b.items != nil; b = b.prev {
				if b.pending() > 0 && (held || b.nHeld == 0) {
					found = b
				}
			}
			if found != nil {
				return found
			}
		}
	}
	return nil
}

// drop gives up a block. Records that are held are not lost yet.
func (s *Spool) drop(b *block) {
	q := &s.queues[b.class]
	q.dropped += uint64(b.free())
	s.leave(b)
}

// leave takes a block out whose records are not acknowledged.
func (s *Spool) leave(b *block) {
	q := &s.queues[b.class]
	q.records -= b.live()
	q.bytes -= b.bytes
	q.onDisk -= b.inFile()
	s.discard(b)
}

// tidy prepares for the end: partly acknowledged blocks are written anew, so that what was acknowledged doesn't come
// again.
func (s *Spool) tidy() {
	s.mu.Lock()
	s.tidied = true
	s.mu.Unlock()
	for class := range Class(NumClasses) {
		for _, b := range s.untidy(class) {
			s.storing.RLock()
			items, err := s.store.read(class, b.key)
			s.storing.RUnlock()
			if err != nil {
				return // then some come again
			}
			s.mu.Lock()
			s.reload(b, items)
			s.mu.Unlock()
		}
	}
}

// untidy seals the open block of a class, and finds blocks in the file of which something was acknowledged since they
// were written.
func (s *Spool) untidy(class Class) []*block {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.queues[class].last; b != nil && b.items != nil && b.nAcked > 0 {
		b.sealed = true
	}
	var found []*block
	for b := s.queues[class].first; b != nil && len(found) < maxTidy; b = b.next {
		if b.items == nil && len(b.acked) > 0 {
			found = append(found, b)
		}
	}
	return found
}

// maxTidy blocks are written anew at most: the end must not take long. There are few as long as records are
// acknowledged more or less in order.
const maxTidy = 32

// reload has a block written anew.
func (s *Spool) reload(b *block, items []item) {
	if b.removed || b.items != nil || len(items) != b.count {
		return
	}
	s.losses(b, items)
	if b.removed {
		return
	}
	q := &s.queues[b.class]
	q.onDisk -= b.live()
	for i := range items {
		if items[i].gone = items[i].gone || b.acked.has(i); items[i].gone {
			items[i] = item{gone: true}
		}
		b.memory += items[i].size()
	}
	b.items, b.written, b.acked = items, b.count, nil
	q.onDisk += b.inFile()
}
