package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/bench"
	"gnomon/camera"
	"gnomon/config"
	"gnomon/engine/ort"
)

const (
	defaultBench, minBench, maxBench = 30 * time.Second, time.Second, time.Hour
	// minRounds is what medians and comparisons are made of, and roundTime how long a round is once there are more: long
	// enough for some dozens of frames in each part, short enough that both sides see the same state of the machine.
	minRounds = 10
	roundTime = 3 * time.Second
	// maxCombinations bounds models x providers x threads: a slip of the keyboard must not take a day.
	maxCombinations = 64
)

// speedBench measures how fast models are, bare and within gnomon.
type speedBench struct {
	models, providers []string
	threads           []int
	manifest          string
	flags             modelFlags // sessions and library
	source, broker    string
	duration          time.Duration
	inMemory, json    bool
	report            string
}

// benchRunCommand is `gnomon bench` itself, with the other benchmarks below it.
func benchRunCommand(others ...*cobra.Command) *cobra.Command {
	b := speedBench{}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure gnomon on this machine",
		Long: "Measure how many frames a second a model takes, bare (loops of session.Run in the best arrangement of sessions\n" +
			"and threads) and within gnomon (video decoding to the broker's acknowledgement), in turns, so that both see\n" +
			"the same machine. Lists of models, providers and threads are measured one combination after the other.\n" +
			"docs/bench.md says how it is counted and what the JSON means.",
		Example: "  gnomon bench --model yolox_nano.onnx,yolo11n.onnx --report bench.html\n  gnomon bench --json > a.json",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("unknown command %q for %s; see %s --help", args[0], c.CommandPath(), c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if err := b.check(c); err != nil {
				return err
			}
			return b.run(c.Context(), c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringSliceVar(&b.models, "model", []string{config.ModelDefault}, "model files, separated by commas; default is the one inside the binary")
	f.StringVar(&b.manifest, "manifest", "", "manifest of the model (default: the .yaml beside it)")
	f.StringVar(&b.source, "source", config.SourceSample, "video or folder of pictures, read in a loop as fast as possible")
	f.BoolVar(&b.inMemory, "source-in-memory", false, "measure a second time with frames that are decoded already")
	f.StringSliceVar(&b.providers, "provider", []string{ort.CPU}, "execution providers to measure one by one, such as tensorrt,cuda,cpu")
	f.StringArrayVar(&b.flags.plugins, "plugin", nil, "plugin provider library to register; may be given several times")
	f.IntSliceVar(&b.threads, "threads", []int{0}, "threads for each session of gnomon's side, separated by commas; 0: by the number of cores")
	f.IntVar(&b.flags.sessions, "sessions", 0, "sessions of gnomon's side (default: by the number of cores)")
	f.StringVar(&b.broker, "broker", config.BrokerEmbedded, "MQTT broker to publish to at QoS 1, such as mqtt://127.0.0.1:1883, or embedded")
	f.DurationVar(&b.duration, "duration", defaultBench, "how long to measure each combination, after loading, warm-up and trials")
	f.StringVar(&b.flags.library, "library", "", "ONNX Runtime library to load instead of the embedded one")
	f.BoolVar(&b.json, "json", false, "print one JSON object")
	f.StringVar(&b.report, "report", "", "write an HTML report with plots to this file")
	c.AddCommand(others...)
	return c
}

func (b *speedBench) check(c *cobra.Command) error {
	if n := b.flags.sessions; c.Flags().Changed("sessions") && (n < 1 || n > config.MaxCount) {
		return usage("--sessions must be between 1 and %d", config.MaxCount)
	}
	if b.duration < minBench || b.duration > maxBench {
		return usage("--duration must be between %v and %v", minBench, maxBench)
	}
	if n := len(b.models) * len(b.providers) * len(b.threads); n < 1 || n > maxCombinations {
		return usage("models, providers and threads make %d combinations; between 1 and %d can be measured at once", n, maxCombinations)
	}
	if b.manifest != "" && len(b.models) > 1 {
		return usage("--manifest is for one model; with several each needs its .yaml beside it")
	}
	for _, t := range b.threads {
		if t < 0 || t > config.MaxCount {
			return usage("--threads must be between 1 and %d, or 0 to choose", config.MaxCount)
		}
	}
	if b.report != "" { // before minutes of measuring
		if st, err := os.Stat(filepath.Dir(b.report)); err != nil || !st.IsDir() {
			return usage("--report %s: there is no such directory", b.report)
		}
	}
	return nil
}

// run measures every combination and reports.
func (b *speedBench) run(ctx context.Context, out io.Writer) error {
	r, err := b.measure(ctx)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	if b.report != "" {
		if err := writeReport(b.report, r); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
	}
	if b.json {
		return json.NewEncoder(out).Encode(r)
	}
	renderSpeed(out, r)
	return nil
}

func (b *speedBench) measure(ctx context.Context) (_ *bench.SpeedReport, err error) {
	if err := camera.Supported(); err != nil {
		return nil, err
	}
	combinations, err := b.combinations()
	if err != nil {
		return nil, err
	}
	link, err := openLink(ctx, b.broker)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, link.close()) }()
	rt, err := openRuntime(b.flags.library, b.flags.plugins...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rt.Close()) }()
	if err := b.usable(rt); err != nil {
		return nil, err
	}
	watch := watchHost(ctx)
	report := &bench.SpeedReport{Schema: bench.SpeedSchema, At: watch.start.UTC(), Source: sourceName(b.source), Broker: link.name}
	for i := range combinations {
		combinations[i].number = fmt.Sprintf("%d/%d ", i+1, len(combinations))
		r, err := combinations[i].measure(ctx, rt, link)
		if err != nil {
			return nil, err
		}
		r.Versions = benchVersions(rt)
		report.Results = append(report.Results, *r)
		ort.ReleaseMemory()
	}
	report.SpeedFigures, report.Host = report.Results[0].SpeedFigures, watch.end()
	return report, nil
}

// combinations looks at the source and reads every model, so that what is wrong with the last is said before the first is
// measured.
func (b *speedBench) combinations() ([]combination, error) {
	path, err := inputPath(b.source)
	if err == nil {
		_, err = camera.Classify(path)
	}
	if err != nil {
		return nil, err
	}
	var out []combination
	for _, path := range b.models {
		m, err := readModel(path, b.manifest)
		if err != nil {
			return nil, err
		}
		for _, provider := range b.providers {
			for _, threads := range b.threads {
				out = append(out, combination{speedBench: b, model: m, provider: provider, threads: threads})
			}
		}
	}
	return out, nil
}

// usable says which of the providers cannot be used here, and why.
func (b *speedBench) usable(rt *ort.Runtime) error {
	known := map[string]error{}
	var names []string
	for _, p := range rt.Providers() {
		known[p.Name] = p.Err
		names = append(names, p.Name)
	}
	for _, name := range b.providers {
		if err, ok := known[name]; !ok {
			return usage("--provider %s is not known; there are %s", name, strings.Join(names, ", "))
		} else if err != nil {
			return fmt.Errorf("--provider %s cannot be used: %w", name, err)
		}
	}
	return nil
}

// sourceName is a source without its folder: a report is no business of where files lie.
func sourceName(uri string) string {
	if uri == config.SourceSample {
		return uri
	}
	return filepath.Base(camera.Redact(uri))
}

// writeReport puts the report beside the last one, which it replaces when it is whole.
func writeReport(path string, r *bench.SpeedReport) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // renamed by then if all went well
	const readable = 0o644                     // like any file that a program is told to write
	if err := errors.Join(bench.WriteHTML(f, r), f.Chmod(readable), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
