package yamldoc

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gnomon/telemetry/redact"
)

// Problem is one thing that is wrong in a file.
type Problem struct {
	Path    string // of the key, as Key and Index spell it; "" for the file as a whole
	Line    int    // from 1; 0 when it is not known, as for a value that came from no file
	Col     int    // in characters, from 1
	Message string // one sentence without a full stop that names the key and says what to write
}

// Problems collects what is wrong with the meaning of values, for Document.Locate to place.
type Problems []Problem

// Addf adds a problem with the value at path; the message is the path followed by the formatted text, which continues
// the sentence: "must be 0 or 1, not 3".
func (p *Problems) Addf(path, format string, args ...any) {
	*p = append(*p, Problem{Path: path, Message: redact.Text(path) + " " + fmt.Sprintf(format, args...)})
}

// OneOf adds a problem unless v is one of words.
func OneOf[T ~string](p *Problems, path string, v T, words ...T) {
	if slices.Contains(words, v) {
		return
	}
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	p.Addf(path, "must be one of %s, not %s", strings.Join(list, ", "), quote(string(v)))
}

// Error is everything that is wrong in one file.
type Error struct {
	Name     string    // the file's name as Decode got it
	Problems []Problem // at least one, in the order of their positions
}

// newError sorts the problems by position, keeping the given order among those at one place.
func newError(name string, problems []Problem) *Error {
	sorted := slices.Clone(problems)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return &Error{Name: name, Problems: sorted}
}

// Error prints one problem a line as name:line:column: message, at most MaxProblems of them.
func (e *Error) Error() string {
	var s strings.Builder
	for i, p := range e.Problems {
		if i == MaxProblems {
			fmt.Fprintf(&s, "\n%s: and %d more problems", e.Name, len(e.Problems)-i)
			break
		}
		if i > 0 {
			s.WriteByte('\n')
		}
		s.WriteString(e.Name)
		if p.Line > 0 {
			fmt.Fprintf(&s, ":%d:%d", p.Line, p.Col)
		}
		s.WriteString(": ")
		s.WriteString(p.Message)
	}
	return s.String()
}
