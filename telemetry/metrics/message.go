package metrics

import (
	"encoding/json"
	"fmt"
	"sort"
	"time"

	"gnomon/telemetry/host"
)

// Schema names the form of a metrics message. The number goes up when a reader of the old form would misread the new one.
const Schema = "gnomon.metrics/1"

// MessageLimit is what a message may have: the most that AWS IoT Core takes, 128 KB.
const MessageLimit = 128 << 10

// timeLayout is RFC 3339 with microseconds; the time must be in UTC.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// AgentSource is the source of messages that are about the agent and not about a camera.
const AgentSource = "agent"

// message is the wire form of a Snapshot.
type message struct {
	Schema         string            `json:"schema"`
	Device         string            `json:"device"`
	BootID         string            `json:"boot_id"`
	Source         string            `json:"source"`
	Seq            uint64            `json:"seq"`
	Time           string            `json:"time"`
	WindowS        float64           `json:"window_s"`
	Health         string            `json:"health,omitempty"`
	Models         modelTotals       `json:"models"`
	Link           *Link             `json:"mqtt,omitempty"`
	Spool          *Spool            `json:"spool,omitempty"`
	Process        *Process          `json:"process,omitempty"`
	Host           *host.Snapshot    `json:"host,omitempty"`
	Sources        []json.RawMessage `json:"sources"`
	OmittedSources int               `json:"omitted_sources,omitempty"`
}

type modelTotals struct {
	Swaps     uint64 `json:"swaps"`
	RollBacks uint64 `json:"roll_backs"`
	Restarts  uint64 `json:"agent_restarts"`
}

// detail says how much of a message is left out to make it fit, from nothing to all that can be.
type detail struct {
	classes int // told of for each model; the rest are summed up
	bins    bool
	entries int // of each list about the host
}

// details are tried one after the other. With 20 classes and histograms, some forty sources fit.
func details() []detail {
	return []detail{{20, true, 256}, {8, true, 64}, {8, false, 16}, {0, false, 8}}
}

// JSON is the message "gnomon.metrics/1", of at most limit bytes; 0: MessageLimit. What is left out to make it fit is, in
// this order: rare classes, which are summed up in "classes_rest"; histograms; entries of lists about the host; whole
// sources, of which "omitted_sources" tells the number. The same Snapshot gives the same bytes.
func (s *Snapshot) JSON(limit int) ([]byte, error) {
	if limit <= 0 {
		limit = MessageLimit
	}
	var out []byte
	for _, d := range details() {
		sources, err := s.sources(d)
		if err != nil {
			return nil, err
		}
		if out, err = s.encode(d, sources); err != nil {
			return nil, err
		}
		if len(out) <= limit {
			return out, nil
		}
		if d.bins || d.classes > 0 {
			continue
		}
		// As many sources as fit.
		total := len(sources)
		n := sort.Search(total, func(i int) bool {
			out, err := s.encode(d, sources[:total-i])
			return err == nil && len(out) <= limit
		})
		if out, err = s.encode(d, sources[:max(0, total-n)]); err != nil {
			return nil, err
		}
	}
	if len(out) > limit {
		return nil, fmt.Errorf("the metrics take %d bytes without any source; at most %d are allowed", len(out), limit)
	}
	return out, nil
}

// sources encodes each source.
func (s *Snapshot) sources(d detail) ([]json.RawMessage, error) {
	out := make([]json.RawMessage, 0, len(s.Sources))
	for _, src := range s.Sources {
		models := make([]ModelSnapshot, 0, len(src.Models))
		for _, m := range src.Models {
			models = append(models, m.reduced(d))
		}
		src.Models = models
		data, err := json.Marshal(src)
		if err != nil {
			return nil, fmt.Errorf("write the metrics of source %s: %w", src.Name, err)
		}
		out = append(out, data)
	}
	return out, nil
}

func (m ModelSnapshot) reduced(d detail) ModelSnapshot {
	if extra := len(m.Classes) - d.classes; extra > 0 {
		m.Rest = &ClassRest{Classes: extra}
		for _, c := range m.Classes[d.classes:] {
			m.Rest.Count += c.Count
		}
		m.Classes = m.Classes[:d.classes]
	}
	if m.Confidence != nil && !d.bins {
		short := *m.Confidence
		short.Bins = nil
		m.Confidence = &short
	}
	return m
}

func (s *Snapshot) encode(d detail, sources []json.RawMessage) ([]byte, error) {
	in := s.Inputs
	out, err := json.Marshal(message{
		Schema: Schema, Device: s.Device, BootID: s.BootID, Source: AgentSource, Seq: s.Seq,
		Time: s.Time.UTC().Format(timeLayout), WindowS: round(s.Window.Seconds(), 3), Health: in.Health,
		Models: modelTotals{in.Swaps, in.RollBacks, in.Restarts}, Link: in.Link, Spool: in.Spool, Process: in.Process, Host: shorter(in.Host, d.entries),
		Sources: sources, OmittedSources: len(s.Sources) - len(sources),
	})
	if err != nil {
		return nil, fmt.Errorf("write the metrics: %w", err)
	}
	return out, nil
}

// shorter is the host with lists of at most n entries.
func shorter(h *host.Snapshot, n int) *host.Snapshot {
	if h == nil {
		return nil
	}
	out := *h
	out.Temperatures = first(out.Temperatures, n)
	out.Rails = first(out.Rails, n)
	out.Network = first(out.Network, n)
	out.GPUs = first(out.GPUs, n)
	if out.CPU != nil && len(out.CPU.Cores) > n {
		cpu := *out.CPU
		cpu.Cores = cpu.Cores[:n]
		out.CPU = &cpu
	}
	return &out
}

func first[T any](list []T, n int) []T { return list[:min(len(list), n)] }

// milliseconds is how CloudWatch counts time.
func milliseconds(t time.Time) int64 { return t.UnixMilli() }
