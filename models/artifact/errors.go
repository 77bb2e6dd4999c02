package artifact

import "fmt"

// Code names what went wrong in one word, for the shadow and for metrics. The values are part of the interface.
type Code string

// The codes; [Codes] says what each means.
const (
	CodeBadReference     Code = "bad_reference"
	CodeNotAllowed       Code = "not_allowed"
	CodeDiskError        Code = "disk_error"
	CodeSignatureMissing Code = "signature_missing"
	CodeSignatureInvalid Code = "signature_invalid"
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
		{CodeDiskError, true, "the disk could not be read or written; see the log of the system"},
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
