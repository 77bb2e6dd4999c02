package telemetry

import (
	"strings"
	"testing"
	"time"

	"gnomon/telemetry/spool"
)

// What the broker hangs up on again and again is put aside, tried again alone, and in the end given up, while everything
// else gets through. What is lost with a connection for other reasons is not.
func TestOutboxPutsAside(t *testing.T) {
	for name, sp := range map[string]*spool.Spool{"memory": nil, "spool": openSpool(t, spool.Options{})} {
		t.Run(name, func(t *testing.T) {
			o := newOutbox(1000, maxOutboxBytes, sp, false)
			now := time.Now()
			connect := func() { o.rewind(false, true); o.refill() }
			// hangUp sends all, of which the broker acknowledges what comes before the bad one, and ends the connection there.
			hangUp := func() (sent []string, told string) {
				for {
					o.refill()
					p, _, ok := o.next(unlimited)
					if !ok {
						return sent, ""
					}
					sent = append(sent, p.topic)
					if p.topic == "dbad" {
						told = o.suspect(now)
						o.disconnected(false)
						return sent, told
					}
					o.ack(false)
				}
			}
			putAll(t, o, `dbad 1`, `d 2`)
			for n := 1; n <= asideAfter; n++ {
				putAll(t, o, `e 0`) // more important, so it goes before, and is acknowledged
				connect()
				sent, told := hangUp()
				if strings.Join(sent, " ") != "e dbad" || strings.Contains(told, "put aside") != (n == asideAfter) {
					t.Fatalf("sent %q, told %q after %d strikes", sent, told, n)
				}
			}
			connect()
			if sent, _ := hangUp(); strings.Join(sent, " ") != "d" {
				t.Fatalf("sent %q; want what comes after the bad one", sent)
			}
			if s := stats(o); s.Queued != 1 || s.Dropped != 0 {
				t.Errorf("aside: %+v", s)
			}
			for try := 1; try <= asideTries; try++ {
				putAll(t, o, `d 3`)
				o.aside[0].due = time.Now().Add(-time.Second)
				connect()
				sent, told := hangUp()
				if strings.Join(sent, " ") != "dbad" || (told != "") != (try == asideTries) {
					t.Fatalf("try %d: sent %q, told %q", try, sent, told)
				}
				if try < asideTries && o.aside[0].due.Before(now.Add(asideFirst)) {
					t.Errorf("try %d: due again after %v", try, o.aside[0].due.Sub(now))
				}
				connect()
				if sent, _ := hangUp(); strings.Join(sent, " ") != "d" {
					t.Fatalf("after try %d: sent %q", try, sent)
				}
			}
			if s := stats(o); s.Queued != 0 || s.Dropped != 1 || len(o.aside) != 0 {
				t.Errorf("at the end: %+v", s)
			}
			// Other reasons: each time some of it is acknowledged.
			putAll(t, o, `d 4`, `d 5`, `d 6`, `d 7`)
			for range 3 {
				connect()
				for range 2 {
					if _, _, ok := o.next(unlimited); !ok {
						break
					}
				}
				o.ack(false)
				if told := o.suspect(now); told != "" {
					t.Error(told)
				}
				o.disconnected(false)
			}
			if len(o.aside) != 0 {
				t.Errorf("%d are aside", len(o.aside))
			}
		})
	}
}
