package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gnomon/bench"
	"gnomon/camera"
	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/ort"
)

const (
	defaultCameras, maxCameras = 16, 256 // each holds some decoded frames
	defaultCameraFPS, maxFPS   = 5, 120
	defaultStep, minStep       = 10 * time.Second, time.Second
)

// camerasBench measures how cost and fairness grow with the number of cameras.
type camerasBench struct {
	flags          modelFlags
	from, to       int
	fps            float64
	duration       time.Duration
	source, broker string
	json           bool
}

func benchCamerasCommand() *cobra.Command {
	var b camerasBench
	c := &cobra.Command{
		Use:   "cameras",
		Short: "See how cost and fairness grow with the number of cameras",
		Long: "Watch 1, 2, 4, … cameras at once with one model and print how many frames each gets, how old results are and\n" +
			"what it costs. A camera is the video played at --fps, which waits for nobody: a frame that is not taken in time\n" +
			"is replaced by the next one. Jain's index is 1 when all cameras get the same and 1/cameras when one gets all.",
		Example: "  gnomon bench cameras --from 1 --to 16\n  gnomon bench cameras --model yolox_nano.onnx --fps 15 --json",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := b.flags.check(c); err != nil {
				return err
			}
			switch {
			case b.from < 1 || b.from > b.to || b.to > maxCameras:
				return usage("--from and --to must be between 1 and %d, and --from not above --to", maxCameras)
			case !(b.fps > 0 && b.fps <= maxFPS):
				return usage("--fps must be above 0 and at most %d", maxFPS)
			case b.duration < minStep || b.duration > maxBench:
				return usage("--duration must be between %v and %v", minStep, maxBench)
			}
			return b.run(c.Context(), c.OutOrStdout())
		},
	}
	b.flags.register(c)
	f := c.Flags()
	f.IntVar(&b.from, "from", 1, "cameras to begin with; their number doubles")
	f.IntVar(&b.to, "to", defaultCameras, "cameras to end with")
	f.Float64Var(&b.fps, "fps", defaultCameraFPS, "frames a second of each camera")
	f.DurationVar(&b.duration, "duration", defaultStep, "how long to measure each number of cameras")
	f.StringVar(&b.source, "source", config.SourceSample, "video or folder of pictures that every camera shows")
	f.StringVar(&b.broker, "broker", config.BrokerEmbedded, "MQTT broker to publish to at QoS 1, or embedded")
	f.BoolVar(&b.json, "json", false, "print one JSON object")
	return c
}

func (b *camerasBench) run(ctx context.Context, out io.Writer) error {
	r, err := b.measure(ctx)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	if b.json {
		return json.NewEncoder(out).Encode(r)
	}
	renderCameras(out, r)
	return nil
}

func (b *camerasBench) measure(ctx context.Context) (_ *bench.CamerasReport, err error) {
	if err := camera.Supported(); err != nil {
		return nil, err
	}
	m, err := readModel(b.flags.model, b.flags.manifest)
	if err != nil {
		return nil, err
	}
	rt, err := openRuntime(b.flags.library, b.flags.plugins...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rt.Close()) }()
	link, err := openLink(ctx, b.broker)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, link.close()) }()
	l := chooseLanes(b.flags.sessions, b.flags.threads, true)
	model, err := loadModel(rt, m, loadOptions{
		Lanes: l, Providers: b.flags.providersOf(), Insist: len(b.flags.providers) > 0, Placed: func(p ort.Placement) { printPlaced(os.Stderr, p) },
	})
	if err != nil {
		return nil, err
	}
	slot := engine.NewSlot(model)
	defer func() { err = errors.Join(err, slot.Close(context.WithoutCancel(ctx))) }()
	if err := model.WarmUp(ctx, greyFrame(m.Spec.Width, m.Spec.Height), nil); err != nil {
		return nil, err
	}
	watch := watchHost(ctx)
	r := &bench.CamerasReport{
		Schema: bench.CamerasSchema, Model: m.Spec.Name, Sessions: l.Sessions, Threads: l.Threads, FPS: b.fps,
		Seconds: b.duration.Seconds(), Broker: link.name, Versions: benchVersions(rt),
	}
	steps := bench.Doubling(b.from, b.to)
	bar := newBenchProgress("cameras", len(steps))
	defer func() { _ = bar.Finish() }()
	for _, n := range steps {
		row, err := b.step(ctx, n, slot, link)
		if err != nil {
			return nil, fmt.Errorf("%d cameras: %w", n, err)
		}
		r.Steps = append(r.Steps, *row)
		ort.ReleaseMemory()
		_ = bar.Add(1)
	}
	r.Host = watch.end()
	return r, nil
}

func renderCameras(out io.Writer, r *bench.CamerasReport) {
	t := newTable(out)
	t.AppendHeader(table.Row{"cameras", "wanted fps", "fps", "least", "most", "jain", "dropped", "latency p50", "p90", "p99 ms", "cpu ms/frame", "cores", "rss MB"})
	for _, s := range r.Steps {
		one := func(v float64) string { return fmt.Sprintf("%.1f", v) }
		t.AppendRow(table.Row{
			s.Cameras, one(s.Wanted), one(s.FPS), fmt.Sprintf("%.2f", s.Least), fmt.Sprintf("%.2f", s.Most), fmt.Sprintf("%.3f", s.Jain), s.Dropped,
			one(s.Latency.P50), one(s.Latency.P90), one(s.Latency.P99), one(s.CPU), fmt.Sprintf("%.2f", s.Cores), fmt.Sprintf("%.0f", s.RSS),
		})
	}
	t.Render()
	_, _ = fmt.Fprintf(out, "\n%s, %s, %g frames a second each", r.Model, lanes{r.Sessions, r.Threads}, r.FPS)
	renderHost(out, r.Host, r.Versions)
}
