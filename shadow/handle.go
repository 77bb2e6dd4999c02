package shadow

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// handle takes a message; topic is without the shadow's prefix.
func (s *state) handle(topic string, payload []byte, now time.Time) {
	var err error
	switch topic {
	case topicGetAccepted:
		err = s.onDocument(payload, now)
	case topicGetRejected:
		err = s.onGetRejected(payload, now)
	case topicUpdateAccepted:
		err = s.onUpdateAccepted(payload)
	case topicUpdateRejected:
		err = s.onUpdateRejected(payload, now)
	case topicUpdateDelta:
		s.stats.Deltas++
		err = s.onDelta(payload)
	case topicDeleteAccepted:
		// Whatever it says, and whoever deleted: the count of versions may start again, so ask.
		s.held, s.heard, s.rang, s.oldAnswers = 0, 0, 0, 0
		s.force = true
	}
	if err != nil {
		s.stats.Malformed++
		s.trouble(now, topic, fmt.Errorf("unreadable message: %w", err))
	}
}

// onDocument takes an answer to GET: the truth, unless it is older than what has been heard of. Then it is asked for
// once more, because messages may overtake each other, and the second answer counts, because a shadow deleted and made
// again starts at 0.
func (s *state) onDocument(payload []byte, now time.Time) error {
	a, err := decodeAnswer(payload)
	if err != nil {
		return err
	}
	if a.ClientToken != "" || !s.inFlight {
		// Another client's, a duplicate, or one that comes too late: good for its version only.
		if err := a.checkVersion(); err != nil {
			return err
		}
		s.hear(*a.Version)
		return nil
	}
	doc, err := a.document()
	if err != nil {
		return err
	}
	s.inFlight = false
	s.getRetry.reset()
	s.getRefused.reset()
	s.forgive(topicGet)
	if doc.version < s.heard && s.oldAnswers == 0 {
		s.oldAnswers++
		s.stats.Stale++
		s.force = true
		return nil
	}
	s.hold(doc.version)
	s.known, s.exists, s.synced = doc.reported, true, true
	s.setDesired(doc.desired, doc.desiredText)
	s.checkRepair(now)
	return nil
}

// checkRepair slows the writing over of a reported state that keeps coming back different.
func (s *state) checkRepair(now time.Time) {
	if s.want == nil || s.want != s.settled || s.update != nil {
		return
	}
	if len(diff(s.known, s.want.object)) == 0 {
		s.repairDue = false
		return
	}
	if s.repairDue {
		return // a pause is running; another GET does not make it longer
	}
	if now.Sub(s.lastRepair) > repairMemory {
		s.repairs.reset()
	}
	s.repairDue, s.lastRepair = true, now
	s.repairFrom = now.Add(s.repairs.next())
	s.trouble(now, "reported", errors.New("another client changed the reported state, or the service stores it otherwise "+
		"than it was sent: let only the device write reported"))
}

// onGetRejected takes a refusal of GET. GET goes out without a token, so a refusal that has one is another client's.
func (s *state) onGetRejected(payload []byte, now time.Time) error {
	a, err := decodeAnswer(payload)
	if err != nil {
		return err
	}
	if a.Code == 0 {
		return errors.New("there is no code")
	}
	if a.ClientToken != "" || !s.inFlight {
		return nil
	}
	switch {
	case a.Code == http.StatusNotFound:
		s.inFlight = false
		s.getRetry.reset()
		s.getRefused.reset()
		s.forgive(topicGet)
		s.hold(0)
		s.known, s.exists, s.synced = map[string]any{}, false, true
		s.setDesired(Desired{State: emptyObject()}, string(emptyObject()))
	case lasting(a.Code):
		s.stats.Rejected++
		s.inFlight, s.force = false, true
		s.getFrom = now.Add(s.getRefused.next())
		s.stats.Retries++
		s.tell(topicGet, a)
	default:
		s.stats.Rejected++
		s.trouble(now, topicGetRejected, a.refusal())
		s.retryGet(now)
	}
	return nil
}

// onUpdateAccepted takes the answer to an update of this client, or news of another's.
func (s *state) onUpdateAccepted(payload []byte) error {
	a, err := decodeBell(payload)
	if err != nil {
		return err
	}
	version := *a.Version
	u := s.update
	if u == nil || a.ClientToken != u.token {
		// Another client's, or this one's after it had been given up. It is a bell like a delta: a desired key that is
		// taken away, or set to what is reported, rings no delta.
		s.onBell(version)
		return nil
	}
	s.update = nil
	s.stats.Accepted++
	s.updateRetry.reset()
	s.refusals.reset()
	s.forgive(topicUpdate)
	s.settled = u.want
	s.known, s.exists = apply(s.known, u.patch), true
	if version == s.held+1 {
		// Every accepted update counts one, so nothing else has changed since the document was read, and the delta that
		// comes with this version needs no GET.
		s.held = version
	}
	s.hear(version)
	return nil
}

func (s *state) onUpdateRejected(payload []byte, now time.Time) error {
	a, err := decodeAnswer(payload)
	if err != nil {
		return err
	}
	if a.Code == 0 {
		return errors.New("there is no code")
	}
	u := s.update
	if u == nil || a.ClientToken != u.token {
		return nil // another client's; it changed nothing
	}
	s.stats.Rejected++
	switch {
	case lasting(a.Code):
		s.update = nil
		s.refused = u.want
		s.updateFrom = now.Add(s.refusals.next())
		s.tell(topicUpdate, a)
	case a.Code == http.StatusTooManyRequests:
		s.trouble(now, topicUpdateRejected, a.refusal())
		s.retryUpdate(now) // not looked at, so nothing has changed
	default:
		s.trouble(now, topicUpdateRejected, a.refusal())
		s.doubtUpdate(now)
	}
	return nil
}

func (s *state) onDelta(payload []byte) error {
	a, err := decodeBell(payload)
	if err != nil {
		return err
	}
	s.onBell(*a.Version)
	return nil
}

// onBell hears of a version. One that is the same as the newest is another message about the same update.
func (s *state) onBell(version int64) {
	if version >= s.heard {
		s.hear(version)
		return
	}
	s.stats.Stale++
	// Late, or the shadow began again unnoticed: let GET decide, but not for each of them.
	if soon := s.lastGet.Add(oldBellPause); soon.Before(s.refresh) {
		s.refresh = soon // which may be past: then it is due at once
	}
}
