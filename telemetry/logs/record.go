package logs

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// Schema names the form of a record. The number goes up when a reader of the old form would misread the new one.
const Schema = "gnomon.log/1"

const (
	// maxMessage is the longest message in bytes: a stack trace fits.
	maxMessage = 8 << 10
	// maxRead is how much of a line is looked at for secrets before it is cut.
	maxRead = 64 << 10
	// maxName is the longest name of a logger, a source or a device, in bytes.
	maxName = 256
	// maxFields is the greatest size of the fields as JSON, and maxString of one of their strings, in bytes.
	maxFields = 4 << 10
	maxString = 1 << 10
	// cutMark ends what was cut.
	cutMark = "… (cut)"
)

// timeLayout is RFC 3339 with microseconds; the time must be in UTC.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// record is a line on its way, redacted and bounded.
type record struct {
	source  string
	at      time.Time
	level   string // empty: not known
	message string
	logger  string
	fields  json.RawMessage // an object, or nil
	done    func()          // called when the line has been taken; nil: nobody waits for that
}

// appendJSON appends the record as one JSON object. Strings that are not valid UTF-8 get U+FFFD for each offending byte.
func (r *record) appendJSON(dst []byte, device, boot string, seq uint64) []byte {
	w := bytes.NewBuffer(dst)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // < and > are frequent in logs, and nobody puts this into a web page as it is
	err := e.Encode(struct {
		Schema  string          `json:"schema"`
		Device  string          `json:"device,omitempty"`
		BootID  string          `json:"boot_id,omitempty"`
		Source  string          `json:"source"`
		Seq     uint64          `json:"seq"`
		Time    string          `json:"time"`
		Level   string          `json:"level,omitempty"`
		Message string          `json:"message"`
		Logger  string          `json:"logger,omitempty"`
		Fields  json.RawMessage `json:"fields,omitempty"`
	}{Schema, device, boot, r.source, seq, r.at.UTC().Format(timeLayout), r.level, r.message, cut(r.logger, maxName), r.fields})
	if err != nil { // fields that are no JSON: those who made them see to that
		r.fields = nil
		return r.appendJSON(dst, device, boot, seq)
	}
	return bytes.TrimRight(w.Bytes(), "\n")
}

// cut shortens s to n bytes, between two characters, with a mark.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len(cutMark)
	for back := 0; back < utf8.UTFMax && n > 0 && !utf8.RuneStart(s[n]); back++ {
		n--
	}
	return s[:n] + cutMark
}

// clip bounds what has to be looked at, without a mark.
func clip(s string) string {
	s = strings.TrimRight(s, "\r\n")
	return s[:min(len(s), maxRead)]
}

// batch is a payload in the making.
type batch struct {
	buf   []byte
	lines int
	done  []func()
}

const (
	batchBegin = `{"batch":[`
	batchEnd   = `]}`
)

func (b *batch) fits(data []byte) bool {
	return b.lines == 0 || len(b.buf)+len(",")+len(data)+len(batchEnd) <= maxBatch
}

func (b *batch) add(data []byte, done func()) {
	if b.lines == 0 {
		b.buf = append(b.buf[:0], batchBegin...)
	} else {
		b.buf = append(b.buf, ',')
	}
	b.buf = append(b.buf, data...)
	b.lines++
	if done != nil {
		b.done = append(b.done, done)
	}
}

// payload is the whole; it may be asked for more than once.
func (b *batch) payload() []byte { return append(b.buf, batchEnd...) }

// taken tells everybody who waits, and begins a new batch.
func (b *batch) taken() {
	for _, done := range b.done {
		done()
	}
	clear(b.done)
	b.lines, b.done = 0, b.done[:0]
}
