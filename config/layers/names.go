package layers

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gnomon/config"
	"gnomon/config/yamldoc"
)

// clone copies a configuration as far as settings change it: the binder makes new lists and pointers.
func clone(c *config.Config) config.Config {
	out := *c
	out.Sources = maps.Clone(c.Sources)
	return out
}

func nameOf(path []string) string {
	name := ""
	for _, element := range path {
		name = yamldoc.Key(name, element)
	}
	return name
}

// isSection reports whether a type holds settings instead of being one: a struct, or a mapping from names to structs.
func isSection(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[yamldoc.Unmarshaler]()) {
		return false
	}
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct
}

// key is what a field is called in the file; empty: it is not there.
func key(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" || !f.IsExported() {
		return ""
	}
	return name
}

// fieldOf is the index of a field by its key.
func fieldOf(t reflect.Type, name string) (int, bool) {
	for i := range t.NumField() {
		if k := key(t.Field(i)); k != "" && k == name {
			return i, true
		}
	}
	return 0, false
}

// inside calls do with the section that holds a setting, and the setting's key and place in it. What do changes is kept. It
// reports whether there is such a setting.
func inside(v reflect.Value, path []string, do func(section reflect.Value, key string, field int)) bool {
	if len(path) == 0 {
		return false
	}
	if v.Kind() == reflect.Map {
		name := reflect.ValueOf(path[0]).Convert(v.Type().Key())
		entry := v.MapIndex(name)
		if !entry.IsValid() {
			return false
		}
		changed := reflect.New(entry.Type()).Elem()
		changed.Set(entry)
		ok := inside(changed, path[1:], do)
		v.SetMapIndex(name, changed)
		return ok
	}
	i, ok := fieldOf(v.Type(), path[0])
	switch {
	case !ok || isSection(v.Type().Field(i).Type) == (len(path) == 1):
		return false
	case len(path) == 1:
		do(v, path[0], i)
		return true
	}
	return inside(v.Field(i), path[1:], do)
}

// assign reads a value into the configuration, whose maps must be the caller's own. It returns the keys that are set in
// the section that holds them. The error is for people and begins with the name; what c holds after one is unspecified.
func assign(c *config.Config, one Setting) (keys []string, err error) {
	name := one.Name()
	if strings.ContainsAny(one.Text, "\r\n") {
		return nil, fmt.Errorf("%s must be written on one line", name)
	}
	if one.entry() {
		return assignEntry(c, one)
	}
	if source := one.source(); source != "" {
		c.Sources[source] = orFresh(c, source)
	}
	known := inside(reflect.ValueOf(c).Elem(), one.Path, func(section reflect.Value, key string, _ int) {
		keys = []string{key}
		_, err = yamldoc.Decode(name, []byte(key+": "+one.Text), section.Addr().Interface())
	})
	if !known {
		return nil, errors.New(unknown(c, one.Path))
	}
	return keys, problem(err, name, one.Path)
}

// problem is the first of a document of one key, under the setting's full name.
func problem(err error, name string, path []string) error {
	e, ok := errors.AsType[*yamldoc.Error](err)
	if !ok {
		return err
	}
	p := e.Problems[0]
	switch rest, ok := strings.CutPrefix(p.Message, path[len(path)-1]); {
	case strings.HasPrefix(p.Message, name), strings.HasPrefix(p.Message, "unknown key "): // of an entry
		return errors.New(p.Message)
	case ok:
		return errors.New(name + rest)
	}
	return fmt.Errorf("%s cannot be read: %s", name, p.Message)
}

// unknown says what is wrong with a name, with a suggestion where one is near. The reader of the file has the words.
func unknown(c *config.Config, path []string) string {
	if len(path) == 0 || len(path) > maxElements {
		return "a setting needs a name with its section, such as mqtt.publish"
	}
	if parts := strings.Split(strings.Join(path, "."), "."); len(parts) > len(path) && exists(c, parts) {
		return fmt.Sprintf("unknown setting %.80q; its parts are separate ones: %s", nameOf(path), strings.Join(parts, "/"))
	}
	var nested any
	for _, element := range slices.Backward(path) {
		nested = map[string]any{element: nested}
	}
	text, err := json.Marshal(nested)
	if err != nil {
		return "unknown setting"
	}
	scratch := clone(c)
	_, err = yamldoc.Decode("", text, &scratch)
	if e, ok := errors.AsType[*yamldoc.Error](err); ok {
		return e.Problems[0].Message
	}
	return fmt.Sprintf("%s is a section; name a setting in it", nameOf(path))
}

func exists(c *config.Config, path []string) bool {
	scratch := clone(c)
	return inside(reflect.ValueOf(&scratch).Elem(), path, func(reflect.Value, string, int) {})
}

// leaf is one setting of a configuration.
type leaf struct {
	path  []string
	value reflect.Value
}

// leaves lists all settings in the order of the file; entries of mappings by name.
func leaves(v reflect.Value, path []string) []leaf {
	var all []leaf
	down := func(name string, v reflect.Value) {
		at := append(slices.Clone(path), name)
		if isSection(v.Type()) {
			all = append(all, leaves(v, at)...)
			return
		}
		all = append(all, leaf{at, v})
	}
	if v.Kind() == reflect.Map {
		for _, name := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) }) {
			down(name.String(), v.MapIndex(name))
		}
		return all
	}
	for i := range v.NumField() {
		if name := key(v.Type().Field(i)); name != "" {
			down(name, v.Field(i))
		}
	}
	return all
}
