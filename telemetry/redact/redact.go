// Package redact takes secrets out of text that leaves the process: log lines, messages, errors.
//
// There are two ways to know a secret. Text recognises it by its form: user info and telling parameters of URLs,
// Authorization headers, private keys in PEM, AWS's keys and tokens, registry tokens, JSON web tokens, and values
// behind names such as password, in JSON, YAML, logfmt, headers and command lines. A Redactor also knows the secrets
// that the process itself holds, and finds these wherever they stand, URL-escaped and in base64 too.
//
// What is found is replaced by Mark. Replacing twice changes nothing more. The time is linear in the length of the
// text, whatever it is, and nothing is allocated when nothing is found. Recognising by form is a net, not a proof: a
// password in the middle of a sentence looks like any other word. So secrets still don't belong in errors.
package redact

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Mark stands where a secret was.
const Mark = "***"

// Text replaces everything in s that has the form of a secret.
func Text(s string) string {
	var out []byte
	done := 0 // up to where s is in out
	for i := 0; i < len(s); {
		from, to := secretAt(s, i)
		if to <= from || s[from:to] == Mark {
			i = max(i+1, to)
			continue
		}
		if out == nil {
			out = make([]byte, 0, len(s)+len(Mark))
		}
		out = append(append(out, s[done:from]...), Mark...)
		done, i = to, to
	}
	if out == nil {
		return s
	}
	return string(append(out, s[done:]...))
}

// secretAt finds the secret that something at i announces, or that begins there: s[from:to], where from is not before
// i. Nothing is found where to is not behind from; to is then how far the caller may go on, or 0.
func secretAt(s string, i int) (from, to int) {
	switch b := s[i]; {
	case b == ':':
		if from, to = userInfo(s, i); to > from {
			return from, to
		}
		return pair(s, i)
	case b == '=':
		return pair(s, i)
	case b == '%':
		if from, to = escapedUserInfo(s, i); to > from {
			return from, to
		}
		return escapedPair(s, i)
	case b == '-':
		if from, to = privateKey(s, i); to > from {
			return from, to
		}
		return flag(s, i)
	case alnum(b) && (i == 0 || !alnum(s[i-1])):
		return token(s, i)
	}
	return 0, 0
}

// Redactor replaces what Text does, and the secrets that it was told. A nil one does what Text does. All its methods
// may be called from any goroutine.
type Redactor struct {
	mu     sync.Mutex // for Add
	values []string   // in the order in which they came
	known  atomic.Pointer[forms]
}

// New makes a Redactor that knows some secrets.
func New(values ...string) *Redactor {
	r := &Redactor{}
	r.Add(values...)
	return r
}

// Add makes more secrets known. Those of fewer than 4 bytes are left out, as most of any text would be replaced; those
// of fewer than 8 are replaced only where they stand alone, not inside longer words and numbers. No more than 1000 are
// kept: the last ones.
func (r *Redactor) Add(values ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range values {
		v = strings.TrimSpace(v)
		// One with the mark in it would be found in what was replaced.
		if len(v) >= minValue && !strings.Contains(v, Mark) && !slices.Contains(r.values, v) {
			r.values = append(r.values, v)
		}
	}
	r.values = r.values[max(0, len(r.values)-maxValues):]
	r.known.Store(newForms(r.values))
}

// Text replaces the secrets in s.
func (r *Redactor) Text(s string) string {
	if r != nil {
		if known := r.known.Load(); known != nil {
			s = known.replace(s)
		}
	}
	return Text(s)
}

// maxKeyLines is how many lines of a stream a private key may have: RSA with 16384 bits has 200.
const maxKeyLines = 256

// Stream redacts a text that comes line by line, such as a log file: a private key in it is one secret on many lines.
// It is for one goroutine.
type Stream struct {
	r    *Redactor
	left int // lines that may still belong to a private key; 0: we are in none
}

// NewStream makes a Stream; r may be nil.
func NewStream(r *Redactor) *Stream { return &Stream{r: r} }

// Line redacts the next line, which comes without its line feed.
func (s *Stream) Line(line string) string {
	if s.left > 0 {
		s.left--
		if i := strings.Index(line, pemEnd); i >= 0 {
			s.left = 0
			return Mark + s.open(line[i:])
		}
		if pemBody(line) {
			return Mark
		}
		s.left = 0 // it was cut off
	}
	return s.open(line)
}

// open redacts a line and notes whether a private key begins in it that doesn't end there.
func (s *Stream) open(line string) string {
	if begin := strings.LastIndex(line, pemBegin); begin >= 0 && !strings.Contains(line[begin:], pemEnd) {
		if from, _ := privateKey(line, begin); from > 0 {
			s.left = maxKeyLines
		}
	}
	return s.r.Text(line)
}
