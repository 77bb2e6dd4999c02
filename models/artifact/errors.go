package artifact

import "fmt"

// Code names what went wrong in one word, for the shadow and for metrics. The values are part of the interface.
type Code string

// The codes; [Codes] says what each means.
const (
	CodeBadReference        Code = "bad_reference"
	CodeNotAllowed          Code = "not_allowed"
	CodeNotConfigured       Code = "not_configured"
	CodeCredentials         Code = "credentials"
	CodeAddressRefused      Code = "address_refused"
	CodeNotFound            Code = "not_found"
	CodeAccessDenied        Code = "access_denied"
	CodeURLExpired          Code = "url_expired"
	CodeNetwork             Code = "network"
	CodeServerError         Code = "server_error"
	CodeThrottled           Code = "throttled"
	CodeBadAnswer           Code = "bad_answer"
	CodeTimeout             Code = "timeout"
	CodeCancelled           Code = "cancelled"
	CodeTooLarge            Code = "too_large"
	CodeLengthMismatch      Code = "length_mismatch"
	CodeDigestMismatch      Code = "digest_mismatch"
	CodeDiskFull            Code = "disk_full"
	CodeDiskError           Code = "disk_error"
	CodeManifestUnsupported Code = "manifest_unsupported"
	CodeSignatureMissing    Code = "signature_missing"
	CodeSignatureInvalid    Code = "signature_invalid"
)

// CodeInfo is one row of [Codes].
type CodeInfo struct {
	Code      Code
	Temporary bool   // the same request may succeed later
	Meaning   string // what it means and what to do
}

// Codes returns what each code means. The order is stable; the caller owns the slice.
func Codes() []CodeInfo {
	return []CodeInfo{
		{CodeBadReference, false, "the reference cannot be understood; write s3://, oci://, https:// or file:///"},
		{CodeNotAllowed, false, "the allow-list of this device does not contain the reference"},
		{CodeNotConfigured, false, "this device is not set up for such a reference; set the AWS region and credentials"},
		{CodeCredentials, true, "no valid credentials for S3 or the registry; check the role, the credential file and the clock"},
		{CodeAddressRefused, false, "the reference or a redirect leads to a private address, away from https, or in a circle"},
		{CodeNotFound, false, "there is no such object, version or manifest; correct the reference or upload it"},
		{CodeAccessDenied, false, "the server does not let this device read it; correct the permissions"},
		{CodeURLExpired, false, "the presigned URL is no longer valid; announce a new one"},
		{CodeNetwork, true, "the connection failed, stalled or ended early, several times"},
		{CodeServerError, true, "the server had an error, or the object kept changing"},
		{CodeThrottled, true, "the server asks for fewer requests"},
		{CodeBadAnswer, false, "the server gave an answer that fits no request of this device; is it a file server at all?"},
		{CodeTimeout, true, "the whole download took longer than this device allows; what arrived is kept"},
		{CodeCancelled, true, "the download was stopped by this device; what arrived is kept"},
		{CodeTooLarge, false, "the model is larger than this device takes; raise the limit or make it smaller"},
		{CodeLengthMismatch, false, "there were more bytes than were announced, or the manifest gives another size"},
		{CodeDigestMismatch, false, "the bytes are not the announced ones; announce the SHA-256 of what was uploaded"},
		{CodeDiskFull, true, "there is not enough free space on the disk; make room"},
		{CodeDiskError, true, "the disk could not be read or written; see the log of the system"},
		{CodeManifestUnsupported, false, "the manifest in the registry is of no usable kind, or has no layer with a model"},
		{CodeSignatureMissing, false, "this device trusts signed models only, and no signature was found"},
		{CodeSignatureInvalid, false, "no trusted key made the signature"},
	}
}

// Error is what every failing function of this package returns.
type Error struct {
	Code Code
	Err  error // what happened, with what to do about it
}

// Error returns the text of the cause; the code is for machines.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the same request may succeed later without anybody changing anything.
func (e *Error) Temporary() bool {
	for _, info := range Codes() {
		if info.Code == e.Code {
			return info.Temporary
		}
	}
	return false
}

func fail(code Code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

func wrap(code Code, what string, err error) error {
	return &Error{Code: code, Err: fmt.Errorf("%s: %w", what, err)}
}
