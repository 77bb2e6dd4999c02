package models

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gnomon/config/yamldoc"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// Limits on what a manifest, or the metadata of a model, may say.
const (
	// maxSide is the largest side of a model's input in pixels: a float32 input of that size takes 200 MB, and
	// detectors use 1536 at most.
	maxSide = 4096
	// maxName is the longest name, version or licence, in characters: they go into every message.
	maxName = 128
	// maxLabel is the longest label in characters: one goes along with every detection.
	maxLabel = 128
)

// otherNames maps what people call a model to the family that reads it.
var otherNames = map[string]detect.Family{
	"yolov6": detect.YOLOv5, "yolov7": detect.YOLOv5, "yolo5": detect.YOLOv5,
	"yolo8": detect.YOLOv8, "yolov9": detect.YOLOv8, "yolo9": detect.YOLOv8, "yolo11": detect.YOLOv8, "yolov11": detect.YOLOv8,
	"yolo12": detect.YOLOv8, "yolov12": detect.YOLOv8,
	"yolov10": detect.EndToEnd, "yolo10": detect.EndToEnd, "yolo26": detect.EndToEnd, "end2end": detect.EndToEnd, "endtoend": detect.EndToEnd,
	"rt-detr": detect.RTDETR, "rtdetrv2": detect.RTDETR, "rt-detrv2": detect.RTDETR, "dfine": detect.RTDETR, "d-fine": detect.RTDETR, "deim": detect.RTDETR,
	"rf-detr": detect.RFDETR, "libfacedetection": detect.YuNet, "ssd-mobilenet": detect.SSD, "mobilenet-ssd": detect.SSD, "ssdlite": detect.SSD,
	"nanodet-plus": detect.NanoDet, "nanodet-g": detect.NanoDet, "nanodet-m": detect.NanoDet, "yolox-nano": detect.YOLOX, "yolox-tiny": detect.YOLOX,
}

// checker collects the problems of a manifest.
type checker struct{ problems yamldoc.Problems }

// check finds everything that is wrong in the manifest by itself, without the model.
func (m *Manifest) check() []yamldoc.Problem {
	c := &checker{}
	if m.Gnomon != 0 && m.Gnomon != ManifestFormat {
		c.problems.Addf("gnomon", "is the version of the manifest's layout; this gnomon reads version %d, not %d", ManifestFormat, m.Gnomon)
	}
	c.text("name", m.Name)
	c.text("version", m.Version)
	c.text("licence", m.Licence)
	if m.Release != nil && *m.Release < 1 {
		c.problems.Addf("release", "must be 1 or more, not %d", *m.Release)
	}
	if m.SHA256 != "" && (len(m.SHA256) != 64 || strings.Trim(m.SHA256, "0123456789abcdefABCDEF") != "") {
		c.problems.Addf("sha256", "must be 64 hexadecimal digits, as sha256sum prints them, not %d characters like %q", utf8.RuneCountInString(m.SHA256), shorten(m.SHA256))
	}
	c.externalData(m)
	c.providers(m.Providers)
	c.family(m)
	c.input(m.Input)
	oneOf(c, "color", m.Color, RGB, BGR)
	oneOf(c, "resize", m.Resize, letterbox.Modes()...)
	if m.Scale != nil && !(*m.Scale > 0) {
		c.problems.Addf("scale", "must be greater than 0, not %v; for an input of 0 to 1 write 0.00392156862745098, for 0 to 255 write 1", *m.Scale)
	}
	if m.Std != nil {
		for i, v := range m.Std {
			if !(v > 0) {
				c.problems.Addf("std", "divides, so every entry must be greater than 0; entry %d is %v", i+1, v)
				break
			}
		}
	}
	c.fraction("score_threshold", m.ScoreThreshold)
	c.fraction("iou_threshold", m.IoUThreshold)
	if m.MaxDetections != nil && (*m.MaxDetections < 1 || *m.MaxDetections > detect.DetectionsLimit) {
		c.problems.Addf("max_detections", "must be from 1 to %d, not %d", detect.DetectionsLimit, *m.MaxDetections)
	}
	c.labels(m)
	return c.problems
}

func (c *checker) family(m *Manifest) {
	if m.Family != "" && !slices.Contains(detect.Families(), m.Family) {
		if f, ok := otherNames[strings.ReplaceAll(strings.ToLower(string(m.Family)), "_", "-")]; ok {
			c.problems.Addf("family", "%q is not a family; models of that name are usually read as %s: write family: %s", m.Family, f, f)
		} else {
			oneOf(c, "family", m.Family, detect.Families()...)
		}
	}
	if m.Decoded != nil && m.Family != "" && m.Family != detect.YOLOX {
		c.problems.Addf("decoded", "is for family yolox only, and family is %s; remove it", m.Family)
	}
	if m.IoUThreshold != nil && m.Family.Final() {
		c.problems.Addf("iou_threshold", "has no use with family %s, whose boxes are final; remove it", m.Family)
	}
}

func (c *checker) input(in ManifestInput) {
	if in.Name != "" {
		c.text("input.name", in.Name)
	}
	for _, side := range [...]struct {
		key, other string
		v, w       int
	}{{"input.width", "input.height", in.Width, in.Height}, {"input.height", "input.width", in.Height, in.Width}} {
		switch {
		case side.v == 0 && side.w != 0:
			c.problems.Addf(side.other, "is set but %s is not; write both, or neither where the model's size is fixed", side.key)
		case side.v < 0 || side.v > maxSide:
			c.problems.Addf(side.key, "must be from 1 to %d pixels, not %d", maxSide, side.v)
		}
	}
	oneOf(c, "input.layout", in.Layout, NCHW, NHWC)
	oneOf(c, "input.type", in.Type, detect.Float32, detect.Float16, detect.Uint8)
}

func (c *checker) labels(m *Manifest) {
	if m.Labels != nil && m.LabelsFile != "" && m.doc != nil && m.doc.Has("labels") {
		c.problems.Addf("labels_file", "and labels are both set; remove one")
	}
	if m.Labels != nil && len(m.Labels) == 0 {
		c.problems.Addf("labels", "is an empty list; write one label for each class, or remove the key")
	}
	if len(m.Labels) > detect.ClassesLimit {
		c.problems.Addf("labels", "has %d entries, more than the %d classes that a model may have", len(m.Labels), detect.ClassesLimit)
		return
	}
	for i, label := range m.Labels {
		if err := checkText(label, maxLabel); err != nil {
			path := yamldoc.Index("labels", i)
			c.problems.Addf(path, "%v", err)
		}
	}
}

func (c *checker) text(path, value string) {
	if value == "" && path != "input.name" {
		return
	}
	if err := checkText(value, maxName); err != nil {
		c.problems.Addf(path, "%v", err)
	}
}

func (c *checker) fraction(path string, v *float32) {
	if v != nil && !(*v >= 0 && *v <= 1) {
		c.problems.Addf(path, "must be from 0 to 1, not %v", *v)
	}
}

// oneOf checks a value that must be one of a few words, or absent.
func oneOf[T ~string](c *checker, path string, v T, words ...T) {
	if v != "" {
		yamldoc.OneOf(&c.problems, path, v, words...)
	}
}

// checkText refuses text that would spoil a message or a terminal. The error continues a sentence that begins with
// what the text is.
func checkText(s string, limit int) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case utf8.RuneCountInString(s) > limit:
		return fmt.Errorf("has more than %d characters", limit)
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8 text")
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("has a character that cannot be printed (%U)", r)
		}
	}
	return nil
}

// shorten keeps a value that is repeated in an error to a readable length.
func shorten(s string) string {
	if r := []rune(s); len(r) > maxName/2 {
		return string(r[:maxName/2]) + "…"
	}
	return s
}
