package shadow

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestReconnectInTheMiddleOfAnUpdateConverges(t *testing.T) {
	for name, f := range map[string]fault{"arrived": mute, "lost": lost} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, c *cloud, d *device) {
				d.report(`{"a":1,"b":1}`)
				d.connect()
				c.fail("update", f)
				after(time.Second)
				d.report(`{"a":2}`)
				d.disconnect()
				d.report(`{"a":1}`) // back to what it was, partly: only a GET tells what has to be sent
				d.connect()
				after(time.Minute)
				check(t, "reported", c.has(), `{"a":1}`)
				check(t, "in sync", d.Stats().InSync, true)
				d.disconnect()
			})
		})
	}
}

func TestConnectionThatBreaksDuringPublishEndsServe(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		d.connect()
		c.fail("update", cut)
		d.report(`{"a":1}`)
		if err := <-d.ended; err == nil || !strings.Contains(err.Error(), "shadow/update: connection reset") {
			t.Errorf("got %v", err)
		}
		d.stop()
		d.connect()
		after(time.Minute)
		check(t, "reported", c.has(), `{"a":1}`)
		check(t, "updates", c.count("update"), 1) // it had arrived
		d.disconnect()
	})
}

func TestFirstSubackFailing(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		w := c.connect(ctx)
		w.subErr = errors.New("SUBACK says 0x80")
		err := d.Serve(ctx, w)
		if !errors.Is(err, w.subErr) || !strings.Contains(err.Error(), "iot:Subscribe") {
			t.Errorf("got %v", err)
		}
		check(t, "requests without a subscription", len(c.requests), 0)
		cancel()
		d.connect()
		check(t, "gets", c.count("get"), 1)
		d.disconnect()
	})
}

func TestServeTwiceAtATimeIsRefused(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		d.connect()
		if err := d.Serve(context.Background(), nil); err == nil {
			t.Error("no error")
		}
		d.disconnect()
	})
}
