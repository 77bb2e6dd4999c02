package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"gnomon/bench"
	"gnomon/camera"
	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/ort"
)

const (
	defaultSwaps = 100
	// defaultSteady is how long each model alone is measured before the exchanges, and the bounds are what makes sense:
	// with less there are too few gaps for a percentile.
	defaultSteady, minSteady, maxSteady = 10 * time.Second, time.Second, time.Hour
	// betweenSwaps is how many results pass between one exchange and the loading of the next model.
	betweenSwaps = 10
	// maxSwaps bounds a run: a thousand take a quarter of an hour.
	maxSwaps = 1000
)

func benchCommand() *cobra.Command {
	return benchRunCommand(benchSwapCommand(), benchCamerasCommand(), benchSpoolCommand(), benchCompareCommand())
}

// swapBench exchanges two models again and again while frames flow.
type swapBench struct {
	flags    modelFlags
	from, to string
	source   string
	swaps    int
	steady   time.Duration
	json     bool
	naive    bool // without any care, as a control; in a process of its own
}

func benchSwapCommand() *cobra.Command {
	var b swapBench
	c := &cobra.Command{
		Use:   "swap --from MODEL --to MODEL",
		Short: "Exchange two models while frames flow, and see what that costs",
		Long: "Take frames of a file through one model, then exchange it with another and back, as a deployment does: loaded and\n" +
			"warmed up beside the one that runs, exchanged between two frames. Prints lost frames, gaps between results,\n" +
			"speed while loading, and memory; beside it the same without care (create, exchange, destroy) in a process of\n" +
			"its own. Exit code 1 when a target is missed.",
		Example: "  gnomon bench swap --from yolox_nano.onnx --to yolo11n.onnx --swaps 100\n  gnomon bench swap --from a.onnx --to b.onnx --json > swap.json",
		Args:    exactly(0, "no arguments, but --from and --to"),
		RunE: func(c *cobra.Command, _ []string) error {
			if b.from == "" || b.to == "" {
				return usage("name two models with --from and --to; default is the one inside the binary")
			}
			if b.swaps < 1 || b.swaps > maxSwaps {
				return usage("--swaps must be between 1 and %d", maxSwaps)
			}
			if b.steady < minSteady || b.steady > maxSteady {
				return usage("--steady must be between %v and %v", minSteady, maxSteady)
			}
			if err := b.flags.check(c); err != nil {
				return err
			}
			return b.run(c.Context(), c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&b.from, "from", "", "the model to begin with")
	c.Flags().StringVar(&b.to, "to", "", "the model to exchange it with")
	c.Flags().StringVar(&b.source, "source", config.SourceSample, "video or folder of pictures, read in a loop as fast as possible")
	c.Flags().IntVar(&b.swaps, "swaps", defaultSwaps, "how many times to exchange them")
	c.Flags().DurationVar(&b.steady, "steady", defaultSteady, "how long to measure each model alone before that")
	c.Flags().BoolVar(&b.json, "json", false, "print one JSON object")
	c.Flags().BoolVar(&b.naive, "naive", false, "only the control, without care")
	c.Flags().IntVar(&b.flags.sessions, "sessions", 0, "frames in work at once (default: by the number of cores)")
	c.Flags().IntVar(&b.flags.threads, "threads", 0, "threads for each of them (default: by the number of cores)")
	c.Flags().StringVar(&b.flags.library, "library", "", "ONNX Runtime library to load instead of the embedded one")
	return c
}

func (b *swapBench) run(ctx context.Context, out io.Writer) error {
	r, err := b.measure(ctx)
	if err != nil {
		return err
	}
	if !b.naive {
		if r.Naive, err = b.control(ctx); err != nil {
			return fmt.Errorf("the control: %w", err)
		}
	}
	if b.json {
		err = json.NewEncoder(out).Encode(r)
	} else {
		renderSwaps(out, r)
	}
	if b.naive {
		return err
	}
	return errors.Join(err, missed(r.Verdicts()))
}

// control runs the same without care in a process of its own, whose memory is not that of this one.
func (b *swapBench) control(ctx context.Context) (*bench.SwapReport, error) {
	args := []string{"bench", "swap", "--naive", "--json", "--from", b.from, "--to", b.to, "--source", b.source, "--swaps", strconv.Itoa(b.swaps), "--steady", b.steady.String()}
	for name, v := range map[string]int{"--sessions": b.flags.sessions, "--threads": b.flags.threads} {
		if v > 0 {
			args = append(args, name, strconv.Itoa(v))
		}
	}
	if b.flags.library != "" {
		args = append(args, "--library", b.flags.library)
	}
	var out bytes.Buffer
	c := exec.CommandContext(ctx, "/proc/self/exe", args...)
	c.Stdout, c.Stderr = &out, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread() // the child gets its signal when the thread that started it ends
	defer runtime.UnlockOSThread()
	if err := c.Run(); err != nil {
		return nil, err
	}
	var r bench.SwapReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return nil, err
	}
	return &r, nil
}

func (b *swapBench) measure(ctx context.Context) (_ *bench.SwapReport, err error) {
	if err := camera.Supported(); err != nil {
		return nil, err
	}
	rt, err := ort.NewRuntime(runtimeOptions(b.flags.library, b.naive))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rt.Close()) }()
	l := chooseLanes(b.flags.sessions, b.flags.threads, false)
	loader := newLoader(l)
	defer loader.close()
	load := func(path string) (*engine.Model, error) { return b.load(ctx, loader, rt, l, path) }
	first, err := load(b.from)
	if err != nil {
		return nil, err
	}
	slot := engine.NewSlot(first)
	defer func() { err = errors.Join(err, slot.Close(ctx)) }()
	src, err := openInput(ctx, camera.Options{Name: "bench", URI: b.source, Loop: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	log := &resultLog{came: make(chan struct{}, 1)}
	p, err := engine.NewPipeline(engine.PipelineOptions{Source: src, Slot: slot, Sink: log})
	if err != nil {
		return nil, err
	}
	flow := inBackground(p.Run)
	defer func() { err = errors.Join(err, flow.stop()) }()
	bar := newProgress(b.swaps, b.what())
	defer func() { _ = bar.Finish() }()
	r := &bench.SwapReport{Swaps: b.swaps}
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // a pipeline that ends by itself gives no more results to wait for
		<-flow.done
		cancel()
	}()
	if err := b.exchange(working, r, log, slot, load, bar); err != nil {
		if working.Err() != nil && ctx.Err() == nil {
			return nil, errors.New("the source ended") // why is said when it is stopped
		}
		return nil, err
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	r.Frames, r.FramesLost, r.Failed = uint64(len(log.at)), log.lost, log.failed
	return r, nil
}

func (b *swapBench) what() string {
	if b.naive {
		return "exchanging without care"
	}
	return "exchanging"
}

// exchange measures each model alone, then the exchanges.
func (b *swapBench) exchange(ctx context.Context, r *bench.SwapReport, log *resultLog, slot *engine.Slot, load func(string) (*engine.Model, error), bar *progressbar.ProgressBar) error {
	paths := [2]string{b.from, b.to} // paths[i%2] runs after i exchanges
	var alone [2]float64             // results a second
	var steady []time.Duration
	for i, path := range paths {
		if i > 0 {
			if err := b.swap(ctx, slot, load, path); err != nil {
				return err
			}
		}
		gaps, err := b.alone(ctx, log)
		if err != nil {
			return err
		}
		alone[i] = float64(len(gaps)) / b.steady.Seconds()
		steady = append(steady, gaps...)
	}
	r.Steady = bench.Steady{P50: bench.Percentile(steady, 0.5), P99: bench.Percentile(steady, 0.99)}
	var loads []time.Duration
	var total, expected float64 // seconds of loading, and the results that would have come without
	inLoads := 0
	begin := log.count()
	for i := 1; i <= b.swaps; i++ {
		before, start := log.count(), time.Now()
		next, err := load(paths[(i+1)%2])
		if err != nil {
			return err
		}
		took := time.Since(start)
		loads = append(loads, took)
		total += took.Seconds()
		expected += took.Seconds() * alone[i%2]
		inLoads += log.count() - before
		if err := b.put(ctx, slot, next); err != nil {
			return err
		}
		if err := log.wait(ctx, betweenSwaps); err != nil {
			return err
		}
		r.RSS.AfterLast = residentMB()
		if i == bench.SwapsEarly {
			r.RSS.After3 = r.RSS.AfterLast
		}
		if i == bench.SwapsLate {
			r.RSS.After20 = r.RSS.AfterLast
		}
		_ = bar.Add(1)
	}
	gaps := bench.Gaps(log.since(begin))
	r.Gap = bench.Gap{P50: bench.Percentile(gaps, 0.5), Max: bench.Percentile(gaps, 1)}
	r.Load = bench.Gap{P50: bench.Percentile(loads, 0.5), Max: bench.Percentile(loads, 1)}
	r.FPS = bench.SwapFPS{Steady: expected / total, Loading: float64(inLoads) / total}
	return nil
}

// alone are the gaps between results while nothing else happens.
func (b *swapBench) alone(ctx context.Context, log *resultLog) ([]time.Duration, error) {
	if err := log.wait(ctx, betweenSwaps); err != nil {
		return nil, err
	}
	begin := log.count()
	select {
	case <-time.After(b.steady):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return bench.Gaps(log.since(begin)), nil
}

// swap loads a model and puts it in place.
func (b *swapBench) swap(ctx context.Context, slot *engine.Slot, load func(string) (*engine.Model, error), path string) error {
	next, err := load(path)
	if err != nil {
		return err
	}
	return b.put(ctx, slot, next)
}

// put exchanges the model, with care or without.
func (b *swapBench) put(ctx context.Context, slot *engine.Slot, next *engine.Model) error {
	if b.naive {
		return slot.Swap(ctx, next)
	}
	return exchange(ctx, slot, next)
}

// load reads a model file and makes a warm model of it, as a deployment does or, as a control, in the obvious way.
func (b *swapBench) load(ctx context.Context, loader *loader, rt *ort.Runtime, l lanes, path string) (*engine.Model, error) {
	m, err := readModel(path, "")
	if err != nil {
		return nil, err
	}
	if b.naive {
		return loadModel(rt, m, loadOptions{Lanes: l})
	}
	return loadWarm(ctx, loader, rt, m, loadOptions{Lanes: l}, greyFrame(m.Spec.Width, m.Spec.Height))
}
