package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gnomon/config/yamldoc"
)

// Limits on a source.
const (
	// maxCamera is the largest number of a camera in usb:, csi: and rpi:, as many as there may be sources.
	maxCamera = maxSources - 1
	// minStall is the least stall: below, one lost frame of a slow camera looks like a failure. With maxStall a camera
	// that takes a picture every few minutes still can be watched.
	minStall = 500 * time.Millisecond
	maxStall = 10 * time.Minute
	// minFault and maxFault bound frozen_after and black_after: below, a scene that stands still counts as a fault.
	minFault = time.Second
	maxFault = 24 * time.Hour
	// maxLabels is the largest number of labels: more than the largest label sets in use have classes worth naming.
	maxLabels = 1000
	// maxLabel is the longest label in bytes.
	maxLabel = 128
)

// deviceFormats are what V4L2 cameras are asked for.
func deviceFormats() []string { return []string{"mjpg", "yuyv"} }

// selfDescribing are formats of programs that say their size themselves, and rawFormats those that don't.
func selfDescribing() []string { return []string{"y4m", "mjpeg"} }
func rawFormats() []string     { return []string{"bgr", "rgb", "gray", "i420", "nv12", "yuyv"} }

// streamSchemes are those that the capture backend opens; it is built without TLS.
func streamSchemes() []string { return []string{"rtsp", "rtmp", "http", "udp", "tcp"} }

func (s *Source) check(p *yamldoc.Problems, path string) {
	key := func(name string) string { return yamldoc.Key(path, name) }
	s.checkURI(p, key("uri"))
	s.checkReading(p, key)
	s.checkSize(p, key)
	s.checkCoding(p, key)
	s.checkPicture(p, key)
	s.checkLooking(p, key)
	if s.Slot != "" && !matches(slotPattern, s.Slot) {
		p.Addf(key("slot"), "must be 1 to 64 of a-z, 0-9, _ and -, not %s", shown(s.Slot))
	}
	if s.Publish != "" {
		yamldoc.OneOf(p, key("publish"), s.Publish, PublishDetections, PublishEveryFrame)
	}
}

// checkReading checks what is for files alone, or for live sources alone.
func (s *Source) checkReading(p *yamldoc.Problems, key func(string) string) {
	kind := s.Kind()
	only := func(name, what string) {
		p.Addf(key(name), "is for %s only, and this source is a %s; remove it", what, kind.noun())
	}
	if s.Loop && s.Live() {
		only("loop", "files")
	}
	switch {
	case s.Pace != "" && s.Live():
		only("pace", "files")
	case s.Pace != "":
		yamldoc.OneOf(p, key("pace"), s.Pace, PaceRealtime, PaceMax)
	}
	switch {
	case s.Watch && kind != KindFile:
		only("watch", "folders")
	case s.Watch && s.Loop:
		p.Addf(key("watch"), "waits for new pictures, and loop shows the old ones again; remove one of the two")
	}
	if s.Stall != 0 && !s.Live() {
		only("stall", "live sources")
	} else {
		checkUnlessZero(p, key("stall"), s.Stall, minStall, maxStall, "two seconds or three frames")
	}
}

// checkUnlessZero checks a duration whose zero means something else.
func checkUnlessZero(p *yamldoc.Problems, path string, d Duration, low, high time.Duration, zero string) {
	if v := time.Duration(d); v != 0 && (v < low || v > high) {
		p.Addf(path, "must be from %v to %v, or 0s for %s, not %v", short(low), short(high), zero, short(v))
	}
}

func (s *Source) checkSize(p *yamldoc.Problems, key func(string) string) {
	kind := s.Kind()
	for _, size := range [...]struct {
		name    string
		v, most float64
	}{{"width", float64(s.Width), maxSide}, {"height", float64(s.Height), maxSide}, {"fps", s.FPS, maxFPS}} {
		switch {
		case size.v == 0:
		case !kind.sized():
			p.Addf(key(size.name), "is for cameras of this machine, programs and %s only, and this source is a %s; remove it", PrefixTest, kind.noun())
		case size.name == "fps" && size.v > 0 && size.v < minFPS:
			p.Addf(key("fps"), "must be at least %v, or 0 for the camera's choice, not %v; detect_fps makes a source slower", minFPS, size.v)
		case !(size.v >= 0 && size.v <= size.most): // also NaN
			p.Addf(key(size.name), "must be from 0 to %v, not %v", size.most, size.v)
		}
	}
	if s.Width > 0 && s.Height > maxPixels/s.Width {
		p.Addf(key("height"), "makes pictures of more than %d million pixels; write a smaller width or height", maxPixels/1_000_000)
	}
	if kind.sized() && (s.Width == 0) != (s.Height == 0) {
		set, missing := "width", "height"
		if s.Width == 0 {
			set, missing = missing, set
		}
		p.Addf(key(set), "is set but %s is not; write both or neither", missing)
	}
}

// checkCoding checks how pictures are coded, sent and decoded.
func (s *Source) checkCoding(p *yamldoc.Problems, key func(string) string) {
	kind := s.Kind()
	switch {
	case s.Format == "":
	case kind == KindDevice:
		yamldoc.OneOf(p, key("format"), s.Format, deviceFormats()...)
	case kind == KindProgram:
		yamldoc.OneOf(p, key("format"), s.Format, slices.Concat(selfDescribing(), rawFormats())...)
		if slices.Contains(rawFormats(), s.Format) && (s.Width == 0 || s.Height == 0) {
			p.Addf(key("format"), "is %s, which does not say how large a picture is; write width and height as well", s.Format)
		}
	default:
		p.Addf(key("format"), "is for /dev/video0, %s, %s and %s only, and this source is a %s; remove it", PrefixUSB, PrefixGStreamer, PrefixExec, kind.noun())
	}
	scheme, _, _ := strings.Cut(s.URI, "://")
	rtsp := kind == KindStream && strings.EqualFold(scheme, "rtsp")
	for _, word := range [...]struct {
		name, v string
		words   []string
	}{{"transport", s.Transport, []string{TransportTCP, TransportUDP}}, {"decoder", s.Decoder, []string{DecoderJetson}}} {
		switch {
		case word.v == "":
		case !rtsp:
			p.Addf(key(word.name), "is for rtsp:// only; remove it")
		default:
			yamldoc.OneOf(p, key(word.name), word.v, word.words...)
		}
	}
}

// checkPicture checks what is made of a picture before it is looked at.
func (s *Source) checkPicture(p *yamldoc.Problems, key func(string) string) {
	if !slices.Contains([]int{0, 90, 180, 270}, s.Rotate) {
		p.Addf(key("rotate"), "must be 0, 90, 180 or 270 degrees, not %d", s.Rotate)
	}
	if s.Flip != "" {
		yamldoc.OneOf(p, key("flip"), s.Flip, FlipHorizontal, FlipVertical, FlipBoth)
	}
	for _, area := range [...]struct {
		name string
		v    Area
	}{{"crop", s.Crop}, {"roi", s.ROI}} {
		if message := area.v.problem(); message != "" {
			p.Addf(key(area.name), "%s", message)
		}
	}
}

// problem is what is wrong with an area; empty: nothing.
func (a Area) problem() string {
	// areaSlack forgives the last digit of shares that are meant to add up to 1.
	const areaSlack = 1e-9
	x, y, w, h := a[0], a[1], a[2], a[3]
	inside := func(v float64) bool { return v >= 0 && v <= 1 } // not NaN
	switch {
	case a == Area{}:
		return ""
	case !inside(x) || !inside(y) || !inside(w) || !inside(h):
		return "must be [x, y, width, height], each a share of the picture from 0 to 1"
	case w == 0 || h == 0:
		return "has no width or no height; write [x, y, width, height], or [] for all of the picture"
	case x+w > 1+areaSlack || y+h > 1+areaSlack:
		return "reaches over the edge of the picture; x and width together, and y and height together, must be at most 1"
	}
	return ""
}

// checkLooking checks which frames are looked at, and what is made of them.
func (s *Source) checkLooking(p *yamldoc.Problems, key func(string) string) {
	if t := s.ScoreThreshold; t != nil && !(*t > 0 && *t <= 1) {
		p.Addf(key("score_threshold"), "must be above 0 and at most 1, not %v; remove it for the model's own", *t)
	}
	s.checkLabels(p, key("labels"))
	if v := s.DetectFPS; !(v >= 0 && v <= maxFPS) {
		p.Addf(key("detect_fps"), "must be from 0 to %v, not %v", maxFPS, v)
	}
	if v := s.Motion; !(v >= 0 && v <= 1) {
		p.Addf(key("motion"), "must be a share of the picture from 0 to 1, not %v", v)
	}
	checkUnlessZero(p, key("frozen_after"), s.FrozenAfter, minFault, maxFault, "never")
	checkUnlessZero(p, key("black_after"), s.BlackAfter, minFault, maxFault, "never")
}

func (s *Source) checkLabels(p *yamldoc.Problems, path string) {
	if n := len(s.Labels); n > maxLabels {
		p.Addf(path, "has %d entries, more than the %d that are allowed", n, maxLabels)
		return
	}
	seen := map[string]bool{}
	for i, label := range s.Labels {
		at := yamldoc.Index(path, i)
		switch {
		case label == "":
			p.Addf(at, "is empty; write the name of a class, or remove it")
		case len(label) > maxLabel:
			p.Addf(at, "has %d bytes, more than the %d that are allowed", len(label), maxLabel)
		case strings.ContainsFunc(label, isControl):
			p.Addf(at, "must not have control characters: %s", shown(label))
		case seen[label]:
			p.Addf(at, "is there twice: %s; remove one", shown(label))
		}
		seen[label] = true
	}
}

func (s *Source) checkURI(p *yamldoc.Problems, path string) {
	checkPath(p, path, redacted(s.URI))
	prefix, rest, _ := strings.Cut(s.URI, ":")
	switch kind := s.Kind(); {
	case s.URI == "":
		p.Addf(path, "is missing; write a video file, a folder of pictures, /dev/video0, rtsp://… or %s", SourceSample)
	case strings.Trim(s.URI, "0123456789") == "":
		p.Addf(path, "is %q; write the camera's device: /dev/video%s", s.URI, s.URI)
	case kind == KindStream:
		s.checkStream(p, path)
	case kind == KindProgram:
		if strings.TrimSpace(rest) == "" {
			p.Addf(path, "is %s: without a %s; write one behind the colon", prefix, map[string]string{PrefixGStreamer: "pipeline", PrefixExec: "command"}[prefix+":"])
		}
	case kind == KindTest:
		if rest != "" {
			p.Addf(path, "is %s; write %s alone, with width, height and fps beside it", shown(s.URI), PrefixTest)
		}
	case kind == KindPreset || strings.HasPrefix(s.URI, PrefixUSB):
		if n, err := strconv.Atoi(rest); err != nil || n < 0 || n > maxCamera || strconv.Itoa(n) != rest {
			p.Addf(path, "is %s; write %s:0 for the first camera, at most %s:%d", shown(s.URI), prefix, prefix, maxCamera)
		}
	case kind == KindFile:
		s.checkFile(p, path)
	}
}

// checkFile looks for what was meant to be something else.
func (s *Source) checkFile(p *yamldoc.Problems, path string) {
	for _, known := range prefixes() {
		name := strings.TrimSuffix(known.prefix, ":")
		meant := known.prefix
		switch known.kind {
		case KindDevice, KindPreset:
			meant += "0"
		case KindProgram:
			meant += "…"
		}
		switch {
		case name == known.prefix: // a folder
		case s.URI == name:
			p.Addf(path, "is %q; write %s, or ./%s if it is a file", s.URI, meant, name)
		case len(s.URI) >= len(known.prefix) && strings.EqualFold(s.URI[:len(known.prefix)], known.prefix):
			p.Addf(path, "begins with %q; write it in small letters, as in %s", s.URI[:len(known.prefix)], meant)
		}
	}
}

func (s *Source) checkStream(p *yamldoc.Problems, path string) {
	scheme, _, _ := strings.Cut(s.URI, "://")
	if strings.EqualFold(scheme, "file") {
		p.Addf(path, "is %s; write the path alone for a file", shown(redacted(s.URI)))
		return
	}
	if schemes := streamSchemes(); !slices.Contains(schemes, strings.ToLower(scheme)) {
		p.Addf(path, "begins with %s, which cannot be opened; streams begin with %s://", shown(scheme+"://"), strings.Join(schemes, "://, "))
		return
	}
	// The parser's error repeats the URL, which may hold a password. What separates or quotes words has no place in a URL
	// (RFC 3986, appendix C), and would become more than an address in a pipeline.
	if u, err := url.Parse(s.URI); err != nil || u.Hostname() == "" || !validPort(u) || strings.ContainsAny(s.URI, " \"'\\`<>") {
		p.Addf(path, "is not a valid URL: %s; write rtsp://HOST:PORT/PATH, with %% and two digits for special characters in a password", shown(redacted(s.URI)))
	}
}
