package v4l2

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxQuestions bounds what is asked of one device: real ones have some hundred modes, and a broken driver that never
// comes to an end must not keep us.
const maxQuestions = 5000

// asker asks one device.
type asker struct {
	control
	left int // questions
}

// ask calls the driver. It returns false at the end of an enumeration, which is an EINVAL.
func (a *asker) ask(request uint, arg any) (bool, error) {
	if a.left == 0 {
		return false, fmt.Errorf("the driver lists more than %d modes; the rest is left out", maxQuestions)
	}
	a.left--
	err := a.ioctl(request, arg)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) { // no more of it, or it does not know the question
		return false, nil
	}
	return err == nil, err
}

// inspect fills d with what the device says of itself.
func (s system) inspect(d *Device) (err error) {
	c, err := s.open(d.Path)
	if err != nil {
		return openError(d.Path, err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	a := &asker{control: c, left: maxQuestions}
	var about capability
	if ok, err := a.ask(requestCapability, &about); err != nil || !ok {
		return fmt.Errorf("%s is no video device that Video4Linux 2 knows: %w", d.Path, errors.Join(err, errors.ErrUnsupported))
	}
	d.Name, d.Driver, d.Bus = text(about.Card[:]), text(about.Driver[:]), text(about.Bus[:])
	caps := about.Capabilities
	if caps&capOfNode != 0 {
		caps = about.Node
	}
	kind := uint32(bufferCapture)
	if caps&capCapture == 0 {
		kind = bufferCapturePlanes
	}
	d.Capture = caps&(capCapture|capCapturePlanes) != 0 &&
		caps&(capOutput|capOutputPlanes|capConvert|capConvertPlanes) == 0
	if !d.Capture {
		return nil
	}
	d.Formats, err = a.formats(kind)
	if err != nil {
		return fmt.Errorf("ask %s for its modes: %w", d.Path, err)
	}
	if len(d.Formats) == 0 { // metadata of a driver from before there was a capability for it
		d.Capture = false
	}
	return nil
}

// formats lists what the device offers, as far as it gets.
func (a *asker) formats(kind uint32) (formats []Format, err error) {
	for i := uint32(0); ; i++ {
		q := formatDescription{Index: i, Type: kind}
		if ok, err := a.ask(requestFormat, &q); !ok {
			return formats, err
		}
		f := Format{FourCC: fourCC(q.PixelFormat), Description: text(q.Description[:])}
		f.Sizes, err = a.sizes(q.PixelFormat)
		formats = append(formats, f)
		if err != nil {
			return formats, err
		}
	}
}

func (a *asker) sizes(format uint32) (sizes []Size, err error) {
	for i := uint32(0); ; i++ {
		q := frameSize{Index: i, PixelFormat: format}
		if ok, err := a.ask(requestSize, &q); !ok {
			return sizes, err
		}
		r := q.Range
		s := Size{Width: int(r[0]), Height: int(r[1])}
		w, h := r[0], r[1]
		if q.Kind != kindDiscrete {
			s = Size{Width: int(r[0]), MaxWidth: int(r[1]), StepWidth: int(r[2]), Height: int(r[3]), MaxHeight: int(r[4]), StepHeight: int(r[5])}
			w, h = r[1], r[4]
		}
		s.Rates, s.RateRange, err = a.rates(format, w, h)
		sizes = append(sizes, s)
		if err != nil || q.Kind != kindDiscrete { // there is one range only
			return sizes, err
		}
	}
}

func (a *asker) rates(format, width, height uint32) (rates []float64, isRange bool, err error) {
	for i := uint32(0); ; i++ {
		q := frameInterval{Index: i, PixelFormat: format, Width: width, Height: height}
		ok, err := a.ask(requestInterval, &q)
		if ok {
			rates = q.Range[0].appendRate(rates)
			if isRange = q.Kind != kindDiscrete; isRange { // there is one only
				rates = q.Range[1].appendRate(rates)
			}
		}
		if !ok || isRange {
			slices.SortFunc(rates, func(a, b float64) int { return int(math.Copysign(1, b-a)) })
			return slices.Compact(rates), isRange, err
		}
	}
}

// appendRate adds the rate of an interval; one that is no number is left out.
func (f fraction) appendRate(rates []float64) []float64 {
	if f.Numerator == 0 || f.Denominator == 0 {
		return rates
	}
	return append(rates, float64(f.Denominator)/float64(f.Numerator))
}

// text is a C string of a driver, without what would disturb a terminal.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffd {
			return -1
		}
		return r
	}, string(b)))
}

// fourCC is the four characters of a pixel format, as `v4l2-ctl` shows it.
func fourCC(v uint32) string {
	const bigEndian = 1 << 31
	name := strings.TrimRight(text([]byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v &^ bigEndian >> 24)}), " ")
	if v&bigEndian != 0 {
		name += "-BE"
	}
	return name
}
