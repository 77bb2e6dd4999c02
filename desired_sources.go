package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"gnomon/config"
	"gnomon/telemetry/redact"
)

const (
	// maxSourceError bounds a message in the report, in bytes.
	maxSourceError = 120
	// maxUnknownSources is how many names that no source has are reported: enough to see that something is wrong.
	maxUnknownSources = 2
	// maxShownName bounds such a name, in bytes: as long as those of sources may be.
	maxShownName = 64
)

// Codes of desired settings that are refused.
const (
	codeUnknownSource = "unknown_source" // no source of that name is configured
	codeBadSetting    = "bad_setting"    // the entry cannot be understood, or a value is not possible
	codeNotApplied    = "not_applied"    // the value is good and could not be applied; see the message
)

// sourceReport is what is reported of a source that the desired document mentions.
type sourceReport struct {
	*settings
	Error *sourceProblem `json:"error,omitempty"`
}

type sourceProblem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// applySources sets the sources as the desired document says, and those that it does not mention as configured. What is
// wrong with one is reported and stops no other: it stays as it is. It reports whether something should be tried again.
func (f *follower) applySources(ctx context.Context, doc json.RawMessage) (again bool) {
	stopping := ctx
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	var desired struct {
		Sources map[string]json.RawMessage `json:"sources"`
	}
	broken := ""
	if err := json.Unmarshal(doc, &desired); err != nil {
		broken = "sources in the desired document must be an object of names and settings"
		f.log.Warn("the desired sources are not used", zap.String("reason", broken))
	}
	reports := map[string]sourceReport{}
	for _, w := range f.agent.watching() {
		entry, mentioned := desired.Sources[w.name]
		mentioned = mentioned && !isNull(entry)
		want, problem := w.configured(), (*sourceProblem)(nil)
		if mentioned {
			want, problem = decideSettings(want, entry, f.agent.cfg)
		}
		if problem == nil && broken == "" {
			if err := w.apply(ctx, want); err != nil {
				if stopping.Err() != nil {
					return false // nobody is told about what was given up at the end
				}
				again = true
				problem = &sourceProblem{codeNotApplied, clipText(err.Error())}
			}
		}
		if mentioned {
			now := w.settings()
			reports[w.name] = sourceReport{&now, problem}
		}
		if problem != nil {
			f.log.Warn("a desired setting is refused", zap.String("source", w.name), zap.String("code", problem.Code), zap.String("reason", problem.Message))
		}
	}
	unknown := 0
	for _, name := range slices.Sorted(maps.Keys(desired.Sources)) {
		if unknown == maxUnknownSources {
			break
		}
		if _, known := f.agent.cfg.Sources[name]; !known && !isNull(desired.Sources[name]) {
			unknown++
			shown := redact.Text(name)
			reports[strings.ToValidUTF8(shown[:min(len(shown), maxShownName)], "")] = sourceReport{Error: &sourceProblem{codeUnknownSource, "this device has no source of that name; it has " + clipText(strings.Join(slices.Sorted(maps.Keys(f.agent.cfg.Sources)), ", "))}}
		}
	}
	f.mu.Lock()
	f.sources, f.broken = reports, broken
	f.mu.Unlock()
	return again
}

// decideSettings reads one entry over the configured settings. Members that are missing or null stay as configured.
func decideSettings(s settings, entry json.RawMessage, cfg *config.Config) (settings, *sourceProblem) {
	bad := func(format string, args ...any) (settings, *sourceProblem) {
		return s, &sourceProblem{codeBadSetting, clipText(redact.Text(fmt.Sprintf(format, args...)))}
	}
	var in struct {
		Slot    *string  `json:"slot"`
		Score   *float32 `json:"score_threshold"`
		Enabled *bool    `json:"enabled"`
	}
	d := json.NewDecoder(bytes.NewReader(entry))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return bad("write slot (text), score_threshold (number), enabled (true or false): %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	out := s
	if in.Score != nil {
		if !(*in.Score > 0 && *in.Score <= 1) {
			return bad("score_threshold must be above 0 and at most 1, not %v", *in.Score)
		}
		out.Score = in.Score
	}
	if in.Slot != nil {
		if !slices.Contains(cfg.Slots(), *in.Slot) {
			return bad("there is no slot %q; this device has %s", *in.Slot, strings.Join(cfg.Slots(), ", "))
		}
		out.Slot = *in.Slot
	}
	if in.Enabled != nil {
		out.Enabled = *in.Enabled
	}
	return out, nil
}

func isNull(m json.RawMessage) bool { return len(m) == 0 || string(bytes.TrimSpace(m)) == "null" }

// clipText cuts a message to what the report has room for, at the end of a character.
func clipText(s string) string {
	if len(s) <= maxSourceError {
		return s
	}
	return strings.ToValidUTF8(s[:maxSourceError], "") + "…"
}
