package shadow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	// MaxReported is the largest document that Report takes, in bytes of compact JSON. AWS allows 8 KB for desired and
	// reported together, so either side gets half, and neither can make the other's updates fail with 413.
	MaxReported = 4096

	// MaxDepth is how deep a reported document may be nested: objects and arrays counted, the document itself being
	// the first level. AWS counts in a less strict way and has had several limits; this is below all of them.
	MaxDepth = 5
)

// report is a document that the device wants to have as reported. It is never changed once made.
type report struct {
	object map[string]any
	text   string
}

// encodeReport turns doc into a document that a shadow can hold.
func encodeReport(doc any) (*report, error) {
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("turn the document into JSON: %w", err)
	}
	if d := depth(raw); d > MaxDepth {
		return nil, fmt.Errorf("the document is nested %d levels deep, a shadow may have %d: flatten it", d, MaxDepth)
	}
	v, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("read the document's JSON again: %w", err)
	}
	object, ok := v.(map[string]any)
	if !ok {
		const shown = 20
		return nil, fmt.Errorf("the document is not a JSON object but %.*s: report a struct or a map", shown, bytes.TrimSpace(raw))
	}
	if _, err := withoutNulls(object); err != nil {
		return nil, err
	}
	text, err := canonicalText(object)
	if err != nil {
		return nil, err
	}
	if len(text) > MaxReported {
		return nil, fmt.Errorf("the document has %d bytes of JSON, at most %d fit beside the desired state in the shadow's 8 KB: "+
			"report less, or publish the details to a topic of their own", len(text), MaxReported)
	}
	return &report{object: object, text: text}, nil
}

// Stats counts what happened since New. All counters only grow.
type Stats struct {
	Gets      uint64 // requests for the document that were sent
	Updates   uint64 // requests to change the reported state that were sent
	Accepted  uint64 // updates of this client that the service accepted
	Rejected  uint64 // answers that refused a request of this client, "no shadow yet" not counted
	Timeouts  uint64 // requests that got no answer in time
	Retries   uint64 // requests sent again after a refusal or a timeout
	Repairs   uint64 // updates sent because reported was not what this client had made it
	Deltas    uint64 // bells rung: messages on update/delta
	Stale     uint64 // deltas and answers to GET older than what was known, not used
	Malformed uint64 // messages that could not be read, not used
	Desired   uint64 // desired states handed to OnDesired

	// Version is that of the newest document or update heard of; 0: none.
	Version int64
	// InSync is true when, on the present connection, the service is known to have the newest Report.
	InSync bool
	// LastError is the newest refusal, unreadable message or failure of the connection, in words; empty: none yet. It
	// stays after the trouble is over.
	LastError string
}

// errNoAnswer is what a timeout is called in LastError.
var errNoAnswer = errors.New("no answer in time")
