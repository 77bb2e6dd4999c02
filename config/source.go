package config

import (
	"net/url"
	"slices"
	"strings"

	"gnomon/config/yamldoc"
	"gnomon/telemetry/redact"
)

// SourceKind is what a source's URI points at.
type SourceKind string

// The kinds.
const (
	KindSample SourceKind = "sample" // the video that comes with gnomon
	KindFile   SourceKind = "file"   // a video file or a folder of pictures
	KindDevice SourceKind = "device" // a camera of this machine
	KindStream SourceKind = "stream" // a camera or server in the network
)

// Kind is what the URI points at, told by its form alone.
func (s *Source) Kind() SourceKind {
	switch {
	case s.URI == SourceSample:
		return KindSample
	case strings.Contains(s.URI, "://"):
		return KindStream
	case strings.HasPrefix(s.URI, "/dev/"):
		return KindDevice
	}
	return KindFile
}

// Live reports whether frames arrive by the clock, whether or not anybody is ready for them.
func (s *Source) Live() bool { return s.Kind() == KindDevice || s.Kind() == KindStream }

// Redacted is the URI without the password that a stream's may have, for logs and errors.
func (s *Source) Redacted() string { return redact.Text(redacted(s.URI)) }

// redacted hides whatever stands between the scheme and the last @ of the authority. It does not parse: what is not a
// valid URL may hold a password too.
func redacted(uri string) string {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return uri
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	// A password with an unescaped slash ends the authority early: hide up to the last @ of all then.
	i := strings.LastIndexByte(authority, '@')
	if i < 0 {
		i = strings.LastIndexByte(rest, '@')
	}
	if i < 0 {
		return uri
	}
	return scheme + "://***" + rest[i:]
}

// streamSchemes are those that the capture backend opens; it is built without TLS.
var streamSchemes = []string{"rtsp", "rtmp", "http", "udp", "tcp"}

func (s *Source) check(p *yamldoc.Problems, path string) {
	key := func(name string) string { return yamldoc.Key(path, name) }
	s.checkURI(p, key("uri"))
	kind := s.Kind()
	if kind == KindDevice || kind == KindStream {
		if s.Loop {
			p.Addf(key("loop"), "is for files only, and this source is a %s; remove it", noun(kind))
		}
		if s.Pace != "" {
			p.Addf(key("pace"), "is for files only, and this source is a %s; remove it", noun(kind))
		}
	} else if s.Pace != "" {
		yamldoc.OneOf(p, key("pace"), s.Pace, PaceRealtime, PaceMax)
	}
	for _, size := range [...]struct {
		name    string
		v, most float64
	}{{"width", float64(s.Width), maxSide}, {"height", float64(s.Height), maxSide}, {"fps", s.FPS, maxFPS}} {
		switch {
		case size.v == 0:
		case kind != KindDevice:
			p.Addf(key(size.name), "is for cameras (/dev/video0) only, and this source is a %s; remove it", noun(kind))
		case !(size.v >= 0 && size.v <= size.most): // also NaN
			p.Addf(key(size.name), "must be from 0 to %v, not %v", size.most, size.v)
		}
	}
	if kind == KindDevice && (s.Width == 0) != (s.Height == 0) {
		set, missing := "width", "height"
		if s.Width == 0 {
			set, missing = missing, set
		}
		p.Addf(key(set), "is set but %s is not; write both or neither", missing)
	}
	if t := s.ScoreThreshold; t != nil && !(*t > 0 && *t <= 1) {
		p.Addf(key("score_threshold"), "must be above 0 and at most 1, not %v; remove it for the model's own", *t)
	}
	if s.Slot != "" && !matches(slotPattern, s.Slot) {
		p.Addf(key("slot"), "must be 1 to 64 of a-z, 0-9, _ and -, not %s", shown(s.Slot))
	}
	if s.Publish != "" {
		yamldoc.OneOf(p, key("publish"), s.Publish, PublishDetections, PublishEveryFrame)
	}
}

func (s *Source) checkURI(p *yamldoc.Problems, path string) {
	checkPath(p, path, redacted(s.URI))
	switch {
	case s.URI == "":
		p.Addf(path, "is missing; write a video file, a folder of pictures, /dev/video0, rtsp://… or %s", SourceSample)
	case strings.Trim(s.URI, "0123456789") == "":
		p.Addf(path, "is %q; write the camera's device: /dev/video%s", s.URI, s.URI)
	case s.Kind() == KindStream:
		scheme, _, _ := strings.Cut(s.URI, "://")
		if strings.EqualFold(scheme, "file") {
			p.Addf(path, "is %s; write the path alone for a file", shown(redacted(s.URI)))
			return
		}
		if !slices.Contains(streamSchemes, strings.ToLower(scheme)) {
			p.Addf(path, "begins with %s, which cannot be opened; streams begin with %s://", shown(scheme+"://"), strings.Join(streamSchemes, "://, "))
			return
		}
		// The parser's error repeats the URL, which may hold a password.
		if u, err := url.Parse(s.URI); err != nil || u.Hostname() == "" || !validPort(u) {
			p.Addf(path, "is not a valid URL: %s; write rtsp://HOST:PORT/PATH, with %% and two digits for special characters in a password", shown(redacted(s.URI)))
		}
	}
}

// noun is a kind in a sentence.
func noun(k SourceKind) string {
	switch k {
	case KindSample:
		return "video (sample)"
	case KindDevice:
		return "camera"
	case KindStream:
		return "live stream"
	}
	return "file"
}
