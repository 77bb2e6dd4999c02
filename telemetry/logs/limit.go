package logs

import (
	"hash/maphash"
	"sync"
	"time"

	"go.uber.org/zap/zapcore"
)

const (
	// defaultRate is far above what a healthy agent logs, and costs little when all is wrong.
	defaultRate = 50
	// burst is for how many seconds' lines there is room: a start logs more than a day after it.
	burst = 2
	// kindsFor is how long a line counts as a repeat of another.
	kindsFor = time.Second
	// maxKinds bounds the kinds that are remembered; beyond it all are repeats.
	maxKinds = 1024
)

// limiter says which of the agent's lines are too many. Lines like one in the same second may use half of what is
// allowed, so that a loop doesn't hide what else happens.
type limiter struct {
	seed maphash.Seed

	mu     sync.Mutex
	rate   float64 // lines a second
	tokens float64
	at     time.Time // of tokens
	kinds  map[uint64]struct{}
	since  time.Time // of kinds
}

func newLimiter(rate float64, seed maphash.Seed) *limiter {
	l := &limiter{seed: seed, kinds: map[uint64]struct{}{}}
	l.set(rate)
	return l
}

func (l *limiter) set(rate float64) {
	if rate <= 0 {
		rate = defaultRate
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = rate
}

// allow takes a line, or refuses it.
func (l *limiter) allow(now time.Time, e *zapcore.Entry) bool {
	kind := maphash.String(l.seed, e.Message) ^ maphash.String(l.seed, e.LoggerName) ^ uint64(e.Level)
	l.mu.Lock()
	defer l.mu.Unlock()
	most := max(l.rate*burst, 1)
	if passed := now.Sub(l.at).Seconds(); passed > 0 { // not when the clock steps back
		l.tokens = min(most, l.tokens+passed*l.rate)
	}
	l.at = now
	if d := now.Sub(l.since); d > kindsFor || d < 0 {
		clear(l.kinds)
		l.since = now
	}
	_, repeat := l.kinds[kind]
	if !repeat && len(l.kinds) < maxKinds {
		l.kinds[kind] = struct{}{}
	}
	if l.tokens < 1 || repeat && l.tokens < most/2 {
		return false
	}
	l.tokens--
	return true
}
