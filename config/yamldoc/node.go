package yamldoc

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
	"gnomon/telemetry/redact"
)

// Unmarshaler is implemented (on the pointer) by types that more than one kind of YAML value may stand for, or that
// are written as text of a certain form. The error's text continues a sentence that begins with the key: "must be
// auto or a number". A nil error together with a failed Node.Decode is right: that has reported its own problems.
type Unmarshaler interface {
	UnmarshalNode(Node) error
}

// Kind is what a YAML value is.
type Kind int

// The kinds.
const (
	Null    Kind = iota // nothing, null or ~
	Bool                // true or false
	Number              // 12, -0.5, 1e-3
	Text                // anything else that is one value, and all that is quoted
	List                // - a or [a]
	Mapping             // a: b or {a: b}
)

// Node is one value of a file. It is valid only during the call of UnmarshalNode that it was given to.
type Node struct {
	binder *binder
	node   ast.Node
	path   string
}

// Kind is what the value is.
func (n Node) Kind() Kind { return kindOf(n.node) }

// Text is the value as text: without its quotes and with escapes resolved; "" for a list or mapping.
func (n Node) Text() string { return textOf(n.node) }

// Describe names the value for use in a sentence: `the text "abc"`, "the number 3", "a list".
func (n Node) Describe() string { return describe(n.node) }

// Decode reads the value into what into points to, by the rules of the function Decode, and reports whether that
// went well; problems are recorded with the file's others.
func (n Node) Decode(into any) bool {
	before := len(n.binder.problems)
	n.binder.bind(n.node, n.path, reflect.ValueOf(into).Elem())
	return len(n.binder.problems) == before
}

// The plain scalars of the core schema, YAML 1.2.2 section 10.3.2, but for octal and hexadecimal numbers, which get
// a pattern of their own in order to be refused with the right words.
var (
	nullPattern   = regexp.MustCompile(`^(|~|null|Null|NULL)$`)
	boolPattern   = regexp.MustCompile(`^(true|True|TRUE|false|False|FALSE)$`)
	numberPattern = regexp.MustCompile(`^[-+]?((\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF)|0[xob][0-9a-fA-F_]+)$|^\.(nan|NaN|NAN)$`)
	intPattern    = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)
	floatPattern  = regexp.MustCompile(`^[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
)

func kindOf(n ast.Node) Kind {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return Mapping
	case *ast.SequenceNode:
		return List
	case *ast.LiteralNode:
		return Text
	default:
		t := n.GetToken()
		if t == nil || t.Type == token.ImplicitNullType {
			return Null
		}
		if t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType {
			return Text
		}
		switch s := textOf(n); {
		case nullPattern.MatchString(s):
			return Null
		case boolPattern.MatchString(s):
			return Bool
		case numberPattern.MatchString(s):
			return Number
		}
		return Text
	}
}

func textOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
		return ""
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.StringNode:
		return n.Value
	default:
		if t := n.GetToken(); t != nil && t.Type != token.ImplicitNullType {
			return strings.TrimSpace(t.Value)
		}
		return ""
	}
}

func describe(n ast.Node) string {
	switch kindOf(n) {
	case Null:
		return "nothing"
	case Bool:
		return textOf(n)
	case Number:
		return "the number " + textOf(n)
	case List:
		return "a list"
	case Mapping:
		return "a mapping"
	default:
		return "the text " + quote(textOf(n))
	}
}

// maxShown is how many characters of a value an error repeats: enough to recognise it by.
const maxShown = 60

// quote makes any text fit for one line of an error.
func quote(s string) string {
	s = redact.Text(s)
	if utf8.RuneCountInString(s) > maxShown {
		s = string([]rune(s)[:maxShown]) + "…"
	}
	return strconv.Quote(s)
}

// parseInt reads a decimal whole number.
func parseInt(n ast.Node) (int64, error) {
	s := textOf(n)
	if kindOf(n) != Number || !intPattern.MatchString(s) {
		return 0, fmt.Errorf("must be a whole number, not %s%s", describe(n), decimalHint(n))
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("is out of range: %s", quote(s))
	}
	return v, nil
}

// parseFloat reads a decimal number, refusing infinities and NaN.
func parseFloat(n ast.Node, bits int) (float64, error) {
	s := textOf(n)
	if kindOf(n) != Number || !floatPattern.MatchString(s) {
		return 0, fmt.Errorf("must be a number, not %s%s", describe(n), decimalHint(n))
	}
	v, err := strconv.ParseFloat(s, bits)
	if err != nil {
		return 0, fmt.Errorf("is out of range: %s", quote(s))
	}
	return v, nil
}

// decimalHint explains why something that looks like a number is none: 0x1F, 0o17, 017.
func decimalHint(n ast.Node) string {
	digits := strings.TrimLeft(textOf(n), "+-")
	if kindOf(n) == Number && len(digits) > 1 && digits[0] == '0' && digits[1] != '.' && digits[1] != 'e' && digits[1] != 'E' {
		return "; write it in decimal, without leading zeros"
	}
	return ""
}
