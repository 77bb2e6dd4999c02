package layers

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gnomon/config"
)

// FromDesired takes the settings out of a shadow's desired document: those of its member config, nested like the file,
// and those of its member sources, which is nested as well. Members that are null or missing set nothing; what cannot be
// a setting becomes one that is refused.
func FromDesired(doc json.RawMessage) (settings, sources []Setting) {
	var desired struct {
		Config  json.RawMessage `json:"config"`
		Sources json.RawMessage `json:"sources"`
	}
	if json.Unmarshal(doc, &desired) != nil {
		return nil, nil // the shadow's client gives objects only
	}
	settings = flatten(nil, desired.Config, reflect.TypeFor[config.Config](), nil)
	sources = flatten(nil, desired.Sources, reflect.TypeFor[map[string]config.Source](), []string{"sources"})
	return settings, sources
}

// flatten goes down as long as there are objects where the configuration has sections.
func flatten(all []Setting, raw json.RawMessage, t reflect.Type, path []string) []Setting {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0 || string(raw) == "null" || len(all) > maxSettings: // one more is enough to be told
		return all
	case t == nil || raw[0] != '{' || !isSection(t):
		return append(all, Setting{Path: path, Text: oneLine(raw)})
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return append(all, Setting{Path: path, Text: oneLine(raw)})
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		all = flatten(all, members[name], member(t, name), append(slices.Clone(path), name))
	}
	return all
}

// member is the type of an entry of a section; nil: there is none of that name.
func member(t reflect.Type, name string) reflect.Type {
	if t.Kind() == reflect.Map {
		return t.Elem()
	}
	if i, ok := fieldOf(t, name); ok {
		return t.Field(i).Type
	}
	return nil
}

// oneLine writes JSON as YAML has it: on one line, and with as few escapes as can be.
func oneLine(raw json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // as it is written
	var v any
	if d.Decode(&v) != nil {
		return string(raw)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return string(raw)
	}
	return strings.TrimSpace(out.String())
}
