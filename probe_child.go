package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gnomon/camera"
	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
	"gnomon/engine/ort"
	"gnomon/models"
	"gnomon/models/golden"
)

// probeRuns is how often a model is run on the camera's frame: twice, as some faults show in the second run only, when
// the memory of the first is used again.
const probeRuns = 2

// probeCommand is the child's side of prober. People have no use for it.
func probeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "probe", Short: "Try a model as the agent does before it takes one (reads its request from standard input)",
		Hidden: true, Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			answer := probeAnswer{Passed: true}
			if err := probe(c.Context(), c.InOrStdin()); err != nil {
				answer = probeAnswer{Code: codeProbeRun, Message: err.Error()}
				var known *codedError
				if errors.As(err, &known) {
					answer.Code, answer.Temporary = known.code, known.temp
				}
			}
			return json.NewEncoder(c.OutOrStdout()).Encode(answer)
		},
	}
}

// probe reads a request, limits the process and tries the model.
func probe(ctx context.Context, stdin io.Reader) (err error) {
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return ours("read the request", err)
	}
	var r probeRequest
	if err := json.Unmarshal(line, &r); err != nil {
		return ours("read the request", err)
	}
	var seen *engine.Frame
	if r.Width > 0 && r.Height > 0 && r.Width <= letterbox.MaxSide && r.Height <= letterbox.MaxSide {
		seen = &engine.Frame{Pix: make([]byte, 3*r.Width*r.Height), Width: r.Width, Height: r.Height, Stride: 3 * r.Width, Format: engine.BGR24}
		if _, err := io.ReadFull(in, seen.Pix); err != nil {
			return ours("read the frame", err)
		}
	}
	rt, err := openRuntime(r.Library, r.Plugins...)
	if err != nil {
		return ours("load the runtime", err)
	}
	defer func() { err = errors.Join(err, rt.Close()) }()
	if err := confine(r); err != nil { // after the runtime, which unpacks itself into a file in memory
		return ours("limit the trial process", err)
	}
	return tryModel(ctx, rt, r, seen)
}

// ours is a failure that the model has no part in.
func ours(what string, err error) error {
	return &codedError{code: codeProbeRun, err: fmt.Errorf("%s: %w", what, err), temp: true}
}

// confine sets limits to this process, before it has seen any of the model: the memory and processor time that it may
// take are those of the request, it writes no file and leaves no core dump, and when memory runs short the kernel takes
// it first.
func confine(r probeRequest) error {
	if r.Memory < 0 || r.CPU < 0 {
		return fmt.Errorf("limits of %d bytes and %d s make no sense", r.Memory, r.CPU)
	}
	for what, most := range map[int]int64{
		unix.RLIMIT_DATA: dataBytes() + r.Memory, // what the process has so far, with the runtime in it, is none of the model's
		unix.RLIMIT_CPU:  r.CPU, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_CORE: 0,
	} {
		var old unix.Rlimit
		if err := unix.Getrlimit(what, &old); err != nil {
			return fmt.Errorf("limit the trial process: %w", err)
		}
		limit := min(uint64(most), old.Max) // a stricter one stays
		if err := unix.Setrlimit(what, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limit the trial process: %w", err)
		}
	}
	// A system without it has no such killer either.
	if f, err := os.OpenFile("/proc/self/oom_score_adj", os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString("1000")
		_ = f.Close()
	}
	return nil
}

// dataBytes is what RLIMIT_DATA counts of this process: private memory that can be written, in bytes, used or not. 0: the
// system does not say.
func dataBytes() int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	const column = 5 // proc(5): size, resident, shared, text, lib, data
	fields := strings.Fields(string(data))
	if len(fields) <= column {
		return 0
	}
	pages, err := strconv.ParseInt(fields[column], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// tryModel loads the model as the agent would and runs it.
func tryModel(ctx context.Context, rt *ort.Runtime, r probeRequest, seen *engine.Frame) (err error) {
	invalid := func(err error) error { return &codedError{code: codeProbeInvalid, err: err} }
	manifest := ""
	if r.Manifest != "" {
		manifest = filepath.Join(r.Dir, r.Manifest)
	}
	m, err := models.Load(filepath.Join(r.Dir, r.Model), manifest)
	if err != nil {
		return invalid(err)
	}
	r.Providers.Engines = "" // a trial writes no files: TensorRT builds its engine for this once
	model, err := loadModel(rt, m, loadOptions{
		Lanes: lanes{Sessions: 1, Threads: max(1, r.Threads)}, Spinning: r.Spinning, Deadline: r.Deadline, Providers: r.Providers,
	})
	var missing *ort.ProviderError
	switch {
	case err == nil:
	case outOfMemory(err.Error()):
		return &codedError{code: codeProbeMemory, err: err}
	case errors.As(err, &missing): // the fault of the device, which somebody may mend
		return &codedError{code: codeProvider, err: err, temp: true}
	default:
		return invalid(err)
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	if seen == nil {
		seen = greyFrame(m.Spec.Width, m.Spec.Height)
	}
	for range probeRuns {
		if _, err := tryFrame(ctx, model, seen, "a frame of the camera"); err != nil {
			return err
		}
	}
	if r.Golden == "" {
		return nil
	}
	return tryGolden(ctx, model, r)
}

func tryFrame(ctx context.Context, m *engine.Model, f *engine.Frame, what string) ([]detect.Detection, error) {
	dets, _, err := m.Lanes[0].Detect(ctx, f, nil)
	switch {
	case err == nil:
		return dets, nil
	case errors.Is(err, detect.ErrNotFinite):
		return nil, &codedError{code: codeProbeNotFinite, err: fmt.Errorf("%s: %w", what, err)}
	case errors.Is(err, engine.ErrDeadline):
		return nil, &codedError{code: codeProbeTimeout, err: fmt.Errorf("%s: %w", what, err)}
	case outOfMemory(err.Error()):
		return nil, &codedError{code: codeProbeMemory, err: fmt.Errorf("%s: %w", what, err)}
	}
	return nil, &codedError{code: codeProbeRun, err: fmt.Errorf("%s: %w", what, err)}
}

// tryGolden compares what the model finds in its golden pictures with what it should.
func tryGolden(ctx context.Context, m *engine.Model, r probeRequest) error {
	mismatch := func(err error) error { return &codedError{code: codeProbeGolden, err: err} }
	root, err := os.OpenRoot(r.Dir)
	if err != nil {
		return fmt.Errorf("open the model's folder: %w", err)
	}
	defer root.Close()
	g, err := golden.Read(root, r.Golden)
	if err != nil {
		return mismatch(err)
	}
	var files []string
	for _, p := range g.Pictures {
		files = append(files, filepath.Join(r.Dir, p.Path))
	}
	src, err := camera.Open(camera.Options{Name: "golden", URI: r.Dir, Files: files})
	if err != nil {
		return mismatch(err)
	}
	defer src.Close()
	var f engine.Frame
	defer f.Close()
	for i, p := range g.Pictures {
		err := src.Read(ctx, &f)
		if err == nil && f.Origin != files[i] { // the source leaves out what it cannot read
			err = errors.New("it is no picture")
		}
		if err != nil {
			return mismatch(fmt.Errorf("golden picture %s cannot be read: %w; give a JPEG or PNG", p.File, err))
		}
		dets, err := tryFrame(ctx, m, &f, "golden picture "+p.File)
		if err != nil {
			return err
		}
		if err := g.Compare(i, dets); err != nil {
			return mismatch(err)
		}
	}
	return nil
}
