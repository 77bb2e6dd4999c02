// Command benchtable measures gnomon against its targets of performance and against other programs, and prints the table
// "target, measured, verdict". third_party/bench.sh, hence `make bench`, makes what it needs and calls it.
//
// How it counts: every ratio is of two measurements that follow each other in one run, in turns (the other, ours, the
// other, ours, …), and what is shown is the median of the rounds' ratios. The rows of the rounds are in the JSON.
//
//   - End to end: `gnomon bench`, which is compared with the best arrangement of bare session.Run loops, publishing at
//     QoS 1 to a mosquitto on loopback; see docs/bench.md.
//   - Peers: the same video and model in third_party/peers, without decoding of detections and without publishing, which
//     is less than gnomon does; against e2e_fps of gnomon bench. Of onnxruntime-node the fastest of three settings counts.
//   - Processor time outside Run and decoding: what gnomon bench says, for the sample scaled to the target's size.
//   - Preprocessing: benchmarks of engine/tensor in one process a round. OpenCV's side writes into a blob that it has,
//     which is its best form. Copying is memmove of the source's pixels whose weight is not 0 (read, 3 bytes each) and of
//     the float32 values that the picture covers (written, 12 bytes a pixel), with one frame that stays in the caches; and
//     once more with 64 frames that do not, where every byte of the rows that are needed counts as read.
//   - Start: from exec to the first byte of `gnomon detect --json` on a picture, against exec to the session created in
//     third_party/peers/bare.c; both from a warm page cache.
//   - Memory: the resident memory of `gnomon run` on the looped sample, less that of the bare loop, which calls Run of one
//     session from as many threads as gnomon has sessions.
//
// Exit codes: 0 when it could measure, whatever came out; with -strict 1 when a target was missed; 2 when nothing could be
// measured at all, or it was interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	gnomon, sample, library       string
	defaultModel, defaultManifest string
	bare, peers, nodeModules      string
	models, json                  string
	strict                        bool
	rounds                        int
	duration, slice               time.Duration
}

const (
	// defaultRounds is what medians are made of where each round starts programs; fewer let chance decide.
	defaultRounds = 5
	// defaultDuration is how long gnomon bench measures: ten rounds of three seconds.
	defaultDuration = 30 * time.Second
	// defaultSlice is how long a peer runs in each round, and gnomon bench beside it.
	defaultSlice = 8 * time.Second
	// maxRounds and maxTime bound a run to hours.
	maxRounds = 100
	maxTime   = 10 * time.Minute
)

// parse reads the command line. flag.ErrHelp: help was asked for and has been written to help.
func parse(args []string, help io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("benchtable", flag.ContinueOnError)
	f.SetOutput(io.Discard) // what is wrong is said by main, and once
	f.StringVar(&o.gnomon, "gnomon", "bin/gnomon", "the program to measure")
	f.StringVar(&o.sample, "sample", "", "the sample video")
	f.StringVar(&o.library, "library", "", "the ONNX Runtime library that gnomon embeds, as a file")
	f.StringVar(&o.defaultModel, "default-model", "", "the model that gnomon embeds, as a file")
	f.StringVar(&o.defaultManifest, "default-manifest", "", "its manifest")
	f.StringVar(&o.bare, "bare", "", "the bare loop, compiled")
	f.StringVar(&o.peers, "peers", "third_party/peers", "folder of the peers' sources")
	f.StringVar(&o.nodeModules, "node-modules", "", "where Node finds onnxruntime-node")
	f.StringVar(&o.models, "models", "", "folder with yolox_nano*.onnx and yolov8n*.onnx, for which there are targets")
	f.StringVar(&o.json, "json", "", "write everything that was measured to this file")
	f.BoolVar(&o.strict, "strict", false, "exit code 1 when a target was missed")
	f.IntVar(&o.rounds, "rounds", defaultRounds, "rounds of what is measured in programs of their own")
	f.DurationVar(&o.duration, "duration", defaultDuration, "how long gnomon bench measures each model")
	f.DurationVar(&o.slice, "slice", defaultSlice, "how long a peer runs in each round")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(help)
			f.PrintDefaults()
		}
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("there are no arguments but flags; %q is one", f.Arg(0))
	case o.rounds < 1 || o.rounds > maxRounds:
		return o, fmt.Errorf("-rounds must be between 1 and %d", maxRounds)
	case o.duration < time.Second || o.duration > maxTime || o.slice < time.Second || o.slice > maxTime:
		return o, fmt.Errorf("-duration and -slice must be between 1s and %v", maxTime)
	}
	return o, nil
}

func main() {
	o, err := parse(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	missed, err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(2)
	}
	if missed > 0 && o.strict {
		os.Exit(1)
	}
}

// run measures everything, prints the table and tells how many targets were missed.
func run(ctx context.Context, o options, out io.Writer) (missed int, err error) {
	m, err := newMeter(o)
	if err != nil {
		return 0, err
	}
	defer m.close()
	m.everything(ctx)
	if err := m.report.render(out); err != nil {
		return 0, fmt.Errorf("print the table: %w", err)
	}
	if o.json != "" {
		if err := m.report.write(o.json); err != nil {
			return 0, fmt.Errorf("-json: %w", err)
		}
	}
	if ctx.Err() != nil { // what was measured before is worth something
		return 0, errors.New("interrupted: the lines after that have no figures")
	}
	return m.report.missed(), nil
}
