// Package yamldoc reads small YAML files strictly: every key must be known, every value must have the type that
// the program expects, and whatever is wrong is said in one sentence with the line and the column where it stands.
//
// The subset is YAML 1.2 without anchors, aliases, merge keys, tags, directives and complex keys: one document, one
// meaning. Plain scalars are read by the core schema (YAML 1.2.2, section 10.3), with two restrictions that keep
// surprises out: numbers are decimal, and text that looks like a number or a truth value has to be quoted.
//
// The package knows nothing of gnomon's own files. It is pure Go; its functions may be called concurrently.
package yamldoc

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Limits. Files that people write stay far below them; what arrives from elsewhere may not.
const (
	// MaxSize is the largest file in bytes: room for the labels of ten thousand classes, and small enough for a
	// hostile file to be read in well under a second.
	MaxSize = 256 << 10
	// MaxDepth is how deeply lists and mappings may be nested on one line, which is where a few bytes a level
	// would exhaust the stack. Indented nesting needs a new, longer line a level and is bounded by MaxSize.
	MaxDepth = 16
	// MaxKeys is the largest number of keys: the parser's work grows with the square of it.
	MaxKeys = 4096
	// MaxProblems is how many problems an Error prints; after a screenful, more do not help.
	MaxProblems = 20
)

// Defaulter is implemented (on the pointer) by types whose zero value is not their default. Decode calls
// SetDefaults on each value that it makes itself, that is on the elements of maps and lists and behind pointers,
// before it reads the file's keys into it.
type Defaulter interface {
	SetDefaults()
}

// Document says where things stand in a file that was read. It is immutable and safe for concurrent use.
type Document struct {
	name   string
	keys   map[string]position // path -> the key, or the list's entry
	values map[string]position // path -> the value
}

// position is a line and a column, both from 1, the column in characters.
type position struct{ line, col int }

// Decode reads the YAML text data into the struct that into points to. Keys that the file does not have leave their
// fields as they are, so defaults are set beforehand; a mapping section that is empty leaves its struct alone. Maps
// and lists in the file replace what into holds.
//
// A field is read when it has a yaml tag. Fields are structs, maps with string keys, slices, pointers, text, truth
// values, numbers, and whatever implements Unmarshaler.
//
// The error is an *Error with everything that is wrong, each problem with its position, and name as the file's name.
// After an error the contents of into are unspecified.
func Decode(name string, data []byte, into any) (*Document, error) {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() || target.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("read %s: cannot decode into %T, it must be a pointer to a struct", name, into)
	}
	doc := &Document{name: name, keys: map[string]position{}, values: map[string]position{}}
	root, problem := parse(data)
	if problem != nil {
		return nil, &Error{Name: name, Problems: []Problem{*problem}}
	}
	if root == nil {
		return doc, nil
	}
	b := &binder{doc: doc}
	b.bind(root, "", target.Elem())
	if len(b.problems) > 0 {
		return nil, newError(name, b.problems)
	}
	return doc, nil
}

// Pos is where the value of the key at path stands: line and column from 1. For a path that the file does not have
// it is where the nearest enclosing key stands, and 1, 1 when there is none.
func (d *Document) Pos(path string) (line, col int) {
	if at, ok := d.values[path]; ok {
		return at.line, at.col
	}
	for path != "" {
		if at, ok := d.keys[path]; ok {
			return at.line, at.col
		}
		path = parent(path)
	}
	return 1, 1
}

// Has reports whether the file sets the key at path, be it to an empty value.
func (d *Document) Has(path string) bool {
	_, ok := d.keys[path]
	return ok
}

// Locate gives each problem the position of its path and returns them all as one *Error, in the order in which they
// stand in the file; nil when there are none. The slice is not changed.
func (d *Document) Locate(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	located := make([]Problem, len(problems))
	for i, p := range problems {
		p.Line, p.Col = d.Pos(p.Path)
		located[i] = p
	}
	return newError(d.name, located)
}

// Key is the path of the key name inside the mapping at path ("" for the top level): mqtt.broker. A name that could
// be mistaken for more than one key is quoted: sources["cam.1"].
func Key(path, name string) string {
	if name == "" || strings.ContainsAny(name, `.[]"`) {
		return fmt.Sprintf("%s[%q]", path, name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// Index is the path of entry i, from 0, of the list at path: mean[2].
func Index(path string, i int) string {
	return fmt.Sprintf("%s[%d]", path, i)
}

// parent cuts the last element off a path that Key or Index made.
func parent(path string) string {
	if strings.HasSuffix(path, `"]`) {
		// A quote inside a quoted name is escaped, so the last [" opens the last element.
		return path[:strings.LastIndex(path, `["`)]
	}
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// at is where a node begins; for a mapping or list in block style that is its first key or entry.
func at(n ast.Node) position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return at(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return at(n.Key)
	case *ast.LiteralNode:
		return tokenAt(n.Start)
	}
	return tokenAt(n.GetToken())
}

// trimBOM removes the byte order mark that some editors put first; the parser would take it for part of a key.
func trimBOM(data []byte) []byte {
	return bytes.TrimPrefix(data, []byte("\uFEFF"))
}
