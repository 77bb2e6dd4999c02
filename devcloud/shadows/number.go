package shadows

import (
	"strconv"
	"strings"
)

// sameNumber says whether two JSON numbers have the same value: 1, 1.0 and 10e-1 do. It is exact, whatever their size,
// and never makes a number as long as its exponent says.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	x, okX := parseNumber(a)
	y, okY := parseNumber(b)
	return okX && okY && x == y
}

// number is digits times ten to the exponent; digits have a zero neither in front nor at the end. Zero has no digits.
type number struct {
	negative bool
	digits   string
	exponent int64
}

// parseNumber reads a valid JSON number. It fails on exponents beyond anything that is meant.
func parseNumber(text string) (n number, ok bool) {
	text, n.negative = strings.CutPrefix(text, "-")
	mantissa, exponent := text, ""
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa, exponent = text[:i], text[i+1:]
	}
	if exponent != "" {
		e, err := strconv.ParseInt(exponent, 10, 32)
		if err != nil {
			return number{}, false
		}
		n.exponent = e
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	n.exponent -= int64(len(fraction))
	digits := strings.TrimLeft(whole+fraction, "0")
	n.digits = strings.TrimRight(digits, "0")
	n.exponent += int64(len(digits) - len(n.digits))
	if n.digits == "" {
		return number{}, true
	}
	return n, true
}
