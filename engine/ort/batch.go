package ort

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	ortgo "github.com/yalue/onnxruntime_go"

	"gnomon/engine"
	"gnomon/engine/detect"
)

const (
	// MaxBatch is the most pictures that one run may take. A GPU is busy with fewer, and each has memory of its own in
	// every session: 8 MB for a picture of 640x640 and what is found in it.
	MaxBatch = 32

	// autoBatch is how many pictures a run takes where nobody says: a larger batch gains little more and is not often full.
	autoBatch = 8
)

// singleError says why a run can take only one picture.
type singleError struct{ why error }

func (e *singleError) Error() string { return e.why.Error() }
func (e *singleError) Unwrap() error { return e.why }

// batch is a run that takes n pictures: tensors over the memory of the session, as far as it is needed.
type batch struct {
	n       int
	tensors []*ortgo.CustomDataTensor
	tied    *binding      // nil with:
	device  *deviceMemory // the memory of a GPU
}

func (b *batch) run() error {
	if b.device != nil {
		return b.device.run()
	}
	return b.tied.run()
}

// close frees it. It is idempotent.
func (b *batch) close() error {
	b.device.close()
	errs := []error{b.tied.close()}
	for _, t := range b.tensors {
		errs = append(errs, t.Destroy())
	}
	b.device, b.tied, b.tensors = nil, nil, nil
	return errors.Join(errs...)
}

// pictures is how many a run is to take at most. Whether it can shows when it is tried.
func (m *opening) pictures() int {
	n := min(m.o.Batch, MaxBatch)
	if n < 1 {
		if n = autoBatch; m.c.left[0] != CUDA && m.c.left[0] != TensorRT {
			n = 1 // one picture keeps a processor busy
		}
	}
	if n == 1 || m.single {
		return 1
	}
	picture := slices.IndexFunc(m.ins, func(t detect.TensorInfo) bool { return !detect.IsSizes(t) })
	switch {
	case picture < 0 || len(m.ins[picture].Shape) == 0: // told elsewhere
		return 1
	case m.ins[picture].Shape[0] > 0:
		m.refuse(fmt.Errorf("its input %q takes %d of them: export it with a dynamic batch", m.ins[picture].Name, m.ins[picture].Shape[0]), m.o.Batch > 1)
	case m.graph():
		m.refuse(errors.New("runs are recorded (engine.cuda.graph)"), m.o.Batch > 1)
	case m.rt.api.table == nil:
		m.refuse(errNoAPI, m.o.Batch > 1)
	}
	if m.single {
		return 1
	}
	return n
}

// refuse makes runs take one picture from now on, and tells why if that is news.
func (m *opening) refuse(why error, news bool) {
	m.single = true
	if news {
		m.note(fmt.Sprintf("the model looks at one picture at a time: %v", why))
	}
}

// sizes are the batches that a session of so many pictures has runs for. A GPU looks for the best way anew for each size,
// so it has few, and a smaller batch is filled up; a processor would compute what nobody reads.
func sizes(pictures int, few bool) []int {
	var all []int
	for n := 2; n < pictures; {
		all = append(all, n)
		if few {
			n *= 2
		} else {
			n++
		}
	}
	if pictures > 1 {
		all = append(all, pictures)
	}
	return all
}

// makeBatches makes the tensors of all batches, and the views of the pictures.
func (s *Session) makeBatches(few bool) error {
	for i := range s.room {
		views := slices.Clone(s.outputs)
		for k := range views {
			n := len(views[k].Data)
			views[k].Data = s.whole[k][i*n : (i+1)*n : (i+1)*n]
		}
		s.views = append(s.views, views)
	}
	for _, n := range sizes(s.room, few) {
		b := &batch{n: n}
		s.batches = append(s.batches, b)
		for i, one := range s.tensors {
			shape := one.GetShape().Clone()
			shape[0] = int64(n)
			t, err := ortgo.NewCustomDataTensor(shape, s.part(i, n), ortgo.TensorElementDataType(one.DataType()))
			if err != nil {
				return fmt.Errorf("%q for %d pictures: %w", s.names[i], n, err)
			}
			b.tensors = append(b.tensors, t)
		}
	}
	return nil
}

// part is the memory of tensor i for the first n pictures.
func (s *Session) part(i, n int) []byte { return s.memory[i][:len(s.memory[i])/s.room*n] }

// tieBatches makes the batches that are not on a GPU run the graph.
func (s *Session) tieBatches(g *graph) (err error) {
	for _, b := range s.batches {
		if b.device != nil {
			continue
		}
		if b.tied, err = s.tie(g, b.tensors); err != nil {
			return &singleError{err}
		}
	}
	return nil
}

// Batch is how many pictures a run takes at most.
func (s *Session) Batch() int { return s.room }

// InputAt is the part of the input for picture i.
func (s *Session) InputAt(i int) engine.Input {
	in := s.input
	n := len(in.Data)
	in.Data = s.memory[0][i*n : (i+1)*n : (i+1)*n] // the picture is the first input
	return in
}

// RunBatch executes the model on the first n pictures that the input holds. It does not allocate. The deadline is that of
// a run, however many pictures it takes.
func (s *Session) RunBatch(ctx context.Context, n int) ([][]detect.Tensor, error) {
	if n < 1 || n > s.room {
		return nil, fmt.Errorf("model %s: a batch of %d pictures; from 1 to %d are possible", s.o.Name, n, s.room)
	}
	if err := s.run(ctx, n); err != nil {
		return nil, err
	}
	return s.views[:n], nil
}

// smallest is the smallest batch that takes n pictures.
func (s *Session) smallest(n int) *batch {
	i := slices.IndexFunc(s.batches, func(b *batch) bool { return b.n >= n })
	return s.batches[i]
}

// profiled are the providers' options with what TensorRT has to know of batches: it builds an engine for the sizes that it
// is told, and without that once more, for minutes, whenever a size is new to it. Options of the configuration stay.
func (s *Session) profiled(p Providers) Providers {
	given := p.Options[TensorRT]
	options := map[string]string{}
	for name, n := range map[string]int{"min": 1, "opt": s.room, "max": s.room} {
		var parts []string
		for i, input := range s.feeds.names {
			shape := s.tensors[i].GetShape().Clone()
			shape[0] = int64(n)
			parts = append(parts, input+":"+strings.ReplaceAll(strings.Trim(fmt.Sprint([]int64(shape)), "[]"), " ", "x"))
		}
		options["trt_profile_"+name+"_shapes"] = strings.Join(parts, ",")
	}
	for key, value := range given {
		options[key] = value
	}
	all := map[string]map[string]string{}
	for name, o := range p.Options {
		all[name] = o
	}
	all[TensorRT] = options
	p.Options = all
	return p
}
