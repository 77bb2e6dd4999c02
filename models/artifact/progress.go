package artifact

import "time"

// progress adds up the bytes of all files of a Fetch.
type progress struct {
	tell  func(done, total int64) // may be nil
	done  int64
	whole int64 // -1: unknown
	fixed bool  // whole was announced by a manifest, and single files do not change it
	next  time.Time
}

func newProgress(tell func(done, total int64)) *progress { return &progress{tell: tell, whole: -1} }

// total sets how many bytes there will be.
func (p *progress) total(n int64) {
	if !p.fixed {
		p.whole = n
	}
}

// add counts bytes; a download that starts over takes back what it had.
func (p *progress) add(n int64) {
	p.done += n
	if now := time.Now(); p.tell != nil && !now.Before(p.next) {
		p.next = now.Add(progressEvery)
		p.tell(p.done, p.whole)
	}
}

// last tells the end.
func (p *progress) last() {
	if p.tell != nil {
		p.tell(p.done, p.done)
	}
}
