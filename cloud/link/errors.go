package link

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Kind tells what to do about an error.
type Kind string

// The kinds of errors.
const (
	Unreachable Kind = "unreachable" // the network or the broker is away: try again later
	Untrusted   Kind = "untrusted"   // the broker's certificate is none to be trusted
	Refused     Kind = "refused"     // the broker doesn't want the certificate or the client id, or what was asked for
	Ended       Kind = "ended"       // the connection was there and is no more: try again later
)

// Error is a failure of a connection; its text says what to do.
type Error struct {
	Kind Kind
	text string
	err  error
}

func (e *Error) Error() string { return e.text }

// Unwrap returns the error underneath; may be nil.
func (e *Error) Unwrap() error { return e.err }

// Temporary reports whether it may pass without anybody changing anything.
func (e *Error) Temporary() bool { return e.Kind == Unreachable || e.Kind == Ended }

type phase int

const (
	dialling phase = iota
	handshaking
	connecting
)

var errNotMQTT = errors.New("the other side doesn't speak MQTT as it should")

// connackError is the code of a CONNACK that refuses.
type connackError byte

func (e connackError) Error() string { return fmt.Sprintf("CONNACK code %d", byte(e)) }

// explain makes an Error of what went wrong on the way to a connection.
func explain(address string, at phase, err error) *Error {
	e := &Error{Kind: Unreachable, err: err}
	say := func(kind Kind, format string, args ...any) *Error {
		e.Kind, e.text = kind, fmt.Sprintf("connect to %s: ", address)+fmt.Sprintf(format, args...)
		return e
	}
	code, isCode := errors.AsType[connackError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	operation, _ := errors.AsType[*net.OpError](err)
	alert := operation != nil && operation.Op == "remote error"
	_, isAuthority := errors.AsType[x509.UnknownAuthorityError](err)
	_, isHost := errors.AsType[x509.HostnameError](err)
	timeout, _ := errors.AsType[net.Error](err)
	switch {
	case isCode && code == 3:
		return say(Unreachable, "the broker is busy (%v): try again later", err)
	case isCode:
		return say(Refused, "the broker doesn't let this client in (%v): check that the certificate is active, that it is "+
			"attached to the thing, and that its policy allows iot:Connect with this client id", err)
	case isInvalid && invalid.Reason == x509.Expired:
		return say(Untrusted, "the broker's certificate isn't valid at %s, which is what the clock of this device shows: "+
			"set the clock", time.Now().UTC().Format(time.RFC3339))
	case isAuthority:
		return say(Untrusted, "the broker's certificate is signed by nobody who is trusted here: check the CA file and who "+
			"intercepts TLS")
	case isHost || isInvalid:
		return say(Untrusted, "the broker's certificate is not for this endpoint: %v", err)
	case alert:
		return say(Refused, "the broker refuses the certificate (%v): check that it is active and of this account and region", operation.Err)
	case errors.Is(err, context.Canceled):
		return say(Unreachable, "stopped")
	case errors.Is(err, context.DeadlineExceeded) || timeout != nil && timeout.Timeout():
		return say(Unreachable, "no answer in time: check the network and the firewall (ports 8883 and 443)")
	case at == connecting && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return say(Unreachable, "the broker closed the connection without an answer: check that the certificate's policy "+
			"allows iot:Connect with this client id")
	case errors.Is(err, errNotMQTT):
		return say(Untrusted, "%v: check the endpoint and the port", err)
	}
	return say(Unreachable, "%v: check the endpoint, the network and the DNS settings", err)
}

// ended says that the connection is gone; err is what was noticed first, if anything was.
func (c *Conn) ended(err error) *Error {
	select {
	case <-c.done:
		c.mu.Lock()
		err = c.err
		c.mu.Unlock()
	default:
	}
	return &Error{Kind: Ended, err: err, text: fmt.Sprintf("the connection has ended (%v): AWS IoT ends one that publishes "+
		"where its policy doesn't allow iot:Publish; otherwise check the network", err)}
}

// readPacket reads one packet of at most maxPacket bytes: the library alone would take the length's word for up to
// 256 MB.
func readPacket(r io.Reader) (packets.ControlPacket, error) {
	head := make([]byte, 1, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	length := 0
	for shift := 0; ; shift += 7 { // MQTT 3.1.1, section 2.2.3
		var b [1]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return nil, err
		}
		head = append(head, b[0])
		length |= int(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			break
		}
		if shift == 21 {
			return nil, errNotMQTT
		}
	}
	if length > maxPacket {
		return nil, errNotMQTT
	}
	packet, err := packets.ReadPacket(io.MultiReader(bytes.NewReader(head), io.LimitReader(r, int64(length))))
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		if _, isNet := errors.AsType[net.Error](err); !isNet {
			return nil, fmt.Errorf("%w: %w", errNotMQTT, err)
		}
	}
	return packet, err
}
