package telemetry_test

import (
	"strings"
	"sync/atomic"
	"testing"
)

// A broker that hangs up on one message, whenever it comes: what comes after it gets through, and the cause is said.
func TestPoison(t *testing.T) {
	t.Parallel()
	var behind atomic.Bool
	f := newFake(t, func(_ int, c *peer) {
		if !c.accept(0) {
			return
		}
		for pub := c.publish(); pub != nil; pub = c.publish() {
			switch string(pub.Payload) {
			case "poison":
				return
			case "behind":
				behind.Store(true)
			}
			if pub.Qos == 1 {
				c.ack(pub.MessageID)
			}
		}
	})
	a := start(t, options(f.url()))
	for _, payload := range []string{"poison", "behind"} {
		if err := a.Publish("dt/gnomon/thing-1/street/detections", []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the message behind the poison", behind.Load)
	eventually(t, "its acknowledgement", func() bool { s := a.Stats(); return s.Acked == 1 && s.Queued == 1 && s.Dropped == 0 })
	said := false
	for _, e := range a.logs.All() {
		said = said || strings.Contains(e.Message, "which is put aside so that others get through")
	}
	if !said {
		t.Error("nobody was told")
	}
}
