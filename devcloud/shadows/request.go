package shadows

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"
)

const (
	// maxState is how large desired and reported may be together, in bytes of compact JSON, and how large the payload
	// of one update may be. Metadata doesn't count. AWS IoT Core quotas, Device Shadow.
	maxState = 8 << 10

	// maxDepth is how many levels of members or elements desired or reported may have. AWS IoT Core quotas.
	maxDepth = 8

	maxToken = 64 // bytes of a clientToken; AWS IoT guide, Device Shadow error messages
	maxShown = 64 // characters of a client's text that an error repeats
)

// The sections of a state.
const (
	desired  = "desired"
	reported = "reported"
)

// Error is a refusal as the service words it. Code is an HTTP status; over MQTT it is the field code.
type Error struct {
	Code    int
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("the shadow service refused with code %d: %s", e.Code, e.Message)
}

func refuse(code int, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *Error {
	return refuse(http.StatusBadRequest, format, args...)
}

func invalidName() *Error {
	return badRequest("Invalid name: a thing has 1 to %d, a shadow at most %d of a-z A-Z 0-9 : _ -", maxThing, maxName)
}

func tooLarge() *Error {
	return refuse(http.StatusRequestEntityTooLarge, "The payload exceeds the maximum size allowed")
}

func notFound(k key) *Error {
	name := k.name
	if name == "" {
		name = k.thing
	}
	return refuse(http.StatusNotFound, "No shadow exists with name: '%s'", name)
}

// update is a request to change a shadow.
type update struct {
	token   *string
	version *int64         // nil: whatever version there is
	state   map[string]any // desired and reported at most; each is nil or a map[string]any
}

// decodeUpdate reads and checks the payload of an update. With an error it still returns the token, if that was read.
func decodeUpdate(payload []byte) (u update, err error) {
	doc, err := decodeObject(payload)
	if err != nil {
		return u, err
	}
	if u.token, err = tokenOf(doc); err != nil {
		return u, err
	}
	if len(payload) > maxState {
		return u, tooLarge()
	}
	if v, ok := doc["version"]; ok {
		if u.version, err = versionOf(v); err != nil {
			return u, err
		}
	}
	state, ok := doc["state"]
	if !ok {
		return u, badRequest("Missing required node: state")
	}
	if u.state, ok = state.(map[string]any); !ok {
		return u, badRequest("State node must be an object")
	}
	return u, checkState(u.state)
}

func checkState(state map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(state)) { // in order, so that the same error comes every time
		title, known := map[string]string{desired: "Desired", reported: "Reported"}[name]
		if !known {
			return badRequest("State contains an invalid node: '%.*s'", maxShown, name)
		}
		section := state[name]
		if _, isObject := section.(map[string]any); !isObject && section != nil {
			return badRequest("%s node must be an object", title)
		}
		if levels(section) > maxDepth {
			return badRequest("JSON contains too many levels of nesting; maximum is %d", maxDepth)
		}
		if nullInArray(section, false) {
			return badRequest("Invalid JSON: an array can't have null in it")
		}
	}
	return nil
}

// decodeToken reads the payload of a get or a delete. Nothing in it matters but the token, not even whether it is JSON.
func decodeToken(payload []byte) (*string, error) {
	if len(payload) == 0 {
		return nil, nil
	}
	doc, err := decodeObject(payload)
	if err != nil {
		return nil, nil //nolint:nilerr // such content is ignored
	}
	return tokenOf(doc)
}

// decodeObject reads a JSON object with its numbers as they were written. Of members with the same name the last counts.
func decodeObject(payload []byte) (map[string]any, error) {
	if len(payload) > maxMessage {
		return nil, tooLarge()
	}
	if !utf8.Valid(payload) {
		return nil, refuse(http.StatusUnsupportedMediaType, "Unsupported documented encoding; supported encoding is UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, badRequest("Invalid JSON")
	}
	doc, isObject := v.(map[string]any)
	if _, err := dec.Token(); !errors.Is(err, io.EOF) || !isObject {
		return nil, badRequest("Invalid JSON")
	}
	return doc, nil
}

func tokenOf(doc map[string]any) (*string, error) {
	v, ok := doc["clientToken"]
	if !ok {
		return nil, nil
	}
	token, isString := v.(string)
	if !isString || len(token) > maxToken {
		return nil, badRequest("Invalid clientToken")
	}
	return &token, nil
}

func versionOf(v any) (*int64, error) {
	n, _ := v.(json.Number)
	version, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil || version < 0 {
		return nil, badRequest("Invalid version")
	}
	return &version, nil
}

// levels counts the levels of members and elements below v; a scalar and what is empty have none.
func levels(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, member := range v {
			deepest = max(deepest, 1+levels(member))
		}
	case []any:
		for _, element := range v {
			deepest = max(deepest, 1+levels(element))
		}
	}
	return deepest
}

// nullInArray looks for null below an array, members of objects in it included: there it can't mean to delete a key.
func nullInArray(v any, inArray bool) bool {
	switch v := v.(type) {
	case nil:
		return inArray
	case map[string]any:
		for _, member := range v {
			if nullInArray(member, inArray) {
				return true
			}
		}
	case []any:
		for _, element := range v {
			if nullInArray(element, true) {
				return true
			}
		}
	}
	return false
}
