package layers

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"gnomon/config"
	"gnomon/config/yamldoc"
)

// settle makes the configuration in effect, layer by layer.
func (s *Stack) settle() {
	s.effective, s.from = clone(&s.base), map[string]provenance{}
	for i := range s.layers {
		l := &s.layers[i]
		s.effective = l.settle(&s.effective, Layer(i))
		for _, key := range slices.Sorted(maps.Keys(l.good)) { // an entry before its single settings
			one := l.good[key]
			for _, name := range one.names() {
				s.from[name] = provenance{origin(Layer(i), one), one.Secret}
			}
		}
	}
}

// settle puts a layer over below. Whatever does not pass is refused, and the last good value is tried in its place.
func (l *layer) settle(below *config.Config, which Layer) config.Config {
	l.refused = nil
	if l.tooMany {
		l.refuse(which, Setting{}, codeBeyondLimits, "there are more settings than the %d that are taken; remove some", maxSettings)
	}
	maps.DeleteFunc(l.good, func(_ string, g Setting) bool { // the rules may be those of a newer program
		_, problem := admit(below, which, g)
		return problem != ""
	})
	chosen := l.choose(below, which)
	// Each round takes at least one value away, or puts a last good one in its place, which happens once for each.
	for {
		above := put(below, chosen)
		problems := problemsOf(&above)
		if len(problems) == 0 || len(chosen) == 0 {
			l.good = chosen
			return above
		}
		for name, v := range blame(below, &above, problems, chosen) {
			one := chosen[name]
			delete(chosen, name)
			if g, kept := l.good[name]; kept && !equal(one, g) { // an equal one was good among other values
				chosen[name] = g
			}
			if !l.has(name) {
				l.refuse(which, one, v.code, "%s", v.message)
			}
		}
	}
}

// choose takes the settings that are admitted, and the last good ones in the place of the others.
func (l *layer) choose(below *config.Config, which Layer) map[string]Setting {
	chosen := map[string]Setting{}
	for _, one := range l.want {
		name := one.Name()
		code, problem := admit(below, which, one)
		if problem == "" {
			chosen[name] = one
			continue
		}
		l.refuse(which, one, code, "%s", problem)
		if g, ok := l.good[name]; ok {
			chosen[name] = g
		}
		if name == sourcesKey { // all sources in one that cannot be read: none is gone
			for name, g := range l.good {
				if g.entry() {
					chosen[name] = g
				}
			}
		}
	}
	return chosen
}

func (l *layer) has(name string) bool {
	return slices.ContainsFunc(l.refused, func(r Refusal) bool { return r.Name == name })
}

// put applies settings that are each known to be readable.
func put(below *config.Config, chosen map[string]Setting) config.Config {
	c := clone(below)
	for _, name := range slices.Sorted(maps.Keys(chosen)) { // an entry before its single settings
		_, _ = assign(&c, chosen[name]) // it has been read before
	}
	return c
}

// problemsOf are what config's checks say.
func problemsOf(c *config.Config) []yamldoc.Problem {
	err := c.Validate()
	if e, ok := errors.AsType[*yamldoc.Error](err); ok {
		return e.Problems
	}
	return nil
}

// verdict is why a setting has to go.
type verdict struct{ code, message string }

// blame finds the settings that problems are about, by name. Where a problem is with a value that none of them set, as
// the two do not go together, others have to go: those of a source that is new, or else the last one by name.
func blame(below, above *config.Config, problems []yamldoc.Problem, chosen map[string]Setting) map[string]verdict {
	found := map[string]verdict{}
	for _, p := range problems {
		for _, name := range guilty(p.Path, chosen) {
			if _, known := found[name]; known {
				continue
			}
			one := chosen[name]
			found[name] = verdict{codeBadSetting, one.hide(p.Message)}
			if source := one.source(); source != "" && !hasSource(below, source) && above.Sources[source].URI == "" {
				found[name] = verdict{codeUnknownSource, "this device has no source of that name; it has " +
					strings.Join(slices.Sorted(maps.Keys(below.Sources)), ", ") + "; a new one needs a uri"}
			}
		}
	}
	if len(found) == 0 {
		for _, name := range newest(below, chosen) {
			found[name] = verdict{codeBadSetting, chosen[name].hide("does not go with the rest: " + problems[0].Message)}
		}
	}
	return found
}

// guilty are the chosen settings that a problem at path is about: the one that has set the value last, or else all of the
// same source.
func guilty(path string, chosen map[string]Setting) []string {
	last := ""
	var same []string
	for name, one := range chosen {
		if within(path, name) && len(name) > len(last) {
			last = name
		}
		if source := one.source(); source != "" && within(path, sourceKey(source)) {
			same = append(same, name)
		}
	}
	if last != "" {
		return []string{last}
	}
	return same
}

// within reports whether path is name or something below it.
func within(path, name string) bool {
	rest, ok := strings.CutPrefix(path, name)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// newest are the settings that go first where nothing else tells: those of the new source with the longest name, as there
// may be too many, or too long ones.
func newest(below *config.Config, chosen map[string]Setting) []string {
	var added []string
	for _, one := range chosen {
		if source := one.source(); source != "" && !hasSource(below, source) {
			added = append(added, source)
		}
	}
	if len(added) == 0 {
		return []string{slices.Max(slices.Collect(maps.Keys(chosen)))}
	}
	longest := slices.MaxFunc(added, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
	return slices.DeleteFunc(slices.Sorted(maps.Keys(chosen)), func(name string) bool { return chosen[name].source() != longest })
}

// origin is where a value came from, in words.
func origin(which Layer, one Setting) string {
	if one.From == "" {
		return which.String()
	}
	return which.String() + " " + one.From
}
