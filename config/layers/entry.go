package layers

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"gnomon/config"
	"gnomon/config/yamldoc"
)

// sourcesKey is the section that holds sources by name. A setting there is either one key of a source, or a whole entry:
// the source with all that is said about it, which is taken or refused as one.
const sourcesKey = "sources"

// source is the name of the source that the setting is about; empty: it is about something else.
func (s Setting) source() string {
	if len(s.Path) > 1 && s.Path[0] == sourcesKey {
		return s.Path[1]
	}
	return ""
}

// entry reports whether the setting is a whole entry.
func (s Setting) entry() bool { return len(s.Path) == 2 && s.source() != "" }

func sourceKey(name string) string { return yamldoc.Key(sourcesKey, name) }

func hasSource(c *config.Config, name string) bool {
	_, ok := c.Sources[name]
	return ok
}

// orFresh is a source of c, or one with the defaults that a source of the file would have.
func orFresh(c *config.Config, name string) config.Source {
	s, ok := c.Sources[name]
	if !ok {
		s.SetDefaults()
	}
	return s
}

// assignEntry puts an entry over the source of that name, or over the defaults where there is none. It returns the keys
// that the entry has.
func assignEntry(c *config.Config, one Setting) (keys []string, err error) {
	name := one.Path[1]
	quoted, err := json.Marshal(name)
	if err != nil {
		return nil, fmt.Errorf("%s has a name that cannot be read", one.Name())
	}
	var read struct {
		Sources map[string]config.Source `yaml:"sources"`
	}
	doc, err := yamldoc.Decode(one.Name(), fmt.Appendf(nil, "%s:\n  %s: %s", sourcesKey, quoted, one.Text), &read)
	if err != nil {
		return nil, problem(err, one.Name(), one.Path)
	}
	entry, ok := read.Sources[name]
	if !ok || len(read.Sources) != 1 {
		return nil, fmt.Errorf("%s cannot be read", one.Name())
	}
	s := orFresh(c, name)
	from, to := reflect.ValueOf(entry), reflect.ValueOf(&s).Elem()
	for i := range from.NumField() {
		if k := key(from.Type().Field(i)); k != "" && doc.Has(yamldoc.Key(one.Name(), k)) {
			to.Field(i).Set(from.Field(i))
			keys = append(keys, k)
		}
	}
	c.Sources[name] = s
	return keys, nil
}

// names are the settings that one sets: itself, or those of an entry.
func (s Setting) names() []string {
	if !s.entry() {
		return []string{s.Name()}
	}
	var names []string
	keys, _ := assignEntry(&config.Config{Sources: map[string]config.Source{}}, s) // it has been read before
	for _, k := range keys {
		names = append(names, yamldoc.Key(s.Name(), k))
	}
	return names
}

// admitSource tries what a setting makes of its source by the rules for the cloud. keys are those that it sets.
func admitSource(below, above *config.Config, which Layer, one Setting, keys []string) (code, problem string) {
	name := one.source()
	for _, k := range keys {
		if reason := localOnly([]string{sourcesKey, name, k}); reason != "" {
			return codeLocalOnly, yamldoc.Key(sourceKey(name), k) + " is set in the device's own file only: " + reason
		}
	}
	s := above.Sources[name]
	if slices.Contains(keys, "uri") && s.URI != "" && s.URI != below.Sources[name].URI {
		if reason := notFromCloud(&s); reason != "" {
			return codeLocalOnly, yamldoc.Key(sourceKey(name), "uri") + ": " + reason
		}
	}
	// The fleet's settings may bring a slot, which is made at the next start. The one device's may not: a slip would load
	// the model once more, and nobody would see why.
	if which == Shadow && s.URI != "" && (slices.Contains(keys, "slot") || !hasSource(below, name)) { // without a uri it is no source
		if slots := slotsOf(below); !slices.Contains(slots, s.SlotName()) {
			return codeBadSetting, fmt.Sprintf("there is no slot %.70q; this device has %s", s.SlotName(), strings.Join(slots, ", "))
		}
	}
	return "", ""
}

// slotsOf are the slots of all sources, sorted.
func slotsOf(c *config.Config) []string {
	names := map[string]struct{}{}
	for _, s := range c.Sources {
		names[s.SlotName()] = struct{}{}
	}
	return slices.Sorted(maps.Keys(names))
}

// notFromCloud is why a source of this address may not come from the cloud; empty: it may. Whoever may write the settings
// of a fleet has no business with the rest of its devices: a program is anything at all, a file may be anybody's, and
// opening a device that is no camera may do something, as with a watchdog. What pictures show can be seen by whoever may
// read detections, and that is all.
func notFromCloud(s *config.Source) string {
	const camera = `^(usb:.*|/dev/video[0-9]{1,4}|/dev/v4l/by-(id|path)/[A-Za-z0-9_:+-][A-Za-z0-9_.:+-]*)$`
	switch scheme, _, _ := strings.Cut(strings.ToLower(s.URI), "://"); {
	case s.Kind() == config.KindProgram:
		return "programs may be named in the device's own file only"
	case s.Kind() == config.KindFile:
		return "files and folders of this device may be named in its own file only"
	case s.Kind() == config.KindDevice && !regexp.MustCompile(camera).MatchString(s.URI):
		return "write /dev/video0, usb:0, or a camera below /dev/v4l/by-id or by-path"
	case s.Kind() == config.KindStream && (scheme == "udp" || scheme == "tcp"): // FFmpeg is, or can be, the receiving end
		return "udp:// and tcp:// may be named in the device's own file only, as they open a port"
	}
	return ""
}
