package redact

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

const (
	// minValue is the least length of a known secret, and of what is looked for: shorter ones are in any text.
	minValue = 4
	// minInside is the least length of a secret that is replaced inside longer words and numbers too.
	minInside = 8
	// maxValues bounds the known secrets: a password for each of the cameras of a large building.
	maxValues = 1000
	// maxForms bounds those that begin with the same 4 bytes, because all of them are compared.
	maxForms = 64
)

// forms are the ways in which known secrets may be written, by their first 4 bytes, the longest first.
type forms struct {
	first [256]bool // of the first byte
	by    map[uint32][]string
}

func newForms(values []string) *forms {
	f := &forms{by: map[uint32][]string{}}
	for i := len(values) - 1; i >= 0; i-- { // the latest first: they have the places where these are few
		for _, form := range spellings(values[i]) {
			f.add(form)
		}
	}
	return f
}

func (f *forms) add(form string) {
	if len(form) < minValue {
		return
	}
	key := binary.LittleEndian.Uint32([]byte(form[:minValue]))
	list := f.by[key]
	at := len(list)
	for i, other := range list {
		if other == form {
			return
		}
		if at == len(list) && len(form) > len(other) {
			at = i
		}
	}
	if len(list) == maxForms {
		return
	}
	f.first[form[0]] = true
	f.by[key] = append(list[:at:at], append([]string{form}, list[at:]...)...)
}

// spellings are the forms of one secret: as it is, escaped for URLs, JSON and Go, and in base64.
func spellings(v string) []string {
	query, path, user := url.QueryEscape(v), url.PathEscape(v), url.User(v).String()
	quoted := strconv.Quote(v)
	out := []string{v, query, path, user, lowerEscapes(query), lowerEscapes(path), lowerEscapes(user), quoted[1 : len(quoted)-1]}
	if data, err := json.Marshal(v); err == nil { // a string always can
		out = append(out, string(data[1:len(data)-1]))
	}
	if len(v) < minInside {
		return out
	}
	// In base64 three bytes become four letters, so a secret in the middle of something has three forms. The letters
	// at its ends that share bits with its neighbours are left out.
	for _, enc := range [...]*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			s := enc.EncodeToString(append(make([]byte, shift), v...))
			begin := (shift*8 + 5) / 6
			end := len(s)
			if (shift+len(v))%3 != 0 {
				end--
			}
			if end-begin >= minInside {
				out = append(out, s[begin:end])
			}
		}
	}
	return out
}

// lowerEscapes writes the digits of percent escapes in small letters, as some programs do.
func lowerEscapes(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}

// replace marks all forms in s.
func (f *forms) replace(s string) string {
	var out []byte
	done := 0
	for i := 0; i+minValue <= len(s); {
		n := f.at(s, i)
		if n == 0 {
			i++
			continue
		}
		if out == nil {
			out = make([]byte, 0, len(s)+len(Mark))
		}
		out = append(append(out, s[done:i]...), Mark...)
		i += n
		done = i
	}
	if out == nil {
		return s
	}
	return string(append(out, s[done:]...))
}

// at is the length of the form that begins at i, 0 for none.
func (f *forms) at(s string, i int) int {
	if !f.first[s[i]] {
		return 0
	}
	key := uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24
	for _, form := range f.by[key] {
		if strings.HasPrefix(s[i:], form) && (len(form) >= minInside || alone(s, i, i+len(form))) {
			return len(form)
		}
	}
	return 0
}

// alone reports whether no letter, digit or mark touches s[from:to].
func alone(s string, from, to int) bool {
	touches := func(b byte) bool { return alnum(b) || b == Mark[0] || b >= 0x80 }
	return (from == 0 || !touches(s[from-1])) && (to == len(s) || !touches(s[to]))
}
