package engine_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"gnomon/engine"
)

// Sources share the memory of their frames: each has the one that waits, and there are a few in work.
func TestMemoryOfManySources(t *testing.T) {
	const cameras, lanes = 16, 2
	for _, row := range []struct {
		name  string
		grabs bool
		run   time.Duration
		want  int
	}{
		{"light", true, time.Millisecond, 2 * lanes},                  // as many as are in work: a frame is only made when a picture has come
		{"overload", true, 100 * time.Millisecond, cameras + 2*lanes}, // and one waits for each
		{"light, without grabbing", false, time.Millisecond, cameras + 2*lanes},
		{"overload, without grabbing", false, 100 * time.Millisecond, 2*cameras + 2*lanes},
	} {
		t.Run(row.name, func(t *testing.T) {
			var closed atomic.Int64
			inBubble(t, takes(row.run).load("m", lanes, &closed), func(s *site) {
				var memory buffers
				for i := range cameras {
					var src engine.Source = &cam{name: fmt.Sprint(i), every: 40 * time.Millisecond, memory: &memory}
					if !row.grabs {
						src = reader{src}
					}
					s.add(engine.PipelineOptions{Source: src})
					time.Sleep(3 * time.Millisecond)
				}
				time.Sleep(20 * time.Second)
				if open, most := memory.read(); most > row.want || open == 0 {
					t.Errorf("%d buffers at most, want %d", most, row.want)
				}
				s.end()
				if open, _ := memory.read(); open != 0 {
					t.Errorf("%d buffers left", open)
				}
			})
		})
	}
}

// Frames of the right size are preferred: sources of several sizes do not make each other's memory anew all the time.
func TestMemoryOfSeveralSizes(t *testing.T) {
	var closed atomic.Int64
	inBubble(t, takes(20*time.Millisecond).load("m", 2, &closed), func(s *site) {
		var memory buffers
		var cams []*cam
		for i := range 12 {
			c := &cam{name: fmt.Sprint(i), every: 40 * time.Millisecond, size: 2 + i%3, memory: &memory}
			cams = append(cams, c)
			s.add(engine.PipelineOptions{Source: c})
			time.Sleep(3 * time.Millisecond)
		}
		time.Sleep(20 * time.Second)
		made := int64(0)
		for _, c := range cams {
			made += c.remade.Load()
		}
		if _, most := memory.read(); most > 24 || made > 30 {
			t.Errorf("%d buffers at most, made %d times", most, made)
		}
		// When a source leaves, what it had does not stay.
		s.end()
		if open, _ := memory.read(); open != 0 {
			t.Errorf("%d buffers left", open)
		}
	})
}

// A picture that nobody looks at is not retrieved, and the one that waits is given up for the next before that is.
func TestGrabbing(t *testing.T) {
	var closed atomic.Int64
	inBubble(t, takes(100*time.Millisecond).load("m", 1, &closed), func(s *site) {
		var memory buffers
		paced := &cam{every: 40 * time.Millisecond, memory: &memory}
		p := s.add(engine.PipelineOptions{Source: paced, DetectFPS: 5})
		time.Sleep(10*time.Second + time.Millisecond)
		if st := p.Stats(); st.Captured != 250 || st.Paced != 200 || st.Dropped != 200 || st.Busy != 0 || paced.retrieved.Load() != 50 {
			t.Errorf("%+v, %d retrieved", st, paced.retrieved.Load())
		}
		if _, most := memory.read(); most != 1 {
			t.Errorf("%d buffers", most)
		}
		p.SetDetectFPS(0) // more than the model can do
		time.Sleep(10 * time.Second)
		if st := p.Stats(); st.Busy < 140 || st.Paced > 204 || st.Processed < 148 {
			t.Errorf("%+v", st)
		}
		if _, most := memory.read(); most > 3 { // waiting, in the model, and in the sink
			t.Errorf("%d buffers", most)
		}
	})
}
