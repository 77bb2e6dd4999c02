package layers

import (
	"encoding/json"
	"strings"
)

const (
	// MaxReport bounds a Report, in bytes of JSON: a quarter of what a device may report in all.
	MaxReport = 1024
	// maxRefusedPart is what refusals may take of it, so that there is room for the names that need a restart.
	maxRefusedPart = 768
	// maxMessage and maxShownName bound one message and one name, in bytes.
	maxMessage   = 120
	maxShownName = 64
)

// Report is what the shadow is told about settings.
type Report struct {
	Refused []Refusal `json:"refused,omitempty"`
	// Restart names the settings that are good and take effect at the next start.
	Restart []string `json:"restart_required,omitempty"`
	// More counts the entries of both that there was no room for.
	More int `json:"more,omitempty"`
}

// NewReport keeps to MaxReport; nil: there is nothing to tell.
func NewReport(refused []Refusal, restart []string) *Report {
	r := &Report{}
	for _, one := range refused {
		one.Name, one.Message = clip(one.Name, maxShownName), clip(one.Message, maxMessage)
		r.Refused = append(r.Refused, one)
		if r.size() > maxRefusedPart {
			r.Refused = r.Refused[:len(r.Refused)-1]
			r.More++
		}
	}
	for _, name := range restart {
		r.Restart = append(r.Restart, clip(name, maxShownName))
		if r.size() > MaxReport {
			r.Restart = r.Restart[:len(r.Restart)-1]
			r.More++
		}
	}
	if len(r.Refused)+len(r.Restart) == 0 {
		return nil
	}
	return r
}

// size is that in the shadow, with room for the counter.
func (r *Report) size() int {
	data, err := json.Marshal(r)
	if err != nil {
		return MaxReport + 1 // cannot be: texts and a number
	}
	return len(data) + len(`,"more":1000`)
}

// clip cuts a text to n bytes, at the end of a character.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
