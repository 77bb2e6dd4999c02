package models

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseLiteral(t *testing.T) {
	tests := []struct {
		text string
		want any
	}{
		{`{0: 'person', 1: "it's"}`, map[any]any{int64(0): "person", int64(1): "it's"}},
		{`[640, 640]`, []any{int64(640), int64(640)}},
		{`(640, 640)`, []any{int64(640), int64(640)}},
		{`(1)`, int64(1)},
		{`(1,)`, []any{int64(1)}},
		{`((1,), [])`, []any{[]any{int64(1)}, []any{}}},
		{`()`, []any{}},
		{`[]`, []any{}},
		{`{}`, map[any]any{}},
		{" {\n 'a' : [1, 2,] ,\t} ", map[any]any{"a": []any{int64(1), int64(2)}}},
		{`{1: 1, 1: 2}`, map[any]any{int64(1): int64(2)}},
		{`{None: 1, True: 2, 1.5: 3}`, map[any]any{nil: int64(1), true: int64(2), 1.5: int64(3)}},
		{`{'batch': 1, 'half': False, 'dynamic': None}`, map[any]any{"batch": int64(1), "half": false, "dynamic": nil}},
		{`32`, int64(32)},
		{`-7`, int64(-7)},
		{`+7`, int64(7)},
		{`0`, int64(0)},
		{`00`, int64(0)},
		{`9223372036854775807`, int64(math.MaxInt64)},
		{`1.5`, 1.5},
		{`-.5`, -.5},
		{`1.`, 1.0},
		{`1e-05`, 1e-05},
		{`True`, true},
		{`False`, false},
		{`None`, nil},
		{`''`, ""},
		{`"\""`, `"`},
		{`'\''`, `'`},
		{`'a\\b\n\t\r\a\b\f\v\0'`, "a\\b\n\t\r\a\b\f\v\x00"},
		{`'\x41\u00e9\U0001F600\101'`, "Aé😀A"},
		{`'\d'`, `\d`},
		{`'日本'`, "日本"},
		{"'a\\\nb'", "ab"},
	}
	for _, tt := range tests {
		got, err := ParseLiteral(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.text, diff)
		}
	}
}

func TestParseLiteralErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{``, `at character 1: a value is missing`},
		{`{`, `at character 2: a value is missing`},
		{`{0 'a'}`, `at character 4: expected a colon after the key`},
		{`{0: 'a' 1: 'b'}`, `at character 9: expected a comma or }`},
		{`{'é', 'b'}`, `at character 5: expected a colon after the key`},
		{`{[1]: 2}`, `at character 5: a key must be text or a number`},
		{`[1 2]`, `at character 4: expected a comma or ]`},
		{`(1 2)`, `at character 4: expected a comma or )`},
		{`[,]`, `at character 2: expected text in quotes, a number, a list, a dict, True, False or None`},
		{`[1, 2`, `at character 6: expected a comma or ]`},
		{`1 2`, `at character 3: unexpected text after the value`},
		{`'abc`, `at character 1: the text that begins here has no closing quote`},
		{"'a\nb'", `at character 1: the text that begins here has no closing quote`},
		{`'a\`, `at character 3: the text ends after a backslash`},
		{`'\x4'`, `at character 2: \x needs 2 hexadecimal digits`},
		{`'\xZZ'`, `at character 2: \x needs 2 hexadecimal digits`},
		{`'\ud800'`, `at character 2: \ud800 is not a character`},
		{`'\U00110000'`, `at character 2: \U00110000 is not a character`},
		{`'\N{DASH}'`, `at character 2: \N{…} is not supported; write the character itself`},
		{`'a' 'b'`, `at character 5: unexpected text after the value`},
		{`true`, `at character 1: expected text in quotes, a number, a list, a dict, True, False or None`},
		{`nan`, `at character 1: expected text in quotes, a number, a list, a dict, True, False or None`},
		{`__import__('os')`, `at character 1: expected text in quotes, a number, a list, a dict, True, False or None`},
		{`1+1`, `at character 1: a whole number that is malformed or has more than 64 bits`},
		{`9223372036854775808`, `at character 1: a whole number that is malformed or has more than 64 bits`},
		{`007`, `at character 1: a whole number must not begin with 0`},
		{`0x10`, `at character 1: expected text in quotes, a number, a list, a dict, True, False or None`},
		{`1_000`, `at character 1: expected text in quotes, a number, a list, a dict, True, False or None`},
		{`1e999`, `at character 1: a number that is malformed or too large`},
		{`1.2.3`, `at character 1: a number that is malformed or too large`},
		{`e5`, `at character 1: expected text in quotes, a number, a list, a dict, True, False or None`},
		{`--1`, `at character 1: expected text in quotes, a number, a list, a dict, True, False or None`},
		{`b'x'`, `at character 1: expected text in quotes, a number, a list, a dict, True, False or None`},
		{strings.Repeat("[", 18), `at character 18: nested more than 16 deep`},
	}
	for _, tt := range tests {
		got, err := ParseLiteral(tt.text)
		if want := "not a Python literal: " + tt.want; err == nil || err.Error() != want {
			t.Errorf("%s: got %v, %v, want %s", tt.text, got, err, want)
		}
	}
	if _, err := ParseLiteral(strings.Repeat(" ", maxLiteralSize+1)); err == nil || err.Error() != "a Python literal of 1048577 bytes, more than the 1048576 that are allowed" {
		t.Errorf("too large: %v", err)
	}
	if _, err := ParseLiteral("'\xff'"); err == nil || err.Error() != "a Python literal that is not UTF-8 text" {
		t.Errorf("not UTF-8: %v", err)
	}
}

// FuzzParseLiteral asks that whatever is read comes out the same when it is written as Python and read again.
func FuzzParseLiteral(f *testing.F) {
	for _, s := range []string{
		`{0: 'person', 1: "it's"}`, `[640, 640]`, `(1,)`, `((1), ())`, `{'a': None, 2: True, .5: -1e-9}`, `'\x41\u00e9\U0001F600\101\
'`, `{`, `'\N{X}'`, `00`, `1.e5`, `[[[[[[`, `"\`, "'\\\r\n'",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseLiteral(s)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("an error of more than one line: %q", err)
			}
			return
		}
		text := python(v)
		again, err := ParseLiteral(text)
		if err != nil {
			t.Fatalf("%q was read as %#v, but %s was not: %v", s, v, text, err)
		}
		if diff := cmp.Diff(v, again); diff != "" {
			t.Fatalf("%q: -first +second\n%s", s, diff)
		}
	})
}

// python writes a value as Python source.
func python(v any) string {
	var parts []string
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += "."
		}
		return s
	case string:
		var b strings.Builder
		for _, r := range v {
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		return "'" + b.String() + "'"
	case []any:
		for _, e := range v {
			parts = append(parts, python(e)+",")
		}
		return "(" + strings.Join(parts, " ") + ")"
	case map[any]any:
		for k, e := range v {
			parts = append(parts, python(k)+": "+python(e))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprintf("?%T", v)
}
