package layers

import (
	"maps"
	"reflect"
	"slices"

	"gnomon/config"
)

// Changes are sources by what has become of them, each list sorted.
type Changes struct{ Added, Changed, Removed []string }

// Sources compares the sources of two configurations.
func Sources(before, after *config.Config) Changes {
	var c Changes
	for _, name := range slices.Sorted(maps.Keys(after.Sources)) {
		switch {
		case !hasSource(before, name):
			c.Added = append(c.Added, name)
		case len(differing(before, after, name)) > 0:
			c.Changed = append(c.Changed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before.Sources)) {
		if !hasSource(after, name) {
			c.Removed = append(c.Removed, name)
		}
	}
	return c
}

// differing are the settings of a source that differ, as Diff names them.
func differing(a, b *config.Config, name string) []string {
	only := func(c *config.Config) *config.Config {
		return &config.Config{Sources: map[string]config.Source{name: c.Sources[name]}}
	}
	return Diff(only(a), only(b))
}

// Diff names the settings whose values differ, in the order of the file. A source that only one of the two has is one
// name, sources.NAME; those that b has not come last.
func Diff(a, b *config.Config) []string {
	before := map[string]string{}
	for _, l := range leaves(reflect.ValueOf(a).Elem(), nil) {
		before[nameOf(l.path)] = text(l.value)
	}
	var names []string
	for _, l := range leaves(reflect.ValueOf(b).Elem(), nil) {
		name := nameOf(l.path)
		if source := (Setting{Path: l.path}).source(); source != "" && !hasSource(a, source) {
			if added := sourceKey(source); !slices.Contains(names, added) {
				names = append(names, added)
			}
		} else if before[name] != text(l.value) {
			names = append(names, name)
		}
	}
	for _, source := range slices.Sorted(maps.Keys(a.Sources)) {
		if !hasSource(b, source) {
			names = append(names, sourceKey(source))
		}
	}
	return names
}

// Copy is to with the values that from has for the settings named, which are names that Diff gives: a whole source comes
// or goes.
func Copy(to, from *config.Config, names []string) *config.Config {
	out := clone(to)
	for _, l := range leaves(reflect.ValueOf(from).Elem(), nil) {
		if slices.Contains(names, nameOf(l.path)) {
			inside(reflect.ValueOf(&out).Elem(), l.path, func(section reflect.Value, _ string, field int) {
				section.Field(field).Set(l.value)
			})
		}
	}
	for _, all := range [...]*config.Config{to, from} {
		for source := range all.Sources {
			if !slices.Contains(names, sourceKey(source)) {
				continue
			}
			if s, ok := from.Sources[source]; ok {
				out.Sources[source] = s
			} else {
				delete(out.Sources, source)
			}
		}
	}
	return &out
}
