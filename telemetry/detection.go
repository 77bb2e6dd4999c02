package telemetry

import (
	"strconv"
	"time"

	"gnomon/engine/detect"
)

// DetectionSchema names the form of a detection message. The number goes up when a reader of the old form would
// misread the new one.
const DetectionSchema = "gnomon.detections/1"

// Decimals of the numbers in a detection message: a ten-thousandth of a score and a hundredth of a pixel are below
// what any detector knows, and every digit is paid for on the way.
const (
	scoreScale = 1e4
	boxScale   = 1e2
)

// omittedRoom is kept free for `],"omitted":` with a number of 19 digits and the closing brace when a message has a
// Limit.
const omittedRoom = 40

// DetectionMessage is what was found in one frame. It is a plain value that refers to the caller's slices: they must
// not change while AppendJSON runs.
type DetectionMessage struct {
	Device     string    // the thing's name; left out when empty
	BootID     string    // left out when empty
	Source     string    // the name of the camera or file
	Seq        uint64    // counts the frames of this source
	CapturedAt time.Time // when the frame was grabbed; left out when zero or beyond the years 0 to 9999
	// Monotonic is the same moment by a clock that nobody sets, since an origin that holds for all messages with one
	// BootID; left out when zero.
	Monotonic time.Duration
	// Clock says whether something kept the clock right then.
	Clock  ClockState
	PTS    time.Duration
	Width  int // of the frame, in pixels
	Height int // of the frame, in pixels
	Model  ModelRef

	// Detections have their boxes in pixels of the frame. They are written in the order given: best first, so that
	// Limit cuts off the least certain.
	Detections []detect.Detection
	// Labels are indexed by ClassID. A class without one gets the empty label.
	Labels []string

	// Limit is the greatest size of the JSON in bytes; 0: none. Detections that don't fit are left out and counted
	// in "omitted". The fixed part is written whatever its size.
	Limit int
}

// ClockState says what is known of the clock of a message.
type ClockState int8

// The states of a clock.
const (
	ClockUnknown ClockState = iota // left out
	ClockSynced
	ClockUnsynced
)

// ModelRef says which model found something.
type ModelRef struct {
	Name    string
	Version string
	SHA256  string // of the model file, hexadecimal
}

// AppendJSON appends the message as one JSON object, without a line feed, to dst and returns it. It does not allocate
// if dst has room.
//
//	{"schema":"gnomon.detections/1","device":"thing-1","boot_id":"…","source":"street","seq":17,
//	 "captured_at":"2026-11-22T10:00:00.123456Z","monotonic_ms":5012,"clock_synced":true,"pts_ms":680,"frame":{"width":768,"height":576},
//	 "model":{"name":"nanodet-g","version":"1","sha256":"…"},
//	 "detections":[{"class_id":0,"label":"person","score":0.87,"box":[12.5,40,88.1,210.4]}]}
//
// captured_at is RFC 3339 in UTC with microseconds, monotonic_ms whole milliseconds, pts_ms the frame's position in its stream in whole milliseconds,
// score has at most 4 decimals, box is x1, y1, x2, y2 in pixels with at most 2 decimals. A detection with a value that
// is not finite is left out. "omitted":n follows the detections if n of them, at least 1, were left out for that
// reason or because of Limit. Strings that are not valid UTF-8 have U+FFFD in place of each offending byte.
func (m *DetectionMessage) AppendJSON(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, `{"schema":"`+DetectionSchema+`"`...)
	if m.Device != "" {
		dst = appendString(append(dst, `,"device":`...), m.Device)
	}
	if m.BootID != "" {
		dst = appendString(append(dst, `,"boot_id":`...), m.BootID)
	}
	dst = appendString(append(dst, `,"source":`...), m.Source)
	dst = strconv.AppendUint(append(dst, `,"seq":`...), m.Seq, 10)
	if representable(m.CapturedAt) {
		dst = appendTime(append(dst, `,"captured_at":`...), m.CapturedAt)
	}
	if m.Monotonic != 0 {
		dst = strconv.AppendInt(append(dst, `,"monotonic_ms":`...), m.Monotonic.Milliseconds(), 10)
	}
	if m.Clock != ClockUnknown {
		dst = strconv.AppendBool(append(dst, `,"clock_synced":`...), m.Clock == ClockSynced)
	}
	dst = strconv.AppendInt(append(dst, `,"pts_ms":`...), m.PTS.Round(time.Millisecond).Milliseconds(), 10)
	dst = strconv.AppendInt(append(dst, `,"frame":{"width":`...), int64(m.Width), 10)
	dst = strconv.AppendInt(append(dst, `,"height":`...), int64(m.Height), 10)
	dst = appendString(append(dst, `},"model":{"name":`...), m.Model.Name)
	dst = appendString(append(dst, `,"version":`...), m.Model.Version)
	dst = appendString(append(dst, `,"sha256":`...), m.Model.SHA256)
	dst = append(dst, `},"detections":[`...)

	omitted, first := 0, true
	for i := range m.Detections {
		d := &m.Detections[i]
		if !finite(d.Score) || !finite(d.Box.X1) || !finite(d.Box.Y1) || !finite(d.Box.X2) || !finite(d.Box.Y2) {
			omitted++
			continue
		}
		end := len(dst)
		if !first {
			dst = append(dst, ',')
		}
		dst = m.appendDetection(dst, d)
		if m.Limit > 0 && len(dst)-start > m.Limit-omittedRoom {
			// A shorter one further down might still fit, but then the gap would not be at the end.
			dst = dst[:end]
			omitted += len(m.Detections) - i
			break
		}
		first = false
	}
	dst = append(dst, ']')
	if omitted > 0 {
		dst = strconv.AppendInt(append(dst, `,"omitted":`...), int64(omitted), 10)
	}
	return append(dst, '}')
}

func (m *DetectionMessage) appendDetection(dst []byte, d *detect.Detection) []byte {
	label := ""
	if d.ClassID >= 0 && d.ClassID < len(m.Labels) {
		label = m.Labels[d.ClassID]
	}
	dst = strconv.AppendInt(append(dst, `{"class_id":`...), int64(d.ClassID), 10)
	dst = appendString(append(dst, `,"label":`...), label)
	dst = appendRounded(append(dst, `,"score":`...), d.Score, scoreScale)
	dst = appendRounded(append(dst, `,"box":[`...), d.Box.X1, boxScale)
	dst = appendRounded(append(dst, ','), d.Box.Y1, boxScale)
	dst = appendRounded(append(dst, ','), d.Box.X2, boxScale)
	dst = appendRounded(append(dst, ','), d.Box.Y2, boxScale)
	return append(dst, ']', '}')
}
