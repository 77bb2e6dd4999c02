package logs

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gnomon/telemetry/redact"
)

const (
	maxMembers = 64 // of an object or a list in a field
	maxDepth   = 6  // of objects in objects
)

// redactFields is fields without secrets; it is the very same slice if there are none.
func redactFields(r *redact.Redactor, fields []zapcore.Field) []zapcore.Field {
	out := fields
	copied := false
	for i, f := range fields {
		clean, same := redactField(r, f)
		if same {
			if copied {
				out = append(out, f)
			}
			continue
		}
		if !copied {
			out, copied = append([]zapcore.Field(nil), fields[:i]...), true
		}
		out = append(out, clean...)
	}
	return out
}

// redactField is what stands for a field, or true if that is the field itself.
func redactField(r *redact.Redactor, f zapcore.Field) ([]zapcore.Field, bool) {
	switch f.Type {
	case zapcore.BoolType, zapcore.DurationType, zapcore.TimeType, zapcore.TimeFullType, zapcore.SkipType, zapcore.NamespaceType,
		zapcore.Float64Type, zapcore.Float32Type, zapcore.Complex64Type, zapcore.Complex128Type,
		zapcore.Int64Type, zapcore.Int32Type, zapcore.Int16Type, zapcore.Int8Type,
		zapcore.Uint64Type, zapcore.Uint32Type, zapcore.Uint16Type, zapcore.Uint8Type, zapcore.UintptrType:
		if redact.Sensitive(f.Key) && f.Type != zapcore.NamespaceType && f.Type != zapcore.SkipType {
			return []zapcore.Field{zap.String(f.Key, redact.Mark)}, false
		}
		return nil, true
	case zapcore.StringType:
		if redact.Sensitive(f.Key) && f.String != "" {
			return []zapcore.Field{zap.String(f.Key, redact.Mark)}, false
		}
		clean := r.Text(f.String)
		if clean == f.String {
			return nil, true
		}
		return []zapcore.Field{zap.String(f.Key, clean)}, false
	}
	// An error may have more to say than its text, and an object anything: what zap makes of them is looked at.
	m := zapcore.NewMapObjectEncoder()
	f.AddTo(m)
	var out []zapcore.Field
	for _, key := range slices.Sorted(maps.Keys(m.Fields)) {
		out = append(out, zap.Any(key, plain(r, key, m.Fields[key], maxRead, 0)))
	}
	return out, false
}

// encodeFields is fields as one JSON object without secrets, or nil if there are none.
func encodeFields(r *redact.Redactor, with, fields []zapcore.Field) json.RawMessage {
	if len(with)+len(fields) == 0 {
		return nil
	}
	m := zapcore.NewMapObjectEncoder()
	for _, f := range with {
		f.AddTo(m)
	}
	for _, f := range fields {
		f.AddTo(m)
	}
	if len(m.Fields) == 0 {
		return nil
	}
	data, err := json.Marshal(plain(r, "", m.Fields, maxString, 0))
	if err != nil || len(data) > maxFields {
		return json.RawMessage(`{"cut":true}`)
	}
	return data
}

// plain makes of a value what JSON can hold, without secrets, with strings of at most limit bytes. key is its name.
func plain(r *redact.Redactor, key string, v any, limit, depth int) any {
	if depth > maxDepth {
		return cutMark
	}
	if m, ok := v.(map[string]any); ok {
		return plainMap(r, m, limit, depth)
	}
	if redact.Sensitive(key) && v != nil && v != "" {
		return redact.Mark
	}
	switch v := v.(type) {
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, uintptr, json.Number:
		return v
	case string:
		return cut(r.Text(clip(v)), limit)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
		return v
	case float32:
		return plain(r, key, float64(v), limit, depth)
	case complex64, complex128:
		return fmt.Sprint(v)
	case time.Duration:
		return v.String()
	case time.Time:
		return v.UTC().Format(timeLayout)
	case []byte:
		return fmt.Sprintf("%d bytes", len(v))
	case []any:
		out := make([]any, 0, min(len(v), maxMembers))
		for _, e := range v[:min(len(v), maxMembers)] {
			out = append(out, plain(r, key, e, limit, depth+1))
		}
		return out
	}
	return reflected(r, key, v, limit, depth)
}

func plainMap(r *redact.Redactor, m map[string]any, limit, depth int) any {
	out := make(map[string]any, min(len(m), maxMembers))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if len(out) == maxMembers {
			break
		}
		out[cut(r.Text(key), maxName)] = plain(r, key, m[key], limit, depth+1)
	}
	return out
}

// reflected is plain for any other type, as JSON has it.
func reflected(r *redact.Redactor, key string, v any, limit, depth int) any {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%T", v)
	}
	var decoded any
	if err := json.Unmarshal(data, &decoded); err != nil {
		return fmt.Sprintf("%T", v)
	}
	return plain(r, key, decoded, limit, depth+1)
}
