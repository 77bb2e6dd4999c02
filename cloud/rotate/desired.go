package rotate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// maxID is the length of an order's id: it is for people and for scripts, and goes into the shadow twice.
const maxID = 64

// ParseDesired reads the member certificate of the shadow's desired state, {"rotate":"ID"}, and returns the ID. Each
// new ID is one order; which text it is makes no difference, a date for instance. null is no order.
func ParseDesired(member json.RawMessage) (id string, err error) {
	if len(member) == 0 || string(member) == "null" {
		return "", nil
	}
	in := struct {
		Rotate *string `json:"rotate"`
	}{}
	d := json.NewDecoder(bytes.NewReader(member))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return "", errors.New(`certificate: write {"rotate":"ID"} with any text as the ID that was not used before, such as a date`)
	}
	if in.Rotate == nil {
		return "", nil
	}
	if n := len(*in.Rotate); n == 0 || n > maxID {
		return "", fmt.Errorf("certificate.rotate: the ID has %d bytes; write 1 to %d", n, maxID)
	}
	return *in.Rotate, nil
}

// State is how a rotation stands.
type State string

// The states that are reported.
const (
	Ordered   State = "ordered"   // a new certificate is being got
	Trying    State = "trying"    // the new certificate is being tried
	Probation State = "probation" // the new certificate is in use, and the old one is kept
	Done      State = "done"      // the new certificate has lived; the old one is deleted here, and can be revoked
	Failed    State = "failed"    // the old certificate is in use, and Reason says why
)

// Status is the member certificate of the shadow's reported state. Rotate is the order's ID as soon as the order is
// decided, Done or Failed; until then it is the one before, so that the delta stays.
type Status struct {
	Rotate   string     `json:"rotate,omitempty"`
	State    State      `json:"state,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	ID       string     `json:"id,omitempty"`          // of the certificate in use, as AWS IoT has it
	NotAfter *time.Time `json:"not_after,omitempty"`   // its end
	Previous string     `json:"previous_id,omitempty"` // of the certificate that was in use before
}
