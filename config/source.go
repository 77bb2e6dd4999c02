package config

import (
	"errors"
	"fmt"
	"time"

	"gnomon/config/yamldoc"
)

// Source is one entry of the section sources. Its zero value is not its default: see SetDefaults.
type Source struct {
	Enabled        bool     `yaml:"enabled" jsonschema_description:"False leaves the source out without deleting it."`
	URI            string   `yaml:"uri" jsonschema:"required" jsonschema_description:"The word sample (the video that comes with gnomon), a video file, a folder of pictures, a camera (/dev/video0, usb:0, csi:0 on a Jetson, rpi:0 on a Raspberry Pi), a stream (rtsp://, rtmp://, http://, udp://, tcp://), gst: and a GStreamer pipeline, exec: and a program that writes pictures, or test: for moving shapes."`
	Loop           bool     `yaml:"loop" jsonschema_description:"Files only: begin again at the end."`
	Pace           Pace     `yaml:"pace" jsonschema_description:"Files only: realtime plays a video at its own rate, max as fast as the model can."`
	Watch          bool     `yaml:"watch" jsonschema_description:"Folders only: wait for new pictures."`
	Width          int      `yaml:"width" jsonschema_description:"Cameras, programs and test pictures only: the width to ask for in pixels, together with height. 0: the camera's choice."`
	Height         int      `yaml:"height" jsonschema_description:"Cameras, programs and test pictures only: the height to ask for in pixels, together with width. 0: the camera's choice."`
	FPS            float64  `yaml:"fps" jsonschema_description:"Cameras, programs and test pictures only: the frames a second to ask for. 0: the camera's choice."`
	Format         string   `yaml:"format" jsonschema_description:"What /dev/video and usb cameras are asked for: mjpg or yuyv. What programs write: y4m, mjpeg, bgr, rgb, gray, i420, nv12 or yuyv. Empty: found out."`
	Transport      string   `yaml:"transport" jsonschema_description:"rtsp:// only: tcp or udp. Empty: tcp, and udp where the camera has no tcp."`
	Decoder        string   `yaml:"decoder" jsonschema_description:"rtsp:// only: jetson decodes in the hardware of a Jetson. Empty: in software."`
	Rotate         int      `yaml:"rotate" jsonschema_description:"Turn the picture clockwise: 0, 90, 180 or 270 degrees."`
	Flip           string   `yaml:"flip" jsonschema_description:"Mirror the turned picture: horizontal (left and right change places), vertical or both. Empty: not."`
	Crop           Area     `yaml:"crop" jsonschema_description:"The part of the camera's picture to use, before it is turned: [x, y, width, height], each a share from 0 to 1. Empty: all of it."`
	ROI            Area     `yaml:"roi" jsonschema_description:"The part of the picture to look at, written as crop. Boxes stay in pixels of the whole picture. Empty: all of it."`
	ScoreThreshold *float32 `yaml:"score_threshold" jsonschema_description:"Detections of a lower score are left out, above 0 up to 1. Unset: what the model's manifest says."`
	Labels         []string `yaml:"labels" jsonschema_description:"Only detections of these classes are published. Empty: of all."`
	DetectFPS      float64  `yaml:"detect_fps" jsonschema_description:"At most so many frames a second are looked at. 0: as many as there are."`
	Motion         float64  `yaml:"motion" jsonschema_description:"The share of the picture, 0 to 1, that must have changed for a frame to be looked at, such as 0.01. 0: every frame is."`
	Stall          Duration `yaml:"stall" jsonschema_description:"Live sources only: no picture for so long counts as a failure, and the source is opened again: 500ms to 10m. 0s: two seconds, or three frames where that is longer."`
	FrozenAfter    Duration `yaml:"frozen_after" jsonschema_description:"The same picture for so long is reported: 1s to 24h. 0s: never."`
	BlackAfter     Duration `yaml:"black_after" jsonschema_description:"A black picture for so long is reported: 1s to 24h. 0s: never."`
	Slot           string   `yaml:"slot" jsonschema_description:"Where the model of this source runs. Sources with one slot share its model; a deployment names the slot. Empty: default."`
	Publish        Publish  `yaml:"publish" jsonschema_description:"As mqtt.publish, for this source alone. Unset: what mqtt.publish says."`
}

// defaultFault is after what time a frozen or black picture is reported: longer than a camera takes to restart.
const defaultFault = Duration(time.Minute)

// SetDefaults implements yamldoc.Defaulter: what a source is unless the file says otherwise.
func (s *Source) SetDefaults() {
	s.Enabled, s.FrozenAfter, s.BlackAfter = true, defaultFault, defaultFault
	s.Labels = []string{}
}

// Realtime reports whether frames of a file come at the video's own rate.
func (s *Source) Realtime() bool { return s.Pace != PaceMax }

// Pace says how fast a file is read; empty is PaceRealtime.
type Pace string

// The paces.
const (
	PaceRealtime Pace = "realtime"
	PaceMax      Pace = "max"
)

// The words for Source.Transport, Source.Decoder and Source.Flip.
const (
	TransportTCP   = "tcp"
	TransportUDP   = "udp"
	DecoderJetson  = "jetson"
	FlipHorizontal = "horizontal"
	FlipVertical   = "vertical"
	FlipBoth       = "both"
)

// Area is a part of a picture: x and y of its upper left corner, width and height, all as shares of the picture from 0
// to 1. The zero value, in YAML an empty list, is all of the picture.
type Area [4]float64

// UnmarshalNode implements yamldoc.Unmarshaler.
func (a *Area) UnmarshalNode(n yamldoc.Node) error {
	if n.Kind() != yamldoc.List {
		return fmt.Errorf("must be a list, [x, y, width, height], not %s", n.Describe())
	}
	var list []float64
	switch {
	case !n.Decode(&list):
		return nil
	case len(list) != 0 && len(list) != len(a):
		return fmt.Errorf("must have 4 entries, [x, y, width, height], not %d", len(list))
	}
	*a = Area{}
	copy(a[:], list)
	if len(list) > 0 && *a == (Area{}) { // which stands for all of it, and nobody means that
		return errors.New("has no width and height; write [x, y, width, height] as shares from 0 to 1, or [] for all of the picture")
	}
	return nil
}

// All reports whether the area is the whole picture.
func (a Area) All() bool { return a == Area{} || a == Area{0, 0, 1, 1} }
