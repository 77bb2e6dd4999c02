package month

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// ledger notes what arrived, each message once.
type ledger struct {
	mu         sync.Mutex
	detections map[stream]*numbers
	lines      numbers // of the log file that is followed
	logs       uint64  // lines of the agent itself
	metrics    uint64
	statuses   uint64
	again      uint64 // that came more than once
	odd        []string
}

// stream is what numbers of messages belong to.
type stream struct{ boot, source string }

// numbers is a set of small numbers.
type numbers struct {
	bits  []uint64
	count uint64
}

// add reports whether n is new.
func (s *numbers) add(n uint64) bool {
	for uint64(len(s.bits)) <= n/64 {
		s.bits = append(s.bits, 0)
	}
	bit := uint64(1) << (n % 64)
	if s.bits[n/64]&bit != 0 {
		return false
	}
	s.bits[n/64] |= bit
	s.count++
	return true
}

func newLedger() *ledger { return &ledger{detections: map[stream]*numbers{}} }

// listen connects as the admin; leave ends that.
func (l *ledger) listen(n *network, config *tls.Config, t *testing.T) (leave func(), err error) {
	o := mqtt.NewClientOptions().AddBroker("tcp://" + cloudHost + ":8883").SetClientID(adminName + "-ledger").SetProtocolVersion(4).
		SetAutoReconnect(false).SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		raw, err := n.dial(t.Context(), "tcp", cloudHost)
		if err != nil {
			return nil, err
		}
		return tls.Client(raw, config), nil
	}).SetConnectionLostHandler(func(_ mqtt.Client, err error) { t.Error("the ledger lost its connection: ", err) })
	c := mqtt.NewClient(o)
	token := c.Connect()
	if token.Wait(); token.Error() != nil {
		return nil, token.Error()
	}
	token = c.Subscribe("dt/gnomon/"+thingName+"/#", 1, func(_ mqtt.Client, m mqtt.Message) { l.take(m.Topic(), m.Payload()) })
	token.Wait()
	return func() { c.Disconnect(1000) }, token.Error()
}

// entry is what the ledger wants to know of a message.
type entry struct {
	Batch   []entry `json:"batch"`
	BootID  string  `json:"boot_id"`
	Source  string  `json:"source"`
	Seq     uint64  `json:"seq"`
	Message string  `json:"message"`
}

func (l *ledger) take(topic string, payload []byte) {
	kind := topic[strings.LastIndexByte(topic, '/')+1:]
	var e entry
	err := json.NewDecoder(bytes.NewReader(payload)).Decode(&e)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.odd = append(l.odd, topic+": "+err.Error())
		return
	}
	if e.Batch == nil {
		l.note(kind, &e)
		return
	}
	for i := range e.Batch {
		l.note(kind, &e.Batch[i])
	}
}

func (l *ledger) note(kind string, e *entry) {
	fresh := true
	switch kind {
	case "detections":
		at := stream{e.BootID, e.Source}
		if l.detections[at] == nil {
			l.detections[at] = &numbers{}
		}
		fresh = l.detections[at].add(e.Seq)
	case "logs":
		if e.Source != logName {
			l.logs++
			return
		}
		n, err := strconv.ParseUint(strings.TrimPrefix(e.Message, logLine), 10, 64)
		if err != nil {
			l.odd = append(l.odd, "a line of the log: "+e.Message)
			return
		}
		fresh = l.lines.add(n)
	case "metrics":
		l.metrics++
	case "status":
		l.statuses++
	}
	if !fresh {
		l.again++
	}
}

// totals are the numbers so far.
func (l *ledger) totals() (detections, lines, again uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.detections {
		detections += s.count
	}
	return detections, l.lines.count, l.again
}
