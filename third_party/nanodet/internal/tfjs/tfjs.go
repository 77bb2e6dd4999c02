// Package tfjs reads a TensorFlow.js graph model: a JSON file with the graph and a description of the weights,
// and binary files with the weights. It reads what the converter in this folder needs and no more.
//
// The format is that of tfjs-converter: the graph is a TensorFlow GraphDef as protobuf's JSON, the weights lie
// one after another in the files of each group, in the order of the manifest, little-endian.
package tfjs

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Graph is a model in memory.
type Graph struct {
	Nodes   map[string]*Node
	Inputs  []Port // in order of their names
	Outputs []Port // in order of their names
	Weights map[string]Tensor
}

// Port is an input or output of the whole model.
type Port struct {
	Ref   Ref
	Shape []int
}

// Ref names one output of one node.
type Ref struct {
	Node  string
	Index int
}

// Node is one operation.
type Node struct {
	Name   string
	Op     string
	Inputs []Ref
	Attrs  map[string]Attr
}

// Attr is the value of an attribute; which field counts depends on the attribute.
type Attr struct {
	Int   *Int     `json:"i"`
	Float *float32 `json:"f"`
	Bool  *bool    `json:"b"`
	Text  []byte   `json:"s"` // base64 in the JSON
	List  *struct {
		Ints []Int `json:"i"`
	} `json:"list"`
	Shape *struct {
		Dims []struct {
			Size Int `json:"size"`
		} `json:"dim"`
	} `json:"shape"`
}

// Int is a whole number that protobuf's JSON writes as a string.
type Int int64

// UnmarshalJSON accepts 5 and "5".
func (i *Int) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	if err != nil {
		return fmt.Errorf("%s is not a whole number", b)
	}
	*i = Int(n)
	return nil
}

// document is the JSON file.
type document struct {
	Format    string `json:"format"`
	Signature struct {
		Inputs  map[string]port `json:"inputs"`
		Outputs map[string]port `json:"outputs"`
	} `json:"signature"`
	Topology struct {
		Nodes []struct {
			Name   string          `json:"name"`
			Op     string          `json:"op"`
			Inputs []string        `json:"input"`
			Attrs  map[string]Attr `json:"attr"`
		} `json:"node"`
	} `json:"modelTopology"`
	Weights []group `json:"weightsManifest"`
}

type port struct {
	Name  string `json:"name"`
	Shape struct {
		Dims []struct {
			Size Int `json:"size"`
		} `json:"dim"`
	} `json:"tensorShape"`
}

// Read reads a model. open returns the content of a weight file, whose name is a plain file name, never a path.
func Read(model []byte, open func(name string) ([]byte, error)) (*Graph, error) {
	var doc document
	if err := json.Unmarshal(model, &doc); err != nil {
		return nil, fmt.Errorf("not a TensorFlow.js model: %w", err)
	}
	if doc.Format != "graph-model" {
		return nil, fmt.Errorf("not a TensorFlow.js graph model: its format is %q, it should be \"graph-model\"", doc.Format)
	}
	g := &Graph{Nodes: map[string]*Node{}, Weights: map[string]Tensor{}}
	for _, n := range doc.Topology.Nodes {
		if g.Nodes[n.Name] != nil {
			return nil, fmt.Errorf("two nodes are named %q", n.Name)
		}
		node := &Node{Name: n.Name, Op: n.Op, Attrs: n.Attrs}
		for _, in := range n.Inputs {
			ref, err := parseRef(in)
			if err != nil {
				return nil, fmt.Errorf("node %q: %w", n.Name, err)
			}
			node.Inputs = append(node.Inputs, ref)
		}
		g.Nodes[n.Name] = node
	}
	var err error
	if g.Inputs, err = readPorts(doc.Signature.Inputs); err != nil {
		return nil, fmt.Errorf("inputs: %w", err)
	}
	if g.Outputs, err = readPorts(doc.Signature.Outputs); err != nil {
		return nil, fmt.Errorf("outputs: %w", err)
	}
	for _, w := range doc.Weights {
		if err := w.read(open, g.Weights); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// parseRef reads "node" or "node:1".
func parseRef(s string) (Ref, error) {
	if strings.HasPrefix(s, "^") {
		return Ref{}, fmt.Errorf("input %q is a control edge, which has no counterpart in ONNX", s)
	}
	name, index, found := strings.Cut(s, ":")
	if !found {
		return Ref{Node: name}, nil
	}
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 {
		return Ref{}, fmt.Errorf("reference %q: after the colon comes the number of an output", s)
	}
	return Ref{Node: name, Index: i}, nil
}

func readPorts(ports map[string]port) ([]Port, error) {
	if len(ports) == 0 {
		return nil, errors.New("the signature names none")
	}
	var read []Port
	for _, key := range slices.Sorted(maps.Keys(ports)) {
		p := ports[key]
		ref, err := parseRef(p.Name)
		if err != nil {
			return nil, err
		}
		shape := make([]int, 0, len(p.Shape.Dims))
		for _, d := range p.Shape.Dims {
			if d.Size < 1 || d.Size > maxElements {
				return nil, fmt.Errorf("%q: the sizes must be fixed, one is %d", p.Name, d.Size)
			}
			shape = append(shape, int(d.Size))
		}
		if _, err := elements(shape); err != nil {
			return nil, fmt.Errorf("%q: %w", p.Name, err)
		}
		read = append(read, Port{Ref: ref, Shape: shape})
	}
	return read, nil
}
