package shadow

import (
	"math/rand/v2"
	"time"
)

const (
	// answerTimeout is how long an answer may take, and a PUBACK or SUBACK. AWS answers within a second; the rest is
	// for a slow mobile link on which a camera's pictures are going out at the same time.
	answerTimeout = 15 * time.Second

	// requestPause is the shortest time between two requests of one kind. AWS allows 20 requests a second to a thing,
	// on all its shadows and from all clients together.
	requestPause = 250 * time.Millisecond

	// retryFirst and retryMost bound the pause before a request is tried again.
	retryFirst = time.Second
	retryMost  = time.Minute

	// refusedFirst and refusedMost bound the pause after a refusal that will not go away by itself, such as a policy
	// that does not allow the topic.
	refusedFirst = time.Minute
	refusedMost  = time.Hour

	// repairMost bounds the pause before the device writes over a reported state that is not what it has reported.
	// That happens once after someone edits it; again and again only if another client, or a service that stores
	// something else than it was sent, disagrees with the device for ever.
	repairMost = 10 * time.Minute
	// repairMemory is how long there must have been nothing to repair for the pauses to start small again.
	repairMemory = 2 * repairMost

	// refreshEvery is how often the document is fetched although nothing rang: deltas may be lost.
	refreshEvery = time.Hour

	// oldBellPause is how soon after the last GET a delta that looks old may lead to another one. It is here for a
	// shadow that was deleted and made again without the device having been told.
	oldBellPause = time.Minute

	// quietPeriod is the least time between two log entries about the same kind of trouble.
	quietPeriod = time.Minute
)

// backoff gives pauses that double, each between half of its nominal length and all of it, so that a fleet cut off at
// one moment does not come back at one moment. The zero value is not usable. Not safe for concurrent use.
type backoff struct {
	first, most time.Duration
	step        time.Duration // nominal length of the last pause; 0: none yet
}

func (b *backoff) next() time.Duration {
	if b.step == 0 {
		b.step = b.first
	} else {
		b.step = min(2*b.step, b.most)
	}
	return b.step/2 + rand.N(b.step/2+1)
}

func (b *backoff) reset() { b.step = 0 }

// later is d give or take a tenth, for the same reason as backoff's jitter.
func later(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5) }
