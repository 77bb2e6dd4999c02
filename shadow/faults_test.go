package shadow

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func zapString(key, value string) zapcore.Field { return zap.String(key, value) }

func TestAnswersToOtherClientsDoNotCountAsOwn(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"a":1}`)
		d.connect()
		after(time.Second)
		c.fail("update", lost)
		d.report(`{"a":1}`)
		gets := c.count("get")
		c.inject("update/rejected", `{"code":403,"message":"no","clientToken":"console"}`)
		c.inject("update/rejected", `{"code":409,"message":"Version conflict"}`)
		c.inject("get/rejected", `{"code":404,"message":"No shadow exists","clientToken":"console"}`)
		c.inject("get/accepted", `{"state":{"desired":{"a":9}},"version":1,"clientToken":"console"}`)
		c.inject("update/accepted", `{"state":{},"version":1,"clientToken":"console"}`)
		after(time.Second)
		check(t, "rejected", d.Stats().Rejected, 0)
		check(t, "accepted", d.Stats().Accepted, 0)
		check(t, "desired", d.desired(), `{"a":1}`)
		check(t, "gets", c.count("get"), gets)
		after(time.Minute)
		check(t, "reported", c.has(), `{"a":1}`)
		d.disconnect()
	})
}

func TestGarbageIsCountedAndLoggedOnceAMinute(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"a":1}`)
		d.connect()
		deep := strings.Repeat(`{"state":`, 100) + `1` + strings.Repeat(`}`, 100)
		huge := `{"version":1,"state":{"x":"` + strings.Repeat("x", maxPayload) + `"}}`
		bad := []string{``, `nul`, `[]`, `{"version":"x"}`, `{"version":-1}`, `{"state":{}}`, `{"version":1.5}`, deep, huge, "\xff\x00"}
		for range 10 {
			for _, payload := range bad {
				c.inject("update/delta", payload)
			}
		}
		check(t, "malformed", d.Stats().Malformed, uint64(10*len(bad)))
		check(t, "log entries", d.logs.Len(), 1)
		for _, payload := range bad {
			for _, topic := range []string{"get/accepted", "get/rejected", "update/accepted", "update/rejected", "delete/accepted"} {
				c.inject(topic, payload)
			}
		}
		c.want(`{"a":2}`)
		after(time.Minute)
		check(t, "desired", d.desired(), `{"a":1} {"a":2}`)
		d.disconnect()
	})
}

func TestDesiredOfUnexpectedTypesArrivesRaw(t *testing.T) {
	for _, desired := range []string{`{"model":5,"rules":[null,{"x":1e3}]}`, `"text"`, `[1]`, `{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}`} {
		run(t, func(t *testing.T, c *cloud, d *device) {
			c.want(`{"a":1}`)
			c.fail("get", mute)
			d.connect()
			c.inject("get/accepted", `{"state":{"desired":`+desired+`},"version":1,"timestamp":1700000000}`)
			check(t, "desired", d.desired(), desired)
			d.disconnect()
		})
	}
}

func TestDesiredCarriesVersionAndTime(t *testing.T) {
	var got Desired
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"a":1}`)
		d.onDesired = func(s Desired) { got = s }
		d.connect()
		d.disconnect()
	})
	check(t, "version", got.Version, 1)
	check(t, "time", got.Time, time.Unix(1700000000, 0).UTC())
}

func TestTheSameContentInAnotherFormIsNoChange(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"a":1}`)
		d.connect()
		after(time.Second)
		for i, same := range []string{`{"b":{"y":1,"x":2.0},"a":10}`, `{ "a" : 1e1, "b": {"x":2,"y":1.0} }`} {
			c.fail("get", mute)
			c.inject("update/delta", fmt.Sprintf(`{"version":%d}`, 5+i))
			c.inject("get/accepted", fmt.Sprintf(`{"state":{"desired":%s},"version":%d}`, same, 5+i))
			after(time.Second)
		}
		check(t, "desired", d.desired(), `{"a":1} {"b":{"y":1,"x":2.0},"a":10}`)
		d.disconnect()
	})
}

func TestDuplicatesOfAnswersAreHarmless(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"a":1}`)
		d.report(`{"a":1}`)
		d.connect()
		after(time.Second)
		token := strings.Split(strings.Split(c.last("update"), `"clientToken":"`)[1], `"`)[0]
		before := d.Stats()
		for range 3 {
			c.inject("get/accepted", `{"state":{"desired":{"a":0}},"version":1}`)
			c.inject("update/accepted", `{"version":2,"clientToken":"`+token+`"}`)
			c.inject("update/rejected", `{"code":413,"clientToken":"`+token+`"}`)
		}
		after(30 * time.Second)
		check(t, "counters", d.Stats(), before)
		check(t, "desired", d.desired(), `{"a":1}`)
		d.disconnect()
	})
}

func TestReportedThatSomeoneElseChangesIsPutRightEverMoreSlowly(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		d.report(`{"a":1}`)
		d.connect()
		after(time.Second)
		spoil := func() {
			c.mu.Lock()
			c.reported = map[string]any{"a": 2, "b": 3}
			c.changed("console", false)
			c.mu.Unlock()
		}
		spoil()
		after(5 * time.Second)
		check(t, "reported", c.has(), `{"a":1}`)
		for range 3000 { // 5 minutes of it
			spoil()
			after(100 * time.Millisecond)
		}
		if n := d.Stats().Repairs; n < 3 || n > 15 {
			t.Errorf("%d repairs in 5 minutes", n)
		}
		updates := c.count("update")
		d.report(`{"a":5}`) // something new to say does not wait
		after(time.Second)
		check(t, "updates", c.count("update"), updates+1)
		d.disconnect()
	})
}

func TestReportMayBeCalledFromOnDesired(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		d.onDesired = func(s Desired) {
			if err := d.Report(s.State); err != nil {
				t.Error(err)
			}
		}
		d.connect()
		c.want(`{"model":"b"}`)
		after(time.Second)
		check(t, "reported", c.has(), `{"model":"b"}`)
		d.disconnect()
	})
}

func TestMessagesOfAnOldConnectionAreIgnored(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"a":1}`)
		ctx, stop := context.WithCancel(context.Background())
		old := c.connect(ctx)
		d.stop, d.ended = stop, make(chan error, 1)
		go func() { d.ended <- d.Serve(ctx, old) }()
		after(time.Second)
		d.disconnect()
		before := d.Stats()
		old.handler(c.prefix+"update/delta", []byte(`{"version":99}`))
		check(t, "counters without a connection", d.Stats(), before)
		d.connect()
		before = d.Stats()
		old.handler(c.prefix+"update/delta", []byte(`{"version":99}`))
		check(t, "counters on the next connection", d.Stats(), before)
		d.disconnect()
	})
}

func TestPubackThatNeverComesIsNotTheEnd(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		ctx, cancel := context.WithCancel(context.Background())
		w := &noPuback{wire: c.connect(ctx), left: 2}
		ended := make(chan error, 1)
		go func() { ended <- d.Serve(ctx, w) }()
		d.report(`{"a":1}`)
		after(5 * time.Minute)
		check(t, "reported", c.has(), `{"a":1}`)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// noPuback swallows the first publishes and lets the caller wait.
type noPuback struct {
	*wire
	left int
}

func (n *noPuback) Publish(ctx context.Context, topic string, payload []byte) error {
	if n.left > 0 {
		n.left--
		<-ctx.Done()
		return ctx.Err()
	}
	return n.wire.Publish(ctx, topic, payload)
}
