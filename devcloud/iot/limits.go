package iot

import "time"

// The limits of AWS IoT Core: AWS General Reference, "AWS IoT Core message broker and protocol limits and quotas",
// unless a line says otherwise. Those that an account may have raised have their default.
const (
	// maxPayload is what one message may carry; the connection of who sends more is closed.
	maxPayload = 128 << 10
	// maxTopic is the length of a topic or a filter in bytes, maxSlashes its depth; "$aws/rules/{rule}/" isn't counted.
	maxTopic   = 256
	maxSlashes = 7
	// maxClientID is in bytes.
	maxClientID = 128
	// maxFilters is for one SUBSCRIBE, maxSubscriptions for a connection; both end the connection.
	maxFilters       = 8
	maxSubscriptions = 50
	// publishesPerSecond is for each direction of a connection. What is above it is discarded and not acknowledged;
	// the connection stays.
	publishesPerSecond = 100
	// bytesPerSecond is for each direction of a connection. What is above it is delayed.
	bytesPerSecond = 512 << 10
	// maxUnacknowledged is how many QoS 1 messages may be under way to a client; further ones wait. In the other
	// direction there is never more than one, as each is acknowledged before the next is read.
	maxUnacknowledged = 100
	// connectInterval is for one client id.
	connectInterval = time.Second
	// sessionExpiry is how long a persistent session outlives its connection.
	sessionExpiry = time.Hour
	// replayInterval: stored messages of a persistent session come at 10 a second.
	replayInterval = time.Second / 10
	// maxRetained is how many retained messages an account may have. Retained messages are kept for three years.
	maxRetained    = 5000
	retainedExpiry = 3 * 365 * 24 * time.Hour

	// Keep-alives are moved into this range, and none at all is the longest (AWS IoT Core developer guide, "MQTT",
	// "Connection inactivity"). The broker library closes at 1.5 times of it.
	minKeepAlive = 30   // seconds
	maxKeepAlive = 1200 // seconds
)

// What AWS has no number for, or none that matters here.
const (
	// maxPacket is a payload with its topic and headers; the rule's part of the topic is bounded by that alone.
	maxPacket = maxPayload + 4<<10
	// maxConnections is far above what a laptop's fleet has, and keeps a runaway client from eating the file
	// descriptors.
	maxConnections = 256
	// connectTimeout is for TLS and CONNECT together.
	connectTimeout = 30 * time.Second
	// writeTimeout is how long a client may leave the broker's bytes unread.
	writeTimeout = 30 * time.Second
	// flushGrace is how long the last acknowledgements may take when a connection ends: the next one with its client id
	// waits for that.
	flushGrace = time.Second
	// maxQueued is how many bytes may wait for a slow client. More messages are dropped and counted.
	maxQueued = 4 << 20
	// maxControl is how many bytes of acknowledgements may wait for a client that sends and does not read: its
	// connection is closed.
	maxControl = 64 << 10
	// maxStored is how many messages a persistent session may hold that were not acknowledged yet.
	maxStored = 1000
	// maxRecent is how many client ids are looked through for those that may connect again.
	maxRecent = 1024
)

// limits are those that tests change, because they would wait for hours or depend on the speed of the machine.
type limits struct {
	now             func() time.Time
	connectInterval time.Duration
	sessionExpiry   time.Duration
	minKeepAlive    uint16
}

func (l limits) withDefaults() limits {
	if l.now == nil {
		l.now = time.Now
	}
	if l.connectInterval == 0 {
		l.connectInterval = connectInterval
	}
	if l.sessionExpiry == 0 {
		l.sessionExpiry = sessionExpiry
	}
	if l.minKeepAlive == 0 {
		l.minKeepAlive = minKeepAlive
	}
	return l
}

// bucket lets rate units a second through, and as many at once. It belongs to whoever locks it.
type bucket struct {
	rate   float64
	now    func() time.Time
	tokens float64
	last   time.Time
}

func newBucket(rate float64, now func() time.Time) bucket {
	return bucket{rate: rate, now: now, tokens: rate, last: now()}
}

func (b *bucket) refill() {
	now := b.now()
	b.tokens = min(b.rate, b.tokens+now.Sub(b.last).Seconds()*b.rate)
	b.last = now
}

// take takes one unit if there is one.
func (b *bucket) take() bool {
	b.refill()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// spend takes n units and returns how long the caller must wait until that many were due.
func (b *bucket) spend(n int) time.Duration {
	b.refill()
	b.tokens -= float64(n)
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.rate * float64(time.Second))
}
