package metrics

import (
	"math/bits"
	"time"
)

// The buckets of durations: 16 of a microsecond each, then 16 in each doubling, so that a quantile is right to within
// 3 %. The last one begins at 128 s. Finding a bucket takes a few instructions, and the doublings are exact bounds for
// the coarser histogram of Prometheus.
const (
	subBits     = 4
	subBuckets  = 1 << subBits
	maxExponent = 27
	bucketCount = subBuckets * (maxExponent - subBits + 2)
)

// durations counts times.
type durations struct {
	n       uint64
	sum     time.Duration
	buckets [bucketCount]uint64
}

func (h *durations) add(d time.Duration) {
	h.n++
	h.sum += d
	h.buckets[bucketOf(d)]++
}

// bucketOf is the bucket of a positive time. Buckets include their upper bound, as those of Prometheus do.
func bucketOf(d time.Duration) int {
	us := uint64(d-1) / uint64(time.Microsecond)
	if us < subBuckets {
		return int(us)
	}
	exponent := bits.Len64(us) - 1
	if exponent > maxExponent {
		return bucketCount - 1
	}
	sub := us >> (exponent - subBits) & (subBuckets - 1)
	return subBuckets*(exponent-subBits+1) + int(sub)
}

// upper is the upper bound of a bucket.
func upper(bucket int) time.Duration {
	if bucket < subBuckets {
		return time.Duration(bucket+1) * time.Microsecond
	}
	exponent := bucket/subBuckets + subBits - 1
	sub := bucket % subBuckets
	return time.Duration(subBuckets+sub+1) << (exponent - subBits) * time.Microsecond
}

// less is what was counted since before.
func (h *durations) less(before *durations) *durations {
	out := *h
	out.n -= before.n
	out.sum -= before.sum
	for i := range out.buckets {
		out.buckets[i] -= before.buckets[i]
	}
	return &out
}

// quantile is the middle of the bucket that holds it; 0 for none.
func (h *durations) quantile(q float64) time.Duration {
	rank, seen := rankOf(q, h.n), uint64(0)
	for i, n := range h.buckets {
		seen += n
		if n > 0 && seen >= rank {
			low := time.Duration(0)
			if i > 0 {
				low = upper(i - 1)
			}
			return (low + upper(i)) / 2
		}
	}
	return 0
}

// rankOf is the place of a quantile among n values, the first being 1 (nearest rank).
func rankOf(q float64, n uint64) uint64 {
	rank := uint64(q * float64(n))
	if float64(rank) < q*float64(n) {
		rank++
	}
	return max(rank, 1)
}

// The bounds of the histogram in Prometheus's text: doublings from 128 µs to 16.8 s.
const (
	firstBound = 7
	lastBound  = 24
)

// upTo counts what took at most 2^exponent microseconds.
func (h *durations) upTo(exponent int) uint64 {
	var sum uint64
	for _, n := range h.buckets[:subBuckets*(exponent-subBits+1)] {
		sum += n
	}
	return sum
}
