// Package layers makes the configuration that is in effect out of four: the defaults, the file over them, settings of
// the fleet from Parameter Store over both, and those of the one device from its shadow over all. It knows for each
// value where it came from, and refuses what the cloud may not set, what nobody knows and what the checks of config do
// not pass. A refused value leaves the last good one of its layer in place.
//
// Pure Go, and nothing here talks to the cloud: settings come in as names and texts.
package layers

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"gnomon/config"
	"gnomon/config/yamldoc"
)

// Layer is one of the two that come from the cloud; the later one has precedence.
type Layer int

// The layers.
const (
	Parameters Layer = iota // Parameter Store, for the fleet
	Shadow                  // the device's own shadow
	layerCount
)

// String names the layer in reports.
func (l Layer) String() string {
	if l == Shadow {
		return "shadow"
	}
	return "parameter"
}

const (
	// maxSettings is the largest number of settings in a layer: about twice as many as there are.
	maxSettings = 256
	// maxText is the longest text of a value in bytes, that of a parameter of the advanced tier.
	maxText = 8 << 10
	// maxElements is the largest number of elements in a name; the deepest have three.
	maxElements = 8
)

// Setting is one value that the cloud wants. Printing it does not show the value.
type Setting struct {
	Path   []string `json:"path"`             // the elements of the name: mqtt, keep_alive
	Text   string   `json:"text"`             // the value on one line of YAML, as the file would have it after the colon
	From   string   `json:"from,omitempty"`   // the parameter's name; empty for the shadow
	Secret bool     `json:"secret,omitempty"` // the text is not shown in messages
}

// Name is the setting's name as errors and reports spell it: mqtt.keep_alive, sources["cam.1"].slot.
func (s Setting) Name() string { return nameOf(s.Path) }

// String is the name.
func (s Setting) String() string { return s.Name() }

// GoString is the name.
func (s Setting) GoString() string { return s.Name() }

// Options configures New.
type Options struct {
	// Base is the defaults with the file over them, and good (config.Load). It is copied.
	Base *config.Config
	// Document is the file as it was read and File what to call it; nil and empty without one.
	Document *yamldoc.Document
	File     string
	// Kept is what an earlier Stack had, for a start without a network.
	Kept State
}

// Stack is the layers. It is not safe for concurrent use.
type Stack struct {
	base   config.Config
	doc    *yamldoc.Document
	file   string
	layers [layerCount]layer
	// sources are those settings of sources that the shadow sets on its older way; they are shown, and applied elsewhere.
	sources []Setting

	effective config.Config
	from      map[string]string // where the value of a setting came from, if not from the base
}

// layer is one layer's settings.
type layer struct {
	want    []Setting          // as they came, sorted by name
	good    map[string]Setting // in use: what is wanted, or the last good one in the place of a refused one
	refused []Refusal
	tooMany bool
}

// New puts the layers together.
func New(o Options) *Stack {
	s := &Stack{base: clone(o.Base), doc: o.Document, file: o.File, sources: o.Kept.Sources}
	for i, kept := range [...]KeptLayer{Parameters: o.Kept.Parameters, Shadow: o.Kept.Shadow} {
		l := &s.layers[i]
		l.fill(kept.Want)
		l.good = map[string]Setting{}
		for _, g := range kept.Good {
			l.good[g.Name()] = g
		}
	}
	s.settle()
	return s
}

// Set replaces the settings of a layer and reports whether anything is different. Settings that are no longer there give
// way to what is below them.
func (s *Stack) Set(which Layer, settings []Setting) (changed bool) {
	l := &s.layers[which]
	before := l.want
	l.fill(settings)
	if slices.EqualFunc(before, l.want, equal) {
		return false
	}
	s.settle()
	return true
}

// SetSources notes the settings that the shadow's member sources has, for Values alone.
func (s *Stack) SetSources(settings []Setting) (changed bool) {
	before := s.sources
	s.sources = settings[:min(len(settings), maxSettings)]
	return !slices.EqualFunc(before, s.sources, equal)
}

// Config is a copy of the configuration in effect. It has passed config's checks.
func (s *Stack) Config() *config.Config {
	c := clone(&s.effective)
	return &c
}

// Base is a copy of the configuration without the cloud's layers.
func (s *Stack) Base() *config.Config {
	c := clone(&s.base)
	return &c
}

// Refused lists what is refused, by layer and name.
func (s *Stack) Refused() []Refusal {
	var all []Refusal
	for i := range s.layers {
		all = append(all, s.layers[i].refused...)
	}
	return all
}

func (l *layer) fill(settings []Setting) {
	byName := map[string]Setting{}
	for _, one := range settings {
		one.Text = strings.TrimSpace(one.Text) // a parameter that was made from a file ends with a line feed
		byName[one.Name()] = one
	}
	l.want, l.tooMany = nil, len(byName) > maxSettings
	names := slices.Sorted(maps.Keys(byName))
	for _, name := range names[:min(len(names), maxSettings)] {
		l.want = append(l.want, byName[name])
	}
}

func equal(a, b Setting) bool {
	return slices.Equal(a.Path, b.Path) && a.Text == b.Text && a.From == b.From && a.Secret == b.Secret
}

// settle makes the configuration in effect, layer by layer.
func (s *Stack) settle() {
	s.effective, s.from = clone(&s.base), map[string]string{}
	for i := range s.layers {
		l := &s.layers[i]
		s.effective = l.settle(&s.effective, Layer(i))
		for name, one := range l.good {
			s.from[name] = origin(Layer(i), one)
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
	chosen := map[string]Setting{}
	for _, one := range l.want {
		name := one.Name()
		if code, problem := admit(below, which, one); problem == "" {
			chosen[name] = one
		} else {
			l.refuse(which, one, code, "%s", problem)
			if g, ok := l.good[name]; ok {
				chosen[name] = g
			}
		}
	}
	// Each round takes at least one value away, or puts a last good one in its place, which happens once for each.
	for {
		above := put(below, chosen)
		problems := problemsOf(&above)
		if len(problems) == 0 || len(chosen) == 0 {
			l.good = chosen
			return above
		}
		for name, problem := range blame(problems, chosen) {
			one := chosen[name]
			delete(chosen, name)
			if g, kept := l.good[name]; kept && !equal(one, g) { // an equal one was good among other values
				chosen[name] = g
			}
			if !l.has(name) {
				l.refuse(which, one, codeBadSetting, "%s", problem)
			}
		}
	}
}

func (l *layer) has(name string) bool {
	return slices.ContainsFunc(l.refused, func(r Refusal) bool { return r.Name == name })
}

// put applies settings that are each known to be readable.
func put(below *config.Config, chosen map[string]Setting) config.Config {
	c := clone(below)
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		_ = assign(&c, chosen[name]) // it has been read before
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

// blame finds the settings that problems are about. Where a problem is with a value that none of them set, as the two do
// not go together, the last one by name has to go.
func blame(problems []yamldoc.Problem, chosen map[string]Setting) map[string]string {
	found := map[string]string{}
	for _, p := range problems {
		for name := range chosen {
			rest, ok := strings.CutPrefix(p.Path, name)
			if _, known := found[name]; ok && !known && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				found[name] = chosen[name].hide(p.Message)
			}
		}
	}
	if len(found) == 0 {
		last := slices.Max(slices.Collect(maps.Keys(chosen)))
		found[last] = chosen[last].hide("does not go with the rest: " + problems[0].Message)
	}
	return found
}

// origin is where a value came from, in words.
func origin(which Layer, one Setting) string {
	if one.From == "" {
		return which.String()
	}
	return which.String() + " " + one.From
}
