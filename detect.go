package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gnomon/camera"
)

func detectCommand() *cobra.Command {
	var flags modelFlags
	var asJSON bool
	var annotate string
	c := &cobra.Command{
		Use:   "detect [flags] INPUT...",
		Short: "Find objects in pictures and video",
		Long: "Find objects in pictures, folders of pictures and video files (\"sample\" is the video that comes with gnomon).\n" +
			"Prints a table, or with --json one JSON object a frame. --annotate writes what was seen: a video, a\n" +
			"picture, or into an existing directory one for each input.",
		Example: "  gnomon detect street.jpg\n  gnomon detect --json --model yolo11n.onnx --annotate out.mp4 street.avi > street.jsonl",
		Args:    atLeastOne("a picture, a folder or a video"),
		RunE: func(c *cobra.Command, inputs []string) error {
			if err := flags.check(c); err != nil {
				return err
			}
			return runDetect(c.Context(), &flags, inputs, annotate, asJSON, c.OutOrStdout())
		},
	}
	flags.register(c)
	c.Flags().Float32Var(&flags.score, "score", 0, "least score of a detection, above 0 to 1 (default: the model's)")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a frame")
	c.Flags().StringVar(&annotate, "annotate", "", "write annotated video (.mp4, .avi, .mov, .mkv), a picture (.jpg, .png) or into a directory")
	return c
}

func runDetect(ctx context.Context, flags *modelFlags, inputs []string, annotate string, asJSON bool, stdout io.Writer) (err error) {
	if len(inputs) > 1 && annotate != "" && !isDir(annotate) {
		return usage("--annotate %s: with several inputs it must name an existing directory", annotate)
	}
	for _, in := range inputs { // before minutes of work, see that all are there
		path, err := inputPath(in)
		if err == nil {
			_, err = camera.Classify(path)
		}
		if err != nil {
			return err
		}
	}
	if err := checkOutputs(inputs, annotate); err != nil {
		return err
	}
	slot, closeAll, err := flags.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	out := bufio.NewWriter(stdout)
	defer func() { err = errors.Join(err, out.Flush()) }()
	var rows []row
	var failed []error
	for _, in := range inputs {
		d := &detectSink{out: out, asJSON: asJSON}
		if err := d.run(ctx, slot, in, annotate); err != nil {
			failed = append(failed, err)
		}
		rows = append(rows, d.rows()...)
		if ctx.Err() != nil {
			failed = append(failed, errors.New("interrupted"))
			break
		}
	}
	if !asJSON {
		renderRows(out, rows)
	}
	return errors.Join(failed...)
}

// checkOutputs refuses to annotate over an input, or two inputs into one file.
func checkOutputs(inputs []string, annotate string) error {
	if annotate == "" {
		return nil
	}
	from := map[string]string{} // input by output
	var files []string
	for _, in := range inputs {
		path, err := inputPath(in)
		if err != nil {
			return err
		}
		outs, ins, err := annotated(in, path, annotate)
		if err != nil {
			return err
		}
		for i, out := range outs {
			if other, twice := from[out]; twice {
				return usage("--annotate would write %s twice, for %s and %s; annotate them one at a time", out, other, ins[i])
			}
			from[out] = ins[i]
		}
		files = append(files, ins...)
	}
	for out := range from {
		st, err := os.Stat(out)
		if err != nil {
			continue // it does not exist yet
		}
		for _, in := range files {
			if other, err := os.Stat(in); err == nil && os.SameFile(st, other) {
				return usage("--annotate would write over the input %s", in)
			}
		}
	}
	return nil
}

// annotated lists the files that annotating an input writes, each with the file that it is made from.
func annotated(input, path, annotate string) (outs, ins []string, err error) {
	out := annotatePath(annotate, input)
	if kind, err := camera.Classify(path); err != nil || kind != camera.Folder {
		return []string{out}, []string{path}, nil //nolint:nilerr // what is wrong with the input is said when it is opened
	}
	pictures, err := camera.Pictures(path)
	if err != nil {
		return nil, nil, err
	}
	if !isDir(out) {
		return []string{out}, pictures[:1], nil
	}
	for _, p := range pictures {
		outs = append(outs, filepath.Join(out, filepath.Base(p)))
	}
	return outs, pictures, nil
}
