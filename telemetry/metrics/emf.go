package metrics

import (
	"encoding/json"
	"fmt"

	"gnomon/telemetry/host"
)

// EMFSchema names the form of a message in CloudWatch's embedded metric format. The number goes up when a reader of the
// old form would misread the new one.
const EMFSchema = "gnomon.emf/1"

// The limits of the format (Amazon CloudWatch User Guide, "Specification: Embedded metric format").
const (
	maxDirectiveMetrics = 100
	maxNamespace        = 1024
)

// The names of the dimensions, and of the members that hold their values.
const (
	thingDimension  = "thing"
	sourceDimension = "source"
)

// metric is one number with its unit of CloudWatch's.
type metric struct {
	name  string
	unit  string
	value float64
}

type metrics []metric

func (m *metrics) add(name, unit string, value float64) { *m = append(*m, metric{name, unit, value}) }

// optional adds what is known.
func (m *metrics) optional(name, unit string, value *float64) {
	if value != nil {
		m.add(name, unit, *value)
	}
}

// directive is MetricDirective of the format.
type directive struct {
	Namespace  string       `json:"Namespace"`
	Dimensions [][]string   `json:"Dimensions"`
	Metrics    []definition `json:"Metrics"`
}

type definition struct {
	Name string `json:"Name"`
	Unit string `json:"Unit"`
}

// EMF is the same numbers in CloudWatch's embedded metric format: one JSON object for the agent, with the dimension
// thing, and one for each source, with the dimensions thing and source. A log group that receives them as they are, one
// object an event, makes metrics of them. They must not travel in batches: _aws has to be at the top.
func (s *Snapshot) EMF(namespace string) ([][]byte, error) {
	if namespace == "" || len(namespace) > maxNamespace {
		return nil, fmt.Errorf("the CloudWatch namespace has %d characters; 1 to %d are allowed", len(namespace), maxNamespace)
	}
	agent, err := s.emf(namespace, AgentSource, []string{thingDimension}, s.agentMetrics())
	if err != nil {
		return nil, err
	}
	out := [][]byte{agent}
	for i := range s.Sources {
		src := &s.Sources[i]
		data, err := s.emf(namespace, src.Name, []string{thingDimension, sourceDimension}, src.metrics())
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

// emf writes one object. encoding/json writes the members of a map in the order of their names.
func (s *Snapshot) emf(namespace, source string, dimensions []string, list metrics) ([]byte, error) {
	list = list[:min(len(list), maxDirectiveMetrics)]
	d := directive{Namespace: namespace, Dimensions: [][]string{dimensions}, Metrics: []definition{}}
	root := map[string]any{
		"schema": EMFSchema, "device": s.Device, "boot_id": s.BootID, "seq": s.Seq,
		"time": s.Time.UTC().Format(timeLayout), thingDimension: s.Device, sourceDimension: source,
	}
	for _, m := range list {
		d.Metrics = append(d.Metrics, definition{m.name, m.unit})
		root[m.name] = m.value
	}
	root["_aws"] = map[string]any{"Timestamp": milliseconds(s.Time), "CloudWatchMetrics": []directive{d}}
	data, err := json.Marshal(root)
	if err != nil {
		return nil, fmt.Errorf("write the metrics of %s for CloudWatch: %w", source, err)
	}
	return data, nil
}

// Units of CloudWatch's.
const (
	unitCount   = "Count"
	unitRate    = "Count/Second"
	unitMillis  = "Milliseconds"
	unitSeconds = "Seconds"
	unitBytes   = "Bytes"
	unitPercent = "Percent"
	unitNone    = "None"
)

const perCent = 100

func (s *SourceSnapshot) metrics() metrics {
	var m metrics
	m.add("FramesPerSecond", unitRate, s.FPS)
	m.add("Frames", unitCount, float64(s.Frames))
	m.add("FramesDropped", unitCount, float64(s.Dropped.Lost()))
	m.add("MessagesUnsent", unitCount, float64(s.Dropped.Unsent))
	m.add("FramesFailed", unitCount, float64(s.Failed.Sum()))
	m.add("Detections", unitCount, float64(s.Detections))
	for _, l := range []struct {
		name string
		q    *Quantiles
	}{
		{"Capture", s.Latency.Capture},
		{"Preprocess", s.Latency.Preprocess},
		{"Infer", s.Latency.Infer},
		{"Postprocess", s.Latency.Postprocess},
		{"Publish", s.Latency.Publish},
	} {
		if l.q == nil {
			continue
		}
		m.add(l.name+"P50", unitMillis, l.q.P50)
		m.add(l.name+"P90", unitMillis, l.q.P90)
		m.add(l.name+"P99", unitMillis, l.q.P99)
	}
	if len(s.Models) == 0 {
		return m
	}
	model := s.Models[len(s.Models)-1] // the one in use
	if model.Confidence != nil {
		m.add("Confidence", unitNone, model.Confidence.Mean)
	}
	if model.PerFrame != nil {
		m.add("DetectionsPerFrame", unitNone, model.PerFrame.Mean)
	}
	if c := model.Drift.Confidence; c != nil {
		m.optional("ConfidenceDriftPSI", unitNone, c.PSI)
		m.optional("ConfidenceShift", unitNone, c.Shift)
	}
	if c := model.Drift.PerFrame; c != nil {
		m.optional("DetectionsDriftPSI", unitNone, c.PSI)
		m.optional("DetectionsShift", unitNone, c.Shift)
	}
	return m
}

func (s *Snapshot) agentMetrics() metrics {
	var m metrics
	in := s.Inputs
	m.add("ModelSwaps", unitCount, float64(in.Swaps))
	m.add("ModelRollBacks", unitCount, float64(in.RollBacks))
	if l := in.Link; l != nil {
		m.add("Connected", unitNone, flag(l.Connected))
		m.add("MessagesWaiting", unitCount, float64(l.Queued+l.InFlight))
		m.add("MessagesDropped", unitCount, float64(l.Dropped))
		m.add("Reconnects", unitCount, float64(l.Reconnects))
	}
	if sp := in.Spool; sp != nil {
		var records, dropped uint64
		for _, c := range sp.Classes {
			records += c.Records
			dropped += c.Dropped
		}
		m.add("SpoolRecords", unitCount, float64(records))
		m.add("SpoolBytes", unitBytes, float64(sp.Bytes))
		m.add("SpoolDropped", unitCount, float64(dropped))
	}
	if in.Host != nil {
		m.host(in.Host)
	}
	return m
}

func (m *metrics) host(h *host.Snapshot) {
	if h.CPU != nil && h.CPU.Busy != nil {
		m.add("CPU", unitPercent, round(*h.CPU.Busy*perCent, 1))
	}
	if h.Memory != nil && h.Memory.Available != nil {
		m.add("MemoryAvailable", unitBytes, float64(*h.Memory.Available))
	}
	if h.Process != nil && h.Process.RSS != nil {
		m.add("ResidentMemory", unitBytes, float64(*h.Process.RSS))
	}
	if h.Disk != nil {
		m.add("DiskAvailable", unitBytes, float64(h.Disk.Available))
	}
	if len(h.Temperatures) > 0 {
		hottest := h.Temperatures[0].Celsius
		for _, t := range h.Temperatures {
			hottest = max(hottest, t.Celsius)
		}
		m.add("HottestCelsius", unitNone, hottest)
	}
	if h.Throttle != nil {
		m.add("Throttled", unitNone, flag(len(h.Throttle.Now) > 0))
	}
	if h.Clock != nil {
		m.add("ClockSynchronised", unitNone, flag(h.Clock.Synchronised))
		m.optional("ClockMaxError", unitSeconds, h.Clock.MaxErrorS)
	}
	for i, g := range h.GPUs[:min(len(h.GPUs), maxEMFGPUs)] {
		prefix := "GPU" + itoa(i)
		if g.Load != nil {
			m.add(prefix+"Load", unitPercent, round(*g.Load*perCent, 1))
		}
		if g.MemoryUsed != nil {
			m.add(prefix+"MemoryUsed", unitBytes, float64(*g.MemoryUsed))
		}
		m.optional(prefix+"Celsius", unitNone, g.Celsius)
		m.optional(prefix+"Watts", unitNone, g.Watts)
	}
}

// maxEMFGPUs keeps the agent's metrics below 100.
const maxEMFGPUs = 8

func flag(v bool) float64 {
	if v {
		return 1
	}
	return 0
}
