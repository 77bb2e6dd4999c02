package telemetry

import (
	"encoding/json"
	"fmt"
	"time"

	"gnomon/telemetry/spool"
)

// StatusSchema names the form of a status message. The number goes up when a reader of the old form would misread
// the new one.
const StatusSchema = "gnomon.status/1"

// State says whether an agent is there.
type State string

// The states.
const (
	Online  State = "online"
	Offline State = "offline"
)

// Reason says why a status was sent.
type Reason string

// The reasons.
const (
	Connected      Reason = "connected"       // online: the connection has just been made
	Periodic       Reason = "periodic"        // online: counters, once a minute
	Stopped        Reason = "stopped"         // offline: the agent was told to end
	ConnectionLost Reason = "connection-lost" // offline: the last will, sent by the broker
)

// Status is the retained message on the status topic. Counters run from the start of the process.
type Status struct {
	Schema       string `json:"schema"`
	Device       string `json:"device"`
	BootID       string `json:"boot_id"`
	State        State  `json:"state"`
	Reason       Reason `json:"reason"`
	AgentVersion string `json:"agent_version"`
	// Time is RFC 3339 in UTC with microseconds: when the status was written. A last will is written when the
	// connection is made, so there it says when the device was last known to come online.
	Time string `json:"time"`
	// UptimeS is how many whole seconds the client had existed at Time.
	UptimeS int64 `json:"uptime_s"`
	// Sources are the caller's, by name; empty in a last will.
	Sources map[string]SourceStatus `json:"sources"`
	// Outbox is nil in a last will.
	Outbox *OutboxStatus `json:"outbox,omitempty"`
	// Health is what Options.Health says; nil in a last will.
	Health json.RawMessage `json:"health,omitempty"`
	// Truncated: Sources was left out because the message would have been larger than MaxPayload.
	Truncated bool `json:"truncated,omitempty"`
}

// SourceStatus is what a status says about one source.
type SourceStatus struct {
	State      string `json:"state"`           // what it is doing, in a word: running, retrying, ended
	Error      string `json:"error,omitempty"` // why it isn't running, in a sentence
	Frames     uint64 `json:"frames"`          // frames grabbed
	Dropped    uint64 `json:"dropped"`         // of these, not looked at: busy, stale, more than are wanted, or nothing had moved
	Inferred   uint64 `json:"inferred"`        // frames that went through the model
	Detections uint64 `json:"detections"`      // objects found
}

// OutboxStatus is what a status says about the messages that wait to be sent. Its fields are those of Stats.
type OutboxStatus struct {
	Published  uint64 `json:"published"`
	Acked      uint64 `json:"acked"`
	Dropped    uint64 `json:"dropped"`
	Refused    uint64 `json:"refused"`
	Queued     int    `json:"queued"`
	InFlight   int    `json:"in_flight"`
	Reconnects uint64 `json:"reconnects"`
	// Classes are those that have or had anything to say, by name.
	Classes map[string]ClassStatus `json:"classes"`
	Spool   *SpoolStatus           `json:"spool,omitempty"` // nil: messages wait in memory
}

// ClassStatus is what a status says about the messages of one class. Its fields are those of spool.ClassStats.
type ClassStatus struct {
	Records int    `json:"records"`
	Bytes   int64  `json:"bytes"`
	OnDisk  int    `json:"on_disk"`
	Dropped uint64 `json:"dropped"`
	Lost    uint64 `json:"lost"`
}

// SpoolStatus is what a status says about the spool.
type SpoolStatus struct {
	FileBytes int64  `json:"file_bytes"`
	MaxBytes  int64  `json:"max_bytes"`
	Unsaved   int    `json:"unsaved_bytes"`     // not on the disk yet
	Error     string `json:"error,omitempty"`   // why the disk takes nothing at present
	Damaged   string `json:"damaged,omitempty"` // a file that was set aside: why, and where it is
}

// StatusFunc returns the state of every source, by name. The client calls it from its own goroutine for each status
// that it sends, never twice at once; it must return quickly. The map is the client's from then on.
type StatusFunc func() map[string]SourceStatus

// status builds a message for the status topic.
func (c *Client) status(state State, reason Reason) ([]byte, error) {
	now := time.Now()
	s := Status{
		Schema: StatusSchema, Device: c.opts.Thing, BootID: c.opts.BootID,
		State: state, Reason: reason, AgentVersion: c.opts.AgentVersion,
		Time: now.UTC().Format(timeLayout), UptimeS: int64(now.Sub(c.created).Seconds()),
		Sources: map[string]SourceStatus{},
	}
	if reason != ConnectionLost {
		st := c.Stats()
		s.Outbox = &OutboxStatus{
			Published: st.Published, Acked: st.Acked, Dropped: st.Dropped, Refused: st.Refused,
			Queued: st.Queued, InFlight: st.InFlight, Reconnects: st.Reconnects,
			Classes: classStatus(st.Classes), Spool: spoolStatus(st.Spool),
		}
		if c.opts.Status != nil {
			if sources := c.opts.Status(); sources != nil {
				s.Sources = sources
			}
		}
		if c.opts.Health != nil {
			s.Health = c.opts.Health()
		}
	}
	payload, err := json.Marshal(s)
	if err == nil && len(payload) > MaxPayload {
		s.Sources, s.Truncated = map[string]SourceStatus{}, true
		payload, err = json.Marshal(s)
	}
	if err != nil {
		return nil, fmt.Errorf("write the status: %w", err)
	}
	return payload, nil
}

func classStatus(classes [NumClasses]spool.ClassStats) map[string]ClassStatus {
	m := map[string]ClassStatus{}
	for class, c := range classes {
		if c != (spool.ClassStats{}) {
			m[Class(class).String()] = ClassStatus(c)
		}
	}
	return m
}

func spoolStatus(st *spool.Stats) *SpoolStatus {
	if st == nil {
		return nil
	}
	s := &SpoolStatus{FileBytes: st.FileBytes, MaxBytes: st.MaxBytes, Unsaved: st.Unsaved}
	if st.Fault != nil {
		s.Error = st.Fault.Error()
	}
	if st.Damage.Reason != "" {
		s.Damaged = st.Damage.Reason + "; see " + st.Damage.Path
	}
	return s
}
