package keypair

import (
	"crypto/tls"
	"sync"
	"time"
)

// Source gives the pair of two files as it is now, so that a new one is used from the next connection on. Its methods
// may be called from any goroutine.
type Source struct {
	files Files

	mu   sync.Mutex
	last tls.Certificate // the one that was fit
}

// NewSource reads the files, which must be fit for use at a time.
func NewSource(f Files, now time.Time) (*Source, error) {
	pair, err := Load(f, now)
	if err != nil {
		return nil, err
	}
	return &Source{files: f, last: pair}, nil
}

// Certificate reads the files again. While they are not fit for use, for instance because they are being exchanged, it
// returns the pair that was, as long as that is in time; then the error is what Load says.
func (s *Source) Certificate(now time.Time) (*tls.Certificate, error) {
	pair, err := Load(s.files, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.last = pair
	} else if InTime("", s.last.Leaf, now) != nil {
		return nil, err
	}
	last := s.last
	return &last, nil
}
