package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	sampleEvery = time.Second
	// maxMetrics bounds the text of one answer.
	maxMetrics = 4 << 20
)

// sample is the agent at one moment. What it does not tell is -1.
type sample struct {
	At         float64 `json:"at_s"` // since the first one
	RSS        float64 `json:"rss_bytes"`
	Files      float64 `json:"files"`
	Threads    float64 `json:"threads"`
	Goroutines float64 `json:"goroutines"`
	Mats       float64 `json:"open_mats"`
	Abandoned  float64 `json:"abandoned_readers"`
	Queued     float64 `json:"queued"`
	CPU        float64 `json:"cpu_s"` // used so far

	metrics values
}

// values are the metrics of the agent by name and labels, as they stand in the text.
type values map[string]float64

// get is a metric without labels; -1: it is not told.
func (v values) get(name string) float64 {
	if n, ok := v[name]; ok {
		return n
	}
	return -1
}

// sum adds up the series of a metric that have all the labels, such as source="front".
func (v values) sum(name string, labels ...string) float64 {
	total := 0.0
	for series, n := range v {
		rest, ok := strings.CutPrefix(series, name+"{")
		if !ok {
			continue
		}
		has := true
		for _, l := range labels {
			has = has && strings.Contains(rest, l)
		}
		if has {
			total += n
		}
	}
	return total
}

// scrape reads the agent's metrics.
func scrape(ctx context.Context, url string) (values, error) {
	ctx, cancel := context.WithTimeout(ctx, sampleEvery)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	v := values{}
	lines := bufio.NewScanner(io.LimitReader(answer.Body, maxMetrics))
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if n, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			v[line[:at]] = n
		}
	}
	return v, lines.Err()
}

// look takes one sample of a process.
func look(ctx context.Context, pid int, url string) (sample, error) {
	var s sample
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return s, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return s, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, err
	}
	s.RSS, s.Threads, s.Files = 1024*field(status, "VmRSS:"), field(status, "Threads:"), float64(len(files))
	if s.CPU, err = processorTime(stat); err != nil {
		return s, err
	}
	s.Goroutines, s.Mats, s.Abandoned, s.Queued = -1, -1, -1, -1
	if s.metrics, err = scrape(ctx, url); err != nil {
		return s, nil //nolint:nilerr // an answer that comes too late is missing in this sample
	}
	s.Goroutines, s.Mats = s.metrics.get("gnomon_goroutines"), s.metrics.get("gnomon_open_mats")
	s.Abandoned, s.Queued = s.metrics.get("gnomon_abandoned_readers"), s.metrics.get("gnomon_mqtt_queued")
	return s, nil
}

// field is a number in /proc/PID/status.
func field(status []byte, name string) float64 {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err == nil {
				return n
			}
		}
	}
	return -1
}

// processorTime is utime and stime of /proc/PID/stat in seconds (proc(5); the unit is 1/100 s on every Linux).
func processorTime(stat []byte) (float64, error) {
	const user, system, ticks = 11, 12, 100 // counted after the name, which may hold anything
	_, rest, ok := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) <= system {
		return 0, errors.New("/proc/PID/stat has another form")
	}
	u, err := strconv.ParseFloat(fields[user], 64)
	if err != nil {
		return 0, err
	}
	s, err := strconv.ParseFloat(fields[system], 64)
	return (u + s) / ticks, err
}
