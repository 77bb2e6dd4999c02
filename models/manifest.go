package models

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gnomon/config/yamldoc"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// ManifestFormat is the version of the manifest's layout that this package reads.
const ManifestFormat = 1

// Manifest is what a person says about a model, in a YAML file beside it. Every key is optional: zero values, and nil
// pointers, mean that the manifest is silent. docs/models.md describes the keys.
//
// A byte v of a channel becomes the element (v*Scale - Mean) / Std of the input.
type Manifest struct {
	Gnomon         int            `yaml:"gnomon"` // ManifestFormat
	Name           string         `yaml:"name"`
	Version        string         `yaml:"version"`
	Release        *int64         `yaml:"release"` // counts up from 1 with each release of the model
	Licence        string         `yaml:"licence"`
	SHA256         string         `yaml:"sha256"`        // of the ONNX file, hexadecimal
	ExternalData   []string       `yaml:"external_data"` // files with weights that the ONNX file reaches for, in its folder or below
	Family         detect.Family  `yaml:"family"`
	Decoded        *bool          `yaml:"decoded"` // yolox: the grid is applied inside the model
	Input          ManifestInput  `yaml:"input"`
	Color          Color          `yaml:"color"`
	Scale          *float64       `yaml:"scale"`
	Mean           *Channels      `yaml:"mean"`
	Std            *Channels      `yaml:"std"`
	Resize         letterbox.Mode `yaml:"resize"`
	Pad            *Pad           `yaml:"pad"`
	Labels         Labels         `yaml:"labels"`
	LabelsFile     string         `yaml:"labels_file"` // a file beside the manifest with one label a line
	ScoreThreshold *float32       `yaml:"score_threshold"`
	IoUThreshold   *float32       `yaml:"iou_threshold"`
	MaxDetections  *int           `yaml:"max_detections"`
	Providers      []string       `yaml:"providers"` // execution providers in order of preference, in place of the device's

	name string            // the file's name, for errors
	doc  *yamldoc.Document // where the keys stand; nil for a manifest made in Go
}

// ManifestInput is the section input of a manifest.
type ManifestInput struct {
	Name   string             `yaml:"name"`
	Width  int                `yaml:"width"`  // pixels
	Height int                `yaml:"height"` // pixels
	Layout Layout             `yaml:"layout"`
	Type   detect.ElementType `yaml:"type"`
}

// Color is the order of a model's colour channels.
type Color string

// The colour orders.
const (
	RGB Color = "rgb"
	BGR Color = "bgr"
)

// Layout is the order of the dimensions of a model's input.
type Layout string

// The layouts.
const (
	NCHW Layout = "nchw" // batch, channels, height, width
	NHWC Layout = "nhwc" // batch, height, width, channels
)

// Channels is one number for each colour channel, in the model's colour order. In YAML a single number stands for
// three equal ones.
type Channels [3]float32

// UnmarshalNode implements yamldoc.Unmarshaler.
func (c *Channels) UnmarshalNode(n yamldoc.Node) error {
	return oneOrThree(n, (*[3]float32)(c))
}

// Pad is the colour of the area that the picture does not cover, 0 to 255, in the model's colour order. In YAML a
// single number stands for three equal ones.
type Pad [3]uint8

// UnmarshalNode implements yamldoc.Unmarshaler.
func (p *Pad) UnmarshalNode(n yamldoc.Node) error {
	return oneOrThree(n, (*[3]uint8)(p))
}

func oneOrThree[T any](n yamldoc.Node, into *[3]T) error {
	switch n.Kind() {
	case yamldoc.Number:
		if n.Decode(&into[0]) {
			into[1], into[2] = into[0], into[0]
		}
	case yamldoc.List:
		var list []T
		if !n.Decode(&list) {
			return nil
		}
		if len(list) != len(into) {
			return fmt.Errorf("must have 3 entries, one for each colour channel, not %d", len(list))
		}
		copy(into[:], list)
	default:
		return fmt.Errorf("must be a number or a list of 3 numbers, not %s", n.Describe())
	}
	return nil
}

// The words that stand for labels of COCO in a manifest.
const (
	LabelsCOCO80 = "coco80" // its classes, from 0
	LabelsCOCO90 = "coco90" // its category ids, from 1
	LabelsCOCO91 = "coco91" // its category ids, from 0
)

// Labels is the names of the classes, from class 0. In YAML it is a list, or one of the words above.
type Labels []string

// UnmarshalNode implements yamldoc.Unmarshaler.
func (l *Labels) UnmarshalNode(n yamldoc.Node) error {
	const words = LabelsCOCO80 + ", " + LabelsCOCO90 + " or " + LabelsCOCO91
	switch n.Kind() {
	case yamldoc.Text:
		switch n.Text() {
		case LabelsCOCO80:
			*l = COCO80()
		case LabelsCOCO90:
			*l = COCO90()
		case LabelsCOCO91:
			*l = COCO91()
		default:
			return fmt.Errorf("must be a list of names or the word %s, not %s; for a file with a label a line write labels_file", words, n.Describe())
		}
	case yamldoc.List:
		n.Decode((*[]string)(l))
	default:
		return fmt.Errorf("must be a list of names or the word %s, not %s", words, n.Describe())
	}
	return nil
}

// ParseManifest reads and checks a manifest; name is what errors call the file. The error is a *yamldoc.Error with all
// problems and their lines. A labels_file is noted but not read: LoadManifest does that.
func ParseManifest(name string, data []byte) (*Manifest, error) {
	m := &Manifest{name: name}
	doc, err := yamldoc.Decode(name, data, m)
	if err != nil {
		return nil, err
	}
	m.doc = doc
	if err := m.report(m.check()); err != nil {
		return nil, err
	}
	return m, nil
}

// LoadManifest reads the manifest in the file at path, and the labels_file that it may name, which must lie in the
// same folder or below it.
func LoadManifest(path string) (*Manifest, error) {
	data, err := yamldoc.ReadFile(yamldoc.AnyFolder{}, path)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", path, err)
	}
	m, err := ParseManifest(path, data)
	if err != nil || m.LabelsFile == "" {
		return m, err
	}
	// os.Root keeps the name, which came from elsewhere, inside the folder, symbolic links included.
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("manifest %s: open its folder for labels_file: %w", path, err)
	}
	data, err = yamldoc.ReadFile(root, m.LabelsFile)
	err = errors.Join(err, root.Close())
	if err == nil {
		m.Labels, err = parseLabels(data)
	}
	if err == nil {
		return m, nil
	}
	return nil, m.report([]yamldoc.Problem{{Path: "labels_file", Message: fmt.Sprintf("labels_file %q: %v", m.LabelsFile, err)}})
}

// parseLabels reads one label a line. Empty lines at the end do not count.
func parseLabels(data []byte) ([]string, error) {
	text := strings.TrimRight(string(bytes.TrimPrefix(data, []byte("\uFEFF"))), "\r\n\t ")
	if text == "" {
		return nil, errors.New("it is empty; write one label a line")
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
		if err := checkText(lines[i], maxLabel); err != nil {
			return nil, fmt.Errorf("line %d %w", i+1, err)
		}
	}
	return lines, nil
}

// report places problems in the manifest's file.
func (m *Manifest) report(problems []yamldoc.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	if m.doc != nil {
		return m.doc.Locate(problems)
	}
	name := m.name
	if name == "" {
		name = "manifest"
	}
	return &yamldoc.Error{Name: name, Problems: problems}
}
