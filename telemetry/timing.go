package telemetry

import "time"

// timing is every duration that the client waits; tests make it shorter. Zero fields are set to the constants.
type timing struct {
	connect, write, ack, ackMax, ping  time.Duration
	backoffStart, backoffMax           time.Duration
	stable, shortLife                  time.Duration
	status, reminder, reminderMax      time.Duration
	dropReport, dropReportMax          time.Duration
	flush, offline, disconnect, refuse time.Duration
	hook                               time.Duration
}

const (
	// connectTimeout bounds DNS, TCP and TLS together, and then again the wait for CONNACK. A mobile network takes
	// 3 s on a bad day.
	connectTimeout = 10 * time.Second

	// writeTimeout bounds the time for writeChunk bytes to leave: below 200 bytes a second the connection is dead.
	writeTimeout = 20 * time.Second

	// ackTimeout is how long the broker may go without acknowledging anything while something is unacknowledged.
	// MQTT 3.1.1 allows sending again only on a new connection (section 4.4), so that is what follows. It doubles, up
	// to ackTimeoutMax, each time that it ends a connection, so that a line that needs minutes for one message gets
	// them, and is back to this when a connection ends for another reason.
	ackTimeout    = 30 * time.Second
	ackTimeoutMax = 8 * time.Minute

	// pingTimeout is how long a PINGRESP may take. It waits behind what the kernel has buffered for a slow line.
	pingTimeout = 20 * time.Second

	// The delay before attempt n is uniform between 0 and the smaller of backoffMax and backoffStart·2ⁿ. AWS IoT
	// Core takes one CONNECT a second for a client id; two minutes are what an operator can wait for.
	backoffStart = time.Second
	backoffMax   = 128 * time.Second

	// stableAfter is how long a connection must have lived for the delays to begin anew: a broker that accepts and
	// drops must not be hammered because it accepts.
	stableAfter = 60 * time.Second

	// shortLife is how long a connection lives at most that was dropped "right after connecting".
	shortLife = 10 * time.Second
	// shortLives of them in a row are no coincidence.
	shortLives = 3

	// statusInterval is how often the counters are published.
	statusInterval = 60 * time.Second

	// A trouble that goes on is mentioned again after reminderFirst, then at twice the distance each time up to
	// reminderMax: enough for whoever looks at the log an hour later, and no flood.
	reminderFirst = time.Minute
	reminderMax   = time.Hour

	// Dropped messages are reported at most once a second, and once a minute when it goes on for long.
	dropReportFirst = time.Second
	dropReportMax   = time.Minute

	// The end: a process must be gone 5 s after SIGTERM, so the three together stay below 3 s, and refusePublish,
	// which bounds how long paho may hold on to a message of a connection that has just died, fits in as well.
	flushTimeout      = 2 * time.Second
	offlineTimeout    = 500 * time.Millisecond
	disconnectTimeout = 250 * time.Millisecond
	refusePublish     = time.Second

	// hookTimeout is how long a function called by OnConnect may go on after its context has ended. It runs beside
	// the three above.
	hookTimeout = 2900 * time.Millisecond
)

// withDefaults replaces zero durations.
func (t timing) withDefaults() timing {
	for _, d := range []struct {
		value *time.Duration
		std   time.Duration
	}{
		{&t.connect, connectTimeout},
		{&t.write, writeTimeout},
		{&t.ack, ackTimeout},
		{&t.ackMax, ackTimeoutMax},
		{&t.ping, pingTimeout},
		{&t.backoffStart, backoffStart},
		{&t.backoffMax, backoffMax},
		{&t.stable, stableAfter},
		{&t.shortLife, shortLife},
		{&t.status, statusInterval},
		{&t.reminder, reminderFirst},
		{&t.reminderMax, reminderMax},
		{&t.dropReport, dropReportFirst},
		{&t.dropReportMax, dropReportMax},
		{&t.flush, flushTimeout},
		{&t.offline, offlineTimeout},
		{&t.disconnect, disconnectTimeout},
		{&t.refuse, refusePublish},
		{&t.hook, hookTimeout},
	} {
		if *d.value == 0 {
			*d.value = d.std
		}
	}
	return t
}
