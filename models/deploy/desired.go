package deploy

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gnomon/models/artifact"
	"gnomon/models/store"
)

// Builtin is the uri of the model that is configured or inside the binary.
const Builtin = "builtin"

// Limits of the desired document. A shadow holds 8 KB, but the document may come from elsewhere.
const (
	maxDocument  = 64 << 10 // bytes
	maxUnknown   = 2        // slots that this device does not have and that are reported nevertheless
	maxVersion   = 128      // bytes in a version: one for people, such as 2026.11.1
	maxSignature = 1024     // bytes: an ECDSA signature has about 100 in base64
	maxProbation = 86400    // seconds: a day
	maxWord      = 64       // characters of a name or code in messages and reports
	maxMessage   = 200      // characters of a message in reports: a shadow holds 8 KB for everything
)

// want is what the cloud wants of one slot. The zero value wants nothing.
type want struct {
	URI            string
	Public         string // URI without secrets
	SHA256         string // lower-case; for OCI with a digest taken from there; empty for an OCI tag and for Builtin
	Version        string // empty: any
	Release        int64  // 0: the manifest's
	Signature      string
	AllowDowngrade bool
	Probation      time.Duration // 0: the device's
}

func (w want) nothing() bool { return w.URI == "" }
func (w want) builtin() bool { return w.URI == Builtin }

// sameModel reports whether v differs only in how the artefact is fetched, which no longer matters once it is here.
func (w want) sameModel(v want) bool {
	v.URI, v.Public, v.Signature = w.URI, w.Public, w.Signature
	return w.SHA256 != "" && w == v
}

// order is what the desired document says about one slot: a want, or why there is none.
type order struct {
	want want
	bad  store.Problem // Code is empty when the entry is fine
}

// document is a desired document that was read.
type document struct {
	orders  map[string]order // of every slot of the device
	unknown map[string]store.Problem
	models  json.RawMessage // as it came; nil when the document cannot be read at all
	sources json.RawMessage // as it came; see kept
}

func badDesired(format string, args ...any) store.Problem {
	return store.Problem{Code: string(CodeBadDesired), Message: clip(fmt.Sprintf(format, args...), maxMessage), Stage: "desired"}
}

// parseDocument reads a desired document strictly entry by entry: a bad one leaves the others alone. One that cannot
// be read as a whole refuses every slot.
func parseDocument(raw json.RawMessage, slots []string) document {
	doc := document{orders: make(map[string]order, len(slots)), unknown: map[string]store.Problem{}}
	models, sources, entries, err := splitDocument(raw)
	for _, name := range slots {
		if err != nil {
			doc.orders[name] = order{bad: badDesired("%v", err)}
			continue
		}
		doc.orders[name] = parseOrder(entries[name])
		delete(entries, name)
	}
	if err != nil {
		return doc
	}
	doc.models, doc.sources = models, sources
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if len(doc.unknown) == maxUnknown {
			break
		}
		shown := clip(name, maxWord)
		if isNull(entries[name]) || slices.Contains(slots, shown) {
			continue
		}
		doc.unknown[shown] = store.Problem{
			Code: string(CodeUnknownSlot), Stage: "desired",
			Message: clip("this device has no such slot; it has "+strings.Join(slots, ", "), maxMessage),
		}
	}
	return doc
}

// splitDocument finds the entries of the slots.
func splitDocument(raw json.RawMessage) (models, sources json.RawMessage, entries map[string]json.RawMessage, err error) {
	if len(raw) > maxDocument {
		return nil, nil, nil, fmt.Errorf("the desired document has %d bytes; at most %d are read", len(raw), maxDocument)
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		return nil, nil, nil, errors.New("the desired document is not a JSON object")
	}
	models = whole["models"]
	if isNull(models) {
		models = json.RawMessage("{}")
	}
	if err := json.Unmarshal(models, &entries); err != nil {
		return nil, nil, nil, errors.New("models must be an object with an entry for each slot")
	}
	return models, whole["sources"], entries, nil
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null"))
}

// parseOrder reads one entry.
func parseOrder(raw json.RawMessage) order {
	if isNull(raw) {
		return order{}
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return order{bad: badDesired("the entry must be an object, such as {\"uri\": …, \"sha256\": …}")}
	}
	var w want
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if err := w.set(name, members[name]); err != nil {
			return order{bad: badDesired("%v", err)}
		}
	}
	if err := w.check(); err != nil {
		var known *artifact.Error
		p := badDesired("%v", err)
		if errors.As(err, &known) {
			p.Code = string(known.Code)
		}
		return order{bad: p}
	}
	return order{want: w}
}

// set reads one member. Names are compared exactly: encoding/json itself would take URI for uri.
func (w *want) set(name string, raw json.RawMessage) error {
	var target any
	seconds, form := int64(0), "text"
	switch name {
	case "uri":
		target = &w.URI
	case "sha256":
		target = &w.SHA256
	case "version":
		target = &w.Version
	case "signature":
		target = &w.Signature
	case "release":
		target, form = &w.Release, "a whole number"
	case "probation_s":
		target, form = &seconds, "a whole number of seconds"
	case "allow_downgrade":
		target, form = &w.AllowDowngrade, "true or false"
	default:
		return fmt.Errorf("%q is not a member of an entry; leave it out", clip(name, maxWord))
	}
	if isNull(raw) || json.Unmarshal(raw, target) != nil {
		return fmt.Errorf("%s must be %s", name, form)
	}
	if name == "probation_s" {
		if seconds < 1 || seconds > maxProbation {
			return fmt.Errorf("probation_s must be 1 to %d", maxProbation)
		}
		w.Probation = time.Duration(seconds) * time.Second
	}
	return nil
}

// check refuses what cannot be meant so, and takes the digest from an OCI reference.
func (w *want) check() error {
	switch {
	case w.nothing():
		return errors.New("uri is missing; to keep the model that runs, leave the whole entry out")
	case w.Release < 0:
		return errors.New("release must not be negative")
	case len(w.Version) > maxVersion || !utf8.ValidString(w.Version) || strings.ContainsFunc(w.Version, unicode.IsControl):
		return fmt.Errorf("version must be at most %d bytes of text", maxVersion)
	case len(w.Signature) > maxSignature:
		return fmt.Errorf("signature must have at most %d bytes", maxSignature)
	case w.SHA256 != "" && !isDigest(w.SHA256):
		return errors.New("sha256 must be 64 hexadecimal digits in lower case")
	case w.builtin():
		if *w != (want{URI: Builtin, Probation: w.Probation}) {
			return errors.New("with the uri builtin only probation_s makes sense; leave the others out")
		}
		w.Public = Builtin
		return nil
	}
	ref, err := artifact.ParseReference(w.URI)
	if err != nil {
		return err
	}
	w.Public = ref.Public()
	pinned := strings.TrimPrefix(ref.Digest, "sha256:")
	switch {
	case pinned != "" && w.SHA256 != "" && pinned != w.SHA256:
		return errors.New("sha256 is not the digest in the uri; leave one of them out")
	case w.SHA256 == "" && ref.Scheme != artifact.SchemeOCI:
		return errors.New("sha256 is missing; only an oci reference goes without")
	case w.SHA256 == "":
		w.SHA256 = pinned
	}
	return nil
}

// isDigest accepts what the store accepts as the name of a version.
func isDigest(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 64 && strings.ToLower(s) == s
}
