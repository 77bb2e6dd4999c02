package shadow

import (
	"bytes"
	"crypto/rand"
	"time"

	"go.uber.org/zap/zapcore"
)

// request is one message to send.
type request struct {
	topic   string // below the prefix
	payload []byte
}

// update is a change of reported that is in flight.
type update struct {
	token    string
	patch    map[string]any
	want     *report // what the patch leads to
	deadline time.Time
}

// entry is one line for the log.
type entry struct {
	level   zapcore.Level
	message string
	fields  []zapcore.Field
}

// state is everything the client knows, as a machine without goroutines, clocks or network: handle changes it, next
// says what to send. The Client's mutex guards it.
type state struct {
	entries []entry              // to be logged by Serve, outside the lock
	quiet   map[string]time.Time // when each kind of trouble was last logged
	told    map[string]bool      // refusals that were logged and have not been followed by a success
	stats   Stats

	epoch     uint64 // counts connections
	connected bool

	// Versions. held is that of the document that desired and known were read from; heard is the newest that anything
	// spoke of; whenever it is ahead, a GET is due. rang is the newest spoken of since the last GET was sent.
	held, heard, rang int64

	// The document wanted from GET.
	force       bool      // a GET is due whatever the versions say
	inFlight    bool      // a GET has been sent
	getDeadline time.Time // of the one in flight
	getFrom     time.Time // the next may not be sent before
	lastGet     time.Time
	refresh     time.Time // when the document is fetched although nothing rang
	oldAnswers  int       // answers in a row that were older than heard
	getRetry    backoff
	getRefused  backoff

	// The desired state. latest is nil until the first answer.
	latest    *Desired
	latestID  string // canonical content
	delivered bool
	lastID    string // content at the last call of OnDesired

	// The reported state.
	want        *report
	known       map[string]any // what the cloud has; meaningful while synced
	synced      bool           // a GET has been answered since known was last in doubt
	exists      bool           // there is a shadow
	update      *update
	updateFrom  time.Time // the next may not be sent before
	updateRetry backoff
	refused     *report // not to be sent again until something changes
	refusals    backoff
	settled     *report // what the service accepted last
	repairs     backoff
	repairDue   bool      // settled has to be sent again, because known is something else
	repairFrom  time.Time // but not before
	lastRepair  time.Time
	retrying    bool // the next update repeats one that failed
}

func newState() state {
	return state{
		quiet:       map[string]time.Time{},
		told:        map[string]bool{},
		getRetry:    backoff{first: retryFirst, most: retryMost},
		getRefused:  backoff{first: refusedFirst, most: refusedMost},
		updateRetry: backoff{first: retryFirst, most: retryMost},
		refusals:    backoff{first: refusedFirst, most: refusedMost},
		repairs:     backoff{first: retryFirst, most: repairMost},
	}
}

// connect begins a connection. What the cloud has is unknown again: messages were missed, and a request that was in
// flight may or may not have arrived. The versions stay, to tell old answers from new ones.
func (s *state) connect(now time.Time) uint64 {
	s.epoch++
	s.connected = true
	s.force, s.inFlight, s.getFrom, s.oldAnswers = true, false, now, 0
	s.refresh = now.Add(later(refreshEvery))
	s.getRetry.reset()
	s.getRefused.reset()
	s.synced = false
	s.update = nil
	s.updateFrom = now
	s.updateRetry.reset()
	s.refused = nil // the policy may have been put right meanwhile
	s.refusals.reset()
	return s.epoch
}

func (s *state) disconnect() {
	s.connected, s.synced, s.inFlight, s.update = false, false, false, nil
}

// setWant makes want the document to report. A refused one is given another chance, at its pace, only if it is new.
func (s *state) setWant(want *report) {
	if s.want != nil && s.want.text == want.text {
		return
	}
	s.want = want
	s.refused = nil
}

// takeDesired returns the desired state if it is to be handed over.
func (s *state) takeDesired() (Desired, bool) {
	if s.latest == nil || s.delivered && s.latestID == s.lastID {
		return Desired{}, false
	}
	s.delivered, s.lastID = true, s.latestID
	s.stats.Desired++
	d := *s.latest
	d.State = bytes.Clone(d.State) // the receiver's own
	return d, true
}

// hear takes note of a version.
func (s *state) hear(version int64) {
	s.heard, s.rang = max(s.heard, version), max(s.rang, version)
}

// hold takes note of the document of a version, 0 for none, having been read: the truth, whatever was heard before the
// GET that led to it. What was heard since leads to another one.
func (s *state) hold(version int64) {
	s.held, s.heard, s.oldAnswers = version, max(version, s.rang), 0
}

// setDesired notes the desired state of a document, or of there being none.
func (s *state) setDesired(d Desired, id string) {
	if s.latestID != id {
		s.refused = nil // a smaller desired state makes room for the reported one
	}
	s.latest, s.latestID = &d, id
}

// next returns the request that is due, or when to ask again; an event may make something due earlier.
func (s *state) next(now time.Time) (*request, time.Time) {
	s.timeouts(now)
	if !now.Before(s.refresh) {
		s.refresh = now.Add(later(refreshEvery))
		s.force, s.refused = true, nil
	}
	if out := s.nextGet(now); out != nil {
		return out, now
	}
	if out := s.nextUpdate(now); out != nil {
		return out, now
	}
	return nil, s.due(now)
}

// due is the earliest moment at which next has something to do.
func (s *state) due(now time.Time) time.Time {
	due := s.refresh
	earlier := func(t time.Time) {
		if t.After(now) && t.Before(due) {
			due = t
		}
	}
	if s.inFlight {
		earlier(s.getDeadline)
	} else {
		earlier(s.getFrom)
	}
	if s.update != nil {
		earlier(s.update.deadline)
	} else {
		earlier(s.updateFrom)
		earlier(s.repairFrom)
	}
	return due
}

// timeouts gives up requests that were not answered.
func (s *state) timeouts(now time.Time) {
	if s.inFlight && !now.Before(s.getDeadline) {
		s.stats.Timeouts++
		s.trouble(now, "GET", errNoAnswer)
		s.retryGet(now)
	}
	if s.update != nil && !now.Before(s.update.deadline) {
		s.stats.Timeouts++
		s.trouble(now, "update", errNoAnswer)
		s.doubtUpdate(now)
	}
}

func (s *state) nextGet(now time.Time) *request {
	if s.inFlight || now.Before(s.getFrom) || !s.force && s.heard <= s.held {
		return nil
	}
	s.force, s.inFlight, s.rang = false, true, 0
	s.lastGet, s.getDeadline, s.getFrom = now, now.Add(answerTimeout), now.Add(requestPause)
	s.stats.Gets++
	return &request{topic: topicGet}
}

// retryGet sends the GET again after a pause.
func (s *state) retryGet(now time.Time) {
	s.inFlight, s.force = false, true
	s.getFrom = now.Add(s.getRetry.next())
	s.stats.Retries++
}

func (s *state) nextUpdate(now time.Time) *request {
	if s.update != nil || !s.synced || s.want == nil || s.want == s.refused || now.Before(s.updateFrom) {
		return nil
	}
	patch := diff(s.known, s.want.object)
	if len(patch) == 0 && s.exists {
		return nil
	}
	repair := s.repairDue && s.want == s.settled
	if repair && now.Before(s.repairFrom) {
		return nil
	}
	u := &update{token: rand.Text(), patch: patch, want: s.want, deadline: now.Add(answerTimeout)}
	payload, err := encodeUpdate(patch, u.token)
	if err != nil { // cannot be: the patch is made of what was read from JSON
		s.refused = s.want
		s.trouble(now, "update", err)
		return nil
	}
	switch {
	case s.retrying:
		s.stats.Retries++
	case repair:
		s.stats.Repairs++
	}
	s.retrying, s.repairDue = false, false
	s.update, s.updateFrom = u, now.Add(requestPause)
	s.stats.Updates++
	return &request{topic: topicUpdate, payload: payload}
}

// doubtUpdate gives up an update whose result is unknown: only a GET can tell what the cloud has now.
func (s *state) doubtUpdate(now time.Time) {
	s.synced, s.force = false, true
	s.retryUpdate(now)
}

func (s *state) retryUpdate(now time.Time) {
	s.update, s.retrying = nil, true
	s.updateFrom = now.Add(s.updateRetry.next())
}

func (s *state) snapshot() Stats {
	stats := s.stats
	stats.Version = s.heard
	stats.InSync = s.connected && s.synced && s.exists && s.update == nil &&
		s.want != nil && len(diff(s.known, s.want.object)) == 0
	return stats
}
