package config

import (
	"regexp"
	"strings"

	"gnomon/telemetry/redact"
)

// SourceKind is what a source's URI points at.
type SourceKind string

// The kinds.
const (
	KindSample  SourceKind = "sample"  // the video that comes with gnomon
	KindFile    SourceKind = "file"    // a video file or a folder of pictures
	KindDevice  SourceKind = "device"  // a V4L2 camera of this machine: /dev/video0, usb:0
	KindPreset  SourceKind = "preset"  // a camera behind the board's own program: csi:0, rpi:0
	KindStream  SourceKind = "stream"  // a camera or server in the network
	KindProgram SourceKind = "program" // whatever a pipeline or a command writes: gst:, exec:
	KindTest    SourceKind = "test"    // generated pictures: test:
)

// What the URIs of gnomon's own kinds begin with.
const (
	PrefixGStreamer = "gst:"
	PrefixExec      = "exec:"
	PrefixUSB       = "usb:"
	PrefixCSI       = "csi:"
	PrefixRPi       = "rpi:"
	PrefixTest      = "test:"

	prefixDevice = "/dev/"
)

// prefixed is a kind that is told by the beginning of a URI.
type prefixed struct {
	prefix string
	kind   SourceKind
}

func prefixes() []prefixed {
	return []prefixed{
		{PrefixGStreamer, KindProgram},
		{PrefixExec, KindProgram},
		{PrefixUSB, KindDevice},
		{PrefixCSI, KindPreset},
		{PrefixRPi, KindPreset},
		{PrefixTest, KindTest},
		{prefixDevice, KindDevice},
	}
}

// Kind is what the URI points at, told by its form alone. A program comes before a stream: its text may hold addresses.
func (s *Source) Kind() SourceKind {
	for _, p := range prefixes() {
		if strings.HasPrefix(s.URI, p.prefix) {
			return p.kind
		}
	}
	switch {
	case s.URI == SourceSample:
		return KindSample
	case strings.Contains(s.URI, "://"):
		return KindStream
	}
	return KindFile
}

// Live reports whether frames arrive by the clock, whether or not anybody is ready for them.
func (s *Source) Live() bool {
	kind := s.Kind()
	return kind != KindSample && kind != KindFile
}

// sized reports whether a size and a rate can be asked for.
func (k SourceKind) sized() bool {
	return k == KindDevice || k == KindPreset || k == KindProgram || k == KindTest
}

// noun is a kind in a sentence.
func (k SourceKind) noun() string {
	switch k {
	case KindSample:
		return "video (sample)"
	case KindDevice, KindPreset:
		return "camera"
	case KindStream:
		return "live stream"
	case KindProgram:
		return "program"
	case KindTest:
		return "test picture"
	}
	return "file"
}

// Redacted is the URI without the passwords that it may hold, for logs and errors: that of a stream, and those anywhere
// in the text of a program.
func (s *Source) Redacted() string { return redact.Text(redacted(s.URI)) }

// redacted does not parse: what is not a valid URL, or not a command that could run, may hold a password too.
func redacted(uri string) string {
	if s := (&Source{URI: uri}); s.Kind() != KindProgram {
		scheme, rest, ok := strings.Cut(uri, "://")
		if !ok {
			return uri
		}
		return scheme + "://" + hideUser(rest)
	}
	parts := strings.Split(uri, "://") // each but the first begins with an address
	for i := range parts[1:] {
		parts[i+1] = hideUser(parts[i+1])
	}
	text := strings.Join(parts, "://")
	// What elements of GStreamer call a password, and what curl does.
	for _, login := range [...]string{
		`([A-Za-z-]*pw\s*=\s*)("[^"]*"|'[^']*'|\S+)`,
		`(\s(?:-u|--user|--proxy-user)[\s=]+)("[^"]*:[^"]*"|'[^']*:[^']*'|\S*:\S+)`,
	} {
		text = regexp.MustCompile(login).ReplaceAllString(text, "${1}"+redact.Mark)
	}
	return text
}

// hideUser hides whatever stands before the last @ of the authority that s begins with.
func hideUser(s string) string {
	authority := s
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		authority = s[:i]
	}
	// A password with an unescaped slash ends the authority early: hide up to the last @ of all then.
	i := strings.LastIndexByte(authority, '@')
	if i < 0 {
		i = strings.LastIndexByte(s, '@')
	}
	if i < 0 {
		return s
	}
	return redact.Mark + s[i:]
}
