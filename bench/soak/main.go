// Soak runs the real gnomon for a while with cameras that go away, a network that is cut and models that are exchanged, and
// tells whether anything grows or gets lost.
//
//	go run ./bench/soak --gnomon bin/gnomon --duration 1h --html soak.html
//
// It needs GStreamer's RTSP server with its Python bindings, and ffmpeg. Everything else is in here: the AWS look-alike with
// its broker, shadow and bucket, and the network between it and the agent. What is tried is the program as it is installed,
// as a child process: four RTSP cameras, a generated picture (test:) and a program (exec:). Once a second its memory, files
// and threads are read from /proc and its own numbers from /metrics; a client of the broker notes each message.
//
// The exit code is 1 when a limit is not kept or the run breaks off, 2 when it cannot begin.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
)

// options are the flags.
type options struct {
	gnomon, python, html, json, models, leaveOut, keep string
	duration                                           time.Duration
	fps                                                int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	const passed, failed, impossible = 0, 1, 2
	o, err := parse(args, stderr)
	if err != nil {
		return impossible
	}
	r, err := soak(ctx, o, stderr)
	if err == nil {
		err = r.write(o, stdout)
	}
	switch {
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "soak: %v\n", err)
		if errors.Is(err, errBroke) {
			return failed
		}
		return impossible
	case !r.Passed:
		return failed
	}
	return passed
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.gnomon, "gnomon", "bin/gnomon", "the program to try")
	f.DurationVar(&o.duration, "duration", time.Hour, "of the run from when all sources deliver, warming up included")
	f.StringVar(&o.html, "html", "", "file for the report with its plots")
	f.StringVar(&o.json, "json", "", "file for all numbers")
	f.StringVar(&o.models, "models", "testdata/models/yolov5.onnx,testdata/models/yolox.onnx", "two models to exchange, each with a .yaml beside it")
	f.StringVar(&o.leaveOut, "leave-out", "", "kinds of sources to do without: test, exec")
	f.StringVar(&o.python, "python", "/usr/bin/python3", "a Python that has gi.repository.GstRtspServer")
	f.StringVar(&o.keep, "keep", "", "folder for the agent's log and state (default: a temporary one)")
	f.IntVar(&o.fps, "fps", 5, "frames a second of each source")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	problem := ""
	switch {
	case f.NArg() > 0:
		problem = "there are only flags"
	case o.duration < shortest:
		problem = fmt.Sprintf("--duration must be %v or more: a shorter run tells nothing", shortest)
	case len(strings.Split(o.models, ",")) != 2:
		problem = "--models are two files with a comma between them"
	case o.fps < 1 || o.fps > 12: // the agent sends 80 messages a second at most, for six sources
		problem = "--fps must be 1 to 12"
	}
	if problem != "" {
		_, _ = fmt.Fprintf(stderr, "soak: %s\n", problem)
		return nil, errors.New(problem)
	}
	return o, nil
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// soak makes the whole run.
func soak(ctx context.Context, o *options, stderr io.Writer) (_ *result, err error) {
	w, err := newWorld(ctx, o)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(stderr, "the agent's log and state are in %s\n", w.dir)
	if err := w.delivers(ctx); err != nil {
		return nil, err
	}
	begin := time.Now()
	p := newPlan(o.duration)
	bar := progressbar.NewOptions64(int64(o.duration/time.Second), progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription("soak"),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(false), progressbar.OptionThrottle(time.Second))
	go func() {
		for ctx.Err() == nil && !bar.IsFinished() {
			sleep(ctx, time.Second)
			_ = bar.Set64(int64(time.Since(begin) / time.Second)) // cosmetic
		}
	}()
	defer func() { _ = bar.Finish() }()
	sleep(ctx, time.Until(begin.Add(p.Warm)))
	r, err := w.measure(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBroke, err)
	}
	return r, nil
}

// errBroke is wrapped by what ended a run that had begun well.
var errBroke = errors.New("the run broke off")

// write prints the table and writes the files.
func (r *result) write(o *options, stdout io.Writer) error {
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "\nmeasured for %v after %v: %d pulls, %d events in all\n\n", r.Plan.Measured, r.Plan.Warm, r.Plan.Pulls, len(r.Events))
	for _, c := range r.Checks {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", verdict(c.Passed), c.What, c.Value, c.Limit, c.Note)
	}
	_, _ = fmt.Fprintf(table, "\n%s\n", verdict(r.Passed))
	err := table.Flush()
	if o.json != "" {
		data, e := json.MarshalIndent(r, "", " ")
		if e == nil {
			e = os.WriteFile(o.json, data, 0o600)
		}
		err = errors.Join(err, e)
	}
	if o.html != "" {
		f, e := os.Create(o.html)
		if e == nil {
			e = errors.Join(writeHTML(f, r), f.Close())
		}
		err = errors.Join(err, e)
	}
	return err
}

func verdict(passed bool) string {
	if passed {
		return "ok"
	}
	return "NOT MET"
}
