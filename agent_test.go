package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// freePort is a loopback port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// lookUp finds a program of the mosquitto package, which Debian puts where users do not look.
func lookUp(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(path); err == nil {
			return p
		}
	}
	if os.Getenv("GNOMON_REQUIRE_MOSQUITTO") != "" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("needs %s: apt-get install mosquitto mosquitto-clients", name)
	return ""
}

// mosquitto starts the real broker on a port; stop ends it. extra are lines of its configuration.
func mosquitto(t *testing.T, port int, extra string) (stop func()) {
	t.Helper()
	// Started as root it would change to a user of its own, who may not read the test's files.
	conf := write(t, filepath.Join(t.TempDir(), "mosquitto.conf"), []byte(fmt.Sprintf("user root\nlistener %d 127.0.0.1\n%s\n", port, extra)))
	c := exec.Command(lookUp(t, "mosquitto"), "-c", conf)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = c.Process.Kill()
			_ = c.Wait() // killed: the error says so
		})
	}
	t.Cleanup(stop)
	for range 100 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.Close()
			return stop
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("mosquitto does not listen")
	return stop
}

// unbatched are the messages in a line, each with its topic: what has waited travels together.
func unbatched(line string) []string {
	topic, payload, _ := strings.Cut(line, " ")
	var together struct{ Batch []json.RawMessage }
	if !strings.HasPrefix(payload, `{"batch":[`) || json.Unmarshal([]byte(payload), &together) != nil {
		return []string{line}
	}
	var lines []string
	for _, one := range together.Batch {
		lines = append(lines, topic+" "+string(one))
	}
	return lines
}

// subscriber is a running mosquitto_sub; lines are what it prints, "topic payload", those of batches one by one.
func subscriber(t *testing.T, port int, topic string) (lines <-chan string) {
	t.Helper()
	c := exec.Command(lookUp(t, "mosquitto_sub"), "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-t", topic, "-v", "-q", "1")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ch := make(chan string, 10000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := bufio.NewScanner(out)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			for _, line := range unbatched(s.Text()) {
				ch <- line
			}
		}
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-done
		_ = c.Wait() // killed: the error says so
	})
	return ch
}

// await waits for a line that ok accepts.
func await(t *testing.T, what string, lines <-chan string, ok func(line string) bool) string {
	t.Helper()
	timeout := time.After(time.Minute)
	var last string
	for {
		select {
		case last = <-lines:
			if ok(last) {
				return last
			}
		case <-timeout:
			t.Fatalf("%s did not come; the last line was %q", what, last)
		}
	}
}

// running is a gnomon in the background.
type running struct {
	t      *testing.T
	cmd    interface{ Signal(os.Signal) error }
	wait   func() error
	code   func() int
	mu     sync.Mutex
	stdout strings.Builder
	lines  chan string // of both outputs
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	return startWith(t, nil, args...)
}

// startWith is start with more in the environment.
func startWith(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	c := command(t, args...)
	c.Env = append(c.Env, env...)
	r := &running{t: t, lines: make(chan string, 10000)}
	pr, pw := io.Pipe()
	c.Stdout, c.Stderr = io.MultiWriter(pw, lockedWriter{&r.mu, &r.stdout}), pw
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r.cmd, r.wait, r.code = c.Process, c.Wait, func() int { return c.ProcessState.ExitCode() }
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := bufio.NewScanner(pr)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			select {
			case r.lines <- s.Text():
			default: // nobody reads so many
			}
		}
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = pw.Close()
		<-done
	})
	return r
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *strings.Builder
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// stop sends a signal and expects a clean end within the 5 s that are promised, with room for a slow machine.
func (r *running) stop(sig os.Signal) string {
	r.t.Helper()
	begin := time.Now()
	if err := r.cmd.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
	err := r.wait()
	if took := time.Since(begin); err != nil || r.code() != exitDone || took > 10*time.Second {
		r.t.Errorf("after the signal: %v, exit code %d, %v", err, r.code(), took)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stdout.String()
}

// agentConfig writes a configuration: the sample video, at its own rate, to a broker.
func agentConfig(t *testing.T, broker, more string) string {
	t.Helper()
	needSample(t)
	yaml := fmt.Sprintf("device: {thing: thing-1}\nsources:\n  street: {uri: sample, loop: true}\nmqtt:\n  broker: %s\n%s", broker, more)
	return write(t, filepath.Join(t.TempDir(), "gnomon.yaml"), []byte(yaml))
}

var (
	bootID     = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	capturedAt = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)
)

// People in the sample video arrive at a real mosquitto; the agent outlives the loss of its broker, says so, and
// goes on when it is back; the status tells online and offline; SIGTERM ends it in time.
func TestAgentWithMosquitto(t *testing.T) {
	port := freePort(t)
	stopBroker := mosquitto(t, port, "allow_anonymous true")
	lines := subscriber(t, port, "dt/gnomon/#")
	r := start(t, "run", "--config", agentConfig(t, fmt.Sprintf("mqtt://127.0.0.1:%d", port), ""))

	line := await(t, "a person", lines, func(s string) bool { return strings.Contains(s, `"label":"person"`) })
	topic, payload, _ := strings.Cut(line, " ")
	if topic != "dt/gnomon/thing-1/street/detections" {
		t.Errorf("topic %s", topic)
	}
	m := parseMessage(t, []byte(payload))
	if m.Schema != "gnomon.detections/1" || m.Device != "thing-1" || m.Source != "street" || !bootID.MatchString(m.BootID) || !capturedAt.MatchString(m.CapturedAt) || len(m.Model.SHA256) != 64 || m.Frame.Width != 768 || m.Monotonic <= 0 || m.Synced == nil {
		t.Errorf("message %s", payload)
	}
	at, err := time.Parse(time.RFC3339Nano, m.CapturedAt)
	if err != nil || time.Since(at) > time.Minute || time.Since(at) < 0 {
		t.Errorf("captured at %s, %v", m.CapturedAt, err)
	}
	await(t, "the status", subscriber(t, port, "dt/gnomon/thing-1/status"), func(s string) bool { return strings.Contains(s, `"state":"online"`) })

	stopBroker()
	await(t, "word of the lost broker", r.lines, func(s string) bool {
		return strings.Contains(s, "broker") && strings.Contains(s, `"level":"warn"`)
	})
	mosquitto(t, port, "allow_anonymous true")
	again := subscriber(t, port, "dt/gnomon/#")
	line = await(t, "a person after the broker was lost", again, func(s string) bool { return strings.Contains(s, `"label":"person"`) })
	_, payload, _ = strings.Cut(line, " ")
	if n := parseMessage(t, []byte(payload)); n.BootID != m.BootID || n.Seq <= m.Seq {
		t.Errorf("after the broker was lost: %s", payload)
	}

	summary := r.stop(syscall.SIGTERM)
	if !strings.Contains(summary, "street") || !strings.Contains(summary, "messages published to") {
		t.Errorf("summary:\n%s", summary)
	}
	await(t, "the offline status", again, func(s string) bool { return strings.Contains(s, `"state":"offline"`) })
}

// The demo needs nothing: a broker in the process, whose address is printed, and a summary at the end.
func TestDemo(t *testing.T) {
	needSample(t)
	r := start(t, "run")
	hint := await(t, "the broker's address", r.lines, func(s string) bool { return strings.Contains(s, "mosquitto_sub -h 127.0.0.1 -p ") })
	port := regexp.MustCompile(`-p (\d+)`).FindStringSubmatch(hint)
	if port == nil {
		t.Fatalf("no port in %q", hint)
	}
	var n int
	if _, err := fmt.Sscan(port[1], &n); err != nil {
		t.Fatal(err)
	}
	await(t, "a person", subscriber(t, n, "dt/gnomon/#"), func(s string) bool { return strings.Contains(s, `"label":"person"`) })
	await(t, "a line about the state", r.lines, func(s string) bool { return strings.HasPrefix(s, "sample: running") })
	r.stop(syscall.SIGINT)
}

// A file that ends ends the agent, with everything published.
func TestAgentEnds(t *testing.T) {
	port := freePort(t)
	mosquitto(t, port, "allow_anonymous true")
	pictures, err := filepath.Abs(filepath.Join("testdata", "pictures"))
	if err != nil {
		t.Fatal(err)
	}
	model, err := filepath.Abs(filepath.Join("testdata", "models", "yolov8.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	yaml := fmt.Sprintf("device: {thing: t}\nsources:\n  a: {uri: %s, pace: max, publish: every-frame}\n  b: {uri: %s, pace: max, score_threshold: 0.89}\nmodel: {path: %s}\nmqtt: {broker: mqtt://127.0.0.1:%d}\nlog: {level: warn, format: json}\n", pictures, pictures, model, port)
	lines := subscriber(t, port, "dt/gnomon/#")
	out := good(t, "run", "--config", write(t, filepath.Join(t.TempDir(), "g.yaml"), []byte(yaml)))
	if !strings.Contains(out, "0 dropped, 0 kept on the disk") {
		t.Errorf("summary:\n%s", out)
	}
	var a, b, low int
	await(t, "the offline status", lines, func(s string) bool {
		topic, payload, _ := strings.Cut(s, " ")
		if strings.HasSuffix(topic, "/status") {
			return strings.Contains(payload, `"state":"offline"`)
		}
		if !strings.HasSuffix(topic, "/detections") {
			return false
		}
		m := parseMessage(t, []byte(payload))
		switch m.Source {
		case "a":
			a++
		case "b":
			b++
			for _, d := range m.Detections {
				if d.Score < 0.89 {
					low++
				}
			}
		}
		return false
	})
	if a != 10 || b == 0 || b >= 10 || low > 0 {
		t.Errorf("%d frames of a, %d of b, %d scores too low", a, b, low)
	}
}

// A camera that accepts the connection and then says nothing keeps nobody: the agent says that it cannot be opened,
// and a signal ends it in time although the decoder does not come back.
func TestStopWithSilentCamera(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts; nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	yaml := fmt.Sprintf("device: {thing: t}\nsources:\n  cam: {uri: 'rtsp://user:secret@%s/x'}\nlog: {format: json}\n", silent.Addr())
	r := start(t, "run", "--config", write(t, filepath.Join(t.TempDir(), "g.yaml"), []byte(yaml)))
	await(t, "the first line about the state", r.lines, func(s string) bool { return strings.HasPrefix(s, "cam: starting") })
	r.stop(syscall.SIGTERM) // while the decoder waits
	r = start(t, "run", "--config", write(t, filepath.Join(t.TempDir(), "g.yaml"), []byte(yaml)))
	said := await(t, "word of the silent camera", r.lines, func(s string) bool { return strings.Contains(s, "the source failed") })
	if strings.Contains(said, "secret") {
		t.Errorf("the password is in the log: %s", said)
	}
	r.stop(syscall.SIGTERM) // while waiting to try again
}

// A reader that takes nothing from our output does not keep the process alive after a signal.
func TestStopWithBlockedOutput(t *testing.T) {
	needSample(t)
	c := command(t, "run")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := w.Write(make([]byte, 64<<10)); err != nil { // as much as a pipe holds
		t.Fatal(err)
	}
	c.Stdout = w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	time.Sleep(3 * time.Second) // long enough to be stuck; if it is not yet, the test still holds
	begin := time.Now()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = c.Wait()
	// On a slow machine it is still loading its model: then it ends as it was asked to.
	if took, code := time.Since(begin), c.ProcessState.ExitCode(); took > 10*time.Second || code != exitFailed && code != exitDone {
		t.Errorf("%v after %v", err, took)
	}
}

// A broker that is not there, refuses or hangs up is named with the reason; nothing was delivered, so the run failed.
func TestBadBroker(t *testing.T) {
	dropping, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dropping.Close() }()
	go func() {
		for {
			c, err := dropping.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	refusing := freePort(t)
	mosquitto(t, refusing, "allow_anonymous false\npassword_file "+write(t, filepath.Join(t.TempDir(), "passwords"), nil))
	rows := []struct{ name, broker, want string }{
		{"unreachable", fmt.Sprintf("mqtt://127.0.0.1:%d", freePort(t)), "refused"},
		{"refusing", fmt.Sprintf("mqtt://127.0.0.1:%d", refusing), "authori"},
		{"dropping", fmt.Sprintf("mqtt://%s", dropping.Addr()), "closed"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			stdout, stderr, code := gnomon(t, "run", "--duration", "6s", "--config", agentConfig(t, row.broker, "telemetry: {spool: {dir: memory}}\n"))
			end := lastLine(stderr)
			if code != exitFailed || !strings.HasPrefix(end, "gnomon: nothing reached the broker: ") || !strings.Contains(end, row.want) {
				t.Errorf("exit code %d, %s\n%s", code, end, stdout)
			}
			for line := range strings.Lines(stderr) {
				if strings.HasPrefix(line, "{") && !json.Valid([]byte(line)) {
					t.Errorf("not JSON: %s", line)
				}
			}
		})
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
