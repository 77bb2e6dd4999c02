package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gnomon/config"
	"gnomon/devcloud"
	"gnomon/telemetry"
)

const (
	// benchThing and benchPrefix make the topics: gnomon-bench/bench/SOURCE/detections.
	benchThing, benchPrefix = "bench", "gnomon-bench"
	// connectLimit is how long a broker on this machine or in its network may take to accept a connection.
	connectLimit = 10 * time.Second
	connectPoll  = 5 * time.Millisecond
)

// benchLink is the connection that results are published through at QoS 1.
type benchLink struct {
	mqtt   *telemetry.Client
	ident  identity
	name   string // of the broker, for the report
	broker *background
	run    *background
}

// openLink connects to a broker, or to one of its own inside this process, and waits until it is connected.
func openLink(ctx context.Context, broker string) (_ *benchLink, err error) {
	l := &benchLink{ident: identity{thing: benchThing, boot: uuid.NewString()}, name: broker}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if broker == config.BrokerEmbedded {
		b, err := devcloud.NewBroker(devcloud.BrokerOptions{})
		if err != nil {
			return nil, err
		}
		broker = b.Addr()
		l.broker = inBackground(b.Run)
	}
	l.mqtt, err = telemetry.New(telemetry.Options{
		Broker: broker, Thing: benchThing, ClientID: "gnomon-bench-" + l.ident.boot[:8], TopicPrefix: benchPrefix, QoS: 1,
		AgentVersion: version, BootID: l.ident.boot,
	})
	if err != nil {
		return nil, &usageError{fmt.Errorf("--broker: %w", err)}
	}
	if l.name != config.BrokerEmbedded {
		l.name = l.mqtt.Stats().Broker
	}
	l.run = inBackground(l.mqtt.Run)
	return l, l.wait(ctx)
}

// wait waits for the connection.
func (l *benchLink) wait(ctx context.Context) error {
	late := time.NewTimer(connectLimit)
	defer late.Stop()
	poll := time.NewTicker(connectPoll)
	defer poll.Stop()
	for !l.mqtt.Stats().Connected {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return errors.New("interrupted")
		case <-late.C:
			return fmt.Errorf("--broker %s does not accept a connection within %v: %s", l.name, connectLimit, l.mqtt.Stats().LastError)
		}
	}
	return nil
}

// close disconnects and ends the broker, if there is one inside.
func (l *benchLink) close() error {
	return errors.Join(l.run.stop(), l.broker.stop())
}
