package telemetry

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// reporter tells the log about the connection: each change of state once, and a trouble that goes on now and then.
type reporter struct {
	log               *zap.Logger
	first, maxBetween time.Duration

	mu       sync.Mutex
	broker   string
	kind     trouble
	since    time.Time     // when the connection was last there, or first tried
	attempts int           // failed since then
	next     time.Time     // of the next reminder
	between  time.Duration // reminders
	lastText string
	lastTime time.Time
}

func newReporter(log *zap.Logger, broker string, first, maxBetween time.Duration) *reporter {
	return &reporter{log: log, broker: broker, first: first, maxBetween: maxBetween}
}

// failed is called for each attempt that failed and each connection that was lost; wait is the delay before the next
// attempt.
func (r *reporter) failed(kind trouble, text string, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.attempts == 0 {
		r.since = now
	}
	r.attempts++
	r.lastText, r.lastTime = text, now
	switch {
	case kind != r.kind:
		r.kind = kind
		r.between = r.first
		r.log.Warn(text, zap.Duration("next_attempt_in", wait.Round(time.Millisecond)))
	case !now.Before(r.next):
		r.between = min(2*r.between, r.maxBetween)
		r.log.Warn("still: "+text, zap.Duration("for", now.Sub(r.since).Round(time.Second)), zap.Int("failures", r.attempts))
	default:
		return
	}
	r.next = now.Add(r.between)
}

// connected is called at each CONNACK. While the connection flaps that is no news.
func (r *reporter) connected(broker string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kind == flapping {
		return
	}
	r.broker = broker
	r.recovered("connected to the broker " + broker)
}

// stable is called when a connection has lasted for a while.
func (r *reporter) stable() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kind == flapping {
		r.recovered("the connection to the broker " + r.broker + " holds again")
	}
}

func (r *reporter) recovered(text string) {
	fields := []zap.Field{}
	if r.attempts > 0 {
		fields = append(fields, zap.Duration("after", time.Since(r.since).Round(time.Millisecond)), zap.Int("failures", r.attempts))
	}
	r.log.Info(text, fields...)
	r.kind, r.attempts = noTrouble, 0
}

// last is the latest trouble, also one that is over.
func (r *reporter) last() (string, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastText, r.lastTime
}

// dropReporter tells the log about messages that the outbox had to drop, at growing distances while it goes on.
type dropReporter struct {
	log               *zap.Logger
	first, maxBetween time.Duration

	seen    uint64 // drops reported
	between time.Duration
	next    time.Time
}

// look is called regularly, not more often than first, with the number of drops so far.
func (d *dropReporter) look(dropped uint64, queued int) {
	now := time.Now()
	if dropped == d.seen {
		if now.After(d.next) {
			d.between = 0 // it is over: the next time is news again
		}
		return
	}
	if now.Before(d.next) {
		return
	}
	d.log.Warn("the outbox is full: the oldest messages were dropped",
		zap.Uint64("dropped", dropped-d.seen), zap.Uint64("dropped_in_all", dropped), zap.Int("queued", queued))
	d.seen = dropped
	d.between = min(max(d.first, 2*d.between), d.maxBetween)
	d.next = now.Add(d.between)
}

// flush reports what hasn't been reported yet.
func (d *dropReporter) flush(dropped uint64, queued int) {
	d.next = time.Time{}
	d.look(dropped, queued)
}
