package main

import (
	"encoding/json"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"gnomon/supervise"
	"gnomon/telemetry/redact"
)

// eventSchema names the form of an event. The number goes up when a reader of the old form would misread the new one.
const eventSchema = "gnomon.event/1"

// sourceAgent is the source of messages that no camera is the source of.
const sourceAgent = "agent"

// The kinds of events.
const (
	eventStarted     = "agent_started"
	eventStopping    = "agent_stopping"
	eventSource      = "source"      // a source changed its state
	eventModel       = "model"       // a slot changed its state: detail is its part of the shadow's report
	eventHealth      = "health"      // the agent is ok, degraded or failed
	eventCertificate = "certificate" // a certificate was ordered, taken or dropped
)

// event is something that happened once, as opposed to what is measured all the time. It is a message of its own class,
// which a full spool drops last.
type event struct {
	Schema  string `json:"schema"`
	Device  string `json:"device"`
	BootID  string `json:"boot_id"`
	Source  string `json:"source"` // a camera, or agent
	Seq     uint64 `json:"seq"`    // counts the events of this process
	Time    string `json:"time"`   // RFC 3339 in UTC
	Kind    string `json:"kind"`
	Message string `json:"message"` // for a person
	Detail  any    `json:"detail,omitempty"`
}

// events publishes what happens. Any goroutine may call its methods.
type events struct {
	ident   identity
	log     *zap.Logger
	secret  *redact.Redactor
	publish func(payload []byte) error

	mu  sync.Mutex // makes numbers follow the order of publishing
	seq uint64
}

// newEvents makes what publishes with publish.
func newEvents(ident identity, log *zap.Logger, secret *redact.Redactor, publish func(payload []byte) error) *events {
	return &events{ident: ident, log: log, secret: secret, publish: publish}
}

// tellStart publishes that the agent has started, and how the run before has ended.
func (a *agent) tellStart(v supervise.Verdict) {
	type lastRun struct {
		How    supervise.Kind `json:"how"`
		Reason string         `json:"reason,omitempty"`
	}
	detail := struct {
		Safe bool     `json:"safe_mode,omitempty"`
		Last *lastRun `json:"last_run,omitempty"`
	}{Safe: v.Safe}
	if v.Last.Kind != "" {
		detail.Last = &lastRun{v.Last.Kind, a.telling.secret.Text(v.Last.Reason)}
	}
	message := "gnomon " + version + " watches " + strings.Join(a.enabled(), ", ")
	if v.Safe {
		message += ", in safe mode"
	}
	a.events.happened(eventStarted, sourceAgent, message, detail)
}

// happened publishes one event. Detail is marshalled before it returns; it must hold no secrets.
func (e *events) happened(kind, source, message string, detail any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	payload, err := json.Marshal(event{
		Schema: eventSchema, Device: e.ident.thing, BootID: e.ident.boot, Source: source, Seq: e.seq,
		Time: time.Now().UTC().Format(time.RFC3339Nano), Kind: kind, Message: e.secret.Text(message), Detail: detail,
	})
	if err == nil {
		e.seq++
		err = e.publish(payload)
	}
	if err != nil {
		e.log.Warn("an event was not published", zap.String("kind", kind), zap.Error(err))
	}
}
