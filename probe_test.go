package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gnomon/engine"
	"gnomon/engine/ort"
)

// trial is a prober whose children are this test binary as gnomon, and a request for a model of the test.
func trial(t *testing.T, model string) (*prober, probeRequest) {
	t.Helper()
	dir := absolute(t, "testdata/"+filepath.Dir(model))
	r := probeRequest{Dir: dir, Model: filepath.Base(model), Threads: 1, Deadline: time.Minute}
	return &prober{program: "/proc/self/exe", timeout: time.Minute, memory: 1 << 30}, r
}

// verdictOf is the code of a failed trial, "passed", or another error's text.
func verdictOf(err error) string {
	var coded *codedError
	switch {
	case err == nil:
		return "passed"
	case errors.As(err, &coded):
		return coded.code
	}
	return err.Error()
}

// Each model gets the verdict that it deserves, from the real child, and leaves no process behind.
func TestProbe(t *testing.T) {
	needParts(t)
	bright := white(256, 128)
	bright.Stride, bright.Pix = bright.Stride+7, append(bright.Pix, make([]byte, 7*bright.Height)...)
	rows := []struct {
		name, model, want string
		change            func(*prober, *probeRequest)
		frame             *engine.Frame
	}{
		{"good", "models/yolov8.onnx", "passed", nil, nil},
		{"good with a manifest and a frame", "models/yolov5.onnx", "passed", func(_ *prober, r *probeRequest) { r.Manifest = "yolov5.yaml" }, bright},
		{"NaN that the frame does not show", "models/nan.onnx", "passed", nil, nil},
		{"NaN", "models/nan.onnx", codeProbeNotFinite, nil, white(256, 128)},
		{"unknown head", "models/unknown_head.onnx", codeProbeInvalid, nil, nil},
		{"manifest of another", "models/yolov8.onnx", codeProbeInvalid, func(_ *prober, r *probeRequest) { r.Manifest = "nanodet.yaml" }, nil},
		{"golden pictures that are not there", "models/yolov8.onnx", codeProbeGolden, func(_ *prober, r *probeRequest) { r.Golden = "golden/golden.json" }, nil},
		{"memory", "hostile/greedy.onnx", codeProbeMemory, nil, nil},
		{"a run that takes too long", "hostile/endless.onnx", codeProbeTimeout, func(_ *prober, r *probeRequest) { r.Deadline = 100 * time.Millisecond }, nil},
		{"a trial that takes too long", "hostile/endless.onnx", codeProbeTimeout, func(p *prober, _ *probeRequest) { p.timeout = time.Second }, nil},
		{"no provider", "models/yolov8.onnx", codeProvider, func(_ *prober, r *probeRequest) { r.Providers.Order = []string{"tensorrt", "cuda"} }, nil},
		{"no provider, strict", "models/yolov8.onnx", codeProvider, func(_ *prober, r *probeRequest) {
			r.Providers = ort.Providers{Order: []string{"npu", "cpu"}, Strict: true}
			r.Plugins = []string{"/none.so"}
		}, nil},
		{"another provider", "models/yolov8.onnx", "passed", func(_ *prober, r *probeRequest) {
			r.Providers.Order, r.Plugins = []string{"tensorrt", "npu", "cpu"}, []string{"/none.so"}
		}, nil},
		{"no runtime", "models/yolov8.onnx", codeProbeRun, func(_ *prober, r *probeRequest) { r.Library = "/none.so" }, nil},
	}
	if runtime.GOARCH == "amd64" {
		rows = append(rows, rows[0])
		rows[len(rows)-1].name, rows[len(rows)-1].model, rows[len(rows)-1].want = "crash", "hostile/crash.onnx", codeProbeCrashed
	}
	t.Run("verdicts", func(t *testing.T) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				p, r := trial(t, row.model)
				if row.change != nil {
					row.change(p, &r)
				}
				err := p.run(t.Context(), r, row.frame)
				if got := verdictOf(err); got != row.want {
					t.Errorf("%s: %v; want %s", got, err, row.want)
				}
			})
		}
	})
	left := children(t)
	for range 50 { // one that was killed is gone a moment later
		if len(left) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
		left = children(t)
	}
	t.Errorf("left behind: %v", left)
}

func white(w, h int) *engine.Frame {
	f := greyFrame(w, h)
	for i := range f.Pix {
		f.Pix[i] = 255
	}
	return f
}

// children are the processes that have this one as their parent, dead ones included.
func children(t *testing.T) []string {
	t.Helper()
	var out []string
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// proc(5): pid (name) state ppid; the name may hold anything.
		rest := string(data[strings.LastIndexByte(string(data), ')')+1:])
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			out = append(out, strings.TrimSpace(string(data)))
		}
	}
	return out
}

// A child that is no gnomon, or has gone mad, gets a verdict too, and in time.
func TestProbeOfMadChildren(t *testing.T) {
	for _, row := range []struct{ name, script, want, message string }{
		{"passes", `echo '{"passed":true}'`, "passed", ""},
		{"an answer", `echo '{"code":"golden_mismatch","message":"m"}'`, codeProbeGolden, "m"},
		{"silence", `exit 0`, codeProbeRun, "without an answer"},
		{"an empty answer", `echo '{}'`, codeProbeRun, "without an answer"},
		{"no answer", `echo null`, codeProbeRun, "without an answer"},
		{"garbage", `cat >/dev/null; echo "Segmentation fault, or so"`, codeProbeRun, "Segmentation fault, or so"},
		{"endless garbage", `trap '' PIPE; head -c 1000000 /dev/zero; exit 3`, codeProbeCrashed, "exit status 3"},
		{"reads nothing", `exec <&-; exit 1`, codeProbeCrashed, "exit status 1"},
		{"segmentation fault", `kill -SEGV $$`, codeProbeCrashed, "segmentation fault"},
		{"abort", `echo 'terminate called after throwing' >&2; echo more >&2; kill -ABRT $$`, codeProbeCrashed, "aborted: terminate called after throwing)"},
		{"out of memory in C++", `echo "what():  std::bad_alloc" >&2; kill -ABRT $$`, codeProbeMemory, "1024 MB"},
		{"killed", `kill -KILL $$`, codeProbeMemory, "models.probe_memory"},
		{"hangs", `exec sleep 60`, codeProbeTimeout, "longer than 1s"},
		{"hangs with a child of its own", `sleep 60 & sleep 60`, codeProbeTimeout, "longer than 1s"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, r := trial(t, "models/yolov8.onnx")
			p.program, p.timeout = filepath.Join(t.TempDir(), "child"), time.Second
			if err := os.WriteFile(p.program, []byte("#!/bin/sh\n"+row.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			var frame *engine.Frame
			if row.name == "reads nothing" { // of more than a pipe holds
				frame = white(1024, 256)
			}
			err := p.run(t.Context(), r, frame)
			if got := verdictOf(err); got != row.want || err != nil && !strings.Contains(err.Error(), row.message) {
				t.Errorf("%s: %v; want %s, %s", got, err, row.want, row.message)
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	// With no processor time at all, whoever is killed has used it up.
	if got := verdictOf(verdict(exec.Command("sh", "-c", "kill -KILL $$").Run(), nil, "", probeRequest{})); got != codeProbeTimeout {
		t.Errorf("processor time: %s", got)
	}
	p, r := trial(t, "models/yolov8.onnx")
	p.program = filepath.Join(t.TempDir(), "none")
	var coded *codedError
	if err := p.run(t.Context(), r, nil); !errors.As(err, &coded) || !coded.temp {
		t.Errorf("a child that cannot be started: %v", err)
	}
}

// asConfined makes the test binary limit itself and try what the limits forbid.
const asConfined = "GNOMON_TEST_CONFINED"

// The limits hold: no file is written, no core dumped, and memory and processor time end where they were set.
func TestConfine(t *testing.T) {
	if os.Getenv(asConfined) != "" {
		confined()
		return
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestConfine$")
	c.Env = append(os.Environ(), asConfined+"="+filepath.Join(t.TempDir(), "file"), "GOTRACEBACK=none")
	out, err := c.CombinedOutput()
	status := c.ProcessState.Sys().(syscall.WaitStatus)
	for _, want := range []string{"file: file too large", "core: 0", "mmap: cannot allocate memory", "oom_score_adj: 1000", "spinning"} {
		if !strings.Contains(string(out), want+"\n") {
			t.Errorf("%q is missing", want)
		}
	}
	if !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("it ended so: %v", err)
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
	for _, r := range []probeRequest{{Memory: -1}, {CPU: -1}} {
		if confine(r) == nil {
			t.Errorf("%+v is no error", r)
		}
	}
}

func confined() {
	const memory = 64 << 20
	if err := confine(probeRequest{Memory: memory, CPU: 1}); err != nil {
		fmt.Println(err)
		return
	}
	err := os.WriteFile(os.Getenv(asConfined), []byte("x"), 0o600)
	fmt.Println("file:", errors.Unwrap(err))
	var core syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_CORE, &core)
	fmt.Println("core:", core.Max)
	_, err = syscall.Mmap(-1, 0, 2*memory, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	fmt.Println("mmap:", err)
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	fmt.Println("oom_score_adj:", strings.TrimSpace(string(score)))
	fmt.Println("spinning")
	for n := uint64(0); ; n++ {
		runtime.KeepAlive(n)
	}
}

// asParent makes the test binary start a trial that hangs, for the test that kills it.
const asParent = "GNOMON_TEST_PARENT"

// A child does not outlive the agent, however that ends.
func TestProbeDiesWithItsParent(t *testing.T) {
	if program := os.Getenv(asParent); program != "" {
		p := &prober{program: program, timeout: time.Minute, memory: 1 << 30}
		t.Fatal(p.run(t.Context(), probeRequest{}, nil))
	}
	dir := t.TempDir()
	child, note := filepath.Join(dir, "child"), filepath.Join(dir, "pid")
	if err := os.WriteFile(child, []byte("#!/bin/sh\necho $$ >"+note+".new && mv "+note+".new "+note+"\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestProbeDiesWithItsParent$")
	c.Env = append(os.Environ(), asParent+"="+child)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	soon := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	defer func() { _ = c.Process.Kill() }()
	soon("the child did not start", func() bool { _, err := os.Stat(note); return err == nil })
	pid, err := strconv.Atoi(strings.TrimSpace(string(read(t, note))))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // killed: the error says so
	soon("the child lives on", func() bool {
		// Dead, or at least a zombie that waits for whoever has inherited it.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}
