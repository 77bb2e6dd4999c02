package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"gnomon/bench"
	"gnomon/camera"
	"gnomon/engine"
)

// Accuracy is measured with every detection that could count: COCO's curves need the low scores as well.
const (
	evalScore = 0.001
	evalIoU   = 0.65
)

// evaluation is what `gnomon eval --json` prints.
type evaluation struct {
	Model string `json:"model"`
	File  string `json:"file"` // of the model, without its directory
	bench.Summary
	MsPerImage map[string]float64 `json:"ms_per_image"` // preprocess, infer, postprocess; of one lane
	Seconds    float64            `json:"seconds"`      // wall time for all pictures
}

func evalCommand() *cobra.Command {
	flags := modelFlags{allClasses: true}
	var annotations, images, results string
	var compare []string
	var asJSON, perClass bool
	c := &cobra.Command{
		Use:   "eval --annotations FILE --images DIR",
		Short: "Measure a model's accuracy on annotated pictures, as COCO does",
		Long: "Run a model on every picture of a COCO annotation file and print AP, AP50, AP75, AP by size, and the time\n" +
			"each picture takes. --results writes the detections in COCO's result format. --compare measures other models on\n" +
			"the same pictures and shows what they gain and lose, such as a quantised one beside the original; --json then\n" +
			"prints a line for each.",
		Example: "  gnomon eval --model yolo11n.onnx --annotations instances_val2017.json --images val2017\n" +
			"  gnomon eval --model yolo11n.onnx --compare yolo11n_int8.onnx --annotations instances_val2017.json --images val2017",
		Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if annotations == "" || images == "" {
				return usage("gnomon eval needs --annotations and --images; see gnomon eval --help")
			}
			if err := flags.check(c); err != nil {
				return err
			}
			if len(compare) > 0 && results != "" {
				return usage("--results writes the detections of one model; leave --compare out")
			}
			var all []evaluation
			for i, model := range append([]string{flags.model}, compare...) {
				one := flags
				if one.model = model; i > 0 {
					one.manifest = "" // that of the first
				}
				e, err := evaluate(c.Context(), &one, annotations, images, results)
				if err != nil {
					return err
				}
				all = append(all, e)
			}
			if asJSON {
				out := json.NewEncoder(c.OutOrStdout())
				for _, e := range all {
					if err := out.Encode(e); err != nil {
						return err
					}
				}
				return nil
			}
			renderEvaluations(c.OutOrStdout(), all)
			if perClass {
				renderClasses(c.OutOrStdout(), all)
			}
			return nil
		},
	}
	flags.register(c)
	c.Flags().StringVar(&annotations, "annotations", "", "COCO instances file (JSON)")
	c.Flags().StringVar(&images, "images", "", "directory of the pictures")
	c.Flags().StringVar(&results, "results", "", "write the detections to this file, in COCO's result format")
	c.Flags().StringArrayVar(&compare, "compare", nil, "another model to measure on the same pictures; may be given several times")
	c.Flags().Float32Var(&flags.score, "score", evalScore, "least score of a detection that is counted")
	c.Flags().Float32Var(&flags.iou, "iou", evalIoU, "overlap above which NMS takes two boxes for one object")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().BoolVar(&perClass, "per-class", false, "print the AP of every category too")
	return c
}

// evalSink turns results into COCO results. Pictures come in the order of the annotations.
type evalSink struct {
	images  []bench.Image
	classes bench.ClassMap
	bar     *progressbar.ProgressBar
	results []bench.Result
}

// Handle collects the detections of one picture.
func (s *evalSink) Handle(r *engine.Result) error {
	if r.Err != nil {
		return fmt.Errorf("%s: %w", r.Frame.Origin, r.Err)
	}
	for _, d := range r.Detections {
		if res, ok := s.classes.Result(s.images[r.Frame.Seq].ID, d); ok {
			s.results = append(s.results, res)
		}
	}
	_ = s.bar.Add(1) // cosmetic
	return nil
}

func evaluate(ctx context.Context, flags *modelFlags, annotations, images, resultsPath string) (e evaluation, err error) {
	truth, err := bench.LoadAnnotations(annotations)
	if err != nil {
		return e, err
	}
	if len(truth.Images) == 0 {
		return e, fmt.Errorf("%s names no pictures", annotations)
	}
	var files []string
	for _, img := range truth.Images {
		path := filepath.Join(images, img.FileName)
		if _, err := os.Stat(path); err != nil {
			return e, fmt.Errorf("the annotations name the picture %s, which cannot be read in %s; is --images right? (%w)", img.FileName, images, err)
		}
		files = append(files, path)
	}
	var out *os.File // beside the results of the last run, which stay until these are whole
	if resultsPath != "" {
		if out, err = os.CreateTemp(filepath.Dir(resultsPath), filepath.Base(resultsPath)+".*"); err != nil {
			return e, fmt.Errorf("--results: %w", err)
		}
		defer func() {
			_ = out.Close()
			_ = os.Remove(out.Name()) // renamed by then if all went well
		}()
	}
	slot, closeAll, err := flags.open()
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	info := slot.Info()
	classes, err := bench.NewClassMap(len(info.Labels), info.Labels, truth.Categories)
	if err != nil {
		return e, err
	}
	for _, name := range classes.Unmatched {
		fmt.Fprintf(os.Stderr, "gnomon: the annotations have no category %q; its detections are left out\n", name)
	}
	src, err := camera.Open(camera.Options{Name: "eval", URI: images, Files: files})
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	sink := &evalSink{images: truth.Images, classes: classes, bar: newProgress(len(files), info.Name)}
	p, err := engine.NewPipeline(engine.PipelineOptions{Source: src, Slot: slot, Sink: sink})
	if err != nil {
		return e, err
	}
	start := time.Now()
	if err := p.Run(ctx); err != nil {
		return e, err
	}
	if ctx.Err() != nil {
		return e, errors.New("interrupted")
	}
	e.Seconds = time.Since(start).Seconds()
	_ = sink.bar.Finish()
	if out != nil {
		const readable = 0o644 // like any file that a program is told to write
		err := errors.Join(bench.WriteResults(out, sink.results), out.Chmod(readable), out.Close())
		if err == nil {
			err = os.Rename(out.Name(), resultsPath)
		}
		if err != nil {
			return e, fmt.Errorf("--results: %w", err)
		}
	}
	e.Model, e.File = info.Name, filepath.Base(flags.model)
	st := p.Stats()
	each := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(max(1, st.Processed)) }
	e.MsPerImage = map[string]float64{"preprocess": each(st.Preprocess), "infer": each(st.Infer), "postprocess": each(st.Postprocess)}
	e.Summary, err = bench.Evaluate(truth, sink.results)
	return e, err
}

// renderEvaluations shows the models below each other, and how far the later ones are from the first.
func renderEvaluations(out io.Writer, all []evaluation) {
	t := newTable(out)
	t.AppendHeader(table.Row{"model", "AP", "AP50", "AP75", "AP small", "medium", "large", "pictures", "pre ms", "infer ms", "post ms"})
	ap := func(v float64) string { return fmt.Sprintf("%.4f", v) }
	for _, e := range all {
		if len(all) > 1 { // the name inside is often the same
			e.Model = e.File
		}
		ms := func(key string) string { return fmt.Sprintf("%.1f", e.MsPerImage[key]) }
		t.AppendRow(table.Row{e.Model, ap(e.AP), ap(e.AP50), ap(e.AP75), ap(e.APs), ap(e.APm), ap(e.APl), e.Images, ms("preprocess"), ms("infer"), ms("postprocess")})
	}
	first := all[0]
	for _, e := range all[1:] {
		diff := func(a, b float64) string { return fmt.Sprintf("%+.4f", a-b) }
		t.AppendRow(table.Row{
			e.File + " - " + first.File, diff(e.AP, first.AP), diff(e.AP50, first.AP50), diff(e.AP75, first.AP75), diff(e.APs, first.APs),
			diff(e.APm, first.APm), diff(e.APl, first.APl), "", "", times(e.MsPerImage["infer"], first.MsPerImage["infer"]), "",
		})
	}
	t.Render()
}

// times writes a as a multiple of b.
func times(a, b float64) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("x %.2f", a/b)
}

// renderClasses shows the AP of every category, a column for each model.
func renderClasses(out io.Writer, all []evaluation) {
	_, _ = fmt.Fprintln(out) // a table follows, whose writer cannot report either
	t := newTable(out)
	head := table.Row{"category", "objects"}
	for _, e := range all {
		name := ""
		if len(all) > 1 {
			name = e.File + " "
		}
		head = append(head, name+"AP", name+"AP50")
	}
	t.AppendHeader(head)
	for i, c := range all[0].Categories { // those of the annotations: the same for all
		line := table.Row{c.Name, c.Objects}
		for _, e := range all {
			line = append(line, fmt.Sprintf("%.4f", e.Categories[i].AP), fmt.Sprintf("%.4f", e.Categories[i].AP50))
		}
		t.AppendRow(line)
	}
	t.Render()
}
