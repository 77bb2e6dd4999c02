package onnx

import (
	"errors"
	"fmt"
)

// Inspect reads the description of a model from the bytes of an ONNX file, in one pass and without looking at
// the weights. data is neither changed nor kept.
//
// Inputs that are initialisers (as files of IR version 3 list them) are left out of Info.Inputs. Errors wrap
// ErrNotONNX, ErrTruncated, ErrUnsafePath or ErrLimit and are sentences for people.
//
// Protobuf has no end mark. A file cut inside any field, or before the operator sets that every current model
// must name, is ErrTruncated; one cut exactly between two metadata entries after them is a valid shorter model,
// which only a digest can tell from the whole one. Inspect does not check that the graph makes sense: that is
// for the runtime to say.
func Inspect(data []byte) (*Info, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: the file is empty", ErrNotONNX)
	}
	if int64(len(data)) > maxSize {
		return nil, fmt.Errorf("%w: the file has %d bytes, an ONNX file has at most %d; keep the weights in external data", ErrLimit, len(data), maxSize)
	}
	in := inspector{
		info:      &Info{Opsets: map[string]int64{}, Metadata: map[string]string{}, Ops: map[string]int{}},
		constants: map[string]struct{}{},
		files:     map[string]struct{}{},
	}
	err := in.model(data)
	if err == nil {
		return in.info, nil
	}
	switch {
	case errors.Is(err, ErrLimit), errors.Is(err, ErrUnsafePath), errors.Is(err, ErrTruncated):
		return nil, err
	case in.info.IRVersion > 0 && err == errCut: //nolint:errorlint // the top level: in.model wraps what comes from deeper down
		return nil, fmt.Errorf("%w: the file ends in the middle of the model after %d bytes; copy or download it again", ErrTruncated, len(data))
	}
	if kind := guessKind(data); kind != "" {
		return nil, fmt.Errorf("%w: it looks like %s", ErrNotONNX, kind)
	}
	return nil, fmt.Errorf("%w: %w", ErrNotONNX, err)
}

// inspector gathers an Info while it walks one model.
type inspector struct {
	info      *Info
	metadata  int // entries seen, equal keys included
	opsets    int // likewise
	graphSeen bool
	inputs    [][]byte            // the main graph's ValueInfoProtos, unread until its initialisers are known
	constants map[string]struct{} // names of the main graph's initialisers
	files     map[string]struct{} // what info.ExternalData holds
}

// model walks a ModelProto.
func (in *inspector) model(data []byte) error {
	info := in.info
	w := walk(data)
	for w.next() {
		var err error
		switch w.num {
		case 1:
			info.IRVersion = w.int()
		case 2:
			info.Producer = w.name()
		case 3:
			info.ProducerVersion = w.name()
		case 6:
			info.Description = w.text()
		case 7:
			in.graphSeen = true
			err = wrap("graph", in.graph(w.message(), 0))
		case 8:
			err = wrap("operator sets", in.opset(w.message()))
		case 14:
			err = wrap("metadata", in.property(w.message()))
		case 20:
			err = wrap("training information", in.training(w.message()))
		case 25:
			err = wrap("function", in.function(w.message()))
		}
		if w.err == nil && err != nil {
			return err
		}
	}
	if w.err != nil {
		return w.err
	}
	switch {
	case info.IRVersion <= 0:
		return errors.New("it does not begin with the version of the ONNX format")
	case !in.graphSeen:
		return fmt.Errorf("%w: the file ends before the model's graph; copy or download it again", ErrTruncated)
	case info.IRVersion >= 3 && in.opsets == 0:
		// Optional before IR version 3, and since then required.
		return fmt.Errorf("%w: the file ends before the operator sets that the model uses; copy or download it again", ErrTruncated)
	}
	return wrap("graph", in.realInputs())
}

// wrap says where an error arose; nil stays nil.
func wrap(where string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", where, err)
}

// opset walks an OperatorSetIdProto.
func (in *inspector) opset(data []byte) error {
	in.opsets++
	if in.opsets > maxOpsets {
		return fmt.Errorf("%w: more than %d operator sets", ErrLimit, maxOpsets)
	}
	var domain string
	var version int64
	w := walk(data)
	for w.next() {
		switch w.num {
		case 1:
			domain = w.name()
		case 2:
			version = w.int()
		}
	}
	in.info.Opsets[plainDomain(domain)] = version
	return w.err
}

// plainDomain gives the default operator domain its one name: files write "" or "ai.onnx".
func plainDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// property walks a StringStringEntryProto of the metadata.
func (in *inspector) property(data []byte) error {
	in.metadata++
	if in.metadata > maxMetadata {
		return fmt.Errorf("%w: more than %d entries", ErrLimit, maxMetadata)
	}
	var key, value string
	w := walk(data)
	for w.next() {
		switch w.num {
		case 1:
			key = w.name()
		case 2:
			value = w.text()
		}
	}
	in.info.Metadata[key] = value
	return w.err
}

// training walks a TrainingInfoProto: its graphs are never run here, but they may name external data.
func (in *inspector) training(data []byte) error {
	w := walk(data)
	for w.next() {
		if w.num != 1 && w.num != 2 {
			continue
		}
		if err := in.graph(w.message(), 1); err != nil {
			return err
		}
	}
	return w.err
}

// function walks a FunctionProto.
func (in *inspector) function(data []byte) error {
	w := walk(data)
	for w.next() {
		var err error
		switch w.num {
		case 7:
			err = in.node(w.message(), 1)
		case 11:
			err = in.attribute(w.message(), 1)
		}
		if w.err == nil && err != nil {
			return err
		}
	}
	return w.err
}

// realInputs reads the main graph's inputs, now that it is known which of them are constants.
func (in *inspector) realInputs() error {
	for i, data := range in.inputs {
		v, err := readValue(data)
		if err != nil {
			return fmt.Errorf("input %d: %w", i, err)
		}
		if _, constant := in.constants[v.Name]; constant {
			continue
		}
		if len(in.info.Inputs) == maxInputs {
			return fmt.Errorf("%w: more than %d inputs", ErrLimit, maxInputs)
		}
		in.info.Inputs = append(in.info.Inputs, v)
	}
	return nil
}
