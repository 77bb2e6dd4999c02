package advisor_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	// fleet is how many devices the tests of delays watch: enough for a mean that says something. That the mean of so
	// many uniform delays is below a third of what is expected happens once in 100,000 runs.
	fleet = 16
	// attempts is how many connections of each are spoilt; Device Advisor wants 5 retries or more.
	attempts = 5
	// slack is what a busy machine may add to a delay; four times as many tests as it has cores have been seen to add 5 s.
	slack = 15 * time.Second
)

// roll is when a broker let the devices of a fleet come and go.
type roll struct {
	mu   sync.Mutex
	came map[string][]time.Time // by client id
	went map[string][]time.Time
}

func newRoll() *roll { return &roll{came: map[string][]time.Time{}, went: map[string][]time.Time{}} }

// come returns how often the device had come before.
func (r *roll) come(p *peer) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := p.hello.ClientIdentifier
	r.came[id] = append(r.came[id], p.at)
	return len(r.came[id]) - 1
}

// leave is called when the broker hangs up.
func (r *roll) leave(p *peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := p.hello.ClientIdentifier
	r.went[id] = append(r.went[id], time.Now())
}

// delays are those of each device before attempt n, from 1, in order of their length.
func (r *roll) delays(n int) []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []time.Duration
	for id, came := range r.came {
		if n < len(came) && n <= len(r.went[id]) {
			all = append(all, came[n].Sub(r.went[id][n-1]))
		}
	}
	slices.Sort(all)
	return all
}

// startFleet runs devices with client ids of their own; each publishes one record, with its number.
func startFleet(t *testing.T, b *broker) []*device {
	t.Helper()
	var all []*device
	for i := range fleet {
		o := options(b.url())
		o.ClientID = fmt.Sprintf("device-%d", i)
		d := start(t, o)
		d.publish(t, i, i+1, 10)
		all = append(all, d)
	}
	return all
}

// TestAdvisorBackoff spoils the first connections of a whole fleet, and looks at the delays in between: full jitter,
// uniform between 0 and 2ⁿ⁻¹ s, that grows with each failure. A connection that was accepted and dropped is a failure
// like any other.
func TestAdvisorBackoff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		connack bool
		want    string
	}{
		{"MQTT no CONNACK", false, "it closed the connection without answering CONNECT"},
		{"MQTT dropped after CONNACK", true, "another client uses this id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			seen := newRoll()
			b := newBroker(t, nil, func(p *peer) {
				if !p.listen() {
					return
				}
				if seen.come(p) >= attempts {
					p.welcome(false)
					p.serve(answers{})
					return
				}
				if tt.connack {
					p.welcome(false)
				}
				seen.leave(p)
				p.hangUp()
			})
			devices := startFleet(t, b)
			eventually(t, "every record", func() bool { return b.got.complete(fleet) })
			for _, d := range devices {
				if d.said(tt.want) == 0 {
					t.Fatalf("%q was not said", tt.want)
				}
			}
			for n := 1; n <= attempts; n++ {
				exponential(t, n, seen.delays(n))
			}
		})
	}
}

// exponential checks the delays before attempt n.
func exponential(t *testing.T, n int, delays []time.Duration) {
	t.Helper()
	most := time.Second << (n - 1)
	var sum time.Duration
	for _, d := range delays {
		sum += d
	}
	if len(delays) != fleet {
		t.Fatalf("%d devices made attempt %d", len(delays), n)
	}
	mean := sum / fleet
	t.Logf("before attempt %d: %v to %v, %v on average", n, delays[0], delays[fleet-1], mean)
	if delays[fleet-1] > most+slack {
		t.Errorf("a delay of %v before attempt %d; at most %v is due", delays[fleet-1], n, most)
	}
	if mean < most/6 {
		t.Errorf("delays of %v on average before attempt %d: they don't grow", mean, n)
	}
	// A busy machine that stands still for a second makes short delays end together.
	if spread := delays[fleet-1] - delays[0]; n >= 3 && spread < most/4 {
		t.Errorf("the delays before attempt %d lie within %v: there is no jitter", n, spread)
	}
}

// TestAdvisorReconnect: the broker throws out the whole fleet at once, three times. Everybody comes back, but not all at
// the same time.
func TestAdvisorReconnect(t *testing.T) {
	t.Parallel()
	const times = 3
	seen := newRoll()
	b := newBroker(t, nil, func(p *peer) {
		if p.accept(false) {
			seen.come(p)
			p.serve(answers{})
			seen.leave(p)
		}
	})
	devices := startFleet(t, b)
	for n := 1; n <= times; n++ {
		eventually(t, "every record", func() bool { return b.got.complete(n * fleet) })
		b.cut()
		for i, d := range devices {
			d.publish(t, n*fleet+i, n*fleet+i+1, 10)
		}
	}
	eventually(t, "every record", func() bool { return b.got.complete((times + 1) * fleet) })
	for n := 1; n <= times; n++ {
		exponential(t, n, seen.delays(n))
	}
	for _, d := range devices {
		if d.said("lost the connection to the broker") == 0 || d.said("the broker or the network closed it") == 0 {
			t.Fatal("a loss was not said")
		}
	}
}
