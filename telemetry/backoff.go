package telemetry

import (
	"math/rand/v2"
	"time"
)

// backoff gives the delays between attempts to connect: exponential with full jitter, as in M. Brooker, "Exponential
// Backoff And Jitter", AWS Architecture Blog, 2015: uniform between 0 and min(limit, start·2ⁿ).
//
// cenkalti/backoff spreads its delays around the exponential, up to twice the limit, and so can't express this.
type backoff struct {
	start, limit time.Duration
	attempt      uint
}

// ceiling is the upper end of the next delay.
func (b *backoff) ceiling() time.Duration {
	d := b.start
	for range b.attempt {
		if d >= b.limit/2 {
			return b.limit
		}
		d *= 2
	}
	return min(d, b.limit)
}

// next is the delay before the next attempt.
func (b *backoff) next() time.Duration {
	d := rand.N(b.ceiling() + 1) //nolint:gosec // spreads load, keeps no secret
	if b.ceiling() < b.limit {
		b.attempt++
	}
	return d
}

// reset starts again at the beginning.
func (b *backoff) reset() { b.attempt = 0 }
