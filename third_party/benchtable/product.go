package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"gnomon/bench"
)

const (
	// settled is after how long the memory of a program at work is read: at the slowest model's speed some hundred frames.
	settled = 10 * time.Second
	// firstByte is how long the first detection may take at most.
	firstByte = time.Minute
	// memoryRounds is enough for memory, which differs by a few MB from run to run.
	memoryRounds = 3
)

// start measures from exec to the first detection, against exec to a bare session.
func (m *meter) start(ctx context.Context, e entry) {
	what, most := e.name+": start to first detection ÷ bare session creation", atMost(1.15, "")
	say("%s: start, %d rounds: some seconds", e.name, m.o.rounds)
	rounds, err := m.starts(ctx, e)
	if err != nil {
		m.report.lacks(what, most, err)
		return
	}
	column := func(name string) float64 { return bench.Median(each(rounds, name)) }
	detail := fmt.Sprintf("%.0f ÷ %.0f ms, of which CreateSession %.0f", column("ours"), column("bare"), column("create"))
	m.report.got(what, most, column("ratio"), detail, rounds)
}

func (m *meter) starts(ctx context.Context, e entry) (rounds []round, err error) {
	picture, err := m.picture(ctx)
	if err != nil {
		return nil, err
	}
	args := []string{"detect", "--json", "--model", e.path, picture}
	if e.manifest != "" {
		args = append(args, "--manifest", e.manifest)
	}
	for i := range m.o.rounds + 1 {
		bare, line, err := first(ctx, m.o.bare, m.o.library, e.file, "1", "0")
		if err != nil {
			return nil, err
		}
		var b bareFigures
		if err := json.Unmarshal(line, &b); err != nil {
			return nil, fmt.Errorf("the bare loop printed something else than its figures: %w", err)
		}
		ours, line, err := first(ctx, m.o.gnomon, args...)
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(line, []byte(`"score"`)) {
			return nil, errors.New("gnomon found nothing in the picture that it was to find something in")
		}
		if i == 0 { // brings the files into the page cache
			continue
		}
		rounds = append(rounds, round{"bare": bare, "create": b.Create, "ours": ours, "ratio": ours / bare})
	}
	return rounds, nil
}

// first runs a program and returns the ms until its first byte, and its first line. The program goes on to its end.
func first(ctx context.Context, name string, args ...string) (ms float64, line []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, firstByte)
	defer cancel()
	var complaints limited
	c := command(ctx, nil, name, args...)
	c.Stderr = &complaints
	out, err := c.StdoutPipe()
	if err != nil {
		return 0, nil, err
	}
	begin := time.Now()
	if err := c.Start(); err != nil {
		return 0, nil, because(filepath.Base(name), err, "")
	}
	r := bufio.NewReader(io.LimitReader(out, maxOutput))
	_, _ = r.Peek(1) // what went wrong is told by Wait
	ms = time.Since(begin).Seconds() * 1000
	line, _ = r.ReadBytes('\n')
	_, _ = io.Copy(io.Discard, out)
	if err := c.Wait(); err != nil {
		return 0, nil, because(filepath.Base(name), err, complaints.String())
	}
	return ms, line, nil
}

// bareFigures is what the bare loop prints, over all its lines.
type bareFigures struct {
	Create float64 `json:"create_ms"`
	FPS    float64 `json:"fps"`
	RSS    float64 `json:"rss_mb"`
}

// memory measures the resident memory of the agent at work, less that of the bare loop.
func (m *meter) memory(ctx context.Context, e entry) {
	what, most := e.name+": memory above the bare loop", atMost(60, "MB")
	n := min(m.o.rounds, memoryRounds)
	say("%s: memory, %d rounds: about %.0f s", e.name, n, 2*float64(n)*(settled.Seconds()+1))
	var rounds []round
	for range n {
		bare, err := m.bareLoop(ctx, e)
		if err != nil {
			m.report.lacks(what, most, err)
			return
		}
		ours, err := m.agentMemory(ctx, e)
		if err != nil {
			m.report.lacks(what, most, err)
			return
		}
		rounds = append(rounds, round{"bare": bare.RSS, "ours": ours, "above": ours - bare.RSS, "bare_fps": bare.FPS})
	}
	column := func(name string) float64 { return bench.Median(each(rounds, name)) }
	m.report.got(what, most, column("above"), fmt.Sprintf("%.0f - %.0f MB", column("ours"), column("bare")), rounds)
}

// bareLoop lets the bare loop work for as long as the agent.
func (m *meter) bareLoop(ctx context.Context, e entry) (b bareFigures, err error) {
	lanes := 1
	if r := m.report.Bench[e.name]; r != nil {
		lanes = r.Results[0].Sessions
	}
	out, err := output(ctx, settled, nil, m.o.bare, m.o.library, e.file, strconv.Itoa(lanes), strconv.FormatFloat(settled.Seconds(), 'f', 0, 64))
	if err != nil {
		return b, err
	}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		if err := d.Decode(&b); err != nil {
			return b, fmt.Errorf("the bare loop printed something else than its figures: %w", err)
		}
	}
	if b.RSS <= 0 {
		return b, errors.New("the bare loop does not say how much memory it has")
	}
	return b, nil
}

// agentMemory lets the agent work on the looped sample for a while and reads its memory.
func (m *meter) agentMemory(ctx context.Context, e entry) (float64, error) {
	if m.broker == "" {
		return 0, m.brokerErr
	}
	type object = map[string]any
	model := object{"path": e.path, "manifest": e.manifest}
	if e.path != "default" {
		path, err := filepath.Abs(e.path)
		if err != nil {
			return 0, err
		}
		model["path"] = path
	}
	conf, err := json.Marshal(object{ // JSON is YAML
		"device": object{"thing": "benchtable"}, "model": model, "mqtt": object{"broker": m.broker},
		"sources": object{"sample": object{"uri": m.o.sample, "loop": true, "pace": "max"}},
	})
	if err != nil {
		return 0, err
	}
	path := filepath.Join(m.dir, "gnomon.yaml")
	if err := os.WriteFile(path, conf, 0o600); err != nil {
		return 0, fmt.Errorf("configure the agent: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, settled+patience)
	defer cancel()
	var complaints limited
	c := command(ctx, nil, m.o.gnomon, "run", "--config", path)
	c.Stdout, c.Stderr = io.Discard, &complaints
	if err := c.Start(); err != nil {
		return 0, because("gnomon", err, "")
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Wait() }() // it is told to end; how it does is not measured here
	select {
	case <-done:
		return 0, because("gnomon", errors.New("it ended by itself"), complaints.String())
	case <-time.After(settled):
	}
	rss, err := resident(c)
	cancel()
	<-done
	return rss, err
}

// resident is the resident memory of a running program in MB (10^6 bytes).
func resident(c *exec.Cmd) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of a program: %w", err)
	}
	found := regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`).FindSubmatch(status)
	if found == nil {
		return 0, errors.New("the system does not say how much memory a program has")
	}
	kb, err := strconv.ParseFloat(string(found[1]), 64)
	return kb * 1024 / 1e6, err
}
