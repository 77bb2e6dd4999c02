package ort

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"gnomon/engine"
	"gnomon/engine/detect"
)

const (
	// leastGain is by how much a batch has to be faster than its pictures one by one. Frames wait for each other in it, so it
	// has to be clearly so.
	leastGain = 1.2

	// batchTolerance is by how much of its largest value an output may differ in a batch: half precision and other ways to
	// add up make some thousandths, another picture's values far more.
	batchTolerance = 0.01
)

// errNoGain: nothing is wrong with batches, but they are not faster.
var errNoGain = errors.New("several pictures in a run are not faster")

// proveBatches runs them, so that what they need is there. The first session of a model also finds out whether its pictures
// are kept apart and, unless a number was asked for, whether it is worth it. A *singleError says that they are not to be.
func (s *Session) proveBatches(m *opening, first bool) error {
	if s.room < 2 {
		return nil
	}
	if m.c.accelerated() {
		for _, b := range s.batches {
			for range trials {
				if err := b.run(); err != nil {
					return &singleError{fmt.Errorf("run with %d of them: %s", b.n, said(err))}
				}
			}
		}
	}
	if !first {
		return nil
	}
	alike, err := s.alike()
	switch {
	case err != nil:
		return &singleError{fmt.Errorf("run with %d of them: %s", s.room, said(err))}
	case !alike && m.o.Batch == 0:
		return &singleError{errors.New("it finds something else in pictures that it is given together")}
	case !alike:
		m.note(fmt.Sprintf("the model finds something else in %d pictures that it is given together than in each alone (engine.batch)", s.room))
	}
	if m.o.Batch > 0 {
		return nil
	}
	alone, err := s.fastest(1)
	if err != nil {
		return &singleError{err}
	}
	together, err := s.fastest(s.room)
	if err != nil {
		return &singleError{err}
	}
	if m.gain = float64(alone) * float64(s.room) / float64(together); m.gain < leastGain {
		return &singleError{errNoGain}
	}
	return nil
}

// alike reports whether a full batch gives for its first and last picture what they give alone. The pictures are noise.
func (s *Session) alike() (bool, error) {
	random := rand.New(rand.NewPCG(1, 2)) // always the same pictures: loading is repeatable
	for i := range s.room {
		noise(random, s.InputAt(i))
	}
	defer func() { clear(s.memory[0]) }()
	last, here := s.room-1, s.InputAt(0).Data
	picture := bytes.Clone(here)
	var alone [2][]detect.Tensor
	for k := range alone {
		if err := s.compute(1); err != nil {
			return false, err
		}
		for _, t := range s.outputs {
			t.Data = slices.Clone(t.Data)
			alone[k] = append(alone[k], t)
		}
		copy(here, s.InputAt(last).Data)
	}
	copy(here, picture)
	if err := s.compute(s.room); err != nil {
		return false, err
	}
	return near(s.views[0], alone[0]) && near(s.views[last], alone[1]), nil
}

// noise fills an input with numbers from 0 to 1, bytes with all that they can be.
func noise(random *rand.Rand, in engine.Input) {
	switch in.Type {
	case detect.Float32:
		for i, data := 0, floats(in.Data); i < len(data); i++ {
			data[i] = random.Float32()
		}
	case detect.Float16:
		for i := 0; i+1 < len(in.Data); i += 2 {
			in.Data[i], in.Data[i+1] = byte(random.Uint32()), 0x2c+byte(random.IntN(0x10)) // 1/16 to 1
		}
	default:
		for i := range in.Data {
			in.Data[i] = byte(random.Uint32())
		}
	}
}

// near reports whether outputs are the same but for rounding.
func near(got, want []detect.Tensor) bool {
	for k, w := range want {
		most := float64(0)
		for _, v := range w.Data {
			if a := math.Abs(float64(v)); a > most && !math.IsInf(a, 1) {
				most = a
			}
		}
		for i, v := range w.Data {
			a, b := float64(v), float64(got[k].Data[i])
			if a != b && !(math.Abs(a-b) <= batchTolerance*most) && !(math.IsNaN(a) && math.IsNaN(b)) {
				return false
			}
		}
	}
	return true
}

// timed is how many runs are timed. The fastest counts: whatever else the machine does only makes them slower.
const timed = 5

func (s *Session) fastest(n int) (time.Duration, error) {
	best := time.Duration(math.MaxInt64)
	for range timed {
		begin := time.Now()
		if err := s.compute(n); err != nil {
			return 0, err
		}
		best = min(best, time.Since(begin))
	}
	return max(best, 1), nil
}
