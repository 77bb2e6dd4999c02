package layers

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// hidden stands for the value of a SecureString.
const hidden = "(SecureString)"

// Value is one setting with where it came from.
type Value struct {
	Path   []string // the elements of its name
	Name   string
	Value  any    // as JSON has it; nil: unset
	Text   string // as YAML has it, on one line
	Origin string // default, FILE:LINE, parameter NAME, or shadow
}

// Values lists all settings in effect in the order of the file, those of sources by name. Passwords in the addresses of
// sources are hidden, and what came from a SecureString.
func (s *Stack) Values() []Value {
	c := clone(&s.effective)
	for name, source := range c.Sources {
		source.URI = source.Redacted()
		c.Sources[name] = source
	}
	var all []Value
	for _, l := range leaves(reflect.ValueOf(&c).Elem(), nil) {
		name := nameOf(l.path)
		v := Value{Path: l.path, Name: name, Value: plain(l.value), Text: text(l.value), Origin: s.Origin(name)}
		if s.from[name].secret {
			v.Value, v.Text = hidden, word(hidden)
		}
		all = append(all, v)
	}
	return all
}

// Origin is where the value in effect of a setting came from, as in Value.
func (s *Stack) Origin(name string) string {
	if from, ok := s.from[name]; ok {
		return from.origin
	}
	if s.doc != nil && s.doc.Has(name) {
		line, _ := s.doc.Pos(name)
		return s.file + ":" + strconv.Itoa(line)
	}
	return "default"
}

// YAML writes values as a file that config.Parse reads as the same configuration; those that are unset are left out.
func YAML(values []Value) string {
	var out strings.Builder
	var before []string
	for _, v := range values {
		if v.Value == nil {
			continue
		}
		common := 0
		for common < len(before) && common < len(v.Path)-1 && before[common] == v.Path[common] {
			common++
		}
		for i := common; i < len(v.Path)-1; i++ {
			fmt.Fprintf(&out, "%s%s:\n", strings.Repeat("  ", i), word(v.Path[i]))
		}
		fmt.Fprintf(&out, "%s%s: %s\n", strings.Repeat("  ", len(v.Path)-1), word(v.Path[len(v.Path)-1]), v.Text)
		before = v.Path[:len(v.Path)-1]
	}
	return out.String()
}

// plain is a value as JSON has it.
func plain(v reflect.Value) any {
	if s, ok := v.Interface().(fmt.Stringer); ok {
		if number := s.String(); strings.Trim(number, "0123456789") == "" {
			return json.Number(number)
		}
		return s.String()
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.String:
		return v.String()
	case reflect.Array, reflect.Slice:
		list := []any{}
		if v.Kind() == reflect.Array && v.IsZero() { // an area that is not set
			return list
		}
		for i := range v.Len() {
			list = append(list, plain(v.Index(i)))
		}
		return list
	case reflect.Map:
		members := map[string]any{}
		for _, name := range v.MapKeys() {
			members[name.String()] = plain(v.MapIndex(name))
		}
		return members
	}
	return v.Interface()
}

// text is a value as YAML has it, on one line.
func text(v reflect.Value) string {
	if s, ok := v.Interface().(fmt.Stringer); ok { // durations, sizes and counts need no quotes
		return s.String()
	}
	p := plain(v)
	if s, ok := p.(string); ok {
		return word(s)
	}
	data, err := json.Marshal(p)
	if err != nil {
		return "null" // cannot be: Go's own types, and no NaN passes the checks
	}
	return string(data)
}

// word quotes text where YAML would take it for something else.
func word(s string) string {
	safe := regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*$`)
	if safe.MatchString(s) && !slices.Contains([]string{"null", "true", "false"}, strings.ToLower(s)) {
		return s
	}
	data, err := json.Marshal(s)
	if err != nil {
		return `""` // cannot be: text
	}
	return string(data)
}
