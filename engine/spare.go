package engine

import (
	"reflect"
	"sync"
)

// spare keeps the frames of a slot's sources that nobody holds, with the memory that they have. Sources share them, as
// only a few are in work at a time: a source that holds a frame for its waiting place needs none of its own for the
// model and the sink. The last that came back is the first to be taken, so that no more are in use than must be.
type spare struct {
	mu       sync.Mutex
	free     []*Frame
	made     int // frames that exist
	expected int // frames that the sources are likely to hold at once
}

// expect changes how many frames the sources are likely to hold.
func (s *spare) expect(more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected += more
}

// take returns a frame that held a picture like that one; else, while there are not many, a new one; else the one that was
// not used for longest. Memory goes on to sources only whose own is of the same kind: none sees another's. It never waits.
func (s *spare) take(like shape) *Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.free) - 1; i >= 0; i-- {
		if shapeOf(s.free[i]) == like {
			return s.remove(i)
		}
	}
	if len(s.free) == 0 || s.made < s.expected && like != (shape{}) {
		s.made++
		return &Frame{}
	}
	f := s.remove(0)
	if reflect.TypeOf(f.Buffer) != like.kind {
		_ = f.Close()
	}
	return f
}

func (s *spare) remove(i int) *Frame {
	f := s.free[i]
	copy(s.free[i:], s.free[i+1:])
	s.free = s.free[:len(s.free)-1]
	return f
}

// put takes a frame back.
func (s *spare) put(f *Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, f)
}

// empty frees the frames that are there.
func (s *spare) empty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.free {
		_ = f.Close() // the native memory is gone either way
	}
	s.made -= len(s.free)
	s.free = nil
}

// shape is the size of a picture in memory, and what kind of memory that is. Zero is that of a source that has shown none.
type shape struct {
	width, height, stride int
	kind                  reflect.Type
}

func shapeOf(f *Frame) shape { return shape{f.Width, f.Height, f.Stride, reflect.TypeOf(f.Buffer)} }
