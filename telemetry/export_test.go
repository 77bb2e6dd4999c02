package telemetry

import "time"

// DataWindow and MaxInFlight are the bounds of what may be unacknowledged.
const (
	DataWindow  = dataWindow
	MaxInFlight = maxInFlight
)

// Timing shortens what the client waits for; zero fields keep their values.
type Timing struct {
	Connect, Write, Ack, AckMax, Ping time.Duration
	BackoffStart, BackoffMax          time.Duration
	Stable, ShortLife, Status         time.Duration
	DropReport                        time.Duration
	Flush, Offline, Refuse, Hook      time.Duration
}

// WithTiming returns options for a client in a hurry.
func (o Options) WithTiming(t Timing) Options {
	o.timing = timing{
		connect: t.Connect, write: t.Write, ack: t.Ack, ackMax: t.AckMax, ping: t.Ping,
		backoffStart: t.BackoffStart, backoffMax: t.BackoffMax,
		stable: t.Stable, shortLife: t.ShortLife, status: t.Status,
		dropReport: t.DropReport, flush: t.Flush, offline: t.Offline, refuse: t.Refuse, hook: t.Hook,
	}
	return o
}

// WithALPNPort returns options with another port in place of 443.
func (o Options) WithALPNPort(port string) Options {
	o.alpnPort = port
	return o
}

// SecondBroker is the URL that a client tries when it can't reach the first; empty: there is none.
func SecondBroker(broker string, o Options) string {
	e, err := parseBroker(broker)
	if err != nil {
		return err.Error()
	}
	return secondEndpoint(e, &o).url
}
