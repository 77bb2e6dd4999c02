package engine

import (
	"context"
	"errors"
	"math"
	"time"
)

// maxBadPictures in a row are no accident: what comes is not what was expected.
const maxBadPictures = 50

// capturer is what the goroutine that captures knows.
type capturer struct {
	*Pipeline
	view  Frame // what the gate sees
	pace  pacer
	epoch time.Time // of the times of live frames
	like  shape     // of the source's pictures; what the memory of the next should be for
}

// capture takes frames from the source to the seat until the source ends or ctx does.
func (p *Pipeline) capture(ctx context.Context) error {
	c := &capturer{Pipeline: p, epoch: time.Now()}
	if g, ok := p.o.Source.(Grabber); ok && p.seat.live {
		return c.grab(ctx, g)
	}
	return c.read(ctx)
}

// read is for sources that fill a frame at once.
func (c *capturer) read(ctx context.Context) (err error) {
	f := c.seat.slot.spare.take(c.like)
	defer func() { c.keep(f) }()
	for ctx.Err() == nil {
		if f == nil {
			f = c.seat.slot.spare.take(c.like)
		}
		if err := c.o.Source.Read(ctx, f); err != nil {
			return err // a source's errors name it
		}
		c.captured.Add(1)
		c.like = shapeOf(f)
		if !c.due(c.timeOf(f)) || !c.passes(f) {
			continue
		}
		if c.seat.live {
			c.seat.offer(f)
		} else if err := c.seat.put(ctx, f); err != nil {
			return err
		}
		f = nil
	}
	return ctx.Err()
}

// grab is for live sources that can pass over pictures. What nobody looks at is not retrieved. Without a gate, which may
// refuse the new picture, the frame that waits is given up for it first: the source needs no memory for a second.
func (c *capturer) grab(ctx context.Context, g Grabber) error {
	var f *Frame
	defer func() { c.keep(f) }()
	bad := 0 // pictures in a row that cannot be decoded
	for ctx.Err() == nil {
		if err := g.Grab(ctx); err != nil {
			return err
		}
		c.captured.Add(1)
		if !c.due(time.Since(c.epoch)) {
			continue
		}
		if f == nil && c.o.Gate == nil {
			f = c.seat.takeBack()
		}
		if f == nil {
			f = c.seat.slot.spare.take(c.like)
		}
		if err := g.Retrieve(f); err != nil {
			if bad++; errors.Is(err, ErrBadPicture) && bad < maxBadPictures {
				c.captured.Add(^uint64(0)) // as if it had not come
				continue
			}
			return err
		}
		bad = 0
		c.like = shapeOf(f)
		if !c.passes(f) {
			continue
		}
		c.seat.offer(f)
		f = nil
	}
	return ctx.Err()
}

// keep gives a frame back that was not used.
func (c *capturer) keep(f *Frame) {
	if f != nil {
		c.seat.slot.spare.put(f)
	}
}

// timeOf is the frame's own time: files have that of the video, whatever the moment in which they are read.
func (c *capturer) timeOf(f *Frame) time.Duration {
	if c.seat.live {
		return f.CapturedAt.Sub(c.epoch)
	}
	return f.PTS
}

// due tells whether a frame of that time is looked at; else it is counted.
func (c *capturer) due(at time.Duration) bool {
	if c.pace.pass(at, math.Float64frombits(c.detectFPS.Load())) {
		return true
	}
	c.paced.Add(1)
	return false
}

// passes tells whether the gate lets the frame in; else it is counted.
func (c *capturer) passes(f *Frame) bool {
	if c.o.Gate == nil {
		return true
	}
	c.region.view(f, &c.view)
	if c.o.Gate.Pass(&c.view) {
		return true
	}
	c.still.Add(1)
	return false
}
