package config

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gnomon/config/yamldoc"
	"gnomon/telemetry/redact"
)

// Limits on what a configuration may ask for.
const (
	// maxThing is the longest thing name in bytes, as AWS IoT has it.
	maxThing = 128
	// maxSourceName is the longest name of a source: it shares a topic with the thing's name and the prefix.
	maxSourceName = 64
	// maxSources is the largest number of sources: each holds a decoder and several frames in memory.
	maxSources = 64
	// maxSide is the largest width or height of a camera's picture in pixels, twice what 8K has.
	maxSide = 16384
	// maxFPS is the largest frame rate to ask of a camera; high-speed industrial ones reach a few hundred.
	maxFPS = 1000
	// minFPS is the least: slower than a picture in ten seconds no camera is set, and whatever waits for a picture has to
	// know when one is missing.
	minFPS = 0.1
	// maxPixels is as much as the decoders take: 400 MB as BGR.
	maxPixels = 1 << 27
	// minRunTimeout and maxRunTimeout bound engine.run_timeout: below, ordinary jitter stops good runs; above, a hung
	// run would go unnoticed.
	minRunTimeout = 100 * time.Millisecond
	maxRunTimeout = 10 * time.Minute
	// minKeepAlive and maxKeepAlive are the limits of AWS IoT's broker.
	minKeepAlive = 30 * time.Second
	maxKeepAlive = 1200 * time.Second
	// maxOutbox is the largest mqtt.outbox: a message has about 1 KB, so it is some 100 MB.
	maxOutbox = 100_000
	// maxTopic is the longest topic in bytes, and maxSlashes the largest number of slashes in one, that AWS IoT takes.
	maxTopic   = 256
	maxSlashes = 7
	// maxHostName stands for the thing's name where that is the host's: Linux allows no longer one.
	maxHostName = 64
	// maxClientID is the longest client identifier in bytes that AWS IoT takes.
	maxClientID = 128
	// maxPath is the longest path or URI in bytes, PATH_MAX of Linux.
	maxPath = 4096
)

// The forms of names. A topic level has none of MQTT's separators and wildcards, no spaces and no control characters.
const (
	levelPattern  = `[^/+#\x00-\x20\x7f]+`
	thingPattern  = `^(` + levelPattern + `)?$`
	sourcePattern = `^[A-Za-z0-9_.-]{1,64}$`
	prefixPattern = `^[^$/+#\x00-\x20\x7f][^/+#\x00-\x20\x7f]*(/` + levelPattern + `){0,4}$`
)

var (
	thingForm  = regexp.MustCompile(thingPattern)
	sourceForm = regexp.MustCompile(sourcePattern)
	prefixForm = regexp.MustCompile(prefixPattern)
)

// Validate checks a configuration that was made or changed in Go. The error is a *yamldoc.Error with everything that
// is wrong, without positions; Parse and Load have checked already.
func (c *Config) Validate() error {
	if problems := c.check(); len(problems) > 0 {
		return &yamldoc.Error{Name: "configuration", Problems: problems}
	}
	return nil
}

// Thing is the device's name: device.thing, or the host's name where that is empty.
func (c *Config) Thing() (string, error) {
	if c.Device.Thing != "" {
		return c.Device.Thing, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("device.thing is empty and the host's name cannot be read; set device.thing: %w", err)
	}
	if host == "" || len(host) > maxHostName || !thingForm.MatchString(host) {
		return "", fmt.Errorf("device.thing is empty and the host's name %q cannot be part of a topic; set device.thing", host)
	}
	return host, nil
}

// check finds everything that is wrong. Problems of one section come in the order of its keys.
func (c *Config) check() []yamldoc.Problem {
	var p yamldoc.Problems
	if t := c.Device.Thing; len(t) > maxThing {
		p.Addf("device.thing", "has %d bytes, more than the %d that are allowed", len(t), maxThing)
	} else if !thingForm.MatchString(t) || !utf8.ValidString(t) {
		p.Addf("device.thing", "must not have / + # spaces or control characters, as it is one level of a topic: %q", t)
	}
	c.checkSources(&p)
	c.Model.check(&p)
	c.Engine.check(&p)
	c.MQTT.check(&p)
	c.checkTopics(&p)
	c.checkCloud(&p)
	yamldoc.OneOf(&p, "log.level", c.Log.Level, LevelDebug, LevelInfo, LevelWarn, LevelError)
	yamldoc.OneOf(&p, "log.format", c.Log.Format, FormatAuto, FormatJSON, FormatConsole)
	return p
}

func (c *Config) checkSources(p *yamldoc.Problems) {
	switch n := len(c.Sources); {
	case n == 0:
		p.Addf("sources", "has no entry; add one such as %s: {uri: %s}, or remove the key for the sample video", "front", "/dev/video0")
	case n > maxSources:
		p.Addf("sources", "has %d entries, more than the %d that are allowed", n, maxSources)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		path := yamldoc.Key("sources", name)
		if !sourceForm.MatchString(name) {
			p.Addf(path, "has a name that cannot be part of a topic; use 1 to %d letters, digits, _ . or -", maxSourceName)
		}
		s := c.Sources[name]
		s.check(p, path)
	}
}

func (m *Model) check(p *yamldoc.Problems) {
	switch {
	case m.Path == "":
		p.Addf("model.path", "is empty; write the path of an .onnx file, or %s for the model inside the program", ModelDefault)
	case strings.Contains(m.Path, "://"):
		p.Addf("model.path", "is %s; models are read from files: write the path of an .onnx file, or %s", shown(m.Path), ModelDefault)
	}
	checkPath(p, "model.path", m.Path)
	checkPath(p, "model.manifest", m.Manifest)
	if m.Path == ModelDefault && m.Manifest != "" {
		p.Addf("model.manifest", "has no use with the model inside the program, which brings its own; remove it, or set model.path")
	}
}

func checkDuration(p *yamldoc.Problems, path string, d Duration, low, high time.Duration) {
	if v := time.Duration(d); v < low || v > high {
		p.Addf(path, "must be from %v to %v, not %v", short(low), short(high), short(v))
	}
}

// short writes whole minutes and hours without the zeros that String appends.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func checkPath(p *yamldoc.Problems, path, value string) {
	if len(value) > maxPath {
		p.Addf(path, "has %d bytes, more than the %d that are allowed", len(value), maxPath)
	}
	if strings.ContainsFunc(value, isControl) {
		p.Addf(path, "must not have control characters: %s", shown(value))
	}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// shown is a value for an error: on one line, not too long.
func shown(s string) string {
	s = redact.Text(s)
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
