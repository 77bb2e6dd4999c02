package deploy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"gnomon/models/store"
)

// Retry says when a failed attempt is made again.
type Retry struct {
	// First and Most bound the pause after a temporary failure. It doubles each time; half of it is random, so that a
	// fleet does not come back at one moment.
	First, Most time.Duration
	// Counted are the pauses after the first, second, … failure that counts. The failure after the last of them bans.
	Counted []time.Duration
}

// DefaultRetry bans at the third failure that counts.
func DefaultRetry() Retry {
	return Retry{First: 2 * time.Second, Most: 15 * time.Minute, Counted: []time.Duration{time.Minute, 10 * time.Minute}}
}

func (r Retry) filled() Retry {
	def := DefaultRetry()
	if r.First <= 0 {
		r.First = def.First
	}
	if r.Most <= 0 {
		r.Most = def.Most
	}
	if len(r.Counted) == 0 {
		r.Counted = def.Counted
	}
	return r
}

func (r Retry) backoff() *backoff { return &backoff{first: r.First, most: r.Most} }

// pause is that after the n-th failure that counts.
func (r Retry) pause(n int) time.Duration {
	return r.Counted[min(max(n, 1), len(r.Counted))-1]
}

// backoff gives pauses that double, each between half of its nominal length and all of it. One goroutine at a time.
type backoff struct {
	first, most time.Duration
	step        time.Duration // nominal length of the last pause; 0: none yet
}

func (b *backoff) next() time.Duration {
	if b.step == 0 {
		b.step = min(b.first, b.most)
	} else {
		b.step = min(2*b.step, b.most)
	}
	return b.step/2 + rand.N(b.step/2+1)
}

func (b *backoff) reset() { b.step = 0 }

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// acquire waits for the only token and reports whether it was had before ctx ended.
func acquire(ctx context.Context, token chan struct{}) bool {
	select {
	case token <- struct{}{}:
		if ctx.Err() == nil {
			return true
		}
		<-token
	case <-ctx.Done():
	}
	return false
}

// failureKey names what fails: a subject, which is a digest or stands for one, and a release, in a slot. The slot is part
// of it, because a model can be too slow for one camera and right for another, and because one power cut during three
// probations must not ban at once.
func failureKey(slot, subject string, release int64) string {
	return failurePrefix(slot, subject) + strconv.FormatInt(release, 10)
}

func failurePrefix(slot, subject string) string {
	return slot + "/" + cmp.Or(subject, Builtin) + "@"
}

// subject is the digest of what is wanted, and until a tag is resolved that of its reference.
func (w want) subject(sha string) string {
	if sha != "" || w.builtin() {
		return sha
	}
	sum := sha256.Sum256([]byte(w.URI))
	return hex.EncodeToString(sum[:])
}

// failuresOf sums up how often a subject has failed in a slot, at that release or a higher one: a lower number does not
// lift a ban. The words are those of the newest failure.
func failuresOf(st *store.State, slot, subject string, release int64) store.Failures {
	var sum store.Failures
	for key, f := range st.Failures {
		number, ok := strings.CutPrefix(key, failurePrefix(slot, subject))
		n, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil || n < release {
			continue
		}
		count := sum.Count + f.Count
		if sum.Count == 0 || f.At.After(sum.At) {
			sum = f
		}
		sum.Count = count
	}
	return sum
}

// forgive forgets all failures of a subject in a slot.
func forgive(st *store.State, slot, subject string) {
	for key := range st.Failures {
		if strings.HasPrefix(key, failurePrefix(slot, subject)) {
			st.Forgive(key)
		}
	}
}
