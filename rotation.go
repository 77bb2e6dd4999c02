package main

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"go.uber.org/zap"

	"gnomon/cloud/keypair"
	"gnomon/cloud/provision"
	"gnomon/cloud/rotate"
	"gnomon/telemetry"
)

// connectPause is between two connections of one client id: AWS IoT takes one a second.
const connectPause = 1200 * time.Millisecond

// rotation exchanges the device's certificate when the shadow says so. A nil one never does.
type rotation struct {
	agent *agent
	keeps *rotate.Rotation

	mu   sync.Mutex
	conn *telemetry.Conn // nil: there is no connection now
}

// newRotation makes the files whole that a crash has left in the middle of an exchange, so call it before anybody reads
// them. It returns nil where no template is configured.
func newRotation(a *agent) (*rotation, error) {
	files := keypair.Files{CertFile: a.cfg.MQTT.CertFile, KeyFile: a.cfg.MQTT.KeyFile}
	if a.cfg.AWS.RotationTemplate == "" {
		return nil, nil //nolint:nilnil // a nil rotation is one that never happens
	}
	r := &rotation{agent: a}
	var err error
	r.keeps, err = rotate.New(rotate.Options{
		Files: files, Thing: a.ident.thing, Order: r.order, Try: r.try, Switched: func() { time.AfterFunc(connectPause, a.mqtt.Reconnect) }, Report: r.report, Log: a.log,
	})
	if err != nil {
		return nil, usage("the device's certificate: %w", err)
	}
	return r, nil
}

// run exchanges certificates until ctx ends. That the files cannot be written is no reason to end the agent.
func (r *rotation) run(ctx context.Context) error {
	if r == nil {
		return nil
	}
	if err := r.keeps.Run(ctx); err != nil {
		r.agent.log.Error("the certificate cannot be exchanged", zap.Error(err))
	}
	return nil
}

// connected notes the agent's connection until ctx ends.
func (r *rotation) connected(ctx context.Context, conn *telemetry.Conn) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.conn = conn
	r.keeps.Online(true)
	r.mu.Unlock()
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.conn == conn { // there is no newer one yet
			r.conn = nil
			r.keeps.Online(false)
		}
	})
}

// order has AWS IoT make a certificate, over the agent's connection.
func (r *rotation) order(ctx context.Context, csr []byte) ([]byte, error) {
	r.mu.Lock()
	conn := r.conn
	r.mu.Unlock()
	if conn == nil {
		return nil, rotate.ErrOffline
	}
	a := r.agent
	return provision.Order(ctx, conn, a.cfg.AWS.RotationTemplate, a.ident.thing, map[string]string{"ThingName": a.ident.thing}, csr)
}

// try connects with a new pair while the agent's connection rests.
func (r *rotation) try(ctx context.Context, files keypair.Files) error {
	a := r.agent
	return a.mqtt.Rest(ctx, func(ctx context.Context) error {
		err := tryPair(ctx, a.cfg.MQTT.Broker, a.cfg.MQTT.CAFile, a.ident.thing, files)
		select {
		case <-time.After(connectPause):
		case <-ctx.Done():
		}
		return err
	})
}

// report tells how an exchange stands.
func (r *rotation) report(s rotate.Status) {
	message := "exchanging the certificate: " + string(s.State)
	if s.Reason != "" {
		message += ": " + s.Reason
	}
	r.agent.events.happened(eventCertificate, sourceAgent, message, s)
	r.agent.follower.notify()
}

// desire looks for an order in the shadow's desired document.
func (r *rotation) desire(doc json.RawMessage) {
	if r == nil {
		return
	}
	var desired struct {
		Certificate json.RawMessage `json:"certificate"`
	}
	if json.Unmarshal(doc, &desired) != nil { // whoever else reads it says so
		return
	}
	id, err := rotate.ParseDesired(desired.Certificate)
	if err != nil {
		r.agent.log.Warn("the desired certificate cannot be understood", zap.Error(err))
		return
	}
	r.keeps.Want(id)
}

// status is the reported member certificate; nil: nothing was ever ordered.
func (r *rotation) status() *rotate.Status {
	if r == nil {
		return nil
	}
	s := r.keeps.Status()
	return &s
}
