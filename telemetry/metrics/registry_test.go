package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gnomon/engine/detect"
	"gnomon/telemetry/host"
)

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// clock is a time that the test moves.
type clock struct{ at time.Time }

func newClock() *clock                { return &clock{time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)} }
func (c *clock) now() time.Time       { return c.at }
func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

func newRegistry(t testing.TB, c *clock, dir string) *Registry {
	t.Helper()
	r, err := New(Options{Device: "thing-1", BootID: "boot-1", Version: "1.2", Dir: dir, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func found(class int, scores ...float32) []detect.Detection {
	var out []detect.Detection
	for _, s := range scores {
		out = append(out, detect.Detection{ClassID: class, Score: s})
	}
	return out
}

func observation(at time.Time, d []detect.Detection) *Observation {
	o := &Observation{At: at, Model: ModelRef{Name: "net", Version: "1", SHA256: digest}, Labels: []string{"person", "", "car"}, Threshold: 0.25, Detections: d}
	o.Stages[Capture], o.Stages[Preprocess], o.Stages[Infer] = 10*time.Millisecond, 2*time.Millisecond, 20*time.Millisecond
	o.Stages[Postprocess], o.Stages[Publish] = time.Millisecond, 34*time.Millisecond
	return o
}

// scene is a registry after one window with everything in it.
func scene(t testing.TB) (*Registry, *clock, *Snapshot) {
	c := newClock()
	r := newRegistry(t, c, "")
	s := r.Source("street")
	for range 20 {
		c.pass(time.Second)
		s.Observe(observation(c.at, append(found(0, 0.9, 0.8), found(2, 0.4)...)))
	}
	s.Observe(observation(c.at, found(1, 0.3)))
	s.Observe(observation(c.at, found(7, float32(math.NaN()))))
	unsent := observation(c.at, nil)
	unsent.Unsent = true
	s.Observe(unsent)
	for _, f := range []Failure{Deadline, NotFinite, Other, Other} {
		o := observation(c.at, nil)
		o.Failure = f
		s.Observe(o)
	}
	return r, c, r.Snapshot(inputs())
}

func inputs() Inputs {
	return Inputs{
		Sources: []SourceInput{{Name: "street", State: "running", Captured: 30, Dropped: FrameDrops{Busy: 3, Paced: 4}, Restarts: 1}, {Name: "yard", State: "retrying"}},
		Swaps:   2, RollBacks: 1, Health: "degraded",
		Link:  &Link{Connected: true, Published: 50, Acked: 48, Queued: 1, InFlight: 1, Reconnects: 2},
		Spool: &Spool{Bytes: 1000, MaxBytes: 5000, Classes: []SpoolClass{{Name: "events", Records: 1, Bytes: 100}, {Name: "logs", Dropped: 4}}},
		Host: &host.Snapshot{
			UptimeS: new(100.5), CPU: &host.CPU{Busy: new(0.5), Cores: []*float64{new(0.25), nil}, Count: 2, Load1: new(1.5)},
			Memory: &host.Memory{Total: 100, Available: new(uint64(50))}, Process: &host.Process{RSS: new(uint64(10)), Files: new(uint64(3))},
			Disk: &host.Disk{Total: 9, Available: 8}, Clock: &host.Clock{MaxErrorS: new(16.0)},
			Throttle:     &host.Throttle{Now: []string{"heat"}, Events: []host.Event{{Name: "over_current_oc1", Count: 7}}},
			Temperatures: []host.Temperature{{Name: "cpu \"hot\"\n", Celsius: 71}, {Name: "gpu", Celsius: 60}},
			Rails:        []host.Rail{{Name: "VDD_IN", Watts: 7.5}}, Network: []host.Interface{{Name: "eth0", Received: 1, Sent: 2}},
			GPUs: []host.GPU{{Name: "gpu0", Load: new(0.4), MemoryUsed: new(uint64(5)), Celsius: new(55.0)}},
		},
	}
}

func TestSnapshot(t *testing.T) {
	r, c, snap := scene(t)
	if len(snap.Sources) != 2 || snap.Sources[1].Name != "yard" || snap.Sources[1].Latency.Infer != nil || snap.Window != 20*time.Second {
		t.Fatalf("%+v", snap)
	}
	s := snap.Sources[0]
	m := s.Models[0]
	s.Models = nil
	q := func(n uint64, ms float64) *Quantiles { return &Quantiles{n, ms, ms, ms} }
	if d := cmp.Diff(SourceSnapshot{
		Name: "street", State: "running", FPS: 1.35, Captured: 30, Frames: 27, Dropped: Drops{FrameDrops{Busy: 3, Paced: 4}, 1}, Failed: Failures{1, 1, 2}, Detections: 62,
		Latency: Latencies{q(27, 9.984), q(27, 2.016), q(27, 19.968), q(27, 1.008), q(27, 33.792)},
		Totals:  Totals{Captured: 30, Frames: 27, Dropped: 3, Failed: 4, Detections: 62, Restarts: 1},
	}, s); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if d := cmp.Diff([]ClassCount{{0, "person", 40}, {2, "car", 20}, {1, "class 1", 1}, {-1, "other", 1}}, m.Classes); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if m.Frames != 23 || m.Confidence.Bins[17] != 20 || m.Confidence.Bins[16] != 20 || m.PerFrame.P50 != 3 || m.Drift.State != Learning {
		t.Errorf("%+v", m)
	}

	// The next window begins at 0, with a model that replaces the one before.
	c.pass(10 * time.Second)
	r.Source("street").Observe(observation(c.at, found(0, 0.5)))
	o := observation(c.at, found(0, 0.5, 0.6))
	o.Model.SHA256 = strings.Repeat("f", 64)
	r.Source("street").Observe(o)
	s = r.Snapshot(inputs()).Sources[0]
	if s.Frames != 2 || s.Captured != 0 || s.Dropped.Busy != 0 || s.Totals.Frames != 29 || len(s.Models) != 2 {
		t.Fatalf("%+v", s)
	}
	if a, b := s.Models[0], s.Models[1]; a.Frames != 1 || a.Classes[0].Count != 1 || b.Frames != 1 || b.Classes[0].Count != 2 || b.SHA256 != o.Model.SHA256 {
		t.Errorf("%+v\n%+v", a, b)
	}
	if s = r.Snapshot(inputs()).Sources[0]; s.Frames != 0 || len(s.Models) != 1 || s.Models[0].Confidence != nil || s.Latency.Infer != nil {
		t.Errorf("nothing happened: %+v", s)
	}
}

// TestObserveAllocates nothing, also while a reference is learnt and compared with.
func TestObserveAllocates(t *testing.T) {
	c := newClock()
	r := newRegistry(t, c, "")
	s := r.Source("street")
	o := observation(time.Time{}, append(found(0, 0.9, 0.8), found(5, 0.4)...))
	observe := func() {
		c.pass(maxGap)
		s.Observe(o)
	}
	observe()
	r.Snapshot(Inputs{})
	if n := testing.AllocsPerRun(1000, observe); n != 0 {
		t.Errorf("%v allocations a frame while learning", n)
	}
	for range int(referenceTime / maxGap) {
		observe()
	}
	if n := testing.AllocsPerRun(1000, observe); n != 0 { // beyond an hour, so over into the next slot
		t.Errorf("%v allocations a frame", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	r := newRegistry(b, newClock(), "")
	s := r.Source("street")
	o := observation(time.Time{}, append(found(0, 0.9, 0.8, 0.7, 0.6), found(2, 0.4)...))
	s.Observe(o)
	r.Snapshot(Inputs{})
	b.ReportAllocs()
	for b.Loop() {
		s.Observe(o)
	}
}

func TestMessage(t *testing.T) {
	_, _, snap := scene(t)
	data, err := snap.JSON(0)
	if err != nil {
		t.Fatal(err)
	}
	again, err := snap.JSON(0)
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("the same snapshot gives other bytes, %v", err)
	}
	var m struct {
		Schema, Device, Source, Time string
		BootID                       string  `json:"boot_id"`
		WindowS                      float64 `json:"window_s"`
		Seq                          uint64
		Health                       string
		Host                         struct{ CPU struct{ Cores []*float64 } }
		Sources                      []struct {
			Name   string
			FPS    float64
			Models []struct {
				Classes []ClassCount
				Drift   Drift
			}
		}
	}
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if m.Schema != "gnomon.metrics/1" || m.Device != "thing-1" || m.BootID != "boot-1" || m.Source != "agent" || m.Seq != 1 || m.Time != "2026-11-22T10:00:20.000000Z" ||
		m.WindowS != 20 || m.Health != "degraded" || len(m.Host.CPU.Cores) != 2 || m.Host.CPU.Cores[1] != nil || m.Sources[0].FPS != 1.35 || m.Sources[0].Models[0].Classes[0].Label != "person" {
		t.Errorf("%s", data)
	}
}

// TestMessageFits: whatever there is, a message is whole and within its limit, and nothing goes without being counted.
func TestMessageFits(t *testing.T) {
	labels := make([]string, 1000)
	for i := range labels {
		labels[i] = fmt.Sprintf("a rather long name of a class, number %d", i)
	}
	var all []detect.Detection
	for i := range labels {
		all = append(all, found(i, 0.5)...)
	}
	for _, c := range []struct{ sources, omitted int }{{1, 0}, {30, 0}, {80, 0}, {400, 1}} {
		k := newClock()
		r := newRegistry(t, k, "")
		for i := range c.sources {
			o := observation(k.at, all)
			o.Labels = labels
			r.Source(fmt.Sprintf("camera-%04d", i)).Observe(o)
		}
		data, err := r.Snapshot(inputs()).JSON(0)
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Sources []struct {
				Models []struct {
					Classes []ClassCount
					Rest    *ClassRest `json:"classes_rest"`
				}
			}
			Omitted int `json:"omitted_sources"`
		}
		if err := json.Unmarshal(data, &m); err != nil || len(data) > MessageLimit {
			t.Fatalf("%d sources: %d bytes, %v", c.sources, len(data), err)
		}
		if len(m.Sources)+m.Omitted != c.sources+2 || (m.Omitted > 0) != (c.omitted > 0) { // street and yard are there too
			t.Errorf("%d sources: %d told of, %d omitted", c.sources, len(m.Sources), m.Omitted)
		}
		sum, rest := uint64(0), m.Sources[0].Models[0].Rest
		for _, class := range m.Sources[0].Models[0].Classes {
			sum += class.Count
		}
		if sum+rest.Count != 1000 || len(m.Sources[0].Models[0].Classes)+rest.Classes != 1000 {
			t.Errorf("%d sources: %d and %+v", c.sources, sum, rest)
		}
	}
	if _, err := (&Snapshot{}).JSON(10); err == nil {
		t.Error("10 bytes were enough")
	}
}

func TestManyLabels(t *testing.T) {
	c := newClock()
	r := newRegistry(t, c, "")
	labels := make([]string, 500)
	for i := range labels {
		labels[i] = fmt.Sprintf("class%d", i)
	}
	sum := func() (n uint64, series int) {
		e := r.Source("street").expose()
		for _, v := range e.classes {
			n += v
		}
		return n, len(e.classes)
	}
	for round := range 3 {
		for i := range labels {
			o := observation(c.at, found(i, 0.5))
			o.Labels = labels
			o.Threshold = float32(round) // folds the counts each time
			r.Source("street").Observe(o)
		}
		if n, series := sum(); n != uint64(500*(round+1)) || series != maxLabels+1 {
			t.Errorf("%d detections in %d series", n, series)
		}
	}
}

// TestTogether is for the race detector.
func TestTogether(t *testing.T) {
	r, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		s := r.Source(fmt.Sprint("s", i%2))
		wg.Go(func() {
			for n := range 500 {
				o := observation(time.Time{}, found(0, 0.5))
				o.Threshold = float32(n / 100)
				s.Observe(o)
			}
		})
	}
	for range 20 {
		r.Text(inputs())
		if _, err := r.Snapshot(inputs()).JSON(0); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	total := uint64(0)
	for _, s := range r.Snapshot(inputs()).Sources {
		total += s.Totals.Frames
	}
	if total != 2000 {
		t.Errorf("%d frames", total)
	}
}
