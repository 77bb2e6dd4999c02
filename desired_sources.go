package main

import (
	"maps"
	"slices"
	"strings"

	"gnomon/config/yamldoc"
	"gnomon/telemetry/redact"
)

const (
	// maxSourceError bounds a message in the report, in bytes.
	maxSourceError = 120
	// maxUnknownSources is how many names of sources that are not there are reported: enough to see that something is
	// wrong.
	maxUnknownSources = 2
	// maxShownName bounds such a name, in bytes: as long as those of sources may be.
	maxShownName = 64
)

// codeNotApplied is the code of a desired setting that is good and could not be applied; see the message.
const codeNotApplied = "not_applied"

// sourceReport is what is reported of a source that the desired document mentions.
type sourceReport struct {
	*settings
	Error *sourceProblem `json:"error,omitempty"`
}

// settings are those of a source that are reported; the others are as they are desired.
type settings struct {
	Enabled bool     `json:"enabled"`
	Slot    string   `json:"slot"`
	Score   *float32 `json:"score_threshold,omitempty"` // nil: the model's own
}

type sourceProblem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// sourceReports is the member sources of the reported document, with what is wrong with the desired sources as a whole.
func (s *fleetSettings) sourceReports() (reports map[string]sourceReport, broken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reports = map[string]sourceReport{}
	mentioned := s.stack.ShadowSources()
	unknown := 0
	for _, name := range slices.Sorted(maps.Keys(mentioned)) {
		var r sourceReport
		if refusal := mentioned[name]; refusal != nil {
			r.Error = &sourceProblem{refusal.Code, refusal.Message}
		} else if err := s.failureLocked(name); err != nil {
			r.Error = &sourceProblem{codeNotApplied, err.Error()}
		}
		if r.Error != nil {
			r.Error.Message = clipText(redact.Text(r.Error.Message))
		}
		src, watched := s.running.Sources[name]
		if watched {
			r.settings = &settings{Enabled: src.Enabled, Slot: src.SlotName(), Score: src.ScoreThreshold}
		} else {
			if unknown == maxUnknownSources {
				continue
			}
			unknown++
			name = redact.Text(name)
			name = strings.ToValidUTF8(name[:min(len(name), maxShownName)], "")
		}
		reports[name] = r
	}
	for _, r := range s.stack.Refused() {
		if r.Name == "sources" {
			broken = clipText(redact.Text(r.Message))
		}
	}
	return reports, broken
}

// failureLocked is why something of a source could not be applied; nil: all of it is, or will be.
func (s *fleetSettings) failureLocked(source string) error {
	for _, name := range slices.Sorted(maps.Keys(s.failed)) {
		if err := s.failed[name]; err != nil && ofSource(name, source) {
			return err
		}
	}
	return nil
}

// mentionedLocked reports whether a setting is of a source that the shadow mentions.
func (s *fleetSettings) mentionedLocked(setting string) bool {
	for name := range s.stack.ShadowSources() {
		if ofSource(setting, name) {
			return true
		}
	}
	return false
}

// ofSource reports whether a setting, as layers.Diff names it, is a source or one of its settings.
func ofSource(setting, source string) bool {
	key := yamldoc.Key("sources", source)
	return setting == key || strings.HasPrefix(setting, key+".")
}

// clipText cuts a message to what the report has room for, at the end of a character.
func clipText(s string) string {
	if len(s) <= maxSourceError {
		return s
	}
	return strings.ToValidUTF8(s[:maxSourceError], "") + "…"
}
