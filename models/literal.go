package models

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits on Python literals, which come out of a model file and so from anywhere.
const (
	// maxLiteralSize is in bytes: the names of some ten thousand classes.
	maxLiteralSize = 1 << 20
	// maxLiteralDepth is how deeply lists, tuples and dicts may be nested; metadata needs 2.
	maxLiteralDepth = 16
)

// ParseLiteral reads a Python literal, the form in which exporters write metadata into a model: {0: 'person', 1:
// "it's"}, [640, 640], (1,), True, None. The grammar is that of the displays and literals in the Python language
// reference (sections 2.4 and 6.2), restricted to what repr prints for dict, list, tuple, str, int, float, bool and
// None. Nothing is evaluated.
//
// The result is made of map[any]any (keys are strings, int64, float64, bool or nil), []any for lists and tuples,
// string, int64, float64, bool and nil. As in Python, the last of several equal keys counts. The error says at which
// character, from 1, the text stops making sense.
func ParseLiteral(s string) (any, error) {
	if len(s) > maxLiteralSize {
		return nil, fmt.Errorf("a Python literal of %d bytes, more than the %d that are allowed", len(s), maxLiteralSize)
	}
	if !utf8.ValidString(s) {
		return nil, errors.New("a Python literal that is not UTF-8 text")
	}
	p := literalParser{rest: s}
	v, err := p.value(0)
	if err == nil {
		p.space()
		if p.rest != "" {
			err = errors.New("unexpected text after the value")
		}
	}
	if err != nil {
		at := utf8.RuneCountInString(s[:len(s)-len(p.rest)]) + 1
		return nil, fmt.Errorf("not a Python literal: at character %d: %w", at, err)
	}
	return v, nil
}

// literalParser reads from the front of rest.
type literalParser struct{ rest string }

func (p *literalParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n\f") }

// accept skips space and then c, if c is next.
func (p *literalParser) accept(c byte) bool {
	p.space()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *literalParser) value(depth int) (any, error) {
	p.space()
	if p.rest == "" {
		return nil, errors.New("a value is missing")
	}
	if depth > maxLiteralDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxLiteralDepth)
	}
	switch c := p.rest[0]; c {
	case '{':
		return p.dict(depth)
	case '[':
		p.rest = p.rest[1:]
		items, _, err := p.items(']', depth)
		return items, err
	case '(':
		p.rest = p.rest[1:]
		items, commas, err := p.items(')', depth)
		if err == nil && len(items) == 1 && !commas { // (1) is 1, (1,) is a tuple
			return items[0], nil
		}
		return items, err
	case '\'', '"':
		return p.str()
	default:
		return p.word()
	}
}

// items reads the rest of a list or tuple; commas tells whether there was any.
func (p *literalParser) items(end byte, depth int) (items []any, commas bool, err error) {
	items = []any{}
	for {
		if p.accept(end) {
			return items, commas, nil
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, false, err
		}
		items = append(items, v)
		if !p.accept(',') {
			if !p.accept(end) {
				return nil, false, fmt.Errorf("expected a comma or %c", end)
			}
			return items, commas, nil
		}
		commas = true
	}
}

func (p *literalParser) dict(depth int) (any, error) {
	p.rest = p.rest[1:]
	m := map[any]any{}
	for {
		if p.accept('}') {
			return m, nil
		}
		k, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		switch k.(type) {
		case map[any]any, []any:
			return nil, errors.New("a key must be text or a number")
		}
		if !p.accept(':') {
			return nil, errors.New("expected a colon after the key")
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		m[k] = v
		if !p.accept(',') {
			if !p.accept('}') {
				return nil, errors.New("expected a comma or }")
			}
			return m, nil
		}
	}
}

// word reads a number or one of Python's constants.
func (p *literalParser) word() (any, error) {
	end := strings.IndexAny(p.rest, " \t\r\n\f,:()[]{}'\"")
	if end < 0 {
		end = len(p.rest)
	}
	w := p.rest[:end]
	switch w {
	case "None":
		p.rest = p.rest[end:]
		return nil, nil
	case "True", "False":
		p.rest = p.rest[end:]
		return w == "True", nil
	}
	v, err := number(w)
	if err == nil {
		p.rest = p.rest[end:]
	}
	return v, err
}

// number reads a decimal int or float as Python prints them.
func number(w string) (any, error) {
	digits := strings.TrimLeft(w, "+-")
	if len(w)-len(digits) > 1 || digits == "" || strings.Trim(digits, "0123456789.eE+-") != "" || digits[0] == 'e' || digits[0] == 'E' {
		return nil, errors.New("expected text in quotes, a number, a list, a dict, True, False or None")
	}
	if !strings.ContainsAny(digits, ".eE") {
		if digits[0] == '0' && strings.Trim(digits, "0") != "" {
			return nil, errors.New("a whole number must not begin with 0")
		}
		i, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			return nil, errors.New("a whole number that is malformed or has more than 64 bits")
		}
		return i, nil
	}
	f, err := strconv.ParseFloat(w, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, errors.New("a number that is malformed or too large")
	}
	return f, nil
}

// str reads a string literal without prefix, in single or double quotes, not triple ones.
func (p *literalParser) str() (any, error) {
	quote := p.rest[0]
	body := p.rest[1:]
	var b strings.Builder
	for {
		i := strings.IndexAny(body, string([]byte{quote, '\\', '\n'}))
		if i < 0 || body[i] == '\n' {
			return nil, errors.New("the text that begins here has no closing quote")
		}
		b.WriteString(body[:i])
		if body[i] == quote {
			p.rest = body[i+1:]
			return b.String(), nil
		}
		size, err := escape(&b, body[i+1:])
		if err != nil {
			p.rest = body[i:]
			return nil, err
		}
		body = body[i+1+size:]
	}
}

// escape writes what an escape sequence stands for and returns how many bytes it has after its backslash. One that
// Python does not know stands for itself, backslash included.
func escape(b *strings.Builder, s string) (int, error) {
	if s == "" {
		return 0, errors.New("the text ends after a backslash")
	}
	const simple, meaning = "\n\\'\"abfnrtv", "\x00\\'\"\a\b\f\n\r\t\v"
	if i := strings.IndexByte(simple, s[0]); i == 0 {
		return 1, nil // a backslash at the end of a line joins the lines
	} else if i > 0 {
		b.WriteByte(meaning[i])
		return 1, nil
	}
	switch s[0] {
	case 'x':
		return codePoint(b, s, 2)
	case 'u':
		return codePoint(b, s, 4)
	case 'U':
		return codePoint(b, s, 8)
	case 'N':
		return 0, errors.New(`\N{…} is not supported; write the character itself`)
	}
	n := 0
	for n < len(s) && n < 3 && s[n] >= '0' && s[n] <= '7' {
		n++
	}
	if n > 0 {
		v, _ := strconv.ParseUint(s[:n], 8, 32) // three octal digits always fit
		b.WriteRune(rune(v))
		return n, nil
	}
	b.WriteByte('\\')
	return 0, nil
}

// codePoint writes the character whose number stands in digits hexadecimal digits after the first byte of s.
func codePoint(b *strings.Builder, s string, digits int) (int, error) {
	if len(s) < 1+digits {
		return 0, fmt.Errorf(`\%c needs %d hexadecimal digits`, s[0], digits)
	}
	v, err := strconv.ParseUint(s[1:1+digits], 16, 32)
	if err != nil {
		return 0, fmt.Errorf(`\%c needs %d hexadecimal digits`, s[0], digits)
	}
	if v > utf8.MaxRune || !utf8.ValidRune(rune(v)) {
		return 0, fmt.Errorf(`\%c%s is not a character`, s[0], s[1:1+digits])
	}
	b.WriteRune(rune(v))
	return 1 + digits, nil
}
