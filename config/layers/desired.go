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

// Desired takes the settings out of a shadow's desired document: those of its member config, nested like the file, and the
// entries of its member sources, each of which is one setting. Members that are null or missing set nothing; what cannot
// be a setting becomes one that is refused.
func Desired(doc json.RawMessage) []Setting {
	var desired struct {
		Config  json.RawMessage `json:"config"`
		Sources json.RawMessage `json:"sources"`
	}
	if json.Unmarshal(doc, &desired) != nil {
		return nil // the shadow's client gives objects only
	}
	return append(flatten(nil, desired.Config, reflect.TypeFor[config.Config](), nil), entries(desired.Sources)...)
}

// entries are those of the member sources.
func entries(raw json.RawMessage) []Setting {
	if isNull(raw) {
		return nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return []Setting{{Path: []string{sourcesKey}, Text: oneLine(raw)}}
	}
	var all []Setting
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !isNull(members[name]) && len(all) <= maxSettings {
			all = append(all, Setting{Path: []string{sourcesKey, name}, Text: oneLine(withoutNulls(members[name]))})
		}
	}
	return all
}

// withoutNulls leaves out the members of an object that are null.
func withoutNulls(raw json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return raw
	}
	maps.DeleteFunc(members, func(_ string, v json.RawMessage) bool { return isNull(v) })
	out, err := json.Marshal(members)
	if err != nil {
		return raw // cannot be: it has been read
	}
	return out
}

func isNull(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}

// flatten goes down as long as there are objects where the configuration has sections.
func flatten(all []Setting, raw json.RawMessage, t reflect.Type, path []string) []Setting {
	raw = bytes.TrimSpace(raw)
	switch {
	case isNull(raw) || len(all) > maxSettings: // one more is enough to be told
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
