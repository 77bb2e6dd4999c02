package month

import (
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// clock is the device's. Its wall time can be stepped, as NTP or a person does, while its monotonic time goes on.
type clock struct{ ahead atomic.Int64 } // seconds

// step changes the wall time.
func (c *clock) step(by time.Duration) { c.ahead.Add(int64(by / time.Second)) }

// set makes the wall time another one; zero: right again.
func (c *clock) set(to time.Time) {
	if to.IsZero() {
		c.ahead.Store(0)
		return
	}
	c.ahead.Store(int64(time.Until(to) / time.Second))
}

// now has the stepped wall reading and the true monotonic one. A bubble's own times have no monotonic reading, and the
// package time gives nobody one to set; so this knows its form: the first word has bit 63 if there is a monotonic reading,
// then 33 bits of seconds of the wall clock since 1885 and 30 of nanoseconds; the second is the monotonic reading.
func (c *clock) now() time.Time {
	const monotonic, nanoBits = 1 << 63, 30
	t := time.Now()
	first := time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	elapsed := t.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) // a bubble begins there
	seconds := uint64(t.Unix() + c.ahead.Load() - first)          //nolint:gosec // positive from 1885 on
	words := (*[2]uint64)(unsafe.Pointer(&t))                     //nolint:gosec // see above
	words[0] = monotonic | seconds<<nanoBits | uint64(t.Nanosecond())
	words[1] = uint64(elapsed) //nolint:gosec // positive in a bubble
	return t
}

// The clock does with time.Time what it should, in this version of Go.
func TestClock(t *testing.T) {
	t.Parallel()
	c := &clock{}
	before, real := c.now(), time.Now()
	if d := before.Round(0).Sub(real.Round(0)); d < -time.Second || d > time.Second {
		t.Errorf("%v, not %v", before, real)
	}
	c.step(-5 * time.Hour)
	after := c.now()
	if wall := after.Round(0).Sub(before.Round(0)); wall > -4*time.Hour {
		t.Errorf("the wall clock was stepped by %v", wall)
	}
	if mono := after.Sub(before); mono < 0 || mono > time.Minute {
		t.Errorf("the monotonic clock went on by %v", mono)
	}
	if c.set(time.Unix(0, 0)); c.now().UTC().Year() != 1970 {
		t.Errorf("the leap to 1970 leads to %v", c.now())
	}
}
