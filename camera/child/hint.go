package child

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Packages of Debian, Raspberry Pi OS and Jetson Linux.
const (
	packageTools = "gstreamer1.0-tools"
	packageBase  = "gstreamer1.0-plugins-base"
	packageGood  = "gstreamer1.0-plugins-good"
	packageBad   = "gstreamer1.0-plugins-bad"
	packageUgly  = "gstreamer1.0-plugins-ugly"
	packageLibav = "gstreamer1.0-libav"
	packageL4T   = "nvidia-l4t-gstreamer"
)

// noElement is how GStreamer says that an element is missing, before its name.
const noElement = `no element "`

// install says how to get a program, as the end of a sentence.
func install(program string) string {
	packages := map[string]string{
		launcher:     strings.Join([]string{packageTools, packageBase, packageGood}, " "),
		"ffmpeg":     "ffmpeg",
		"rpicam-vid": "rpicam-apps",
		"v4l2-ctl":   "v4l-utils",
		"curl":       "curl",
	}[filepath.Base(program)]
	if packages == "" {
		return "; look at its name and at PATH, or write its whole path"
	}
	return "; install it with apt-get install " + packages
}

// hint explains what a program said, where that helps; empty: it speaks for itself.
func hint(said string) string {
	if _, rest, ok := strings.Cut(said, noElement); ok {
		element, _, _ := strings.Cut(rest, `"`)
		return elementHint(element)
	}
	for _, known := range [...]struct{ words, hint string }{
		{"syntax error", "the pipeline cannot be parsed; try it with gst-launch-1.0"},
		{"could not link", "two neighbours in the pipeline have no format in common; a videoconvert between them may help"},
		{"not-negotiated", "no format, size and rate were found that suit the whole pipeline; ask for others"},
		{"No cameras available", "the sensor is not found; check its cable and its device tree"},
		{"no cameras available", "the sensor is not found; check its cable and that camera_auto_detect=1 stands in config.txt"},
		{"Failed to create CaptureSession", "another program has the camera, or the service nvargus-daemon must be restarted"},
		{"Unauthorized", "the user or the password is wrong"},
		{"Permission denied", "the user of the service must be in the group video"},
	} {
		if strings.Contains(said, known.words) {
			return known.hint
		}
	}
	return ""
}

// elementHint names the package of an element.
func elementHint(element string) string {
	names := map[string][]string{
		packageBase: {"videoconvert", "videoscale", "videorate", "videotestsrc", "decodebin", "parsebin", "playbin", "uridecodebin", "theoradec", "oggdemux", "appsrc"},
		packageGood: {"v4l2src", "y4menc", "jpegdec", "jpegenc", "rtspsrc", "souphttpsrc", "multipartdemux", "matroskademux", "qtdemux", "avidemux", "vp8dec", "vp9dec", "pngdec", "videocrop", "videoflip"},
		packageBad:  {"h264parse", "h265parse", "openh264dec", "srtsrc", "kmssrc", "tsdemux", "libcamerasrc"},
		packageUgly: {"x264enc", "mpeg2dec"},
	}
	found := ""
	switch {
	case strings.HasPrefix(element, "nv"):
		found = packageL4T
	case strings.HasPrefix(element, "avdec_"), strings.HasPrefix(element, "avenc_"):
		found = packageLibav
	case strings.HasPrefix(element, "rtp"), strings.HasPrefix(element, "v4l2"):
		found = packageGood
	}
	for name, elements := range names {
		for _, e := range elements {
			if e == element {
				found = name
			}
		}
	}
	if found == "" {
		return fmt.Sprintf("no installed plug-in has the element %s; gst-inspect-1.0 lists those that there are", element)
	}
	return fmt.Sprintf("the element %s is in the package %s", element, found)
}
