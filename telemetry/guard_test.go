package telemetry

import (
	"bytes"
	"errors"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

var (
	connackOK = []byte{0x20, 2, 0, 0}
	puback    = []byte{0x40, 2, 0, 1}
	pingresp  = []byte{0xd0, 0}
)

func TestGuard(t *testing.T) {
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	tests := []struct {
		name   string
		stream []byte
		want   error
	}{
		{"usual", join(connackOK, puback, pingresp, puback), nil},
		{"session present", join([]byte{0x20, 2, 1, 0}, puback), nil},
		{"publish of 200 bytes", join(connackOK, []byte{0x30, 0xc8, 0x01}, make([]byte, 200), puback), nil},
		{"largest", join(connackOK, []byte{0x30, 0x80, 0x88, 0x08}, make([]byte, maxInbound), puback), nil},
		{"one byte more", join(connackOK, []byte{0x30, 0x81, 0x88, 0x08}), oversizeError{}},
		{"256 MB", join(connackOK, []byte{0x30, 0xff, 0xff, 0xff, 0x7f}), oversizeError{}},
		{"five bytes of length", join(connackOK, []byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}), oversizeError{}},
		{"QoS 2", join(connackOK, []byte{0x34, 2, 0, 0}), unexpectedError{first: 0x34}},
		{"SUBACK for nothing", join(connackOK, []byte{0x90, 3, 0, 1, 1}), unexpectedError{first: 0x90}},
		{"SUBSCRIBE", join(connackOK, []byte{0x82, 0}), unexpectedError{first: 0x82}},
		{"not authorised", []byte{0x20, 2, 0, 5}, connackError(5)},
		{"code 7", []byte{0x20, 2, 0, 7}, connackError(7)},
		{"code 255", []byte{0x20, 2, 0, 255}, connackError(255)},
		{"web server", []byte("HTTP/1.1 400 Bad Request\r\n"), notMQTTError{first: 'H'}},
		{"PUBACK first", puback, notMQTTError{first: 0x40}},
		{"long CONNACK", []byte{0x20, 3, 0, 0, 0}, notMQTTError{first: 0x20}},
		{"empty CONNACK", []byte{0x20, 0}, notMQTTError{first: 0x20}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{1, 2, 3, 7, len(tt.stream)} {
				var g guard
				var err error
				for rest := tt.stream; len(rest) > 0 && err == nil; {
					n := min(piece, len(rest))
					err = g.check(rest[:n])
					rest = rest[n:]
				}
				if !errors.Is(err, tt.want) {
					t.Errorf("in pieces of %d: %v, want %v", piece, err, tt.want)
				}
				if tt.want == nil && g.state != wantType {
					t.Errorf("in pieces of %d: the last packet isn't complete", piece)
				}
			}
		})
	}
}

// FuzzGuard feeds the guard and then the MQTT library what a hostile broker might send: the verdict must not depend
// on how the stream is cut, and whatever gets through must not be large or make the library panic.
func FuzzGuard(f *testing.F) {
	f.Add(connackOK, 1)
	f.Add([]byte("\x20\x02\x00\x00\x30\x05\x00\x01abc\x90\x03\x00\x01\x80"), 2)
	f.Add([]byte("\x20\x02\x00\x07"), 3)
	f.Add([]byte("HTTP/1.1 200 OK"), 4)
	f.Add([]byte("\x20\x02\x00\x00\x30\xff\xff\xff\x7f"), 5)
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		if piece < 1 || piece > len(stream) {
			piece = 1
		}
		var whole, cut guard
		wholeErr := whole.check(stream)
		var cutErr error
		passed := 0
		for passed < len(stream) && cutErr == nil {
			n := min(piece, len(stream)-passed)
			if cutErr = cut.check(stream[passed : passed+n]); cutErr == nil {
				passed += n
			}
		}
		if !errors.Is(cutErr, wholeErr) {
			t.Fatalf("in pieces of %d: %v, in one: %v", piece, cutErr, wholeErr)
		}
		for r, first := bytes.NewReader(stream[:passed]), true; ; first = false {
			p, err := packets.ReadPacket(r)
			if err != nil {
				return
			}
			if ack, ok := p.(*packets.ConnackPacket); first && (!ok || ack.ReturnCode != 0) {
				t.Fatalf("the library saw %v first", p)
			}
		}
	})
}
