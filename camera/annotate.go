//go:build opencv

package camera

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gocv.io/x/gocv"

	"gnomon/engine"
	"gnomon/engine/detect"
)

// defaultRate is the frame rate of annotated video whose source has none.
const defaultRate = 25

// Annotator writes pictures or video with the detections drawn in. One goroutine at a time.
type Annotator struct {
	out    string
	fps    float64
	mat    gocv.Mat
	writer *gocv.VideoWriter
	size   image.Point
	folder bool
	wrote  int
	closed bool
}

// videoCodecs maps what a file can be called to the codec that goes into it: those that need no licence and are
// built in.
func videoCodec(ext string) string {
	switch ext {
	case ".avi":
		return "MJPG"
	case ".mp4", ".mov", ".mkv":
		return "mp4v"
	}
	return ""
}

// NewAnnotator writes to out: a video (.avi, .mp4, .mov, .mkv) at fps frames a second (0: 25), one picture (.jpg,
// .png), or, when out is a directory, one picture for each frame. The caller closes it. An output that cannot be
// written is an error here, not after minutes of work.
func NewAnnotator(out string, fps float64) (*Annotator, error) {
	if !(fps > 0 && fps <= maxRate) {
		fps = defaultRate
	}
	a := &Annotator{out: out, fps: fps}
	if st, err := os.Stat(out); err == nil && st.IsDir() {
		a.folder = true
	} else if ext := strings.ToLower(filepath.Ext(out)); videoCodec(ext) == "" && !pictureExtension(out) {
		return nil, fmt.Errorf("%s: cannot tell from the name what to write; use .avi, .mp4, .mov or .mkv for video, .jpg or .png for a picture, or an existing directory", out)
	}
	if err := writable(a.probePath()); err != nil {
		return nil, err
	}
	a.mat = gocv.NewMat()
	liveMats.Add(1)
	return a, nil
}

func (a *Annotator) probePath() string {
	if a.folder {
		return filepath.Join(a.out, ".gnomon-write-test")
	}
	return a.out
}

// writable finds out by trying; a file that it had to make is removed again.
func writable(path string) error {
	_, statErr := os.Stat(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("cannot write there: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if os.IsNotExist(statErr) {
		return os.Remove(path)
	}
	return nil
}

// Write draws the detections on a copy of the frame and writes it.
func (a *Annotator) Write(f *engine.Frame, dets []detect.Detection, labels []string) error {
	if err := place(f, 0, 0, &a.mat); err != nil { // a copy: the frame is not drawn on
		return fmt.Errorf("annotate: %w", err)
	}
	for _, d := range dets {
		label := fmt.Sprintf("class %d", d.ClassID)
		if d.ClassID >= 0 && d.ClassID < len(labels) {
			label = labels[d.ClassID]
		}
		if err := draw(&a.mat, d, fmt.Sprintf("%s %.0f%%", label, 100*d.Score)); err != nil {
			return fmt.Errorf("annotate: %w", err)
		}
	}
	if a.folder || videoCodec(strings.ToLower(filepath.Ext(a.out))) == "" {
		return a.writePicture(f)
	}
	return a.writeVideo(f)
}

func (a *Annotator) writePicture(f *engine.Frame) error {
	path := a.out
	if a.folder {
		name := fmt.Sprintf("%06d.jpg", f.Seq)
		if f.Origin != "" {
			name = filepath.Base(f.Origin)
		}
		path = filepath.Join(a.out, name)
	} else if a.wrote > 0 {
		return fmt.Errorf("%s is one picture and there are several frames; give a directory or a video file", a.out)
	}
	a.wrote++
	if !gocv.IMWrite(path, a.mat) {
		return fmt.Errorf("cannot write %s: is the disk full or the directory gone?", path)
	}
	return nil
}

func (a *Annotator) writeVideo(f *engine.Frame) error {
	if a.writer == nil {
		w, err := gocv.VideoWriterFile(a.out, videoCodec(strings.ToLower(filepath.Ext(a.out))), a.fps, f.Width, f.Height, true)
		if w != nil && (err != nil || !w.IsOpened()) {
			_ = w.Close()
			return fmt.Errorf("cannot write video to %s", a.out)
		}
		if err != nil {
			return fmt.Errorf("cannot write video to %s: %w", a.out, err)
		}
		a.writer, a.size = w, image.Pt(f.Width, f.Height)
	}
	if a.size != image.Pt(f.Width, f.Height) { // a video has one size: fit what changed into it
		if err := gocv.Resize(a.mat, &a.mat, a.size, 0, 0, gocv.InterpolationLinear); err != nil {
			return fmt.Errorf("annotate: %w", err)
		}
	}
	a.wrote++
	return a.writer.Write(a.mat)
}

// Close finishes the file. It is idempotent.
func (a *Annotator) Close() error {
	if a.closed {
		return nil
	}
	a.closed = true
	var err error
	if a.writer != nil {
		err = a.writer.Close()
	}
	liveMats.Add(-1)
	if e := a.mat.Close(); err == nil {
		err = e
	}
	return err
}

// draw puts one box and its caption on the picture; line and letters grow with it.
func draw(m *gocv.Mat, d detect.Detection, caption string) error {
	w, h := m.Cols(), m.Rows()
	unit := max(1, int(math.Round(float64(w+h)/1000)))
	box := image.Rect(int(d.Box.X1), int(d.Box.Y1), int(d.Box.X2), int(d.Box.Y2))
	paint := classColor(d.ClassID)
	if err := gocv.Rectangle(m, box, paint, unit+1); err != nil {
		return err
	}
	scale := 0.45 * math.Sqrt(float64(unit))
	text, base := gocv.GetTextSizeWithBaseline(caption, gocv.FontHersheySimplex, scale, unit)
	at := image.Pt(min(box.Min.X, max(0, w-text.X-4)), box.Min.Y)
	if at.Y < text.Y+base+2 { // no room above: inside the box
		at.Y += text.Y + base + 2
	}
	label := image.Rect(at.X, at.Y-text.Y-base-2, at.X+text.X+4, at.Y)
	if err := gocv.Rectangle(m, label, paint, -1); err != nil {
		return err
	}
	return gocv.PutTextWithParams(m, caption, image.Pt(at.X+2, at.Y-base), gocv.FontHersheySimplex, scale, readable(paint), unit, gocv.LineAA, false)
}

// readable is black or white, whichever can be read on c (luma of ITU-R BT.601).
func readable(c color.RGBA) color.RGBA {
	if 299*int(c.R)+587*int(c.G)+114*int(c.B) > 110*1000 {
		return color.RGBA{A: 255}
	}
	return color.RGBA{R: 255, G: 255, B: 255, A: 255}
}

// classColor gives neighbouring classes hues far apart: steps of the golden angle around the circle.
func classColor(class int) color.RGBA {
	hue := math.Mod(float64(class)*137.508+140, 360) / 60
	x := uint8(255 * (1 - math.Abs(math.Mod(hue, 2)-1)))
	switch int(hue) {
	case 0:
		return color.RGBA{R: 255, G: x, A: 255}
	case 1:
		return color.RGBA{R: x, G: 255, A: 255}
	case 2:
		return color.RGBA{G: 255, B: x, A: 255}
	case 3:
		return color.RGBA{G: x, B: 255, A: 255}
	case 4:
		return color.RGBA{R: x, B: 255, A: 255}
	}
	return color.RGBA{R: 255, B: x, A: 255}
}
