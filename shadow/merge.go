package shadow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// maxIncomingDepth is the deepest nesting read from the network. AWS allows far less in a shadow (see maxDepth); the
// levels around it (state, desired, metadata) are few. It keeps the recursion below shallow whoever wrote the bytes.
const maxIncomingDepth = 32

// parse reads one JSON value with its numbers in canonical form. It refuses what is nested deeper than
// maxIncomingDepth and anything after the value.
func parse(raw []byte) (any, error) {
	if d := depth(raw); d > maxIncomingDepth {
		return nil, fmt.Errorf("nested %d levels deep, at most %d are read", d, maxIncomingDepth)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the JSON value")
	}
	return canonical(v), nil
}

// depth counts the levels of objects and arrays; a flat object has 1. It is right for valid JSON and never too low for
// what the decoder goes on to read.
func depth(raw []byte) int {
	level, deepest := 0, 0
	quoted, escaped := false, false
	for _, b := range raw {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = b == '\\', b != '"'
		case b == '"':
			quoted = true
		case b == '{' || b == '[':
			level++
			deepest = max(deepest, level)
		case b == '}' || b == ']':
			level--
		}
	}
	return deepest
}

// canonical rewrites the numbers of v in place, so that 1, 1.0 and 1e0 are equal: the cloud may send a number back in
// another form than the one it got.
func canonical(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, member := range v {
			v[k] = canonical(member)
		}
	case []any:
		for i, element := range v {
			v[i] = canonical(element)
		}
	case json.Number:
		return canonicalNumber(v)
	}
	return v
}

// canonicalNumber leaves integers as they are, whatever their size, and brings the rest into Go's shortest form of the
// nearest float64; digits beyond float64 are lost. Numbers beyond float64's range stay as they are.
func canonicalNumber(n json.Number) json.Number {
	s := string(n)
	if s == "-0" {
		return "0"
	}
	if !strings.ContainsAny(s, ".eE") {
		return n
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return n
	}
	const exact = 1 << 53 // below it every integral float64 is that integer
	if f == math.Trunc(f) && math.Abs(f) < exact {
		return json.Number(strconv.FormatInt(int64(f), 10))
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
}

// withoutNulls drops object members that are null, at every level, in place: in an update null means "delete this key",
// so a document can say null only by leaving the key out. Null as an element of an array is an error; AWS refuses it.
func withoutNulls(v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		for k, member := range v {
			if member == nil {
				delete(v, k)
				continue
			}
			if _, err := withoutNulls(member); err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
		}
	case []any:
		for i, element := range v {
			if element == nil {
				return nil, fmt.Errorf("element %d of an array is null, which a shadow cannot hold: leave it out", i)
			}
			if _, err := withoutNulls(element); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// diff returns the smallest merge patch (RFC 7396, which AWS follows in this) that turns known into want: changed and
// new members, null for those that are gone, arrays whole. It is empty when the two are equal. want holds no null
// members. The patch shares its values with want; neither may be changed while the patch is in use.
func diff(known, want map[string]any) map[string]any {
	patch := map[string]any{}
	for k := range known {
		if _, ok := want[k]; !ok {
			patch[k] = nil
		}
	}
	for k, w := range want {
		old, ok := known[k]
		if ok && equal(old, w) {
			continue
		}
		oldObject, isObject := old.(map[string]any)
		newObject, staysObject := w.(map[string]any)
		if isObject && staysObject {
			patch[k] = diff(oldObject, newObject)
		} else {
			patch[k] = w
		}
	}
	return patch
}

// apply returns target changed by a merge patch, as the cloud does it. target and patch stay as they are; the result
// shares values with both.
func apply(target, patch map[string]any) map[string]any {
	result := make(map[string]any, len(target)+len(patch))
	for k, v := range target {
		result[k] = v
	}
	for k, p := range patch {
		object, isObject := p.(map[string]any)
		switch {
		case p == nil:
			delete(result, k)
		case isObject:
			old, _ := result[k].(map[string]any) // anything else is replaced as if it had not been there
			result[k] = apply(old, object)
		default:
			result[k] = p
		}
	}
	return result
}

// equal compares values made by parse.
func equal(a, b any) bool { return reflect.DeepEqual(a, b) }

// canonicalText is the same for values of parse that are equal: keys are sorted, nothing is indented.
func canonicalText(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}
