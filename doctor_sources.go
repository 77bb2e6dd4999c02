package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"gnomon/config"
	"gnomon/doctor"
	"gnomon/engine"
)

const (
	// openLimit is how long a source may take to open and to give its first picture: RTSP is tried by TCP and then by UDP.
	openLimit = 30 * time.Second
	// black is the brightest value of a picture that shows nothing: video's black is 16.
	black = 20
)

// sources are checks of those that are enabled.
func (p *patient) sources() (checks []doctor.Check) {
	for _, name := range slices.Sorted(maps.Keys(p.cfg.Sources)) {
		src := p.cfg.Sources[name]
		c := doctor.Check{Name: "source " + name, Limit: openLimit + p.frames, Run: func(ctx context.Context) doctor.Finding { return p.source(ctx, name, src) }}
		switch {
		case !src.Enabled:
			c = finding(c.Name, doctor.Skip("it is disabled"))
		case p.offline && src.Kind() == config.KindStream:
			c = finding(c.Name, doctor.Skip("--offline"))
		}
		checks = append(checks, c)
	}
	return checks
}

// sourceAdvice is what to do about a source of a kind that does not open.
func sourceAdvice(kind config.SourceKind) string {
	switch kind {
	case config.KindDevice:
		return "plug the camera in, see gnomon cameras for what is there, and see that this user may open it (group video)"
	case config.KindPreset:
		return "check the ribbon cable, and that the board's own program sees the camera"
	case config.KindStream:
		return "check the address, the user and the password, and that the camera is on: ping, and its own page"
	case config.KindProgram:
		return "run the command by hand and see what it writes"
	case config.KindSample:
		return "copy sample.avi beside the binary, or set sources"
	}
	return "correct its uri"
}

// source opens one and sees what it delivers.
func (p *patient) source(ctx context.Context, name string, src config.Source) doctor.Finding {
	kind := src.Kind()
	seen, err := p.lookAt(ctx, name, src)
	owned := kind == config.KindDevice || kind == config.KindPreset || kind == config.KindProgram
	switch {
	case err != nil && p.running.Running && owned:
		return doctor.Warn("stop the agent to look at it", "%v; the agent that runs (process %d) may have it", err, p.running.PID)
	case err != nil && src.Watch && seen.frames == 0 && ctx.Err() != nil:
		return doctor.Warn("put a picture there to try it", "%s: no picture has come yet", src.Redacted())
	case err != nil:
		return doctor.Fail(sourceAdvice(kind), "%v", err)
	}
	text := fmt.Sprintf("%s: %dx%d", seen.what, seen.width, seen.height)
	if seen.frames > 1 {
		text += fmt.Sprintf(", %.1f frames/s", float64(seen.frames-1)/seen.took.Seconds())
	}
	if seen.dark {
		return doctor.Warn("take the cover off the lens, or light the scene", "%s, but all that it shows is black", text)
	}
	return doctor.Good("%s", text)
}

// sight is what a source has shown.
type sight struct {
	what          string
	width, height int
	frames        int
	took          time.Duration // from the first frame to the last
	dark          bool          // the last one is
}

func (p *patient) lookAt(ctx context.Context, name string, src config.Source) (seen sight, err error) {
	o := cameraOptions(name, &src)
	o.Loop = true
	source, err := openInput(ctx, o)
	if err != nil {
		return seen, err
	}
	closed := sync.OnceValue(source.Close)
	stop := context.AfterFunc(ctx, func() { _ = closed() }) // a read in progress ends with it
	defer stop()
	defer func() { err = errors.Join(err, closed()) }()
	var f engine.Frame
	defer func() { err = errors.Join(err, f.Close()) }()
	var first time.Time
	for seen.took < p.frames && ctx.Err() == nil {
		err := source.Read(ctx, &f)
		if err != nil && seen.frames > 0 && (errors.Is(err, io.EOF) || ctx.Err() != nil) {
			break // it ended, or there was no more in the time: what was seen is good
		}
		if err != nil {
			return seen, err
		}
		if seen.frames++; seen.frames == 1 {
			first = f.CapturedAt
		}
		seen.took = f.CapturedAt.Sub(first)
		seen.width, seen.height, seen.dark = f.Width, f.Height, dark(&f)
	}
	seen.what = describe{source}.String()
	return seen, nil
}

// dark reports whether nothing in a picture is bright enough to be seen.
func dark(f *engine.Frame) bool {
	for y := range f.Height {
		for _, v := range f.Pix[y*f.Stride:][:3*f.Width] {
			if v > black {
				return false
			}
		}
	}
	return true
}
