package shadow

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// maxPayload is the largest message that is read, in bytes: AWS IoT's own limit for a payload. A whole document stays
// far below it: 8 KB of state, the difference once more, and at most five times as much metadata for the shortest
// members.
const maxPayload = 128 << 10

// answer is what any of the subscribed topics may carry; each topic uses some of it.
type answer struct {
	State struct {
		Desired  json.RawMessage `json:"desired"`
		Reported json.RawMessage `json:"reported"`
	} `json:"state"`
	Version     *int64 `json:"version"`
	Timestamp   int64  `json:"timestamp"` // seconds since 1970
	ClientToken string `json:"clientToken"`
	Code        int    `json:"code"`
	Message     string `json:"message"`
}

// decodeAnswer reads a message of any kind; the caller checks what its topic needs.
func decodeAnswer(payload []byte) (*answer, error) {
	if err := checkIncoming(payload); err != nil {
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(payload, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

// decodeBell reads what only its version is used of: update/accepted and update/delta. The state of a delta has the
// desired attributes at its root, where one called "desired" may be of any type, so it is not looked at.
func decodeBell(payload []byte) (*answer, error) {
	if err := checkIncoming(payload); err != nil {
		return nil, err
	}
	var bell struct {
		Version     *int64 `json:"version"`
		ClientToken string `json:"clientToken"`
	}
	if err := json.Unmarshal(payload, &bell); err != nil {
		return nil, err
	}
	a := &answer{Version: bell.Version, ClientToken: bell.ClientToken}
	return a, a.checkVersion()
}

func checkIncoming(payload []byte) error {
	if len(payload) > maxPayload {
		return fmt.Errorf("%d bytes, at most %d are read", len(payload), maxPayload)
	}
	if d := depth(payload); d > maxIncomingDepth {
		return fmt.Errorf("nested %d levels deep, at most %d are read", d, maxIncomingDepth)
	}
	return nil
}

func (a *answer) checkVersion() error {
	switch {
	case a.Version == nil:
		return errors.New("there is no version")
	case *a.Version < 0:
		return fmt.Errorf("version %d is negative", *a.Version)
	}
	return nil
}

// document is a shadow as GET shows it.
type document struct {
	desired     Desired
	desiredText string         // canonical, for comparing
	reported    map[string]any // never nil
	version     int64
}

// document reads the answer as one to GET.
func (a *answer) document() (*document, error) {
	if err := a.checkVersion(); err != nil {
		return nil, err
	}
	d := &document{version: *a.Version, reported: map[string]any{}}
	d.desired = Desired{State: emptyObject(), Version: d.version}
	if a.Timestamp > 0 {
		d.desired.Time = time.Unix(a.Timestamp, 0).UTC()
	}
	d.desiredText = string(d.desired.State)
	if len(a.State.Desired) > 0 && string(a.State.Desired) != "null" {
		v, err := parse(a.State.Desired)
		if err != nil {
			return nil, fmt.Errorf("desired: %w", err)
		}
		if d.desiredText, err = canonicalText(v); err != nil {
			return nil, fmt.Errorf("desired: %w", err)
		}
		d.desired.State = a.State.Desired
	}
	if len(a.State.Reported) > 0 {
		v, err := parse(a.State.Reported)
		if err != nil {
			return nil, fmt.Errorf("reported: %w", err)
		}
		// Anything but an object is no state that a patch can be made against; the whole report replaces it.
		if object, ok := v.(map[string]any); ok {
			d.reported = object
		}
	}
	return d, nil
}

func emptyObject() json.RawMessage { return json.RawMessage(`{}`) }

// encodeUpdate writes the request that changes the reported state by patch. It carries no version: AWS takes that for
// an optimistic lock, and the device is the only writer of reported.
func encodeUpdate(patch map[string]any, token string) ([]byte, error) {
	type state struct {
		Reported map[string]any `json:"reported"`
	}
	return json.Marshal(struct {
		State       state  `json:"state"`
		ClientToken string `json:"clientToken"`
	}{state{patch}, token})
}
