package shadows

import "time"

const (
	// perSecond is how many requests AWS takes for one thing, on all its shadows together; as many may come at once.
	perSecond = 20

	// maxBuckets bounds the things whose requests are counted at a time. One that was quiet for a second isn't.
	maxBuckets = 1024
)

// limiter counts requests by thing.
type limiter struct{ buckets map[string]bucket }

// bucket holds tokens, of which each request takes one.
type bucket struct {
	tokens float64
	at     time.Time
}

// filled is the bucket at a later time. A clock that was set back adds nothing.
func (b bucket) filled(now time.Time) bucket {
	passed := max(now.Sub(b.at).Seconds(), 0)
	return bucket{min(b.tokens+passed*perSecond, perSecond), now}
}

// allow says whether one more request for the thing may be carried out. When too many things ask at a time, those that
// are not counted yet have to wait.
func (l *limiter) allow(thing string, now time.Time) bool {
	b, ok := l.buckets[thing]
	if !ok {
		if len(l.buckets) >= maxBuckets && !l.prune(now) {
			return false
		}
		b = bucket{perSecond, now}
	}
	b = b.filled(now)
	if b.tokens < 1 {
		l.buckets[thing] = b
		return false
	}
	b.tokens--
	l.buckets[thing] = b
	return true
}

// prune forgets the things that have all their tokens, and says whether there were any.
func (l *limiter) prune(now time.Time) bool {
	before := len(l.buckets)
	for thing, b := range l.buckets {
		if b.filled(now).tokens == perSecond {
			delete(l.buckets, thing)
		}
	}
	return len(l.buckets) < before
}
