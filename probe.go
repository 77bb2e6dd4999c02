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
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/ort"
)

// A model is first tried in a process of its own: a malformed one can take the process down that loads it, and what it
// needs in memory is known only afterwards. The process is this same program (`gnomon probe`), started at low priority,
// which sets limits to itself before it looks at the model, and ends without having changed anything.

// Codes of a failed trial, as they are reported; deploy's probe_failed stands for the rest.
const (
	codeProbeCrashed   = "probe_crashed"       // the process died
	codeProbeTimeout   = "probe_timeout"       // the process did not end in time
	codeProbeMemory    = "probe_out_of_memory" // the model needs more memory than there is
	codeProbeInvalid   = "model_invalid"       // the model cannot be read or loaded
	codeProbeRun       = "probe_run_failed"    // the model cannot be run
	codeProbeNotFinite = "probe_not_finite"    // its outputs have NaN or infinities
	codeProbeGolden    = "golden_mismatch"     // it does not find what its golden pictures say
	codeProvider       = "provider_missing"    // no execution provider that it may run on can be used here
)

// codedError is an error that deploy.Coded tells apart: a failed trial, or a download that is no model.
type codedError struct {
	code string
	err  error
	temp bool
}

func (e *codedError) Error() string   { return e.err.Error() }
func (e *codedError) Unwrap() error   { return e.err }
func (e *codedError) Code() string    { return e.code }
func (e *codedError) Temporary() bool { return e.temp }

// probeRequest is what the child reads from its standard input, one line of JSON, followed by the frame's bytes.
type probeRequest struct {
	Dir      string        `json:"dir"`      // of the version
	Model    string        `json:"model"`    // below Dir
	Manifest string        `json:"manifest"` // below Dir; may be empty
	Golden   string        `json:"golden"`   // below Dir; may be empty
	Library  string        `json:"library"`
	Plugins  []string      `json:"plugins"`
	Threads  int           `json:"threads"`
	Spinning bool          `json:"spinning"`
	Deadline time.Duration `json:"deadline"` // of one run

	Providers ort.Providers `json:"providers"`

	Memory int64 `json:"memory"` // bytes
	CPU    int64 `json:"cpu"`    // seconds

	Width, Height int // of the frame, whose rows follow each other; 0: there is none
}

// probeAnswer is what the child prints. Passing is said in so many words: nothing that happens to be JSON passes.
type probeAnswer struct {
	Passed  bool   `json:"passed,omitempty"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// Temporary says that it is this machine's fault, and may be gone the next time.
	Temporary bool `json:"temporary,omitempty"`
}

const (
	// maxProbeOutput bounds what is kept of a child's output: an answer, or the first lines of a crash.
	maxProbeOutput = 64 << 10
	// probeGrace is what a child that was told to end may take before its end is no longer waited for.
	probeGrace = 2 * time.Second
	// memoryShare of what is available is what a trial may take: the model runs beside the old one afterwards.
	memoryShareNum, memoryShareDen = 4, 5
	// leastProbeMemory is what ONNX Runtime and a small model need.
	leastProbeMemory = 256 << 20
)

// prober starts trials.
type prober struct {
	program string // the file to run; tests may name another
	timeout time.Duration
	memory  int64 // bytes; 0: by what is available
}

func newProber(cfg *config.Config) *prober {
	return &prober{program: "/proc/self/exe", timeout: duration(cfg.Models.ProbeTimeout), memory: int64(cfg.Models.ProbeMemory)}
}

// run tries a model on f (may be nil) and on its golden pictures. An error is a *codedError, or that of ctx.
func (p *prober) run(ctx context.Context, r probeRequest, f *engine.Frame) error {
	r.CPU = int64(p.timeout/time.Second) * int64(max(1, r.Threads))
	if r.Memory = p.memory; r.Memory == 0 {
		r.Memory = max(available()/memoryShareDen*memoryShareNum, leastProbeMemory)
	}
	var in bytes.Buffer
	var rows io.Reader = strings.NewReader("")
	if f != nil {
		r.Width, r.Height = f.Width, f.Height
		rows = packed(f)
	}
	if err := json.NewEncoder(&in).Encode(r); err != nil {
		return &codedError{code: codeProbeRun, err: err}
	}
	limited, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var out, said limitedBuffer
	c := exec.CommandContext(limited, p.program, "probe")
	c.Stdin, c.Stdout, c.Stderr = io.MultiReader(&in, rows), &out, &said
	c.Env = append(childEnvironment(), "GOTRACEBACK=none")
	c.WaitDelay = probeGrace
	// A child outlives nobody: the kernel ends it when the thread that started it goes, and that one waits for it.
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) } // and what it may have started
	err := quietly(c.Run)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil && !outOfMemory(string(said.kept)): // without memory for a thread some wait for ever
		return &codedError{code: codeProbeTimeout, err: fmt.Errorf("the trial of the model took longer than %v; make the model smaller, or raise models.probe_timeout", p.timeout)}
	}
	return verdict(err, out.kept, string(said.kept), r)
}

// verdict reads how a child ended.
func verdict(err error, out []byte, said string, r probeRequest) error {
	var answer probeAnswer
	if err == nil {
		switch e := json.Unmarshal(out, &answer); {
		case e == nil && answer.Passed && answer.Code == "":
			return nil
		case e == nil && answer.Code != "":
			return &codedError{code: answer.Code, err: errors.New(answer.Message), temp: answer.Temporary}
		}
		return &codedError{code: codeProbeRun, err: fmt.Errorf("the trial process ended without an answer, and said %.100q", firstLine(string(out)+said))}
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return &codedError{code: codeProbeRun, temp: true, err: fmt.Errorf("start the trial process: %w", err)}
	}
	status, _ := exit.Sys().(syscall.WaitStatus)
	killed := status.Signaled() && status.Signal() == syscall.SIGKILL // by the kernel: for time or for memory
	switch {
	case killed && exit.UserTime()+exit.SystemTime() >= time.Duration(r.CPU)*time.Second:
		return &codedError{code: codeProbeTimeout, err: errors.New("the trial of the model used up its processor time; make the model smaller, or raise models.probe_timeout")}
	case killed, outOfMemory(said):
		return &codedError{code: codeProbeMemory, err: fmt.Errorf("the model needs more than the %d MB of memory that a trial may take here; make it smaller, or set models.probe_memory", r.Memory>>20)}
	}
	return &codedError{code: codeProbeCrashed, err: fmt.Errorf("the process that tried the model died (%s: %s); the file is malformed, or its exporter and ONNX Runtime do not agree", exit.ProcessState, firstLine(said))}
}

// outOfMemory recognises the last words of Go, C++ and ONNX Runtime.
func outOfMemory(said string) bool {
	for _, words := range []string{
		"out of memory", "bad_alloc", "annot allocate memory", "Failed to allocate memory",
		"pthread_create failed", "Resource temporarily unavailable", // the stacks of threads count too
	} {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// childEnvironment is what a trial needs of the environment: where libraries and private files are, and how the GPU is set
// up. Keys and tokens that somebody put there are none of its business.
func childEnvironment() []string {
	var out []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case slices.Contains([]string{"PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH", "LANG"}, name),
			strings.HasPrefix(name, "CUDA_"), strings.HasPrefix(name, "NVIDIA_"), strings.HasPrefix(name, "ORT_"), strings.HasPrefix(name, "OMP_"):
			out = append(out, v)
		}
	}
	return out
}

// packed is the rows of a frame without what lies between them.
func packed(f *engine.Frame) io.Reader {
	rows := make([]io.Reader, f.Height)
	for y := range rows {
		rows[y] = bytes.NewReader(f.Pix[y*f.Stride:][:3*f.Width])
	}
	return io.MultiReader(rows...)
}

// available is the memory in bytes that the system could give without swapping; 0: it does not say.
func available() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil {
				return kb << 10
			}
		}
	}
	return 0
}

// limitedBuffer keeps the beginning of what is written and swallows the rest.
// It embeds nothing: the ReadFrom of a bytes.Buffer would take everything.
type limitedBuffer struct{ kept []byte }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if room := maxProbeOutput - len(b.kept); room > 0 {
		b.kept = append(b.kept, p[:min(room, len(p))]...)
	}
	return len(p), nil
}
