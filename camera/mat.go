//go:build opencv

package camera

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"gocv.io/x/gocv"

	"gnomon/engine"
)

// liveMats counts the Mats that exist. Native memory is invisible to Go's own tools, so tests look here.
var liveMats atomic.Int64

// LiveMats is the number of OpenCV pictures that frames, annotators and sources of this process hold now.
func LiveMats() int { return int(liveMats.Load()) }

// Setup prepares OpenCV for gnomon's ways: one thread (the pipeline runs pictures side by side, which costs less
// than splitting each), no chatter of its own on stderr (what matters comes back as errors), and no lock that makes one camera
// wait until another has answered. Call it once, before anything else of this package. Variables that are set in the
// environment stay: whoever sets them before the start knows why.
func Setup() {
	for name, value := range map[string]string{
		// OpenCV opens one stream at a time, for versions of FFmpeg that are long gone.
		"OPENCV_FFMPEG_IS_THREAD_SAFE":      "1",
		"OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": strconv.Itoa(int(driverLimit / time.Second)),
	} {
		if _, set := os.LookupEnv(name); !set {
			_ = os.Setenv(name, value)
		}
	}
	installDecoderLog() // stays unless OPENCV_FFMPEG_LOGLEVEL or OPENCV_FFMPEG_DEBUG is set: then OpenCV prints
	if os.Getenv("OPENCV_LOG_LEVEL") == "" {
		quiet()
	}
	gocv.SetNumThreads(1)
}

// Supported tells whether this build can read pictures: nil.
func Supported() error { return nil }

// Version is OpenCV's version.
func Version() string { return gocv.OpenCVVersion() }

// matBuffer is a Mat as the memory behind a frame.
type matBuffer struct{ mat gocv.Mat }

func newMatBuffer() *matBuffer {
	liveMats.Add(1)
	return &matBuffer{mat: gocv.NewMat()}
}

// renew empties the Mat: a decoder that fails must not leave the last picture in it.
func (b *matBuffer) renew() error {
	err := b.mat.Close()
	b.mat = gocv.NewMat()
	return err
}

// bufferOf returns the frame's Mat, making one for a frame that has none or one from another package.
func bufferOf(f *engine.Frame) *matBuffer {
	if b, ok := f.Buffer.(*matBuffer); ok {
		return b
	}
	_ = f.Close()
	b := newMatBuffer()
	f.Buffer = b
	return b
}

// Close frees the Mat.
func (b *matBuffer) Close() error {
	liveMats.Add(-1)
	return b.mat.Close()
}

var errPixels = errors.New("the decoder returned something else than 8-bit BGR")

// expose sets the frame's view of the Mat.
func (b *matBuffer) expose(f *engine.Frame) error {
	if b.mat.Type() != gocv.MatTypeCV8UC3 {
		return errPixels
	}
	pix, err := b.mat.DataPtrUint8()
	if err != nil {
		return fmt.Errorf("read the picture: %w", err)
	}
	f.Pix, f.Width, f.Height = pix, b.mat.Cols(), b.mat.Rows()
	f.Stride, f.Format = 3*f.Width, engine.BGR24
	return nil
}
