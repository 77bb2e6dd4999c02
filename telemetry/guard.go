package telemetry

import (
	"fmt"
	"sync/atomic"
)

// maxInbound bounds a packet from the broker. A publisher gets acknowledgements of a few bytes; the largest that any
// broker of ours sends is a message of MaxPayload with its topic. The MQTT library would allocate up to 256 MB on the
// word of four bytes.
const maxInbound = MaxPayload + 1<<10

// MQTT 3.1.1 packet types: the upper four bits of the first byte (section 2.2.1).
const (
	typeConnack = 2
	typePublish = 3
	typePuback  = 4

	typeSubscribe = 8
	typeSuback    = 9
	typePingresp  = 13
)

// connackLength is the remaining length of every CONNACK (section 3.2.1).
const connackLength = 2

// connackError is the broker's refusal of a CONNECT: the return code of CONNACK, never 0.
type connackError byte

func (e connackError) Error() string {
	return fmt.Sprintf("the broker refused the connection with code %d", byte(e))
}

// notMQTTError says that the first byte from the other side begins no CONNACK.
type notMQTTError struct{ first byte }

func (e notMQTTError) Error() string {
	return fmt.Sprintf("the answer is not MQTT: it begins with byte 0x%02x", e.first)
}

// oversizeError is a packet that announces more than maxInbound bytes, or no length at all.
type oversizeError struct{}

func (oversizeError) Error() string {
	return fmt.Sprintf("the broker announced a packet of more than %d bytes", maxInbound)
}

// unexpectedError is a packet that a broker has no reason to send to this client.
type unexpectedError struct{ first byte }

func (e unexpectedError) Error() string {
	return fmt.Sprintf("the broker sent a packet that was not asked for: it begins with byte 0x%02x", e.first)
}

// expected reports whether a broker may send a packet that begins so. Subscriptions are for QoS 1 at most, and the
// client never unsubscribes.
func expected(first byte) bool {
	switch first >> 4 {
	case typeConnack, typePuback, typeSuback, typePingresp:
		return true
	case typePublish:
		return first>>1&3 <= 1
	}
	return false
}

// guard follows the packets in the stream from the broker, however it is cut into pieces, and objects before the MQTT
// library gets to see what it can't handle: an answer that isn't MQTT, a packet of absurd size, and a CONNACK with a
// code above 5 (AWS IoT Core says 7 for "not authorised"), which the library takes for a success.
type guard struct {
	suback    atomic.Int32 // return codes in the SUBACK that is awaited; 0: none is
	connected bool         // a CONNACK with code 0 has passed
	state     guardState
	kind      byte // type of the packet
	length    int  // remaining length as far as it is known
	shift     uint // of the next byte of the length
	body      int  // bytes of the body that have passed
}

type guardState byte

const (
	wantType guardState = iota
	wantLength
	wantBody
)

// check looks at the next bytes of the stream. After an error the connection is of no use.
func (g *guard) check(p []byte) error {
	for len(p) > 0 {
		switch g.state {
		case wantType:
			g.kind = p[0] >> 4
			if !g.connected && g.kind != typeConnack {
				return notMQTTError{first: p[0]}
			}
			if !expected(p[0]) {
				return unexpectedError{first: p[0]}
			}
			g.length, g.shift, g.body = 0, 0, 0
			g.state = wantLength
			p = p[1:]
		case wantLength:
			g.length |= int(p[0]&0x7f) << g.shift
			g.shift += 7
			if g.length > maxInbound || (g.shift >= 28 && p[0]&0x80 != 0) {
				return oversizeError{}
			}
			if p[0]&0x80 == 0 {
				if err := g.header(); err != nil {
					return err
				}
			}
			p = p[1:]
		case wantBody:
			n := min(len(p), g.length-g.body)
			if g.kind == typeConnack {
				if err := g.connack(p[:n]); err != nil {
					return err
				}
			}
			g.body += n
			if g.body == g.length {
				g.state = wantType
			}
			p = p[n:]
		}
	}
	return nil
}

// header is called when the length is complete.
func (g *guard) header() error {
	if g.kind == typeConnack && g.length != connackLength {
		return notMQTTError{first: typeConnack << 4}
	}
	if g.kind == typeSuback {
		// The MQTT library indexes its filters with what is in there.
		if codes := int(g.suback.Swap(0)); codes == 0 || g.length != 2+codes {
			return unexpectedError{first: typeSuback << 4}
		}
	}
	g.state = wantBody
	if g.length == 0 {
		g.state = wantType
	}
	return nil
}

// connack looks at bytes of a CONNACK's body: flags, then the return code.
func (g *guard) connack(p []byte) error {
	for i, b := range p {
		if g.body+i == connackLength-1 {
			if b != 0 {
				return connackError(b)
			}
			g.connected = true
		}
	}
	return nil
}

// expectSuback announces that a SUBSCRIBE with so many filters is about to be sent. It may be called from any goroutine.
func (g *guard) expectSuback(filters int) { g.suback.Store(int32(filters)) }
