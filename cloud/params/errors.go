package params

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Code names what went wrong in one word.
type Code string

// The codes.
const (
	CodeCredentials  Code = "credentials"   // the device has none, or they are not taken
	CodeAccessDenied Code = "access_denied" // the role lacks a permission
	CodeThrottled    Code = "throttled"     // the account makes too many calls
	CodeNetwork      Code = "network"
	CodeServerError  Code = "server_error"
	CodeBadAnswer    Code = "bad_answer" // not what the service answers
	CodeTooLarge     Code = "too_large"  // more than this device takes
)

// Error is why the parameters could not be read, with what to do about it.
type Error struct {
	Code Code
	Err  error
}

// Error returns the text; the code is for machines.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func fail(code Code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

func codeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// soon reports whether the same call may succeed in a moment.
func soon(err error) bool {
	code := codeOf(err)
	return code == CodeThrottled || code == CodeServerError || code == CodeNetwork
}

func networkError(err error) error {
	fix := "check the network of this device"
	if strings.Contains(err.Error(), "x509:") {
		fix = "the server's certificate is not trusted: check aws.ca_file, the clock of this device and who intercepts TLS"
	}
	return fail(CodeNetwork, "ask Parameter Store: %w; %s", err, fix)
}

// clip makes what others say fit for one line; the service's own messages have some 200 bytes.
func clip(s string) string {
	const most = 300
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, s)
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "")
}

// refused explains an error of the service: "Common errors" and GetParametersByPath in its API reference. The message is
// repeated, as it names the role and what it lacks.
func (p *Poller) refused(resp *http.Response, data []byte) error {
	var said struct {
		Type    string `json:"__type"`
		Message string `json:"message"` // also Message: names match in any case
	}
	if json.Unmarshal(data, &said) != nil || said.Type == "" {
		said.Type = resp.Header.Get("X-Amzn-ErrorType")
	}
	kind := said.Type[strings.LastIndexByte(said.Type, '#')+1:] // com.amazonaws.ssm#ThrottlingException
	kind, _, _ = strings.Cut(kind, ":")
	answer := strings.TrimRight(fmt.Sprintf("Parameter Store answered %d %s: %s", resp.StatusCode, clip(kind), clip(said.Message)), ": ")
	about := strings.ToLower(kind + " " + said.Message)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests, strings.HasPrefix(kind, "Throttling"), kind == "RequestLimitExceeded", kind == "TooManyRequestsException":
		return fail(CodeThrottled, "%s; it is asked less often now", answer)
	case resp.StatusCode >= http.StatusInternalServerError:
		return fail(CodeServerError, "%s; it is tried again later", answer)
	case strings.Contains(about, "kms"), kind == "InvalidKeyId":
		return fail(CodeAccessDenied, "%s; allow the device's role kms:Decrypt on the key of the SecureString parameters below %s", answer, p.o.Path)
	case strings.HasPrefix(kind, "AccessDenied"):
		return fail(CodeAccessDenied, "%s; allow the device's role ssm:GetParametersByPath on the path %s", answer, p.o.Path)
	case kind == "InvalidSignatureException", kind == "RequestExpired", kind == "SignatureDoesNotMatch":
		return fail(CodeCredentials, "%s; set the clock of this device%s", answer, clockHint(resp))
	case kind == "ExpiredTokenException", kind == "UnrecognizedClientException", kind == "InvalidClientTokenId", kind == "IncompleteSignature", kind == "MissingAuthenticationToken":
		return fail(CodeCredentials, "%s; check aws.region, the role alias and the clock of this device", answer)
	case kind == "InvalidNextToken": // the list changed while it was read
		return fail(CodeServerError, "%s; it is tried again later", answer)
	case kind == "ValidationException":
		return fail(CodeBadAnswer, "%s; correct aws.parameters.path", answer)
	}
	return fail(CodeBadAnswer, "%s; check that no proxy or login page answers in its place", answer)
}

// clockHint compares the device's clock with the server's.
func clockHint(resp *http.Response) string {
	server, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return ""
	}
	off, way := time.Since(server).Round(time.Second), "ahead of"
	if off < 0 {
		off, way = -off, "behind"
	}
	return fmt.Sprintf(", which is %v %s the server's", off, way)
}
