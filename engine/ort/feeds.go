package ort

import (
	"encoding/binary"
	"fmt"
	"slices"

	ortgo "github.com/yalue/onnxruntime_go"

	"gnomon/engine/detect"
)

// feeds are the inputs of a model with the memory that each run reads them from, that of the picture first.
type feeds struct {
	names  []string
	values []ortgo.Value
}

func (f *feeds) add(name string, v ortgo.Value) {
	f.names, f.values = append(f.names, name), append(f.values, v)
}

// bindInputs binds memory to all inputs: the picture, and the sizes where the model asks for them.
func (s *Session) bindInputs(ins []detect.TensorInfo) error {
	pictures := slices.DeleteFunc(slices.Clone(ins), detect.IsSizes)
	if len(pictures) != 1 {
		return fmt.Errorf("it has %d inputs and gnomon feeds one, the picture: %s", len(ins), list(ins))
	}
	if err := s.bindPicture(pictures[0]); err != nil {
		return err
	}
	if len(ins) > len(pictures) {
		return s.bindSizes()
	}
	return nil
}

// bindSizes tells the model that its boxes are to be in pixels of its own input. That never changes, so it is written
// once.
func (s *Session) bindSizes() error {
	v, mem, err := s.tensor(detect.TensorInfo{Name: detect.SizesInput, Shape: []int64{1, 2}, Type: detect.Int64})
	if err != nil {
		return fmt.Errorf("input %q: %w", detect.SizesInput, err)
	}
	for i := range s.room {
		binary.NativeEndian.PutUint64(mem[16*i:], uint64(s.o.Width))
		binary.NativeEndian.PutUint64(mem[16*i+8:], uint64(s.o.Height))
	}
	s.feeds.add(detect.SizesInput, v)
	return nil
}

// hint is what may be behind a run that failed.
func (s *Session) hint() string {
	if !s.settled {
		return ""
	}
	return "; the sizes of its outputs were learnt from an empty picture: if they depend on what is seen, export the model with a fixed number of boxes"
}
