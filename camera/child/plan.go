package child

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Command is a program to run and what it writes.
type Command struct {
	Args    []string // the program and its arguments; no shell sees them
	Instead []string // other names of the program, tried in turn when it is not installed
	Env     []string // NAME=VALUE on top of what is inherited

	Side bool // pictures come through file descriptor 3, and stdout is for messages

	Format        string  // what it writes; empty: Y4M or MJPEG, told by the first bytes
	Width, Height int     // pixels of raw formats
	Rate          float64 // frames a second that were asked for; 0: unknown
}

// name is the program's, for errors.
func (c Command) name() string { return filepath.Base(c.Args[0]) }

// Ask is what a source wants of its program. Zero values leave the choice to it.
type Ask struct {
	Width, Height int     // pixels, both or neither
	FPS           float64 // frames a second
	Format        string  // of exec: and gst:
	Transport     string  // of rtsp: tcp or udp
}

// Plan makes the command of a source: exec:COMMAND, gst:PIPELINE, csi:N, rpi:N, or rtsp://… to be decoded by a Jetson.
// Errors hold nothing of a command, as it may hold a password.
func Plan(uri string, ask Ask) (Command, error) {
	kind, rest, _ := strings.Cut(uri, ":")
	switch strings.ToLower(kind) {
	case "exec":
		return planExec(rest, ask)
	case "gst":
		return planPipeline(rest, ask)
	case "csi":
		return planCSI(rest, ask)
	case "rpi":
		return planRPi(rest, ask)
	case "rtsp":
		return planRTSP(uri, ask)
	}
	return Command{}, errors.New("this is no program: one begins with exec:, gst:, csi:, rpi: or rtsp")
}

func planExec(text string, ask Ask) (Command, error) {
	words, err := split(text)
	if err == nil {
		err = shellOnly(words)
	}
	if err == nil && (len(words) == 0 || words[0] == "") {
		err = errors.New("there is no command; write the program and its arguments behind the colon")
	}
	if err != nil {
		return Command{}, fmt.Errorf("exec: %w", err)
	}
	return Command{Args: words, Format: ask.Format, Width: ask.Width, Height: ask.Height, Rate: ask.FPS}, nil
}

const launcher = "gst-launch-1.0"

// pipeline is the command of a whole pipeline.
func pipeline(words ...string) Command {
	// Quiet; and without its handler for crashes, which waits for a debugger instead of ending. Its messages are
	// understood in English.
	return Command{Args: append([]string{launcher, "-q", "-f"}, words...), Env: []string{"LC_ALL=C"}}
}

// planPipeline completes the user's pipeline, unless it has an fdsink of its own. Pipelines are passed around as arguments
// of gst-launch-1.0 in a shell, so they are split as those; it joins them again and escapes their spaces.
func planPipeline(text string, ask Ask) (Command, error) {
	words, err := split(text)
	if err == nil && len(words) == 0 {
		err = errors.New("there is no pipeline; write one behind the colon")
	}
	if err != nil {
		return Command{}, fmt.Errorf("gst: %w", err)
	}
	if slices.Contains(words, "fdsink") {
		c := pipeline(words...)
		c.Format, c.Width, c.Height, c.Rate = ask.Format, ask.Width, ask.Height, ask.FPS
		return c, nil
	}
	last := words[len(words)-1:]
	if i := lastIndex(words, "!"); i >= 0 {
		last = words[i+1:]
	}
	if len(last) > 0 && strings.HasSuffix(last[0], "sink") {
		return Command{}, fmt.Errorf("gst: the pipeline ends in %s, so no picture comes out of it; leave it out, or write fdsink", last[0])
	}
	if words[len(words)-1] == "!" {
		words = words[:len(words)-1]
	}
	tail, err := output(ask)
	if err != nil {
		return Command{}, fmt.Errorf("gst: %w", err)
	}
	c := pipeline(append(words, tail...)...)
	c.Side, c.Format, c.Width, c.Height, c.Rate = true, ask.Format, ask.Width, ask.Height, ask.FPS
	if c.Format == "" {
		c.Format = Y4M
	}
	return c, nil
}

func lastIndex(words []string, w string) int {
	for i, word := range slices.Backward(words) {
		if word == w {
			return i
		}
	}
	return -1
}

// output is the end of a pipeline that writes pictures as they were asked for.
func output(ask Ask) ([]string, error) {
	var words []string
	if ask.Format != MJPEG {
		format, ok := map[string]string{"": "I420", Y4M: "I420", BGR: "BGR", RGB: "RGB", Gray: "GRAY8", I420: "I420", NV12: "NV12", YUYV: "YUY2"}[ask.Format]
		if !ok {
			return nil, fmt.Errorf("the format %q is not known", ask.Format)
		}
		caps := "video/x-raw,format=" + format + size(ask)
		if ask.FPS > 0 { // never more pictures than there are
			words = append(words, "!", "videorate", "drop-only=true")
			caps += ",framerate=[0/1," + rate(ask.FPS) + "]"
		}
		if ask.Width > 0 {
			words = append(words, "!", "videoscale")
		}
		words = append(words, "!", "videoconvert", "!", caps)
		switch {
		case ask.Format == "" || ask.Format == Y4M:
			words = append(words, "!", "y4menc")
		case ask.Width%8 != 0 || ask.Height%2 != 0 || ask.Width == 0: // GStreamer would put gaps between the rows
			return nil, fmt.Errorf("with the format %s the width must be a multiple of 8 and the height even, not %dx%d; or leave the format out", ask.Format, ask.Width, ask.Height)
		}
	}
	return append(words, sideSink()...), nil
}

// sideSink writes to a descriptor of its own: NVIDIA's elements print on stdout.
func sideSink() []string {
	return []string{"!", "fdsink", "fd=" + strconv.Itoa(sideFile), "sync=false"}
}

func size(ask Ask) string {
	if ask.Width == 0 || ask.Height == 0 {
		return ""
	}
	return fmt.Sprintf(",width=%d,height=%d", ask.Width, ask.Height)
}

// rate is a frame rate as a fraction: 30/1, 30000/1001, 12500/1000.
func rate(fps float64) string {
	if ntsc := math.Round(fps) * 1000 / 1001; fps != math.Round(fps) && ntsc > 0 && math.Abs(fps-ntsc) < 0.005 {
		return fmt.Sprintf("%.0f/1001", math.Round(fps)*1000)
	}
	if fps == math.Round(fps) {
		return fmt.Sprintf("%.0f/1", fps)
	}
	return fmt.Sprintf("%.0f/1000", max(1, math.Round(fps*1000)))
}
