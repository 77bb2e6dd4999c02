package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/schollz/progressbar/v3"

	"gnomon/camera"
	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/telemetry"
)

// detectSink prints, draws and counts the results of one input.
type detectSink struct {
	out      *bufio.Writer
	asJSON   bool
	buf      []byte
	annotate *camera.Annotator
	bar      *progressbar.ProgressBar
	input    string

	frames  int
	single  []detect.Detection // of the first frame, for inputs with one
	labels  []string
	classes map[int]*classCount
	failed  int
	err     error // the first of the failed frames
}

type classCount struct {
	frames, count int
	lastFrame     int
	best          float32
	sum           float64
}

// counted is implemented by sources that know their length and rate.
type counted interface {
	Frames() int
	Rate() float64
}

func (d *detectSink) run(ctx context.Context, slot *engine.Slot, input, annotate string) (err error) {
	d.input, d.classes = input, map[int]*classCount{}
	src, err := openInput(ctx, camera.Options{Name: input, URI: input})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	n, rate := 0, 0.0
	if c, ok := src.(counted); ok {
		n, rate = c.Frames(), c.Rate()
	}
	if annotate != "" {
		if d.annotate, err = camera.NewAnnotator(annotatePath(annotate, input), rate); err != nil {
			return fmt.Errorf("--annotate: %w", err)
		}
		defer func() { err = errors.Join(err, d.annotate.Close()) }()
	}
	d.bar = newProgress(n, filepath.Base(input))
	defer func() { _ = d.bar.Finish() }()
	p, err := engine.NewPipeline(engine.PipelineOptions{Source: src, Slot: slot, Sink: d})
	if err != nil {
		return err
	}
	if err := p.Run(ctx); err != nil {
		return err
	}
	if d.failed > 0 {
		return fmt.Errorf("%s: %d of %d frames failed: %w", input, d.failed, d.frames, d.err)
	}
	return nil
}

// annotatePath is where the annotated form of an input goes. Videos in a directory become files there; pictures are
// named by the annotator.
func annotatePath(annotate, input string) string {
	if !isDir(annotate) {
		return annotate
	}
	base := filepath.Base(input)
	if input == config.SourceSample {
		return filepath.Join(annotate, base+".mp4")
	}
	if kind, err := camera.Classify(input); err == nil && kind == camera.File {
		return filepath.Join(annotate, strings.TrimSuffix(base, filepath.Ext(base))+".mp4")
	}
	return annotate
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// Handle prints, draws and counts one frame.
func (d *detectSink) Handle(r *engine.Result) error {
	if r.Err != nil {
		d.failed++
		if d.err == nil {
			d.err = r.Err
		}
	}
	d.labels = r.Model.Labels
	if d.asJSON {
		source := r.Source
		if r.Frame.Origin != "" {
			source = r.Frame.Origin
		}
		m := detectionMessage(r, source)
		m.CapturedAt = time.Time{} // left out: the same input gives the same bytes
		d.buf = append(m.AppendJSON(d.buf[:0]), '\n')
		if _, err := d.out.Write(d.buf); err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
	}
	if d.annotate != nil {
		if err := d.annotate.Write(r.Frame, r.Detections, r.Model.Labels); err != nil {
			return err
		}
	}
	if d.frames == 0 {
		d.single = append(d.single, r.Detections...)
	}
	d.frames++
	for _, det := range r.Detections {
		c := d.classes[det.ClassID]
		if c == nil {
			c = &classCount{}
			d.classes[det.ClassID] = c
		}
		if c.lastFrame != d.frames {
			c.lastFrame = d.frames
			c.frames++
		}
		c.count++
		c.best = max(c.best, det.Score)
		c.sum += float64(det.Score)
	}
	_ = d.bar.Add(1) // cosmetic
	return nil
}

// detectionMessage is the wire form of a result; it borrows the result's slices.
func detectionMessage(r *engine.Result, source string) telemetry.DetectionMessage {
	return telemetry.DetectionMessage{
		Source: source, Seq: r.Frame.Seq, CapturedAt: r.Frame.CapturedAt, PTS: r.Frame.PTS,
		Width: r.Frame.Width, Height: r.Frame.Height,
		Model:      telemetry.ModelRef{Name: r.Model.Name, Version: r.Model.Version, SHA256: r.Model.SHA256},
		Detections: r.Detections, Labels: r.Model.Labels,
	}
}

// row is a line of the table.
type row struct {
	input, label, found, score, box string
}

// rows are one line per object for a single picture, and one per class for anything longer.
func (d *detectSink) rows() []row {
	name := func(class int) string {
		if class >= 0 && class < len(d.labels) {
			return d.labels[class]
		}
		return fmt.Sprintf("class %d", class)
	}
	if d.frames == 0 {
		return nil
	}
	if len(d.classes) == 0 {
		return []row{{d.input, "nothing", fmt.Sprintf("%d frames", d.frames), "", ""}}
	}
	var rows []row
	if d.frames == 1 {
		for _, det := range d.single {
			b := det.Box
			rows = append(rows, row{d.input, name(det.ClassID), "", fmt.Sprintf("%.2f", det.Score), fmt.Sprintf("%4.0f,%.0f to %.0f,%.0f", b.X1, b.Y1, b.X2, b.Y2)})
		}
		return rows
	}
	classes := slices.SortedFunc(maps.Keys(d.classes), func(a, b int) int {
		return cmp.Or(cmp.Compare(d.classes[b].count, d.classes[a].count), cmp.Compare(a, b))
	})
	for _, class := range classes {
		c := d.classes[class]
		rows = append(rows, row{d.input, name(class), fmt.Sprintf("%d times in %d of %d frames", c.count, c.frames, d.frames), fmt.Sprintf("%.2f best, %.2f mean", c.best, c.sum/float64(c.count)), ""})
	}
	return rows
}

func renderRows(out io.Writer, rows []row) {
	t := newTable(out)
	t.AppendHeader(table.Row{"input", "object", "found", "score", "box"})
	t.SuppressEmptyColumns()
	for _, r := range rows {
		t.AppendRow(table.Row{r.input, r.label, r.found, r.score, r.box})
	}
	t.Render()
}
