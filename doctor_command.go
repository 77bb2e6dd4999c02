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
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gnomon/cloud/keypair"
	"gnomon/config"
	"gnomon/doctor"
	"gnomon/supervise"
)

const (
	// doctorFrames is how long a camera is looked at unless one says otherwise: enough to tell its rate.
	doctorFrames = 2 * time.Second
	// minFrames and maxFrames bound that.
	minFrames = 100 * time.Millisecond
	maxFrames = time.Minute
	// progressAfter is when people begin to wonder what takes so long.
	progressAfter = 2 * time.Second
)

// doctorFlags are those of gnomon doctor.
type doctorFlags struct {
	config                   string
	asJSON, offline, connect bool
	frames                   time.Duration
}

func doctorCommand() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look at everything that the agent needs, and say what to do",
		Long: "Look at cameras, ONNX Runtime, the model, GPU, broker, credentials, clock, disk and permissions, and say of each whether\n" +
			"it is well and else what to do. The agent may run meanwhile: nothing is changed, and cameras that it uses are left to it.\n" +
			"Run it as the user that the agent runs as. The exit code is 1 if a check fails, and 0 with warnings.",
		Example: "  gnomon doctor\n  sudo -u gnomon gnomon doctor --config /etc/gnomon/gnomon.yaml --json",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.frames < minFrames || f.frames > maxFrames {
				return usage("--duration must be between %v and %v", minFrames, maxFrames)
			}
			return f.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&f.config, "config", "", "configuration file (default: none, as for gnomon run)")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object")
	c.Flags().BoolVar(&f.offline, "offline", false, "leave out what needs a network")
	c.Flags().BoolVar(&f.connect, "connect", false, "connect to the broker with the device's client id, although that throws out an agent that runs")
	c.Flags().DurationVar(&f.frames, "duration", doctorFrames, "how long to look at each source")
	return c
}

func (f *doctorFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	patient := &patient{doctorFlags: f}
	defer patient.close()
	progress := newDoctorProgress(stderr)
	showing := inBackground(progress.run)
	report := doctor.Examine(ctx, patient.checks(), progress.waiting)
	report.Version = version
	if err := showing.stop(); err != nil {
		return err
	}
	if f.asJSON {
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(report); err != nil {
			return err
		}
	} else if err := renderReport(stdout, &report); err != nil {
		return err
	}
	if n := report.Count(doctor.Failed); n > 0 {
		return fmt.Errorf("%d of %d checks failed", n, len(report.Checks))
	}
	return nil
}

// patient is a device as its configuration has it, with what checks leave behind for others.
type patient struct {
	*doctorFlags
	cfg     *config.Config
	thing   string
	running supervise.State
	engine  engineCheck
}

// checks are those that there are for the configuration; one that cannot be read leaves those of the machine.
func (p *patient) checks() []doctor.Check {
	stack, trouble, err := shownSettings(p.config, "")
	if err != nil {
		return []doctor.Check{
			finding("configuration", doctor.Fail("mend the file: gnomon config check FILE", "%v", err)), doctor.Clock(doctor.ClockOptions{}), p.disk(),
		}
	}
	p.cfg = stack.Config()
	configuration := doctor.Good("%s", orText(p.config, "none: the demo"))
	if refused := stack.Refused(); len(refused) > 0 {
		configuration = doctor.Warn("correct them in the cloud: gnomon config show --origin", "%d settings from the cloud are refused, %s (%s) first", len(refused), refused[0].Name, refused[0].Code)
	}
	if trouble != nil {
		configuration = doctor.Warn("run this as the user that the agent runs as", "without the settings from the cloud: %v", trouble)
	}
	if p.thing, err = p.cfg.Thing(); err != nil {
		configuration = doctor.Fail("set device.thing", "%v", err)
	}
	m := p.cfg.MQTT
	files := keypair.Files{CertFile: m.CertFile, KeyFile: m.KeyFile}
	checks := []doctor.Check{finding("configuration", configuration), finding("agent", p.agent()), doctor.Clock(doctor.ClockOptions{}), p.disk()}
	checks = append(checks, doctor.Permissions(doctor.PermissionsOptions{
		StateDir: rootOfState(), Config: p.config, Passwords: len(secretsOf(p.cfg)) > 0,
		Secrets: []doctor.File{{What: "key_file", Path: m.KeyFile}, {What: "password_file", Path: m.PasswordFile}},
	}), doctor.Certificate(files, nil))
	checks = append(checks, p.network(files)...)
	checks = append(checks, p.machine()...)
	return append(checks, p.sources()...)
}

// finding is a check whose outcome is known already.
func finding(name string, f doctor.Finding) doctor.Check {
	return doctor.Check{Name: name, Run: func(context.Context) doctor.Finding { return f }}
}

func orText(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// startsDir is where the starts and ends of a device's agent are on record.
func startsDir(thing string) (string, error) {
	dir, err := stateDir("starts")
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, thing), nil
}

// rootOfState is the folder for all state; empty: there is no place for it.
func rootOfState() string {
	dir, err := stateDir("")
	if err != nil {
		return ""
	}
	return filepath.Clean(dir)
}

// agent tells whether one runs, and how the last one ended.
func (p *patient) agent() doctor.Finding {
	dir, err := startsDir(p.thing)
	if err != nil {
		return doctor.Warn("set HOME, or run this as the user that the agent runs as", "%v", err)
	}
	p.running, err = supervise.Look(dir)
	s := &p.running
	state := "none runs"
	if s.Running {
		state = fmt.Sprintf("process %d runs", s.PID)
	}
	last := ""
	if l := s.Last; l.Kind != "" {
		last = fmt.Sprintf("; before, %s of %s %s", orText(l.Version, "one"), l.Started.UTC().Format(time.RFC3339), l.Kind)
		if l.Reason != "" {
			last += ": " + l.Reason
		}
	}
	switch {
	case s.Running && s.Safe:
		return doctor.Warn("see docs/operations.md, safe mode", "%s in safe mode%s", state, last)
	case err != nil:
		return doctor.Warn("run this as the user that the agent runs as", "%s; %v", state, err)
	case s.Last.Kind == supervise.Crashed || s.Last.Kind == supervise.Failed:
		return doctor.Warn("see its log: journalctl -u gnomon", "%s%s", state, last)
	}
	return doctor.Good("%s%s", state, last)
}

// disk looks at where state is kept.
func (p *patient) disk() doctor.Check {
	dir, err := stateDir("")
	if err != nil {
		return finding("disk", doctor.Fail("set HOME, or run this as the user that the agent runs as", "%v", err))
	}
	return doctor.Disk(filepath.Clean(dir))
}

// renderReport prints a table, and one line that says it all.
func renderReport(out io.Writer, r *doctor.Report) error {
	const widest = 58 // two such columns and the others fit into a wide terminal
	t := newTable(out)
	t.AppendHeader(table.Row{"", "check", "found", "what to do"})
	for _, c := range r.Checks {
		t.AppendRow(table.Row{c.Status, c.Name, c.Detail, c.Do})
	}
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 3, WidthMax: widest, WidthMaxEnforcer: text.WrapSoft}, {Number: 4, WidthMax: widest, WidthMaxEnforcer: text.WrapSoft},
	})
	t.Render()
	_, err := fmt.Fprintf(out, "\n%d ok, %d warn, %d fail, %d skip\n", r.Count(doctor.OK), r.Count(doctor.Warning), r.Count(doctor.Failed), r.Count(doctor.Skipped))
	return err
}

// doctorProgress tells on a terminal what is being waited for.
type doctorProgress struct {
	out io.Writer // nil: it is no terminal

	mu    sync.Mutex
	names []string
}

func newDoctorProgress(stderr io.Writer) *doctorProgress {
	if stderr != os.Stderr || !term.IsTerminal(int(os.Stderr.Fd())) {
		stderr = nil
	}
	return &doctorProgress{out: stderr}
}

// waiting takes the names of what is waited for.
func (p *doctorProgress) waiting(names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names = names
}

func (p *doctorProgress) run(ctx context.Context) error {
	const clear = "\r\x1b[K"
	if p.out == nil {
		return nil
	}
	began := time.Now()
	tick := time.NewTicker(progressAfter / 4)
	defer tick.Stop()
	shown := false
	for {
		select {
		case <-ctx.Done():
			var err error
			if shown {
				_, err = io.WriteString(p.out, clear)
			}
			return err
		case <-tick.C:
		}
		if time.Since(began) < progressAfter {
			continue
		}
		p.mu.Lock()
		line := strings.Join(p.names, ", ")
		p.mu.Unlock()
		const room = 60
		if len(line) > room {
			line = line[:room] + "…"
		}
		if _, err := fmt.Fprintf(p.out, "%swaiting for %s, %d s", clear, line, int(time.Since(began).Seconds())); err != nil {
			return errors.Join(errors.New("show what is waited for"), err)
		}
		shown = true
	}
}
