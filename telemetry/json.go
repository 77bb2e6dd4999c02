package telemetry

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// timeLayout is RFC 3339 with microseconds; the time must be in UTC.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// appendString appends s as a JSON string (RFC 8259, section 7). Each byte that is not part of valid UTF-8 becomes
// U+FFFD, as encoding/json has it.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	plain := 0 // start of what can be copied as it is
	for i := 0; i < len(s); {
		b := s[i]
		if b >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[plain:i]...)
				dst = append(dst, "\uFFFD"...)
				plain = i + 1
			}
			i += size
			continue
		}
		if b < ' ' || b == '"' || b == '\\' {
			dst = append(dst, s[plain:i]...)
			dst = appendEscape(dst, b)
			plain = i + 1
		}
		i++
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(dst, '\\', b)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		return append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
	}
}

// appendRounded appends v rounded to a multiple of 1/scale, in the shortest decimal form, never "-0". v must be
// finite.
func appendRounded(dst []byte, v float32, scale float64) []byte {
	r := math.Round(float64(v)*scale) / scale
	if r == 0 { // also a negative zero, which would be written as -0
		return append(dst, '0')
	}
	return strconv.AppendFloat(dst, r, 'f', -1, 64)
}

func finite(v float32) bool {
	return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0)
}

// appendTime appends t as a JSON string in timeLayout.
func appendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, timeLayout)
	return append(dst, '"')
}

// representable reports whether RFC 3339 can write t: its years have four digits.
func representable(t time.Time) bool {
	year := t.UTC().Year()
	return !t.IsZero() && year >= 0 && year <= 9999
}
