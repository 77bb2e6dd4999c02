package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gnomon/models/deploy"
	"gnomon/models/store"
)

// The faults of the machine that docs/faults-host.md lists.

// Killed while the broker is away, and again while it sends what waits, the agent loses nothing but what came in the last
// 50 ms, and with commit_every 0s not even that. Each start has an identity of its own, and knows how the one before ended.
func TestHostKilled(t *testing.T) {
	t.Parallel()
	// After so many more messages of the one source all before them are on the disk. With 0s the next is only made when the
	// one before it is there; otherwise 5 of them take a second.
	for every, after := range map[string]float64{"0s": 1, "50ms": 5} {
		t.Run(every, func(t *testing.T) {
			t.Parallel()
			p := newPost(t, "", "spool: {commit_every: "+every+"},", paced(t, "testdata/pictures", "default"))
			r := p.run()
			kept := p.waits(0, 10)
			p.waits(kept, after)
			r.kill()
			p.mend()
			r = p.run()
			p.detects(1, 1)
			r.kill()
			r = p.run()
			p.detects(2, 3)
			p.end(r)
			if len(p.boots) != 3 {
				t.Fatalf("boots: %v", p.boots)
			}
			if n := p.whole(p.boots[0]); n < int(kept) {
				t.Errorf("%d detections of the first start have arrived, %v were kept", n, kept)
			}
			p.ascending(p.boots[0])
			for _, boot := range p.boots[1:] {
				if !p.told(boot, "agent_started", `"how":"crashed"`) {
					t.Errorf("start %s does not know that the one before crashed", boot)
				}
			}
		})
	}
}

// Told to end while the broker is away, the agent does within 5 s, and everything that it has taken arrives with the next
// start: detections, events and metrics. Logs are off, because their lines share messages, which cannot be counted then.
func TestHostTerminated(t *testing.T) {
	t.Parallel()
	p := newPost(t, "", "logs: {enabled: false},", paced(t, "testdata/pictures", "default", "default", "default"))
	r := p.run()
	p.waits(0, 30)
	out := r.stop(syscall.SIGTERM)
	var published, kept int
	if _, err := fmt.Sscanf(lastLine(out), "%d messages published to mqtt://"+p.addr+": 0 acknowledged, 0 dropped, %d kept", &published, &kept); err != nil || published != kept {
		t.Fatalf("%v in the summary:\n%s", err, out)
	}
	p.mend()
	r = p.run()
	p.detects(1, 1)
	p.end(r)
	first := map[sent]bool{}
	for s := range p.count {
		if s.boot == p.boots[0] {
			first[s] = true
		}
	}
	if p.whole(p.boots[0]); len(first) != kept || !p.told(p.boots[1], "agent_started", `"how":"stopped"`) {
		t.Errorf("%d messages of the first start have arrived, %d were kept", len(first), kept)
	}
}

// Told to end before it has begun to watch, the agent does as it was asked to: that is no failure.
func TestHostTerminatedAtStart(t *testing.T) {
	t.Parallel()
	p := newPost(t, "", "", paced(t, "testdata/pictures", "default"))
	r := p.run()
	await(t, "its first line", r.lines, func(string) bool { return true })
	r.stop(syscall.SIGTERM)
}

// Told to end at any step of an exchange of models, the agent does in time; the next start runs what was committed, counts
// no failure, and brings the exchange to its end.
func TestHostTerminatedInMidSwap(t *testing.T) {
	t.Parallel()
	f := newField(t, paced(t, "testdata/pictures", strings.Fields(six)...), "", "")
	stored := func() store.State {
		var st store.State
		if data, err := os.ReadFile(filepath.Join(f.thing.Dir, "models", "state.json")); err == nil {
			_ = json.Unmarshal(data, &st) // renamed into place: always whole
		}
		return st
	}
	r := f.agent()
	f.sees("s0", "yolov8")
	old := ""
	for i, until := range []string{string(deploy.StateProbing), string(deploy.StateLoading), string(deploy.StateProbation), ""} {
		m, _ := f.upload(packOptions{model: []string{"yolov5", "yolox", "nhwc", "uint8"}[i]})
		f.deploy("default", m)
		// Steps are short. When one is over before it was seen, a later one is as good.
		var at string
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			slot := stored().Slots["default"]
			if slot != nil && slot.Active != nil && slot.Active.SHA256 == m.SHA256 {
				at = "committed"
				break
			}
			if slot != nil && slot.Candidate != nil && slot.Candidate.SHA256 == m.SHA256 && (slot.Phase == until || slot.Phase == string(deploy.StateProbation) && until != "") {
				at = slot.Phase
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s was not reached", until)
			}
		}
		r.stop(syscall.SIGTERM)
		st := stored()
		slot := st.Slots["default"]
		active := ""
		if slot.Active != nil {
			active = slot.Active.SHA256
		}
		t.Logf("told to end while %s: the new one is committed: %v", at, active == m.SHA256)
		if slot.Candidate != nil || active != old && active != m.SHA256 || at == "committed" && active != m.SHA256 || len(st.Failures) > 0 {
			t.Errorf("told to end while %s: %+v, failures %v", at, slot, st.Failures)
		}
		r = f.agent()
		name := "with yolov8"
		switch {
		case active == m.SHA256:
			name = "with test-" + []string{"yolov5", "yolox", "nhwc", "uint8"}[i]
		case i > 0:
			name = "with test-" + []string{"yolov5", "yolox", "nhwc", "uint8"}[i-1]
		}
		await(t, "the agent "+name, r.lines, func(s string) bool { return strings.Contains(s, "watching s0, ") && strings.Contains(s, name) })
		f.runs("default", m.SHA256)
		old = m.SHA256
	}
	f.end(r)
	f.complete()
}

// A log that nobody reads any more holds nothing up but itself: the agent goes on, over the loss of its broker as well, and
// ends in time; what it could not say is all that is missing.
func TestHostLogBlocked(t *testing.T) {
	t.Parallel()
	p := newPost(t, "", "", paced(t, "testdata/pictures", "default"))
	p.mend()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = reader.Close(), writer.Close() }()
	c := command(t, "run", "--config", p.config)
	c.Env = append(c.Env, "STATE_DIRECTORY="+p.state)
	c.Stdout, c.Stderr = writer, writer
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill() }()
	p.detects(0, 3)
	// An open file of its own, because the agent's must go on to block.
	full, err := syscall.Open(fmt.Sprintf("/proc/self/fd/%d", writer.Fd()), syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(full) }()
	for piece := []byte(strings.Repeat("x", 4096)); err == nil; {
		if _, err = syscall.Write(full, piece); err == nil {
			continue
		}
		if len(piece) > 1 {
			piece, err = piece[:1], nil
		}
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("the pipe is not full: %v", err)
	}
	for range 2 { // the first loss is what it wants to tell of
		p.cut()
		p.waits(0, 10)
		p.mend()
		p.detects(0, len(p.order)+10)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_ = c.Wait() // what it has to say at the end is not read either
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v to end", took)
	}
	r := p.run()
	p.detects(1, 1)
	p.end(r)
	p.whole(p.boots[0])
}
