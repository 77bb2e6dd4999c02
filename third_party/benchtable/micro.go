package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"gnomon/bench"
)

const (
	// microTime is how long each benchmark runs in a round: long enough for some hundred repetitions.
	microTime = "200ms"
	// microRounds are processes: OpenCV is fast or slow for the life of one, as its memory happens to lie.
	microRounds = 7
)

// preprocessing measures the pass over the pixels against OpenCV's and against copying.
func (m *meter) preprocessing(ctx context.Context) {
	sizes := []struct{ name, ours, cv string }{
		{"640x480 to 416", "640x480_to_416x416", "640x480_to_416x312"},
		{"1080p to 640", "1920x1080_to_640x640", "1920x1080_to_640x360"},
	}
	say("preprocessing and copying, %d rounds: about half a minute", microRounds)
	rounds, err := m.micro(ctx, "./engine/tensor", "^Benchmark((Copy|Process)(Fresh)?|OpenCVReused)$/^(640x480|1920x1080)")
	for _, s := range sizes {
		m.quotient(rounds, err, "preprocessing ÷ OpenCV, "+s.name, atMost(0.25, ""), "Process/"+s.ours, "OpenCVReused/"+s.cv)
	}
	for _, c := range []struct{ suffix, name string }{{"", "frame in the caches"}, {"Fresh", "frame in memory"}} {
		for _, s := range sizes {
			m.quotient(rounds, err, fmt.Sprintf("preprocessing ÷ copying, %s, %s", s.name, c.name), atMost(2.5, ""), "Process"+c.suffix+"/"+s.ours, "Copy"+c.suffix+"/"+s.ours)
		}
	}
}

// quotient adds a line of one benchmark's time divided by another's.
func (m *meter) quotient(rounds []round, err error, what string, t target, ours, other string) {
	var own []round
	for _, r := range rounds {
		if r[ours] == 0 || r[other] == 0 {
			err = fmt.Errorf("there is no benchmark %s or %s in this build; make build makes what they need", ours, other)
			break
		}
		own = append(own, round{"ours": r[ours], "other": r[other], "ratio": r[ours] / r[other]})
	}
	if err != nil {
		m.report.lacks(what, t, err)
		return
	}
	column := func(name string) float64 { return bench.Median(each(own, name)) }
	m.report.got(what, t, column("ratio"), fmt.Sprintf("%.2f ÷ %.2f ms", column("ours"), column("other")), own)
}

// decoding measures decoding and NMS of a head with 8400 candidates.
func (m *meter) decoding(ctx context.Context) {
	say("decoding and NMS, %d rounds: some seconds", microRounds)
	rounds, err := m.micro(ctx, "./engine/detect", "^BenchmarkDecode$/^yolov8$/^(10|300)$")
	for _, c := range []struct {
		found int
		most  float64
	}{{10, 0.6}, {300, 1.5}} {
		what, name := fmt.Sprintf("decoding and NMS, 8400 candidates, %d detections", c.found), fmt.Sprintf("Decode/yolov8/%d", c.found)
		times := each(rounds, name)
		switch {
		case err != nil:
			m.report.lacks(what, atMost(c.most, "ms"), err)
		case bench.Median(times) == 0:
			m.report.lacks(what, atMost(c.most, "ms"), fmt.Errorf("there is no benchmark %s", name))
		default:
			m.report.got(what, atMost(c.most, "ms"), bench.Median(times), "one core", own(rounds, name))
		}
	}
}

// own are the rounds with one column.
func own(rounds []round, name string) []round {
	var out []round
	for _, r := range rounds {
		out = append(out, round{name: r[name]})
	}
	return out
}

// micro runs benchmarks of a package on one core, each round in a process of its own. A round has ms by benchmark.
func (m *meter) micro(ctx context.Context, pkg, pattern string) ([]round, error) {
	binary := filepath.Join(m.dir, filepath.Base(pkg)+".test")
	if _, err := output(ctx, 0, nil, "go", "test", "-c", "-o", binary, pkg); err != nil {
		return nil, err
	}
	var rounds []round
	for range microRounds {
		out, err := output(ctx, 0, nil, binary, "-test.run", "^$", "-test.cpu", "1", "-test.benchtime", microTime, "-test.bench", pattern)
		if err != nil {
			return nil, err
		}
		r, err := benchmarks(out)
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, r)
	}
	return rounds, nil
}

// benchmarks reads what go test -bench prints, in ms by name.
func benchmarks(out []byte) (round, error) {
	line := regexp.MustCompile(`^Benchmark(\S+)\s+\d+\s+([0-9.]+) ns/op`)
	r := round{}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		found := line.FindStringSubmatch(s.Text())
		if found == nil {
			continue
		}
		ns, err := strconv.ParseFloat(found[2], 64)
		if err != nil {
			return nil, fmt.Errorf("read a benchmark's line %q: %w", strings.TrimSpace(s.Text()), err)
		}
		r[found[1]] = ns / 1e6
	}
	if len(r) == 0 {
		return nil, errors.New("no benchmark was run")
	}
	return r, nil
}
