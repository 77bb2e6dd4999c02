package store

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what is stored. Everything may come from a cloud document or from a damaged disk.
const (
	stateFormat  = 1
	maxState     = 1 << 20 // bytes in the state file; one with a dozen slots has a few kB
	maxSlots     = 64      // far more cameras than one device can serve
	maxName      = 64      // bytes in the name of a slot or phase
	maxFailures  = 256     // things whose failures are counted
	maxKey       = 256     // bytes in the key of a failure
	maxReference = 4096    // bytes in a URI: more than S3 (1024 for a key) and OCI references need
	maxWord      = 256     // bytes in a version, error code or stage
	maxMessage   = 2048    // bytes in a message for people; longer ones are cut
	maxMeta      = 8 << 20 // bytes in a version.json with all its files
	maxFiles     = 10_000  // files in one version: as many as models/onnx accepts with external data
	maxPath      = 1024    // bytes in a file name with its folders
	maxElement   = 255     // bytes in one element of it: NAME_MAX of Linux
	maxFileSize  = 1 << 40 // bytes; keeps sums far from overflowing
)

// checkSHA accepts the lower-case hexadecimal form of a SHA-256 digest: nothing else becomes a directory name.
func checkSHA(sha string) error {
	const size = 64 // two digits a byte
	if _, err := hex.DecodeString(sha); err != nil || len(sha) != size || strings.ToLower(sha) != sha {
		return fmt.Errorf("%w: %.80q is not a SHA-256 digest of 64 lower-case hexadecimal digits", ErrInvalid, sha)
	}
	return nil
}

// plainName reports whether a name has only a-z, 0-9, _ and -, and at most maxName of them.
func plainName(name string) bool {
	return len(name) <= maxName && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == "" &&
		strings.IndexFunc(name, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-'
		}) < 0
}

// checkFileName accepts names that stay below their folder on every system and are not the store's own.
func checkFileName(name string) error {
	bad := func(why string) error {
		return fmt.Errorf("%w: file name %.100q %s", ErrInvalid, name, why)
	}
	switch {
	case name == "" || len(name) > maxPath:
		return bad(fmt.Sprintf("must have 1 to %d bytes", maxPath))
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return bad("has characters that cannot be printed")
	case strings.ContainsAny(name, `\:`):
		return bad("has a backslash or a colon")
	case !filepath.IsLocal(name) || path.Clean(name) != name || name == ".":
		return bad("must lie in the model's folder and be written in the shortest way")
	case name == metaName || strings.HasSuffix(name, tempSuffix):
		return bad("is one that the store uses itself; rename the file")
	}
	for _, element := range strings.Split(name, "/") {
		if len(element) > maxElement {
			return bad(fmt.Sprintf("has an element of more than %d bytes", maxElement))
		}
	}
	return nil
}

// checkWord refuses texts that are too long or no text.
func checkWord(what, text string, limit int) error {
	if len(text) > limit || !utf8.ValidString(text) {
		return fmt.Errorf("%w: %s must be UTF-8 text of at most %d bytes", ErrInvalid, what, limit)
	}
	return nil
}

// clip cuts a message for people to maxMessage bytes, at the end of a character.
func clip(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxMessage {
		return text
	}
	end := maxMessage
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// normalise gives equal states equal forms and cuts messages: a long one must not keep a roll-back from being stored.
func (s *State) normalise() {
	s.Format = stateFormat
	if bytes.Equal(bytes.TrimSpace(s.Desired), []byte("null")) || len(s.Desired) == 0 {
		s.Desired = nil
	}
	for _, sl := range s.Slots {
		if sl != nil && sl.Error != nil {
			sl.Error.Message = clip(sl.Error.Message)
		}
	}
	for key, f := range s.Failures {
		f.LastMessage = clip(f.LastMessage)
		s.Failures[key] = f
	}
}

// check refuses a state that breaks a limit.
func (s *State) check() error {
	if s.Format != stateFormat {
		return fmt.Errorf("%w: state of format %d, this program reads format %d", ErrInvalid, s.Format, stateFormat)
	}
	if len(s.Slots) > maxSlots {
		return fmt.Errorf("%w: %d slots, at most %d are possible", ErrInvalid, len(s.Slots), maxSlots)
	}
	for name, sl := range s.Slots {
		if name == "" || !plainName(name) {
			return fmt.Errorf("%w: slot name %.80q; use 1 to %d characters of a-z, 0-9, _ and -", ErrInvalid, name, maxName)
		}
		if sl == nil {
			return fmt.Errorf("%w: slot %q is empty", ErrInvalid, name)
		}
		if err := sl.check(); err != nil {
			return fmt.Errorf("slot %q: %w", name, err)
		}
	}
	if len(s.Failures) > maxFailures {
		return fmt.Errorf("%w: failures of %d things, at most %d are counted", ErrInvalid, len(s.Failures), maxFailures)
	}
	for key, f := range s.Failures {
		if err := errors.Join(checkWord("the key of a failure", key, maxKey), checkWord("an error code", f.LastCode, maxWord)); err != nil {
			return err
		}
		if f.Count < 0 {
			return fmt.Errorf("%w: %d failures of %q", ErrInvalid, f.Count, key)
		}
	}
	return nil
}

func (sl *Slot) check() error {
	if !plainName(sl.Phase) {
		return fmt.Errorf("%w: phase %.80q; use at most %d characters of a-z, 0-9, _ and -", ErrInvalid, sl.Phase, maxName)
	}
	if sl.Release < 0 {
		return fmt.Errorf("%w: release %d", ErrInvalid, sl.Release)
	}
	for _, e := range []*Entry{sl.Active, sl.Previous, sl.Candidate} {
		if e == nil {
			continue
		}
		if e.SHA256 != "" {
			if err := checkSHA(e.SHA256); err != nil {
				return err
			}
		}
		if e.Release < 0 {
			return fmt.Errorf("%w: release %d", ErrInvalid, e.Release)
		}
		if err := errors.Join(checkWord("a URI", e.URI, maxReference), checkWord("a version", e.Version, maxWord)); err != nil {
			return err
		}
	}
	if sl.Error == nil {
		return nil
	}
	return errors.Join(checkWord("an error code", sl.Error.Code, maxWord), checkWord("a stage", sl.Error.Stage, maxWord))
}

// parseState reads a state file.
func parseState(data []byte) (*State, error) {
	if len(data) > maxState {
		return nil, fmt.Errorf("%w: a state of %d bytes, at most %d are read", ErrInvalid, len(data), maxState)
	}
	var s State
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: there is something after the state", ErrInvalid)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	s.normalise()
	return &s, nil
}

// encodeState writes a state file; equal states make equal bytes.
func encodeState(s *State) ([]byte, error) {
	data, err := encode(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(data) > maxState {
		return nil, fmt.Errorf("%w: the state would have %d bytes, at most %d are possible; shorten the desired document", ErrInvalid, len(data), maxState)
	}
	return data, nil
}

// encode is json.Marshal, but leaves <, > and & as they are, so that a document inside stays as it came.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
