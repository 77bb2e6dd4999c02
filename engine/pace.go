package engine

import "time"

// longestPeriod bounds how long a source rests between two frames, whatever was asked for.
const longestPeriod = 24 * time.Hour

// pacer lets so many frames a second pass, by the frames' own times: the first that is no more than half an interval of
// the source before its due time, and so the same as many frames apart. It belongs to one goroutine.
type pacer struct {
	begun  bool          // a frame has passed
	last   time.Duration // the time of the frame before
	every  time.Duration // usually between two frames of the source
	passed time.Duration // the place of the last one that passed
}

// pass tells whether the frame whose time is at passes, of fps frames a second; 0: all do.
func (p *pacer) pass(at time.Duration, fps float64) bool {
	if !(fps > 0) {
		*p = pacer{}
		return true
	}
	step := at - p.last
	if !p.begun || p.every+step == 0 || step < -2*p.every { // the first; time has never moved, and says nothing; it went back
		p.begun, p.last, p.passed = true, at, at
		return true
	}
	if step > 0 { // frames a little out of order are none of a file that begins anew
		p.last = at
		p.every = smooth(p.every, step)
	}
	due := p.passed + period(fps)
	if at < due-min(p.every, period(fps))/2 {
		return false
	}
	if at-due > p.every { // nothing came when it was due: what was missed is not made up for
		due = at
	}
	p.passed = due
	return true
}

// period is the time between two of so many frames a second.
func period(fps float64) time.Duration {
	return time.Duration(min(float64(time.Second)/fps, float64(longestPeriod)))
}
