package bundle

import (
	"errors"
	"fmt"
	"syscall"
)

// Code names what went wrong in one word, for the shadow and for metrics. The values are part of the interface.
type Code string

// The codes; [Codes] says what each means.
const (
	CodeUnsafe      Code = "archive_unsafe"
	CodeLimit       Code = "archive_limit"
	CodeDamaged     Code = "archive_damaged"
	CodeUnsupported Code = "archive_unsupported"
	CodeIncomplete  Code = "bundle_incomplete"
	CodeAmbiguous   Code = "bundle_ambiguous"
	CodeCancelled   Code = "cancelled"
	CodeDiskFull    Code = "disk_full"
	CodeDiskError   Code = "disk_error"
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
		{CodeUnsafe, false, "an archive has an entry that is no plain file with a plain name; pack regular files only"},
		{CodeLimit, false, "there are more files or bytes than this device takes, or they expand too far; pack only what belongs to the model"},
		{CodeDamaged, false, "an archive is cut or damaged; pack and upload it again"},
		{CodeUnsupported, false, "a file is packed in a way that is not read here; use tar, tar with gzip, or tar with zstd"},
		{CodeIncomplete, false, "there is no ONNX file; add it"},
		{CodeAmbiguous, false, "there are several ONNX files, manifests or golden folders; leave the right one"},
		{CodeCancelled, true, "unpacking was stopped by this device"},
		{CodeDiskFull, true, "there is not enough free space on the disk; make room"},
		{CodeDiskError, true, "the disk could not be read or written; see the log of the system"},
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

// wrap says where an error arose and keeps its code.
func wrap(where string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Code: CodeDiskError}
	}
	return &Error{Code: e.Code, Err: fmt.Errorf("%s: %w", where, err)}
}

// onDisk gives an error of the file system its code.
func onDisk(what string, err error) error {
	code := CodeDiskError
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		code = CodeDiskFull
	}
	return fail(code, "%s: %w", what, err)
}
