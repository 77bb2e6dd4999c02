package engine

import (
	"context"
	"time"

	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
)

// PixelFormat says how the bytes of a Frame are to be read.
type PixelFormat uint8

// BGR24 is three bytes a pixel, blue first, rows top to bottom: what OpenCV decodes to.
const BGR24 PixelFormat = 1

// Frame is one picture and what is known about it.
//
// A frame has one owner at a time: the slot's pool, which the pipelines share, then the source while Read fills it, then one worker, then
// the sink while Handle runs. Only the pool closes it. Pix may be C memory: nobody keeps it after giving the frame
// back.
type Frame struct {
	Pix           []byte // Height rows, Stride bytes apart
	Width, Height int    // pixels
	Stride        int    // bytes from one row to the next
	Format        PixelFormat

	Seq        uint64        // counts the frames that the source delivered, from 0
	CapturedAt time.Time     // the moment of the grab, with Go's monotonic reading
	PTS        time.Duration // position in the stream, from its start; live sources: since opening
	Origin     string        // the file of this picture where the source is a folder; else empty

	// Buffer is the memory behind Pix, owned by the frame and known only to sources that use its type, which reuse it when
	// the frame comes round again. It must not depend on the source that filled it being open.
	Buffer Buffer
}

// Buffer is a source's memory inside a Frame.
type Buffer interface {
	Close() error
}

// Close frees the frame's memory. It is idempotent.
func (f *Frame) Close() error {
	b := f.Buffer
	f.Buffer, f.Pix = nil, nil
	if b == nil {
		return nil
	}
	return b.Close()
}

// Source is where frames come from. One goroutine calls Read; Close may come from another one and waits for
// a Read in progress, which decoders may keep for a while.
type Source interface {
	// Name is the source's name in topics and logs.
	Name() string

	// Live tells whether frames arrive by the clock. Live sources drop the older frame when nobody is ready;
	// the others (files) lose none.
	Live() bool

	// Read fills dst with the next frame, reusing dst.Buffer where it can, and sets every field. It blocks until
	// there is one and returns io.EOF after the last. Any other error ends this source and names it.
	Read(ctx context.Context, dst *Frame) error

	// Close frees what the source holds. It is idempotent.
	Close() error
}

// Grabber is a Source that can pass over pictures for less than it costs to make frames of them. All but Close is for the
// one goroutine that would call Read, which is Grab and Retrieve in one.
type Grabber interface {
	Source

	// Grab blocks until the next picture has arrived and notes the moment. It returns what Read would return.
	Grab(ctx context.Context) error

	// Retrieve makes a frame of the picture that was grabbed last, with Seq and CapturedAt of that Grab. Seq counts
	// the pictures that were grabbed.
	Retrieve(dst *Frame) error
}

// Input is the memory of a model's input tensor and how to fill it.
type Input struct {
	Data   []byte // C memory of the session
	Type   detect.ElementType
	Width  int // pixels
	Height int // pixels
	NHWC   bool
}

// Preprocessor turns a frame into the values of an input tensor. One goroutine at a time; it belongs to one lane
// and keeps state about the memory that it fills.
type Preprocessor interface {
	// Process resizes f as t says and writes every element of in, padding included.
	Process(f *Frame, t letterbox.Transform, in Input) error
	Close() error
}

// Session is a loaded model with its tensors bound. One goroutine at a time, but for Interrupt.
type Session interface {
	// Input is the tensor to fill before Run; the same memory every time.
	Input() Input

	// Outputs describes the outputs, every dimension known.
	Outputs() []detect.TensorInfo

	// Run executes the model. The returned tensors are views that the next Run overwrites. A run that takes
	// longer than the session's deadline is stopped and returns an error that wraps ErrDeadline.
	Run(ctx context.Context) ([]detect.Tensor, error)

	// Interrupt makes a Run in progress return soon. Any goroutine may call it.
	Interrupt()

	// Close frees the session and its tensors. It is idempotent and must not overlap a Run.
	Close() error
}

// Sink takes results, in the order of their frames, one call at a time for each pipeline. The result, its frame
// and its detections are only valid until Handle returns. Handle must not block on the network.
type Sink interface {
	Handle(r *Result) error
}

// Result is what a model found in one frame.
type Result struct {
	Source     string
	Frame      *Frame
	Model      *ModelInfo
	Detections []detect.Detection // boxes in pixels of the frame, clipped to it, best first
	Timing     Timing
	Err        error // why this frame has no detections, or nil
}

// Timing is where one frame's time went.
type Timing struct {
	Preprocess, Infer, Postprocess time.Duration
	Latency                        time.Duration // from the grab to the detections
}

// ModelInfo names a model in results, logs and messages. It is immutable.
type ModelInfo struct {
	Name    string
	Version string
	SHA256  string // hex, of the ONNX file
	Labels  []string

	ScoreThreshold float32 // what the model's own manifest says: for sources that have no threshold of their own
}

// Label is the name of a class; an index without a name has none.
func (m *ModelInfo) Label(class int) string {
	if class < 0 || class >= len(m.Labels) {
		return ""
	}
	return m.Labels[class]
}
