// Package layers makes the configuration that is in effect out of four: the defaults, the file over them, settings of
// the fleet from Parameter Store over both, and those of the one device from its shadow over all. It knows for each
// value where it came from, and refuses what the cloud may not set, what nobody knows and what the checks of config do
// not pass. A refused value leaves the last good one of its layer in place. A source may come from the cloud as a whole,
// and goes with the setting that brought it.
//
// Pure Go, and nothing here talks to the cloud: settings come in as names and texts.
package layers

import (
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
	Path   []string `json:"path"`             // the elements of the name: mqtt, keep_alive; sources, door for a whole source
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

	effective config.Config
	from      map[string]provenance // of the values that are not from the base, by the setting's name
}

// provenance is where a value came from.
type provenance struct {
	origin string // as in Value
	secret bool
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
	s := &Stack{base: clone(o.Base), doc: o.Document, file: o.File}
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

// Rebase puts the layers over another base and its document (config.LoadDocument), which is that of the same file. What
// the cloud wants is tried anew: a setting that was refused may be good now, and the other way round. Whoever cannot read
// the new file leaves the stack as it is.
func (s *Stack) Rebase(base *config.Config, doc *yamldoc.Document) {
	s.base, s.doc = clone(base), doc
	s.settle()
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

// ShadowSources has the sources that the shadow's desired document mentions, each with the first thing that is refused of
// it, nil for nothing. A refused entry leaves its last good one in use.
func (s *Stack) ShadowSources() map[string]*Refusal {
	l := &s.layers[Shadow]
	all := map[string]*Refusal{}
	for _, one := range l.want {
		if name := one.source(); name != "" {
			all[name] = nil
		}
	}
	for _, r := range slices.Backward(l.refused) {
		if r.Source != "" {
			all[r.Source] = &r
		}
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
