package onnx

import (
	"errors"
	"fmt"
)

// graph walks a GraphProto. depth is 0 for the model's own graph and counts the subgraphs around this one.
func (in *inspector) graph(data []byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: subgraphs nested more than %d deep", ErrLimit, maxDepth)
	}
	w := walk(data)
	for w.next() {
		var err error
		switch w.num {
		case 1:
			err = in.node(w.message(), depth)
		case 5:
			err = in.initializer(w.message(), in.tensor, depth)
		case 15:
			err = in.initializer(w.message(), in.sparseTensor, depth)
		}
		if depth == 0 && err == nil {
			err = in.mainGraphField(w)
		}
		if w.err == nil && err != nil {
			return err
		}
	}
	return w.err
}

// mainGraphField reads the fields that matter in the model's own graph only.
func (in *inspector) mainGraphField(w *walker) error {
	info := in.info
	switch w.num {
	case 2:
		info.GraphName = w.name()
	case 11:
		// Files of IR version 3 list every initialiser as an input too, hence not maxInputs.
		if len(in.inputs) == maxInitializers+maxInputs {
			return fmt.Errorf("%w: more than %d inputs and initialisers", ErrLimit, maxInitializers+maxInputs)
		}
		in.inputs = append(in.inputs, w.message())
	case 12:
		if len(info.Outputs) == maxInputs {
			return fmt.Errorf("%w: more than %d outputs", ErrLimit, maxInputs)
		}
		v, err := readValue(w.message())
		if err != nil {
			return fmt.Errorf("output %d: %w", len(info.Outputs), err)
		}
		info.Outputs = append(info.Outputs, v)
	}
	return nil
}

// initializer counts a constant tensor of a graph and walks it with the function given.
func (in *inspector) initializer(data []byte, walkTensor func([]byte) (string, error), depth int) error {
	in.info.Initializers++
	if in.info.Initializers > maxInitializers {
		return fmt.Errorf("%w: more than %d initialisers", ErrLimit, maxInitializers)
	}
	name, err := walkTensor(data)
	if err != nil {
		return fmt.Errorf("initialiser %q: %w", name, err)
	}
	if depth == 0 {
		in.constants[name] = struct{}{}
	}
	return nil
}

// node walks a NodeProto that lies in a graph of the given depth.
func (in *inspector) node(data []byte, depth int) error {
	in.info.Nodes++
	if in.info.Nodes > maxNodes {
		return fmt.Errorf("%w: more than %d nodes", ErrLimit, maxNodes)
	}
	index := in.info.Nodes - 1 // the attributes below may hold more nodes
	var op, domain string
	w := walk(data)
	for w.next() {
		switch w.num {
		case 4:
			op = w.name()
		case 7:
			domain = plainDomain(w.name())
		case 5:
			if err := in.attribute(w.message(), depth); err != nil {
				return fmt.Errorf("node %d: %w", index, err)
			}
		}
	}
	if w.err != nil {
		return fmt.Errorf("node %d: %w", index, w.err)
	}
	if op == "" {
		return fmt.Errorf("node %d: it has no operator", index)
	}
	if domain != "" {
		op = domain + "." + op
	}
	if _, known := in.info.Ops[op]; !known && len(in.info.Ops) == maxOps {
		return fmt.Errorf("%w: more than %d different operators", ErrLimit, maxOps)
	}
	in.info.Ops[op]++
	return nil
}

// attribute walks an AttributeProto of a node that lies in a graph of the given depth.
func (in *inspector) attribute(data []byte, depth int) error {
	w := walk(data)
	for w.next() {
		var err error
		switch w.num {
		case 5, 10:
			_, err = in.tensor(w.message())
		case 6, 11:
			err = in.graph(w.message(), depth+1)
		case 22, 23:
			_, err = in.sparseTensor(w.message())
		}
		if w.err == nil && err != nil {
			return wrap("attribute", err)
		}
	}
	return wrap("attribute", w.err)
}

// sparseTensor walks a SparseTensorProto and returns its name, which is that of its values.
func (in *inspector) sparseTensor(data []byte) (string, error) {
	var name string
	w := walk(data)
	for w.next() {
		var err error
		switch w.num {
		case 1:
			name, err = in.tensor(w.message())
		case 2:
			_, err = in.tensor(w.message())
		}
		if w.err == nil && err != nil {
			return name, err
		}
	}
	return name, w.err
}

// tensor walks a TensorProto, without looking at its elements, and returns its name.
func (in *inspector) tensor(data []byte) (string, error) {
	var name string
	external, located := false, false
	w := walk(data)
	for w.next() {
		switch w.num {
		case 8:
			name = w.name()
		case 13:
			found, err := in.externalEntry(w.message())
			if err != nil {
				return name, err
			}
			located = located || found
		case 14:
			external = isExternal(w.int())
		}
	}
	if w.err == nil && external && !located {
		return name, errors.New("its data are said to be in another file, but none is named")
	}
	return name, w.err
}

// externalEntry walks a StringStringEntryProto that says where external data are, notes the file if the entry
// names it, and reports whether it did.
func (in *inspector) externalEntry(data []byte) (bool, error) {
	var key, value string
	w := walk(data)
	for w.next() {
		switch w.num {
		case 1:
			key = w.name()
		case 2:
			value = w.name()
		}
	}
	if w.err != nil || key != "location" {
		return false, w.err
	}
	return true, in.external(value)
}

// external notes a file with weights, once.
func (in *inspector) external(location string) error {
	if err := checkLocation(location); err != nil {
		return err
	}
	if _, known := in.files[location]; known {
		return nil
	}
	if len(in.files) == maxExternal {
		return fmt.Errorf("%w: more than %d files with external data", ErrLimit, maxExternal)
	}
	in.files[location] = struct{}{}
	in.info.ExternalData = append(in.info.ExternalData, location)
	return nil
}
