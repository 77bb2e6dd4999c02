// Package engine is the domain of gnomon: frames, results, the swappable model and the pipeline that takes frames
// from a source through a model to a sink.
//
// It is pure Go. What it needs from OpenCV and ONNX Runtime it declares as interfaces (Source, Preprocessor,
// Session, Sink), which camera, engine/tensor, engine/ort and main satisfy.
package engine

import "errors"

// ErrDeadline is wrapped by the error of a run that was stopped because it took too long.
var ErrDeadline = errors.New("the run took longer than its deadline")

// ErrInterrupted is wrapped by the error of a run that was stopped by Interrupt.
var ErrInterrupted = errors.New("the run was interrupted")

// ErrBadPicture is wrapped by what a Grabber's Retrieve returns for one picture that cannot be decoded: the next may be
// good.
var ErrBadPicture = errors.New("the picture cannot be decoded")

// ErrClosed is returned by a Slot after Close.
var ErrClosed = errors.New("the model slot is closed")
