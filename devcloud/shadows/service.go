// Package shadows is a look-alike of the AWS IoT Device Shadow service for development: the documents, their merging,
// versions, deltas and refusals of the AWS IoT guide (Device Shadow service documents, MQTT topics, REST API, error
// messages), over a broker's messages and over HTTP. There is no registry of things: every well-formed name is a thing.
package shadows

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// maxShadows bounds memory and files, deleted shadows that are still remembered included. AWS has no such limit; a
	// demo has a handful, and a client that makes up names must not fill the disk.
	maxShadows = 1000

	// versionMemory is for how long a deleted shadow's version is continued by a new one of the same name.
	versionMemory = 48 * time.Hour

	// maxMessage is the largest message that AWS IoT carries, in bytes, either way.
	maxMessage = 128 << 10
)

// ErrClosed is what a closed Service answers.
var ErrClosed = errors.New("the shadow service is closed; make a new one")

// Message is one message to the clients that have subscribed to Topic. The receiver owns Payload.
type Message struct {
	Topic   string
	Payload []byte
}

// Options says where a Service keeps its state and who carries its messages.
type Options struct {
	// Dir is owned by the service, one at a time, and made if it does not exist. The shadows survive restarts.
	Dir string
	// Publish gets every message that the service sends, in order. It runs while the service is locked: it must be
	// quick and must not call back. May be nil.
	Publish func(Message)
	// Log gets what an operator has to know; nil: nobody does.
	Log *zap.Logger

	now func() time.Time // nil: time.Now
}

// Service keeps the shadows. Its methods may be called concurrently; they are carried out one after the other.
type Service struct {
	dir     string
	publish func(Message)
	log     *zap.Logger
	now     func() time.Time
	mux     *http.ServeMux

	mu      sync.Mutex
	shadows map[key]*record
	limits  limiter
	closed  bool
}

// key names a shadow; an empty name is the classic one.
type key struct{ thing, name string }

// record is one shadow, or the memory of a deleted one. It is never changed once it is in the map.
type record struct {
	version           int64
	deleted           int64 // seconds since 1970; 0: it exists
	desired, reported *node // nil: there is no such section
}

// New reads what an earlier Service left in Dir. A file that can't be read as a shadow is set aside with a line in the
// log. It starts no goroutine and keeps no file open.
func New(o Options) (*Service, error) {
	if o.Dir == "" {
		return nil, errors.New("the shadow service needs a directory for its state; give one")
	}
	if err := os.MkdirAll(o.Dir, dirMode); err != nil {
		return nil, fmt.Errorf("make the directory of the shadows; check its permissions: %w", err)
	}
	s := &Service{
		dir: o.Dir, publish: o.Publish, log: o.Log, now: o.now,
		shadows: map[key]*record{}, limits: limiter{buckets: map[string]bucket{}},
	}
	if s.publish == nil {
		s.publish = func(Message) {}
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.mux = s.routes()
	if err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

// Close makes the service refuse everything from now on; no message is sent after it has returned. What was accepted
// is on disk already. It may be called more than once.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// Request carries out what a client has published. It returns false, and does nothing, if topic is none of get, update
// and delete of a classic or named shadow. The payload is not kept. The answers go to Publish before it returns.
func (s *Service) Request(topic string, payload []byte) bool {
	k, op, ok := parseTopic(topic)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return true
	}
	answer, token, err := s.fromOutside(k, op, payload)
	switch {
	case err != nil:
		s.send(k, op+"/rejected", encode(rejection{
			Code: err.Code, Message: err.Message, Timestamp: s.now().Unix(), ClientToken: token,
		}))
	case op == opGet:
		s.send(k, op+"/accepted", answer)
	}
	return true
}

// Update does what a POST does, and returns the document of update/accepted. Subscribers hear of it. An empty name
// means the classic shadow. It is not throttled. A refusal of the service is an *Error.
func (s *Service) Update(thing, name string, doc []byte) ([]byte, error) {
	return s.inProcess(thing, name, opUpdate, doc)
}

// Get returns the document of get/accepted; nothing is sent. A shadow that does not exist is an *Error with code 404.
func (s *Service) Get(thing, name string) ([]byte, error) {
	return s.inProcess(thing, name, opGet, nil)
}

func (s *Service) inProcess(thing, name, op string, doc []byte) ([]byte, error) {
	k := key{thing, name}
	if !k.valid() {
		return nil, invalidName()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	answer, _, err := s.call(k, op, doc)
	return answer, err
}

// fromOutside is call for those who may ask too often, and to whom no causes are told: they are logged. Callers hold mu.
func (s *Service) fromOutside(k key, op string, payload []byte) ([]byte, *string, *Error) {
	if !s.limits.allow(k.thing, s.now()) {
		token, _ := decodeToken(payload)
		return nil, token, rateExceeded()
	}
	answer, token, err := s.call(k, op, payload)
	known := (*Error)(nil)
	if err != nil && !errors.As(err, &known) {
		s.log.Error("a shadow was not changed; check the state directory and the space on its disk",
			zap.String("thing", k.thing), zap.String("shadow", k.name), zap.Error(err))
		known = refuse(http.StatusInternalServerError, "Internal service failure")
	}
	return answer, token, known
}

// call carries out one request and tells the subscribers about a change. Callers hold mu.
func (s *Service) call(k key, op string, payload []byte) (answer []byte, token *string, err error) {
	if op == opUpdate {
		u, err := decodeUpdate(payload)
		if err == nil {
			answer, err = s.update(k, u)
		}
		return answer, u.token, err
	}
	if token, err = decodeToken(payload); err != nil {
		return nil, nil, err
	}
	old := s.shadows[k]
	if !old.exists() {
		return nil, token, notFound(k)
	}
	if op == opGet {
		return old.document(s.now().Unix(), token), token, nil
	}
	answer, err = s.remove(k, old, token)
	return answer, token, err
}

func (s *Service) update(k key, u update) ([]byte, error) {
	now := s.now()
	old := s.shadows[k]
	next, err := old.change(u, now)
	if err != nil {
		return nil, err
	}
	if old == nil {
		if err := s.makeRoom(now); err != nil {
			return nil, err
		}
	}
	if err := s.save(k, next); err != nil {
		return nil, err
	}
	s.shadows[k] = next
	accepted := acceptedUpdate(u, next.version, now.Unix())
	s.send(k, "update/accepted", accepted)
	if delta := difference(next.desired, next.reported); delta != nil {
		s.send(k, "update/delta", deltaMessage(delta, next.version, now.Unix(), u.token))
	}
	if !old.remembered(now) {
		old = nil
	}
	s.send(k, "update/documents", documentsMessage(old, next, now.Unix(), u.token))
	return accepted, nil
}

func (s *Service) remove(k key, old *record, token *string) ([]byte, error) {
	now := s.now().Unix()
	gone := &record{version: old.version, deleted: max(now, 1)}
	if err := s.save(k, gone); err != nil {
		return nil, err
	}
	s.shadows[k] = gone
	answer := encode(deletion{Version: old.version, Timestamp: now, ClientToken: token})
	s.send(k, "delete/accepted", answer)
	return answer, nil
}

// send publishes what AWS IoT could carry. Only update/documents can be more, for its metadata: two documents of long
// arrays, each of whose elements has a timestamp.
func (s *Service) send(k key, topic string, payload []byte) {
	if len(payload) > maxMessage {
		s.log.Warn("a message of the shadow service is not sent: AWS IoT carries at most 128 KB",
			zap.String("topic", k.prefix()+topic), zap.Int("bytes", len(payload)))
		return
	}
	s.publish(Message{Topic: k.prefix() + topic, Payload: payload})
}

// makeRoom makes sure that one more shadow may be kept, if need be by forgetting the version of one deleted long ago.
func (s *Service) makeRoom(now time.Time) error {
	if len(s.shadows) < maxShadows {
		return nil
	}
	for k, r := range s.shadows {
		if !r.exists() && !r.remembered(now) {
			if err := s.forget(k); err != nil {
				return err
			}
			delete(s.shadows, k)
			return nil
		}
	}
	return refuse(http.StatusServiceUnavailable,
		"This look-alike keeps at most %d shadows, deleted ones for 48 hours; delete some, or its state directory", maxShadows)
}
