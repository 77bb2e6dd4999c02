package host

import (
	"cmp"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxFile bounds what is read of one file: /proc/stat of a machine with hundreds of cores is some 100 KB.
	maxFile = 1 << 20
	// maxEntries bounds lists of sensors, cores and interfaces: more than any machine that gnomon is for has.
	maxEntries = 256
	// maxName bounds names that drivers give.
	maxName = 64
)

// files reads small files of a root. Whatever cannot be read is absent.
type files struct{ fs.FS }

// text is a file without spaces and NULs around it; false: there is none, or nothing in it.
func (f files) text(name string) (string, bool) {
	file, err := f.Open(name)
	if err != nil {
		return "", false
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return "", false
	}
	s := strings.Trim(string(data), " \t\r\n\x00")
	return s, s != ""
}

// label is a short text for a name; the fallback where there is none.
func (f files) label(name, fallback string) string {
	s, ok := f.text(name)
	if !ok {
		return fallback
	}
	return s[:min(len(s), maxName)]
}

// number is a file that holds one decimal number.
func (f files) number(name string) (float64, bool) {
	s, ok := f.text(name)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return float64(n), err == nil
}

// scaled is number in another unit; nil: absent.
func (f files) scaled(name string, factor float64) *float64 {
	n, ok := f.number(name)
	if !ok {
		return nil
	}
	n *= factor
	return &n
}

// count is a number that is never negative.
func (f files) count(name string) (uint64, bool) {
	s, ok := f.text(name)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// glob lists what fits a pattern, 2 before 10, at most maxEntries.
func (f files) glob(pattern string) []string {
	names, err := fs.Glob(f, pattern)
	if err != nil {
		return nil
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return names[:min(len(names), maxEntries)]
}

// fields are the lines "name: value …" or "name value …" of a text, the name without its colon.
func fields(text string) map[string][]string {
	m := map[string][]string{}
	for line := range strings.Lines(text) {
		if p := strings.Fields(line); len(p) > 1 {
			m[strings.TrimSuffix(p[0], ":")] = p[1:]
		}
	}
	return m
}

// unsigned is the first of some fields; nil: absent or no number.
func unsigned(p []string, factor uint64) *uint64 {
	if len(p) == 0 {
		return nil
	}
	n, err := strconv.ParseUint(p[0], 10, 64)
	if err != nil {
		return nil
	}
	n *= factor
	return &n
}

// decimal is one number with a fraction; nil: none.
func decimal(s string) *float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil
	}
	return &v
}
