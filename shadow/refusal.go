package shadow

import (
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// lasting says whether a refusal will not go away by itself.
func lasting(code int) bool {
	switch code {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	}
	return code >= 400 && code < 500
}

// refusal is what the service said, as an error.
func (a *answer) refusal() error {
	const longest = 200 // bytes; AWS's messages are one sentence
	message := a.Message
	if len(message) > longest {
		message = message[:longest]
	}
	return fmt.Errorf("refused with code %d: %q", a.Code, message)
}

// advice is what to do about a lasting refusal.
func advice(code int) string {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "allow iot:Publish on this topic in the policy of the device's certificate"
	case http.StatusRequestEntityTooLarge:
		return "make the desired state smaller: desired and reported have 8 KB together"
	case http.StatusUnsupportedMediaType:
		return "the service did not take the message for UTF-8 JSON: check what lies between device and AWS IoT"
	}
	return "look the message up in the AWS IoT guide under Device Shadow error messages, and report it to the maker " +
		"of this agent together with the reported state"
}

// tell logs a lasting refusal, once until a request on the topic has succeeded.
func (s *state) tell(topic string, a *answer) {
	err := a.refusal()
	s.stats.LastError = topic + ": " + err.Error()
	key := fmt.Sprintf("%s %d", topic, a.Code)
	if s.told[key] {
		return
	}
	s.told[key] = true
	s.note(zapcore.ErrorLevel,
		"the shadow service refuses a request; it is tried again when something changes, and now and then",
		zap.String("request", topic), zap.Error(err), zap.String("advice", advice(a.Code)))
}

// forgive forgets the refusals of a topic that has succeeded.
func (s *state) forgive(topic string) {
	for key := range s.told {
		if len(key) > len(topic) && key[:len(topic)+1] == topic+" " {
			delete(s.told, key)
		}
	}
}

// trouble keeps an error for Stats and logs it, each kind at most once in quietPeriod.
func (s *state) trouble(now time.Time, kind string, err error) {
	s.stats.LastError = kind + ": " + err.Error()
	if last, ok := s.quiet[kind]; ok && now.Sub(last) < quietPeriod {
		return
	}
	s.quiet[kind] = now
	s.note(zapcore.WarnLevel, "trouble with the shadow; the agent goes on and asks again",
		zap.String("about", kind), zap.Error(err))
}

// note keeps a line for Serve to log. The list stays short, because every kind of line has its own limit on how often.
func (s *state) note(level zapcore.Level, message string, fields ...zapcore.Field) {
	s.entries = append(s.entries, entry{level, message, fields})
}
