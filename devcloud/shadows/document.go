package shadows

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

// The messages of the service, as the AWS IoT guide has them. Timestamps are seconds since 1970.
type (
	stamp struct {
		Timestamp int64 `json:"timestamp"`
	}
	sections struct {
		Desired  any `json:"desired,omitempty"`
		Reported any `json:"reported,omitempty"`
		Delta    any `json:"delta,omitempty"`
	}
	fullDocument struct {
		State       sections `json:"state"`
		Metadata    sections `json:"metadata"`
		Version     int64    `json:"version"`
		Timestamp   int64    `json:"timestamp,omitempty"`
		ClientToken *string  `json:"clientToken,omitempty"`
	}
	accepted struct { // and a delta
		State       any     `json:"state"`
		Metadata    any     `json:"metadata"`
		Version     int64   `json:"version"`
		Timestamp   int64   `json:"timestamp"`
		ClientToken *string `json:"clientToken,omitempty"`
	}
	documents struct {
		Previous    fullDocument `json:"previous"`
		Current     fullDocument `json:"current"`
		Timestamp   int64        `json:"timestamp"`
		ClientToken *string      `json:"clientToken,omitempty"`
	}
	deletion struct {
		Version     int64   `json:"version"`
		Timestamp   int64   `json:"timestamp"`
		ClientToken *string `json:"clientToken,omitempty"`
	}
	rejection struct {
		Code        int     `json:"code"`
		Message     string  `json:"message"`
		Timestamp   int64   `json:"timestamp"`
		ClientToken *string `json:"clientToken,omitempty"`
	}
)

// encode writes JSON without escaping < > &, which would count against the limit and change nothing else.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the values were JSON before: it cannot fail
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func (r *record) exists() bool { return r != nil && r.deleted == 0 }

// remembered says whether a new shadow continues the version of r. A clock that was set back prolongs it.
func (r *record) remembered(now time.Time) bool {
	return r != nil && (r.deleted == 0 || now.Sub(time.Unix(r.deleted, 0)) <= versionMemory)
}

// change returns the shadow after an update; r may be nil.
func (r *record) change(u update, now time.Time) (*record, error) {
	old, next := &record{}, &record{version: 1}
	switch {
	case r.remembered(now):
		old = r
		next.version = r.version + 1
	case r != nil:
		next.version = 0 // as the guide has it for a shadow made again later; one that never was begins at 1
	}
	if u.version != nil && *u.version != old.version {
		return nil, refuse(http.StatusConflict, "Version conflict")
	}
	next.desired = mergeSection(old.desired, u.state, desired, now.Unix())
	next.reported = mergeSection(old.reported, u.state, reported, now.Unix())
	if next.size() > maxState {
		return nil, tooLarge()
	}
	return next, nil
}

// size is what counts against maxState, in bytes.
func (r *record) size() int {
	n := 0
	for _, section := range []*node{r.desired, r.reported} {
		if section != nil {
			n += len(encode(section.value()))
		}
	}
	return n
}

// full is the shadow without the delta; a record that is nil or deleted is an empty document.
func (r *record) full() fullDocument {
	d := fullDocument{}
	if r == nil {
		return d
	}
	d.Version = r.version
	if r.desired != nil {
		d.State.Desired, d.Metadata.Desired = r.desired.value(), r.desired.metadata()
	}
	if r.reported != nil {
		d.State.Reported, d.Metadata.Reported = r.reported.value(), r.reported.metadata()
	}
	return d
}

// document is what get/accepted carries. The delta has no metadata of its own there.
func (r *record) document(now int64, token *string) []byte {
	d := r.full()
	if delta := difference(r.desired, r.reported); delta != nil {
		d.State.Delta = delta.value()
	}
	d.Timestamp, d.ClientToken = now, token
	return encode(d)
}

// acceptedUpdate repeats what was sent, null included, with the timestamps that it has got.
func acceptedUpdate(u update, version, now int64) []byte {
	return encode(accepted{
		State: u.state, Metadata: sentMetadata(u.state, now), Version: version, Timestamp: now, ClientToken: u.token,
	})
}

func sentMetadata(v any, now int64) any {
	switch v := v.(type) {
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, member := range v {
			object[name] = sentMetadata(member, now)
		}
		return object
	case []any:
		array := make([]any, 0, len(v))
		for _, element := range v {
			array = append(array, sentMetadata(element, now))
		}
		return array
	}
	return stamp{now}
}

func deltaMessage(delta *node, version, now int64, token *string) []byte {
	return encode(accepted{
		State: delta.value(), Metadata: delta.metadata(), Version: version, Timestamp: now, ClientToken: token,
	})
}

func documentsMessage(old, next *record, now int64, token *string) []byte {
	return encode(documents{Previous: old.full(), Current: next.full(), Timestamp: now, ClientToken: token})
}
