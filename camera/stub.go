//go:build !opencv

package camera

import (
	"context"

	"gnomon/engine"
	"gnomon/engine/detect"
)

// Setup does nothing in a build without OpenCV.
func Setup() {}

// Supported returns ErrNoOpenCV.
func Supported() error { return ErrNoOpenCV }

// Version says that OpenCV is missing.
func Version() string { return "none (built without it)" }

// LiveMats is always 0 in a build without OpenCV.
func LiveMats() int { return 0 }

// Open returns ErrNoOpenCV.
func Open(Options) (engine.Source, error) { return nil, ErrNoOpenCV }

// OpenContext returns ErrNoOpenCV.
func OpenContext(context.Context, Options) (engine.Source, error) { return nil, ErrNoOpenCV }

// Annotator is not available in a build without OpenCV.
type Annotator struct{}

// NewAnnotator returns ErrNoOpenCV.
func NewAnnotator(string, float64) (*Annotator, error) { return nil, ErrNoOpenCV }

// Write returns ErrNoOpenCV.
func (*Annotator) Write(*engine.Frame, []detect.Detection, []string) error { return ErrNoOpenCV }

// Close does nothing.
func (*Annotator) Close() error { return nil }
