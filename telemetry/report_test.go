package telemetry

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// lines are the messages logged so far.
func lines(logs *observer.ObservedLogs) []string {
	var out []string
	for _, e := range logs.TakeAll() {
		out = append(out, e.Level.String()+" "+e.Message)
	}
	return out
}

func observed() (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return zap.New(core), logs
}

func TestReporterSaysThingsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logs := observed()
		r := newReporter(log, "mqtt://h:1", time.Minute, time.Hour)
		r.failed(refused, "refused", time.Second)
		for range 50 {
			time.Sleep(time.Second)
			r.failed(refused, "refused", time.Second)
		}
		r.failed(unresolved, "no such host", time.Second)
		r.failed(unresolved, "no such host", time.Second)
		r.connected("mqtt://h:1")
		if diff := cmp.Diff([]string{"warn refused", "warn no such host", "info connected to the broker mqtt://h:1"}, lines(logs)); diff != "" {
			t.Error(diff)
		}
		if text, at := r.last(); text != "no such host" || !at.Equal(time.Now()) {
			t.Errorf("last trouble %q at %v", text, at)
		}
		// The same trouble after a connection is news again.
		r.failed(unresolved, "no such host", time.Second)
		if diff := cmp.Diff([]string{"warn no such host"}, lines(logs)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReporterReminds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logs := observed()
		r := newReporter(log, "mqtt://h:1", time.Minute, time.Hour)
		start := time.Now()
		var minutes []int
		for range 5 * 60 * 6 { // five hours, an attempt every ten seconds
			r.failed(refused, "refused", time.Second)
			for range lines(logs) {
				minutes = append(minutes, int(time.Since(start).Minutes()))
			}
			time.Sleep(10 * time.Second)
		}
		if diff := cmp.Diff([]int{0, 1, 3, 7, 15, 31, 63, 123, 183, 243}, minutes); diff != "" {
			t.Errorf("reminders in minutes: %s", diff)
		}
	})
}

func TestReporterWhileFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logs := observed()
		r := newReporter(log, "mqtt://h:1", time.Minute, time.Hour)
		r.connected("mqtt://h:1")
		for i := range 10 {
			if i < 2 {
				r.failed(lost, "lost", time.Second)
			} else {
				r.failed(flapping, "another client", time.Second)
			}
			r.connected("mqtt://h:1")
		}
		r.stable()
		r.stable()
		want := []string{
			"info connected to the broker mqtt://h:1",
			"warn lost", "info connected to the broker mqtt://h:1",
			"warn lost", "info connected to the broker mqtt://h:1",
			"warn another client",
			"info the connection to the broker mqtt://h:1 holds again",
		}
		if diff := cmp.Diff(want, lines(logs)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDropReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logs := observed()
		d := &dropReporter{log: log, first: time.Second, maxBetween: time.Minute}
		var dropped uint64
		reported := func() (n uint64) {
			for _, e := range logs.TakeAll() {
				n += e.ContextMap()["dropped"].(uint64)
			}
			return n
		}
		var total uint64
		count := 0
		for range 600 { // ten minutes of dropping
			dropped += 5
			d.look(dropped, 100)
			if n := reported(); n > 0 {
				count++
				total += n
			}
			time.Sleep(time.Second)
		}
		if count < 10 || count > 20 {
			t.Errorf("%d reports in ten minutes, want about 15", count)
		}
		d.flush(dropped, 100)
		if total += reported(); total != dropped {
			t.Errorf("%d drops were reported, want %d", total, dropped)
		}
		d.flush(dropped, 100)
		if n := reported(); n != 0 {
			t.Errorf("%d drops were reported twice", n)
		}
		// After a quiet time the first drop is news at once.
		for range 120 {
			time.Sleep(time.Second)
			d.look(dropped, 0)
		}
		d.look(dropped+1, 100)
		if n := reported(); n != 1 {
			t.Errorf("%d drops were reported after a quiet time, want 1", n)
		}
		time.Sleep(time.Second)
		d.look(dropped+2, 100)
		if n := reported(); n != 1 {
			t.Errorf("%d drops were reported a second later, want 1", n)
		}
	})
}
