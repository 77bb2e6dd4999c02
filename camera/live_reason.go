package camera

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

// FFmpeg's own error codes (libavutil/error.h): the negated four letters. Others are negated errnos.
const (
	avEOF          = -('E' | 'O'<<8 | 'F'<<16 | ' '<<24)
	avExit         = -('E' | 'X'<<8 | 'I'<<16 | 'T'<<24)
	avInvalid      = -('I' | 'N'<<8 | 'D'<<16 | 'A'<<24)
	avNoDemuxer    = -(0xf8 | 'D'<<8 | 'E'<<16 | 'M'<<24)
	avNoProtocol   = -(0xf8 | 'P'<<8 | 'R'<<16 | 'O'<<24)
	avNoStream     = -(0xf8 | 'S'<<8 | 'T'<<16 | 'R'<<24)
	avUnauthorised = -(0xf8 | '4'<<8 | '0'<<16 | '1'<<24)
	avForbidden    = -(0xf8 | '4'<<8 | '0'<<16 | '3'<<24)
	avNotFound     = -(0xf8 | '4'<<8 | '0'<<16 | '4'<<24)
	avTooMany      = -(0xf8 | '4'<<8 | '2'<<16 | '9'<<24)
	avServerError  = -(0xf8 | '5'<<8 | 'X'<<16 | 'X'<<24)
)

// openReason says why a stream could not be opened.
func openReason(uri string, t told) error {
	name := Redact(uri)
	code := -t.openCode
	switch t.openCode {
	case avUnauthorised, avForbidden:
		return fmt.Errorf("%s: %w", name, ErrAuth)
	case avNotFound:
		return fmt.Errorf("%s: %w", name, ErrNoStream)
	case avTooMany, avServerError:
		return fmt.Errorf("%s: %w: its server is busy or broken%s", name, ErrUnreachable, t.says(uri))
	case avExit:
		return fmt.Errorf("%s: %w: it does not answer within %v", name, ErrUnreachable, openLimit)
	case avInvalid, avNoDemuxer, avNoProtocol, avNoStream:
		return fmt.Errorf("%s: %w: this is no video that can be read; check the address%s", name, ErrUnsupported, t.says(uri))
	}
	switch {
	case t.openCode >= 0:
		return fmt.Errorf("%s: %w: the camera's kind of video is not built in; set it to H.264, H.265 or MJPEG%s", name, ErrUnsupported, t.says(uri))
	case syscall.Errno(code) == syscall.ECONNREFUSED:
		return fmt.Errorf("%s: %w: nothing listens at this port; check the address, and that the camera is up", name, ErrUnreachable)
	case syscall.Errno(code) == syscall.EPROTONOSUPPORT:
		return fmt.Errorf("%s: %w: the camera does not offer this transport; leave it open to try TCP and UDP", name, ErrUnsupported)
	case t.mentions("resolve"):
		return fmt.Errorf("%s: %w: its name is not known; check the address and DNS", name, ErrUnreachable)
	case code < 4096 && syscall.Errno(code) != syscall.EIO: // an errno
		return fmt.Errorf("%s: %w: %w; check the address, and that the camera is up", name, ErrUnreachable, syscall.Errno(code))
	}
	return fmt.Errorf("%s: %w: check the address, and that the camera is up%s", name, ErrUnreachable, t.says(uri))
}

// grabReason says why a stream gave no picture.
func grabReason(uri string, t told) error {
	name := Redact(uri)
	switch {
	case t.readCode == avEOF || t.readCode == nothingRead:
		return fmt.Errorf("%s: %w", name, ErrEnded)
	case t.readCode == avExit:
		return fmt.Errorf("%s: %w", name, ErrStalled)
	case t.readCode < 0 && t.readCode > -4096:
		return fmt.Errorf("%s: %w: %w", name, ErrEnded, syscall.Errno(-t.readCode))
	}
	return fmt.Errorf("%s: %w%s", name, ErrEnded, t.says(uri))
}

// says is FFmpeg's last error, in brackets, without secrets.
func (t told) says(uri string) string {
	if len(t.lines) == 0 {
		return ""
	}
	return " (" + scrub(t.lines[len(t.lines)-1], uri) + ")"
}

func (t told) mentions(word string) bool {
	for _, line := range t.lines {
		if strings.Contains(line, word) {
			return true
		}
	}
	return false
}

// scrub takes the user and the password of uri out of what FFmpeg says, as they are written there and decoded.
func scrub(text, uri string) string {
	if scheme, rest, ok := strings.Cut(uri, "://"); ok {
		if at := strings.LastIndexByte(rest, '@'); at > 0 {
			login := rest[:at]
			_, password, _ := strings.Cut(login, ":")
			secrets := []string{scheme + "://" + login, login, password}
			if plain, err := url.PathUnescape(password); err == nil {
				secrets = append(secrets, plain)
			}
			for _, secret := range secrets {
				if secret != "" {
					text = strings.ReplaceAll(text, secret, "***")
				}
			}
		}
	}
	return Redact(text)
}

// number writes a rate without needless digits.
func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
