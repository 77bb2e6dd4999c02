package spool

import "time"

// Stats are a spool's numbers.
type Stats struct {
	Classes   [NumClasses]ClassStats
	FileBytes int64  // size of the file
	MaxBytes  int64  // that it may have
	Unsaved   int    // bytes of records that are not in the file yet
	Commits   uint64 // since Open
	Fault     error  // why records are kept in memory only at present; nil: they aren't
	Damage    Damage // the latest file that was set aside since Open
}

// ClassStats are the numbers of one class. Records and Bytes include what is held.
type ClassStats struct {
	Records int    // not acknowledged
	Bytes   int64  // of their topics and payloads
	OnDisk  int    // of the records, in the file
	Dropped uint64 // given up because there was no room, since Open
	Lost    uint64 // found damaged in the file, since Open
}

// Damage is a file that could not be trusted.
type Damage struct {
	Path   string    // where it is now; empty: nowhere, or there was no damage
	Reason string    // empty: there was none
	Time   time.Time // when it was set aside
}

// Stats returns the numbers as they are now.
func (s *Spool) Stats() Stats {
	s.storing.RLock()
	size := s.store.size()
	s.storing.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{FileBytes: size, MaxBytes: s.opts.MaxBytes, Unsaved: s.unsaved, Commits: s.commits, Fault: s.fault, Damage: s.damage}
	for i := range s.queues {
		q := &s.queues[i]
		st.Classes[i] = ClassStats{Records: q.records, Bytes: q.bytes, OnDisk: q.onDisk, Dropped: q.dropped, Lost: q.lost}
	}
	return st
}

// Depth returns how many records of each class there are, held ones included.
func (s *Spool) Depth() [NumClasses]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var n [NumClasses]int
	for i := range s.queues {
		n[i] = s.queues[i].records
	}
	return n
}
