// Package health says in one document how an agent is: ok, degraded with the reasons, or failed.
//
// Others tell it what they see; it decides what of that is worth a person's time. A reason has to hold for a while before
// it counts, and to be over for a while before it is taken back, so the document does not flap.
package health

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Schema names the form of the document. The number goes up when a reader of the old form would misread the new one.
const Schema = "gnomon.health/1"

// Status is how the agent is.
type Status string

// The states, from best to worst.
const (
	OK       Status = "ok"
	Degraded Status = "degraded" // it does its work, but somebody should look
	Failed   Status = "failed"   // it does not do its work
)

// Limits of the document, which travels in the retained status and in events.
const (
	// maxReasons is how many are told; the rest is counted. Ten cameras behind a switch without power fit.
	maxReasons = 20
	// maxMessage bounds a sentence, in bytes: errors of cameras can be long.
	maxMessage = 240
	// maxSubject bounds the names of sources and slots.
	maxSubject = 64
)

// timeLayout is RFC 3339 with seconds; the time must be in UTC.
const timeLayout = "2006-01-02T15:04:05Z"

// Document is the message "gnomon.health/1".
type Document struct {
	Schema  string   `json:"schema"`
	Device  string   `json:"device"`
	BootID  string   `json:"boot_id"`
	Source  string   `json:"source"` // "agent"
	Seq     uint64   `json:"seq"`    // goes up with every change
	Time    string   `json:"time"`   // RFC 3339 in UTC: of the last look
	Status  Status   `json:"status"`
	Since   string   `json:"since"`   // of Status
	Reasons []Reason `json:"reasons"` // worst first, then by code and subject; empty: ok
	More    int      `json:"more,omitempty"`
}

// Reason is one thing that is not as it should be.
type Reason struct {
	Code     Code   `json:"code"`
	Severity Status `json:"severity"`          // degraded or failed
	Subject  string `json:"subject,omitempty"` // the source or slot that it is about
	Message  string `json:"message"`           // a sentence for a person
	Since    string `json:"since"`
	At       string `json:"at,omitempty"` // when it gets worse: the end of a certificate
}

// Options is what a Monitor is made of.
type Options struct {
	Device string
	BootID string
	Now    func() time.Time // nil: the system's clock
}

// Monitor judges. Any goroutine may call its methods.
type Monitor struct {
	o Options

	mu      sync.Mutex
	reasons map[key]*entry
	dropped uint64 // records that the spool had dropped at the last look
	status  Status
	since   time.Time
	seq     uint64
	doc     Document
}

type key struct {
	code    Code
	subject string
}

// entry is a reason on its way in, in force, or on its way out.
type entry struct {
	finding
	active bool
	begun  time.Time // when it began to hold
	held   time.Time // when it last held
}

// New makes a Monitor, for which all is well.
func New(o Options) *Monitor {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Monitor{o: o, reasons: map[key]*entry{}, status: OK, since: o.Now()}
	m.doc = m.document(m.since)
	return m
}

// Update takes what was seen and returns the document, and whether it says something else than the one before: another
// status, or other reasons. Times and sentences may differ without that. Call it every few seconds.
func (m *Monitor) Update(in Inputs) (Document, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.o.Now()
	changed := m.judge(m.look(&in, now), now)
	status := OK
	for _, e := range m.reasons {
		if e.active && worse(e.severity, status) {
			status = e.severity
		}
	}
	if status != m.status {
		m.status, m.since, changed = status, now, true
	}
	if changed {
		m.seq++
	}
	m.doc = m.document(now)
	return m.doc.clone(), changed
}

// Document is the one of the last Update.
func (m *Monitor) Document() Document {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.doc.clone()
}

func (d Document) clone() Document {
	d.Reasons = append([]Reason{}, d.Reasons...)
	return d
}

// judge moves reasons in and out of force; true: one did.
func (m *Monitor) judge(found []finding, now time.Time) (changed bool) {
	seen := map[key]bool{}
	for _, f := range found {
		k := key{f.code, f.subject}
		e := m.reasons[k]
		if seen[k] || e == nil && !f.holds { // below the mark at which it begins
			continue
		}
		seen[k] = true
		if e == nil {
			e = &entry{begun: now}
			m.reasons[k] = e
		}
		if !e.active && !f.holds { // it went back before it counted
			delete(m.reasons, k)
			continue
		}
		e.finding, e.held = f, now
		if patience, _ := f.code.patience(); !e.active && now.Sub(e.begun) >= patience {
			e.active, changed = true, true
		}
	}
	for k, e := range m.reasons {
		if seen[k] {
			continue
		}
		if _, patience := k.code.patience(); !e.active || now.Sub(e.held) >= patience {
			changed = changed || e.active
			delete(m.reasons, k)
		}
	}
	return changed
}

func (m *Monitor) document(now time.Time) Document {
	d := Document{
		Schema: Schema, Device: m.o.Device, BootID: m.o.BootID, Source: "agent", Seq: m.seq,
		Time: stamp(now), Status: m.status, Since: stamp(m.since), Reasons: []Reason{},
	}
	for _, e := range m.reasons {
		if !e.active {
			continue
		}
		r := Reason{Code: e.code, Severity: e.severity, Subject: cut(e.subject, maxSubject), Message: cut(e.message, maxMessage), Since: stamp(e.begun)}
		if !e.at.IsZero() {
			r.At = stamp(e.at)
		}
		d.Reasons = append(d.Reasons, r)
	}
	slices.SortFunc(d.Reasons, func(a, b Reason) int {
		return cmp.Or(-cmp.Compare(rank(a.Severity), rank(b.Severity)), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Subject, b.Subject))
	})
	d.More = max(0, len(d.Reasons)-maxReasons)
	d.Reasons = d.Reasons[:len(d.Reasons)-d.More]
	return d
}

func stamp(t time.Time) string { return t.UTC().Format(timeLayout) }

// rank orders states; more is worse.
func rank(s Status) int { return slices.Index([]Status{OK, Degraded, Failed}, s) }

func worse(a, b Status) bool { return rank(a) > rank(b) }

// cut shortens a text to so many bytes, at a character, with a mark.
func cut(s string, most int) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) <= most {
		return s
	}
	const mark = "…"
	end := most - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
