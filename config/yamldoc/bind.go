package yamldoc

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// binder puts the values of a tree into Go values, records where they stand, and collects what is wrong.
type binder struct {
	doc      *Document
	problems []Problem
}

func (b *binder) report(n ast.Node, path, message string) {
	p := at(n)
	b.problems = append(b.problems, Problem{Path: path, Line: p.line, Col: p.col, Message: message})
}

// mismatch reports a value of the wrong kind; wrong continues a sentence that begins with the key.
func (b *binder) mismatch(n ast.Node, path, wrong string) {
	if kindOf(n) == Null {
		wrong = "is empty; write a value or remove the key"
	}
	subject := path
	if path == "" {
		subject = "the file"
	}
	p, ok := b.doc.keys[path]
	if !ok || !onLaterLine(n) {
		p = at(n)
	}
	b.problems = append(b.problems, Problem{Path: path, Line: p.line, Col: p.col, Message: subject + " " + wrong})
}

// onLaterLine reports whether a value has no place of its own beside its key: block style, or nothing at all, whose
// place would be past the end of the line.
func onLaterLine(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.MappingNode:
		return !n.IsFlowStyle
	case *ast.MappingValueNode:
		return true
	case *ast.SequenceNode:
		return !n.IsFlowStyle
	}
	return kindOf(n) == Null
}

func (b *binder) bind(n ast.Node, path string, v reflect.Value) {
	if n == nil {
		return
	}
	if !onLaterLine(n) {
		b.doc.values[path] = at(n)
	}
	if u, ok := v.Addr().Interface().(Unmarshaler); ok {
		if err := u.UnmarshalNode(Node{binder: b, node: n, path: path}); err != nil {
			b.mismatch(n, path, err.Error())
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if kindOf(n) == Null {
			v.SetZero()
			return
		}
		v.Set(fresh(v.Type().Elem()))
		b.bind(n, path, v.Elem())
	case reflect.Struct:
		b.bindStruct(n, path, v)
	case reflect.Map:
		b.bindMap(n, path, v)
	case reflect.Slice:
		b.bindSlice(n, path, v)
	default:
		b.bindScalar(n, path, v)
	}
}

func (b *binder) bindScalar(n ast.Node, path string, v reflect.Value) {
	switch kind := v.Kind(); {
	case kind == reflect.String:
		switch kindOf(n) {
		case Text:
			v.SetString(textOf(n))
		case Number, Bool:
			b.mismatch(n, path, fmt.Sprintf("must be text, not %s; put it in quotes: %q", describe(n), textOf(n)))
		default:
			b.mismatch(n, path, "must be text, not "+describe(n))
		}
	case kind == reflect.Bool:
		if kindOf(n) != Bool {
			b.mismatch(n, path, "must be true or false, not "+describe(n))
			return
		}
		v.SetBool(strings.EqualFold(textOf(n), "true"))
	case v.CanInt():
		i, err := parseInt(n)
		if err == nil && v.OverflowInt(i) {
			err = fmt.Errorf("is out of range: %s", strconv.FormatInt(i, 10))
		}
		if err != nil {
			b.mismatch(n, path, err.Error())
			return
		}
		v.SetInt(i)
	case v.CanUint():
		i, err := parseInt(n)
		if err == nil && (i < 0 || v.OverflowUint(uint64(i))) {
			err = fmt.Errorf("is out of range: %s", strconv.FormatInt(i, 10))
		}
		if err != nil {
			b.mismatch(n, path, err.Error())
			return
		}
		v.SetUint(uint64(i))
	case v.CanFloat():
		f, err := parseFloat(n, v.Type().Bits())
		if err != nil {
			b.mismatch(n, path, err.Error())
			return
		}
		v.SetFloat(f)
	default:
		b.mismatch(n, path, "has a type that cannot be read: "+v.Type().String())
	}
}

func (b *binder) bindStruct(n ast.Node, path string, v reflect.Value) {
	if kindOf(n) == Null {
		return
	}
	fields, names := fieldsOf(v.Type())
	b.eachKey(n, path, func(key string, keyNode, value ast.Node) {
		i, ok := fields[key]
		if !ok {
			b.report(keyNode, Key(path, key), unknownKey(key, path, names))
			return
		}
		b.bind(value, Key(path, key), v.Field(i))
	})
}

func (b *binder) bindMap(n ast.Node, path string, v reflect.Value) {
	if v.Type().Key().Kind() != reflect.String {
		b.mismatch(n, path, "has a type that cannot be read: "+v.Type().String())
		return
	}
	m := reflect.MakeMap(v.Type())
	v.Set(m)
	if kindOf(n) == Null {
		return
	}
	b.eachKey(n, path, func(key string, _, value ast.Node) {
		elem := fresh(v.Type().Elem()).Elem()
		b.bind(value, Key(path, key), elem)
		m.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), elem)
	})
}

// eachKey calls do for every entry of a mapping, in the file's order, leaving out keys that stand there twice.
func (b *binder) eachKey(n ast.Node, path string, do func(key string, keyNode, value ast.Node)) {
	var entries []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		b.mismatch(n, path, `must be a mapping ("key: value" lines), not `+describe(n))
		return
	}
	for _, entry := range entries {
		key, ok := keyText(entry.Key)
		if !ok {
			b.report(entry.Key, path, "a key is missing before the colon")
			continue
		}
		full := Key(path, key)
		if first, ok := b.doc.keys[full]; ok {
			b.report(entry.Key, full, fmt.Sprintf("%s is set twice; the first is on line %d", full, first.line))
			continue
		}
		b.doc.keys[full] = at(entry.Key)
		do(key, entry.Key, entry.Value)
	}
}

// keyText is a key as it is written: keys are text, whatever they look like.
func keyText(k ast.MapKeyNode) (string, bool) {
	switch kindOf(k) {
	case List, Mapping, Null:
		return "", false
	}
	return textOf(k), true
}

func (b *binder) bindSlice(n ast.Node, path string, v reflect.Value) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		b.mismatch(n, path, "must be a list ([a, b] or lines that begin with -), not "+describe(n))
		return
	}
	s := reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values))
	for i, value := range list.Values {
		full := Index(path, i)
		b.doc.keys[full] = at(value)
		s.Index(i).Set(fresh(v.Type().Elem()).Elem())
		b.bind(value, full, s.Index(i))
	}
	v.Set(s)
}

// fresh makes a value of type t with its defaults and returns a pointer to it.
func fresh(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	if d, ok := p.Interface().(Defaulter); ok {
		d.SetDefaults()
	}
	return p
}

// fieldsOf maps the keys of a struct to its fields, and lists the keys in the order of the fields.
func fieldsOf(t reflect.Type) (fields map[string]int, names []string) {
	fields = map[string]int{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" || !t.Field(i).IsExported() {
			continue
		}
		fields[name] = i
		names = append(names, name)
	}
	return fields, names
}
