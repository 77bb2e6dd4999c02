package spool

import (
	"errors"
	"time"

	berrors "go.etcd.io/bbolt/errors"
)

// shrinkings bounds how often room is made for one commit in a file that is more fragmented than reckoned.
const shrinkings = 16

// plan is one commit.
type plan struct {
	deletes []ref
	writes  []write
	more    bool // there is more than fits into one commit
	at      time.Time
}

// write is one chunk of a commit.
type write struct {
	block *block
	class Class
	key   uint64
	from  int    // the first record
	to    int    // behind the last
	items []item // these records, as they were when the plan was made
	whole bool   // replaces what the file has of the block
}

// plan chooses what the next commit writes, and makes room for it.
func (s *Spool) plan() plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil && len(s.deletes) > 0 { // they need the least room, and make some
		p := plan{deletes: s.deletes, more: true, at: time.Now()}
		s.deletes = nil
		return p
	}
	p, need := s.candidates()
	for s.stored+need > s.opts.MaxBytes-s.opts.MaxBytes/8 {
		b := s.victim()
		if b == nil {
			break
		}
		s.drop(b)
		p, need = s.candidates()
	}
	for i := range p.writes {
		w := &p.writes[i]
		b := w.block
		if b.key == 0 {
			s.keys++
			b.key = s.keys
		}
		b.busy = true
		w.key, w.items = b.key, append([]item(nil), b.items[w.from:w.to]...)
	}
	p.deletes, s.deletes, p.at = s.deletes, nil, time.Now()
	return p
}

// candidates are the blocks to write, the most important and oldest first, and what they will need in the file.
func (s *Spool) candidates() (p plan, need int64) {
	size := 0
	for class := range s.queues {
		b := s.queues[class].last
		for b != nil && b.prev != nil && (s.tidied || b.prev.items != nil) {
			b = b.prev
		}
		for ; b != nil; b = b.next {
			if !b.unsaved() {
				continue
			}
			if size > 0 && size+b.memory > s.commitBytes() {
				p.more = true
				return p, need
			}
			w := write{block: b, class: b.class, from: b.written, to: b.count, whole: b.sealed || b.written == 0}
			if w.whole {
				w.from = 0
			}
			n := 0
			for _, it := range b.items[w.from:w.to] {
				n += it.size()
			}
			size += n
			need += fileSize(n, w.to-w.from)
			p.writes = append(p.writes, w)
		}
	}
	return p, need
}

// commit writes a plan, and makes more room if the file turns out to be too full.
func (s *Spool) commit(p plan) error {
	err := s.write(p)
	for range shrinkings {
		if !errors.Is(err, berrors.ErrMaxSizeReached) {
			break
		}
		s.settle(p, false)
		deletes, found := s.shrink()
		if !found {
			return err
		}
		if err := s.write(deletes); err != nil {
			s.settle(deletes, false)
			return err
		}
		s.settle(deletes, true)
		p = s.plan()
		err = s.write(p)
	}
	s.settle(p, err == nil)
	return err
}

// shrink gives up a sixteenth of the file.
func (s *Spool) shrink() (p plan, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for before := s.stored; before-s.stored < s.opts.MaxBytes/16; {
		b := s.victim()
		if b == nil {
			break
		}
		s.drop(b)
		found = true
	}
	p.deletes, s.deletes = s.deletes, nil
	return p, found || len(p.deletes) > 0
}

func (s *Spool) write(p plan) error {
	if s.opts.fail != nil {
		if err := s.opts.fail(); err != nil {
			return err
		}
	}
	s.storing.RLock()
	defer s.storing.RUnlock()
	return s.store.commit(p)
}

// settle accounts for a plan that was carried out, or not.
func (s *Spool) settle(p plan, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if done {
		s.commits++
	} else {
		s.deletes = append(s.deletes, p.deletes...)
	}
	if len(s.deletes) > 0 {
		s.freed = time.Now()
	}
	for i := range p.writes {
		w := &p.writes[i]
		b := w.block
		b.busy = false
		if done && !b.removed {
			s.written(w)
		}
		if b.removed {
			s.forget(b)
		}
	}
	if s.unsaved > 0 && done {
		s.since = p.at // what came during the commit is younger than that, but not by much
	}
}

// written accounts for a chunk that is in the file now.
func (s *Spool) written(w *write) {
	b := w.block
	q := &s.queues[b.class]
	saved := 0
	q.onDisk -= b.inFile()
	for _, it := range b.items[b.written:w.to] {
		saved += it.size()
	}
	b.written = w.to
	s.stored -= b.stored
	size := 0
	for _, it := range w.items {
		size += it.size()
	}
	if w.whole {
		b.stored = 0
	}
	b.stored += fileSize(size, len(w.items))
	s.stored += b.stored
	if b.sealed && w.whole && w.to == b.count {
		for i, it := range b.items {
			if it.gone && !w.items[i].gone { // acknowledged during the commit
				b.acked.add(i)
			}
		}
		b.items, b.memory = nil, 0
	}
	q.onDisk += b.inFile()
	s.saved(saved)
}
