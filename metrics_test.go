package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"gnomon/config"
	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/telemetry"
	"gnomon/telemetry/health"
	"gnomon/telemetry/metrics"
)

// newTestMeter is a meter of an agent with one source and a broker that is not there.
func newTestMeter(t *testing.T, o meterOptions) *meter {
	t.Helper()
	client, err := telemetry.New(telemetry.Options{Broker: "mqtt://127.0.0.1:1", Thing: "thing-1", BootID: "boot-1", TopicPrefix: "dt/gnomon"})
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{cfg: &config.Config{}, log: zap.NewNop(), ident: identity{"thing-1", "boot-1"}, mqtt: client}
	m, err := newMeter(a, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.close() })
	a.crew = newCrew(a.log)
	a.crew.add(&watcher{name: "street", state: stateRunning})
	a.crew.add(&watcher{name: "yard", state: stateDisabled})
	return m
}

func result() *engine.Result {
	return &engine.Result{
		Frame: &engine.Frame{CapturedAt: time.Now()}, Detections: []detect.Detection{{Score: 0.9}, {Score: 0.5}},
		Model:  &engine.ModelInfo{Name: "net", SHA256: strings.Repeat("a", 64), Labels: []string{"person"}, ScoreThreshold: 0.3},
		Timing: engine.Timing{Preprocess: time.Millisecond, Infer: 5 * time.Millisecond, Postprocess: time.Millisecond, Latency: 10 * time.Millisecond},
	}
}

func TestMeterCounts(t *testing.T) {
	m := newTestMeter(t, meterOptions{})
	s := m.source("street")
	s.open()
	s.open()
	r := result()
	s.observe(r, nil, true, nil)
	if n := testing.AllocsPerRun(100, func() { s.observe(r, nil, true, nil) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
	s.observe(r, new(float32(0.6)), true, telemetry.ErrTooLarge)
	for _, err := range []error{engine.ErrDeadline, fmt.Errorf("decode: %w", detect.ErrNotFinite), errors.New("other")} {
		failed := result()
		failed.Err = err
		s.observe(failed, nil, false, nil)
	}
	snap := m.registry.Snapshot(m.collect())
	if len(snap.Sources) != 2 {
		t.Fatalf("%+v", snap.Sources)
	}
	got := snap.Sources[0]
	if got.Frames != 106 || got.Failed != (metrics.Failures{Deadline: 1, NotFinite: 1, Other: 1}) || got.Dropped.Unsent != 1 || got.Totals.Restarts != 1 ||
		len(got.Models) != 2 || got.Models[0].Threshold != 0.3 || got.Models[1].Threshold != 0.6 || got.Latency.Capture.P50 < 2.9 || got.Latency.Capture.P50 > 3.1 || got.Latency.Publish.N != 102 {
		t.Errorf("%+v", got)
	}
	if text := string(m.text()); !strings.Contains(text, `gnomon_frames_processed_total{source="street"} 106`) || !strings.Contains(text, `gnomon_source_running{source="yard"} 0`) {
		t.Error(text)
	}
	var none *meter // without a meter nothing is counted and nothing fails
	none.source("street").open()
	none.source("street").observe(r, nil, true, nil)
	if err := none.close(); err != nil {
		t.Error(err)
	}
}

func TestMeterLooks(t *testing.T) {
	dir := t.TempDir()
	var told []health.Document
	m := newTestMeter(t, meterOptions{
		Dir: dir, OnHealth: func(d health.Document) { told = append(told, d) },
		Spool: func() (*metrics.Spool, *health.Spool) {
			return &metrics.Spool{Bytes: 95, MaxBytes: 100}, &health.Spool{Bytes: 95, MaxBytes: 100}
		},
		Certificate: func() time.Time { return time.Now().Add(time.Hour) },
		Parameters: func() *health.Parameters {
			return &health.Parameters{Since: time.Now().Add(-time.Hour), Every: time.Minute}
		},
	})
	m.source("street").open()
	m.look()
	codes := map[health.Code]bool{}
	for _, r := range m.document().Reasons {
		codes[r.Code] = true
	}
	if len(told) != 1 || told[0].Status != health.Degraded || !codes[health.SpoolNearFull] || !codes[health.CertificateEnds] || !codes[health.ParametersStale] {
		t.Errorf("%d told of, %+v", len(told), m.document())
	}
	if in := m.inputs(); len(in.Sources) != 1 || in.Sources[0].State != health.Running || in.Sources[0].Last.IsZero() || in.Connection.Connected || in.Disk == nil || in.Memory == nil {
		t.Errorf("%+v", in)
	}
	if m.restarts != 0 || newTestMeter(t, meterOptions{Dir: dir}).restarts != 1 {
		t.Error("starts are not counted")
	}
	if _, err := os.Stat(filepath.Join(dir, "references")); err != nil {
		t.Error(err)
	}
}
