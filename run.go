package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"gnomon/config"
)

func runCommand() *cobra.Command {
	var path string
	var duration time.Duration
	c := &cobra.Command{
		Use:   "run",
		Short: "Watch the cameras and publish what is found",
		Long: "Run the agent. Without --config it is a demo: the sample video in a loop, the model inside the binary, and\n" +
			"an MQTT broker on a free loopback port, which is printed. On a terminal a screen shows what happens (q ends\n" +
			"it); elsewhere a line is printed now and then. The configuration\n" +
			"is read again when the file changes, or on SIGHUP.",
		Example: "  gnomon run\n  gnomon run --config gnomon.yaml --duration 30s",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if duration < 0 {
				return usage("--duration must not be negative")
			}
			settings, err := openSettings(path)
			if err != nil {
				return err
			}
			return runAgent(c.Context(), path, settings, duration, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&path, "config", "", "configuration file; see gnomon config default")
	c.Flags().DurationVar(&duration, "duration", 0, "stop after this time, with a summary (default: run until stopped)")
	return c
}

// newLogger writes to out as the configuration says.
func newLogger(cfg config.Log, out io.Writer) (*zap.Logger, error) {
	core, _, err := newLogCore(cfg, out)
	if err != nil {
		return nil, err
	}
	return zap.New(core), nil
}

// forPeople reports whether the log is text, as opposed to JSON.
func forPeople(cfg config.Log) bool {
	return cfg.Format == config.FormatConsole || cfg.Format == config.FormatAuto && term.IsTerminal(int(os.Stderr.Fd()))
}

// lostLines is the line of a log that says how many are lost.
func lostLines(cfg config.Log) func(n uint64) string {
	const why = "lines of the log are lost, as nobody took them"
	people := forPeople(cfg)
	return func(n uint64) string {
		if people {
			return fmt.Sprintf("%d %s", n, why)
		}
		return fmt.Sprintf(`{"level":"warn","ts":%q,"msg":%q,"lines":%d}`, time.Now().Format(time.RFC3339Nano), why, n)
	}
}

// newLogCore is what newLogger logs to, with its level, which may be changed later.
func newLogCore(cfg config.Log, out io.Writer) (zapcore.Core, zap.AtomicLevel, error) {
	level, err := zap.ParseAtomicLevel(string(cfg.Level))
	if err != nil {
		return nil, level, fmt.Errorf("log level: %w", err)
	}
	ec := zap.NewProductionEncoderConfig()
	ec.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoder := zapcore.NewJSONEncoder(ec)
	if forPeople(cfg) {
		ec.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		ec.EncodeLevel = zapcore.CapitalLevelEncoder
		ec.ConsoleSeparator = "  "
		encoder = zapcore.NewConsoleEncoder(ec)
	}
	return zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), level), level, nil
}
