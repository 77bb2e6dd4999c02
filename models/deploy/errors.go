package deploy

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"unicode"

	"gnomon/models/artifact"
	"gnomon/models/store"
)

// Code names what went wrong in one word, for the shadow and for metrics. The values are part of the interface.
type Code string

// The codes of this package; [Codes] says what each means. Those of Source and Host are reported beside them.
const (
	CodeBadDesired          Code = "bad_desired"
	CodeUnknownSlot         Code = "unknown_slot"
	CodeDowngradeRefused    Code = "downgrade_refused"
	CodeVersionMismatch     Code = "version_mismatch"
	CodeDigestMismatch      Code = "digest_mismatch"
	CodeDiskError           Code = "disk_error"
	CodeInstallFailed       Code = "install_failed"
	CodeVersionDamaged      Code = "version_damaged"
	CodeProbeFailed         Code = "probe_failed"
	CodeLoadFailed          Code = "load_failed"
	CodeSwapFailed          Code = "swap_failed"
	CodeInterrupted         Code = "interrupted"
	CodeProbationErrors     Code = "probation_errors"
	CodeProbationNotFinite  Code = "probation_not_finite"
	CodeProbationSlow       Code = "probation_slow"
	CodeProbationDetections Code = "probation_detections"
	CodeProbationStalled    Code = "probation_stalled"
	CodeRollbackFailed      Code = "rollback_failed"
	CodeInternal            Code = "internal"
)

// Handling is what the deployer does about an error.
type Handling string

// The ways of handling an error.
const (
	Temporary Handling = "temporary" // tried again for ever, with growing pauses, not counted
	Final     Handling = "final"     // failed until the desired entry changes, not counted
	Counted   Handling = "counted"   // tried again after a pause, banned the third time
	Noted     Handling = "noted"     // told beside the state that the slot is in
)

// CodeInfo is one row of [Codes].
type CodeInfo struct {
	Code     Code
	Handling Handling
	Meaning  string // what it means and what to do
}

// Codes returns what each code means. Codes that are not here come from the Source or the Host, and are temporary when
// the error says so and counted otherwise. The order is stable; the caller owns the slice.
func Codes() []CodeInfo {
	return []CodeInfo{
		{CodeBadDesired, Final, "the entry in the desired document cannot be understood; correct it as the message says"},
		{CodeUnknownSlot, Final, "this device has no slot of that name; correct the name, or configure the slot"},
		{Code(artifact.CodeBadReference), Final, "the uri cannot be understood; write s3://, oci://, https://, file:/// or builtin"},
		{Code(artifact.CodeNotAllowed), Final, "the allow-list of this device does not contain the uri; extend it or use another"},
		{Code(artifact.CodeSignatureMissing), Final, "this device trusts signed models only; sign it and add the signature"},
		{Code(artifact.CodeSignatureInvalid), Final, "no trusted key made the signature; sign with one that the device trusts"},
		{Code(artifact.CodeNotConfigured), Final, "this device is not set up for such a uri; set the AWS region and credentials"},
		{Code(artifact.CodeAddressRefused), Final, "the uri or a redirect leads where this device does not go; use another"},
		{Code(artifact.CodeURLExpired), Final, "the presigned URL is no longer valid; announce a new one"},
		{Code(artifact.CodeTooLarge), Final, "the model is larger than this device takes; make it smaller or raise the limit"},
		{Code(artifact.CodeNotFound), Temporary, "there is nothing at the uri; upload it, or correct the uri"},
		{Code(artifact.CodeAccessDenied), Temporary, "the server does not let this device read the uri; correct the permissions"},
		{Code(artifact.CodeBadAnswer), Temporary, "the server's answer makes no sense; often a captive portal or a proxy"},
		{CodeDowngradeRefused, Final, "the release is lower than one that ran here; raise it, or set allow_downgrade"},
		{CodeVersionMismatch, Final, "the manifest has another version or release than the desired entry; make them equal"},
		{CodeDigestMismatch, Counted, "the artefact is not the one that was asked for; compare sha256 with what was uploaded"},
		{CodeDiskError, Temporary, "the disk cannot be read or written; free some space and see the log of the system"},
		{CodeInstallFailed, Counted, "the unpacked files are not as listed, so nothing was installed; build the artefact again"},
		{CodeVersionDamaged, Counted, "the files on the disk differ from what was installed; check the disk if it happens again"},
		{CodeProbeFailed, Counted, "the model failed its trial in a process of its own; the message says how"},
		{CodeLoadFailed, Counted, "the model could not be loaded beside the old one; often memory is short"},
		{CodeSwapFailed, Counted, "the models could not be exchanged; see the log"},
		{CodeInterrupted, Counted, "the process died while it tried the model: a crash in the model, or a power cut"},
		{CodeProbationErrors, Counted, "the new model fails on more frames than the old one did"},
		{CodeProbationNotFinite, Counted, "outputs of the new model have NaN or infinities; export it again, often in FP32"},
		{CodeProbationSlow, Counted, "the new model takes several times as long as the old one"},
		{CodeProbationDetections, Counted, "the new model finds next to nothing where the old one found something"},
		{CodeProbationStalled, Counted, "the new model does not finish a frame"},
		{CodeRollbackFailed, Noted, "the committed model could not be loaded again; it is tried on, the message says what runs"},
		{CodeInternal, Counted, "a failure without a code of its own; the message and the stage say more"},
	}
}

// failure is an error with what is needed to act on it and to report it.
type failure struct {
	code     Code
	handling Handling
	stage    State
	err      error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail makes an error of this package's own codes.
func fail(stage State, code Code, err error) *failure {
	return &failure{code, handling(code, false), stage, err}
}

// handling looks a code up. An error that calls itself temporary is not counted. Some that do not are not counted
// either: a ban is for a model, and that it cannot be had from one place, as yet, says nothing about it.
func handling(code Code, temporary bool) Handling {
	for _, info := range Codes() {
		if info.Code == code && (info.Handling != Counted || !temporary) {
			return info.Handling
		}
	}
	if temporary {
		return Temporary
	}
	return Counted
}

// classify gives an error of the Source or the Host its code, or fallback if it has none. One that has been classified
// stays as it is.
func classify(stage State, fallback Code, err error) *failure {
	var done *failure
	if errors.As(err, &done) {
		return done
	}
	code, temporary := fallback, false
	var known *artifact.Error
	var coded Coded
	switch {
	case errors.As(err, &known):
		code, temporary = Code(known.Code), known.Temporary()
	case errors.As(err, &coded) && coded.Code() != "":
		code, temporary = Code(clip(coded.Code(), maxWord)), coded.Temporary()
	}
	return &failure{code, handling(code, temporary), stage, err}
}

// classifyStore does the same for errors of the store: trouble with the disk may pass. A file that is not there is no
// trouble of the disk.
func classifyStore(stage State, fallback Code, err error) *failure {
	var errno syscall.Errno
	if errors.As(err, &errno) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrDamaged) {
		return fail(stage, CodeDiskError, err)
	}
	return fail(stage, fallback, err)
}

// problem is the failure as the store and the report hold it. A secret query of the reference does not get out.
func (f *failure) problem(w want) *store.Problem {
	text := f.err.Error()
	if public := w.Public; public != w.URI {
		text = strings.ReplaceAll(text, w.URI, public)
		text = strings.ReplaceAll(text, strings.TrimPrefix(w.URI, public), "?…")
	}
	return &store.Problem{Code: string(f.code), Message: clip(text, maxMessage), Stage: string(f.stage)}
}

// clip makes one line of a text and cuts it to n characters.
func clip(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if runes := []rune(text); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return text
}
