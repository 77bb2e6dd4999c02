package camera

import (
	"time"

	"gnomon/engine"
)

// handle is one VideoCapture of OpenCV; tests have others. One goroutine at a time, but for stop.
type handle interface {
	stream(uri, transport string, open, read time.Duration) bool
	device(path string) bool

	// grab takes the next picture. at is the camera's time of it.
	grab() (at time.Duration, ok bool)
	retrieve(dst *engine.Frame) error

	// shape is that of the picture that the last call decoded; the zero shape: none was, or it was not FFmpeg's.
	shape() shape
	// told is what FFmpeg had to say in the last call.
	told() told

	get(p property) float64
	set(p property, value float64) bool
	stop()
	free()
}

// shape is what OpenCV's conversion of a stream's pictures depends on.
type shape struct{ width, height, format int }

// told is what FFmpeg had to say in one call.
type told struct {
	openCode int      // of opening and probing; negative: an error
	readCode int      // of the last packet; nothingRead: there was none
	lines    []string // of errors, the oldest first
}

// nothingRead is the read code of a call that read no packet.
const nothingRead = 1

// property is one of OpenCV's VideoCaptureProperties.
type property int

// The properties that are used here, by the numbers of opencv2/videoio.hpp.
const (
	propWidth      property = 3
	propHeight     property = 4
	propFPS        property = 5
	propFourCC     property = 6
	propBufferSize property = 38
)
