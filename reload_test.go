package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sourceLines gives out the sources of detections as they come, and how many have come of each.
type sourceLines struct {
	t     *testing.T
	lines <-chan string
}

// from waits for n messages of one source; what comes from others meanwhile is counted.
func (s *sourceLines) from(source string, n int) map[string]int {
	s.t.Helper()
	counts := map[string]int{}
	await(s.t, fmt.Sprintf("%d messages of %s", n, source), s.lines, func(line string) bool {
		topic, _, _ := strings.Cut(line, " ")
		if name, ok := strings.CutSuffix(strings.TrimPrefix(topic, "dt/gnomon/thing-1/"), "/detections"); ok {
			counts[name]++
		}
		return counts[source] >= n
	})
	return counts
}

// forget drops what has come already.
func (s *sourceLines) forget() {
	for len(s.lines) > 0 {
		<-s.lines
	}
}

// The configuration changes while the agent runs: sources come, change and go, and those that are not concerned see
// nothing of it. A file with a mistake changes nothing. SIGHUP reads the file at once.
func TestReload(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	mosquitto(t, port, "allow_anonymous true")
	lines := &sourceLines{t, subscriber(t, port, "dt/gnomon/#")}
	path := filepath.Join(t.TempDir(), "gnomon.yaml")
	set := func(sources string) {
		t.Helper()
		text := fmt.Sprintf("device: {thing: thing-1}\nmqtt: {broker: mqtt://127.0.0.1:%d, publish: every-frame}\ntelemetry: {metrics: {listen: \"\"}}\nsources:\n%s", port, sources)
		write(t, path+".new", []byte(text))
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	const one = "  one: {uri: \"test:\", width: 320, height: 240, fps: 5}\n"
	set(one)
	r := start(t, "run", "--config", path)
	opened := 0 // times that one was
	said := func(what string) {
		t.Helper()
		await(t, what, r.lines, func(s string) bool {
			if strings.Contains(s, `"msg":"watching"`) && strings.Contains(s, `"source":"one"`) {
				opened++
			}
			return strings.Contains(s, what)
		})
	}
	lines.from("one", 3)

	set(one + "  two: {uri: \"test:\", width: 160, height: 120, fps: 5}\n")
	lines.from("two", 3)

	set(one + "  two: {uri: \"test:\", size: 160}\n")
	said("the changed configuration is not used")
	lines.forget()
	before := lines.from("two", 5)
	if before["one"] < 2 {
		t.Errorf("after a file with a mistake: %v", before)
	}

	// A change that needs no opening, at once.
	set(one + "  two: {uri: \"test:\", width: 160, height: 120, fps: 5, detect_fps: 1}\n")
	if err := r.cmd.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	said("sources.two.detect_fps")
	lines.forget()
	lines.from("two", 2) // in work
	if n := lines.from("one", 20); n["two"] > 8 {
		t.Errorf("of a source that is to be looked at once a second: %v", n)
	}

	set("  two: {uri: \"test:\", width: 160, height: 120, fps: 5, enabled: false}\n  three: {uri: \"test:\", width: 160, height: 120, fps: 5}\n")
	lines.from("three", 10)
	lines.forget()
	if n := lines.from("three", 5); n["one"] > 0 || n["two"] > 0 {
		t.Errorf("sources that were removed and disabled go on: %v", n)
	}
	r.stop(syscall.SIGTERM)
	for len(r.lines) > 0 {
		if line := <-r.lines; strings.Contains(line, `"msg":"watching"`) && strings.Contains(line, `"source":"one"`) {
			opened++
		}
	}
	if opened != 1 {
		t.Errorf("a source that nobody changed was opened %d times", opened)
	}
}

// A stamp is another when the file is.
func TestLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if look(path) != (stamp{}) {
		t.Error("a file that is not there has a stamp")
	}
	write(t, path, []byte("a"))
	a := look(path)
	if a == (stamp{}) || a != look(path) {
		t.Error("the same file has two stamps")
	}
	write(t, path+"2", []byte("b"))
	when := time.Now().Add(-time.Hour)
	for _, name := range []string{path, path + "2"} {
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
	a = look(path)
	if err := os.Rename(path+"2", path); err != nil {
		t.Fatal(err)
	}
	if a == look(path) {
		t.Error("another file of the same size and time has the same stamp")
	}
}
