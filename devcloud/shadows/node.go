package shadows

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// node is one value of a section, with the time of its last update. It is never changed once made, so documents share
// their nodes.
type node struct {
	members  map[string]*node // not nil: an object
	elements []*node          // not nil: an array
	scalar   any              // otherwise: a string, a json.Number or a bool
	at       int64            // of a scalar: seconds since 1970
}

// fresh makes a node of a value. Members that are null are left out, and an object that had nothing else as well: nil.
func fresh(v any, at int64) *node {
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		n := &node{members: make(map[string]*node, len(v))}
		for name, member := range v {
			if child := fresh(member, at); child != nil {
				n.members[name] = child
			}
		}
		if len(v) > 0 && len(n.members) == 0 {
			return nil
		}
		return n
	case []any:
		n := &node{elements: make([]*node, 0, len(v))}
		for _, element := range v {
			n.elements = append(n.elements, fresh(element, at))
		}
		return n
	}
	return &node{scalar: v, at: at}
}

// merge returns old as changed by a patch: objects are merged, null deletes, everything else is replaced.
func merge(old *node, patch any, at int64) *node {
	members, isObject := patch.(map[string]any)
	if !isObject || old == nil || old.members == nil {
		return fresh(patch, at)
	}
	n := &node{members: maps.Clone(old.members)}
	for name, member := range members {
		if child := merge(n.members[name], member, at); child != nil {
			n.members[name] = child
		} else {
			delete(n.members, name)
		}
	}
	return n
}

// mergeSection is merge for a whole section, which is not kept when nothing is in it.
func mergeSection(old *node, state map[string]any, section string, at int64) *node {
	patch, ok := state[section]
	if !ok {
		return old
	}
	if n := merge(old, patch, at); n != nil && len(n.members) > 0 {
		return n
	}
	return nil
}

// difference returns what of want is not so in have, nested from the root; nil: nothing. Arrays are compared whole. An
// object without members asks for nothing but that there be no other value in its place.
func difference(want, have *node) *node {
	switch {
	case want == nil:
		return nil
	case want.members == nil && have != nil && same(want, have):
		return nil
	case want.members == nil || have != nil && have.members == nil:
		return want
	}
	n := &node{members: map[string]*node{}}
	for name, member := range want.members {
		var other *node
		if have != nil {
			other = have.members[name]
		}
		if d := difference(member, other); d != nil {
			n.members[name] = d
		}
	}
	if len(n.members) == 0 {
		return nil
	}
	return n
}

// same compares two values, numbers by what they mean.
func same(a, b *node) bool {
	switch {
	case a.members != nil || b.members != nil:
		return a.members != nil && b.members != nil && maps.EqualFunc(a.members, b.members, same)
	case a.elements != nil || b.elements != nil:
		if a.elements == nil || b.elements == nil || len(a.elements) != len(b.elements) {
			return false
		}
		for i := range a.elements {
			if !same(a.elements[i], b.elements[i]) {
				return false
			}
		}
		return true
	}
	x, isNumber := a.scalar.(json.Number)
	y, alsoNumber := b.scalar.(json.Number)
	if isNumber && alsoNumber {
		return sameNumber(string(x), string(y))
	}
	return a.scalar == b.scalar
}

// value turns the node back into JSON.
func (n *node) value() any {
	return n.walk(func(leaf *node) any { return leaf.scalar })
}

// metadata is the node's shape with a timestamp in the place of each scalar.
func (n *node) metadata() any {
	return n.walk(func(leaf *node) any { return stamp{leaf.at} })
}

func (n *node) walk(leaf func(*node) any) any {
	switch {
	case n.members != nil:
		object := make(map[string]any, len(n.members))
		for name, member := range n.members {
			object[name] = member.walk(leaf)
		}
		return object
	case n.elements != nil:
		array := make([]any, 0, len(n.elements))
		for _, element := range n.elements {
			array = append(array, element.walk(leaf))
		}
		return array
	}
	return leaf(n)
}

// join makes a node of a value and its metadata, as value and metadata wrote them.
func join(v, metadata any) (*node, error) {
	switch v := v.(type) {
	case nil:
		return nil, errors.New("there is null in the state")
	case map[string]any:
		stamps, ok := metadata.(map[string]any)
		if !ok || len(stamps) != len(v) {
			return nil, errors.New("an object and its metadata differ")
		}
		n := &node{members: make(map[string]*node, len(v))}
		for name, member := range v {
			child, err := join(member, stamps[name])
			if err != nil {
				return nil, err
			}
			n.members[name] = child
		}
		return n, nil
	case []any:
		stamps, ok := metadata.([]any)
		if !ok || len(stamps) != len(v) {
			return nil, errors.New("an array and its metadata differ")
		}
		n := &node{elements: make([]*node, 0, len(v))}
		for i, element := range v {
			child, err := join(element, stamps[i])
			if err != nil {
				return nil, err
			}
			n.elements = append(n.elements, child)
		}
		return n, nil
	}
	stamp, _ := metadata.(map[string]any)
	seconds, _ := stamp["timestamp"].(json.Number)
	at, err := seconds.Int64()
	if err != nil {
		return nil, fmt.Errorf("a timestamp: %w", err)
	}
	return &node{scalar: v, at: at}, nil
}
