package shadow

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// run gives a test its cloud and its device, in a bubble where time passes only while everything waits.
func run(t *testing.T, test func(t *testing.T, c *cloud, d *device)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		test(t, c, newDevice(t, c))
	})
}

func TestSubscribesThenGetsAfterEveryConnect(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"model":"a"}`)
		for i := 1; i <= 3; i++ {
			d.connect()
			check(t, "gets", c.count("get"), i)
			d.disconnect()
		}
		check(t, "desired, handed over once for one content", d.desired(), `{"model":"a"}`)
	})
}

func TestCreatesAShadowThatDoesNotExistWithTheFirstReport(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		d.connect()
		check(t, "desired", d.desired(), `{}`)
		check(t, "updates before there is a report", c.count("update"), 0)
		d.report(`{"agent":"1.0"}`)
		check(t, "reported", c.has(), `{"agent":"1.0"}`)
		after(time.Minute)
		check(t, "updates", c.count("update"), 1)
		check(t, "in sync", d.Stats().InSync, true)
		d.disconnect()
		check(t, "in sync without a connection", d.Stats().InSync, false)
	})
}

func TestAnEmptyReportCreatesTheShadowToo(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		d.report(`{}`)
		d.connect()
		after(time.Minute)
		check(t, "exists", c.exists, true)
		check(t, "updates", c.count("update"), 1)
		d.disconnect()
	})
}

func TestConvergesToDesiredAndReportsIt(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		d.report(`{"model":"a","gone":1}`)
		d.connect()
		c.want(`{"model":"b"}`)
		after(time.Second)
		d.report(`{"model":"b"}`)
		after(time.Second)
		check(t, "desired", d.desired(), `{} {"model":"b"}`)
		check(t, "reported", c.has(), `{"model":"b"}`)
		if got := c.last("update"); !strings.Contains(got, `"reported":{"gone":null,"model":"b"}`) {
			t.Errorf("the update is no minimal patch: %s", got)
		}
		d.disconnect()
	})
}

func TestTheSameDeltaAgainLeadsToNothing(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"model":"b"}`)
		d.report(`{"model":"a"}`)
		d.connect()
		gets := c.count("get")
		for i := range 10 { // each accepted update sends the delta again, since model still differs
			d.report(fmt.Sprintf(`{"model":"a","n":%d}`, i))
			after(time.Second)
		}
		check(t, "desired", d.desired(), `{"model":"b"}`)
		check(t, "gets for own updates", c.count("get"), gets)
		if d.Stats().Deltas < 10 {
			t.Errorf("only %d deltas came: the test is about nothing", d.Stats().Deltas)
		}
		d.disconnect()
	})
}

func TestADesiredKeyTakenAwayIsNoticedWithoutADelta(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"a":1,"b":2}`)
		d.report(`{"a":1,"b":2}`)
		d.connect()
		after(time.Second)
		deltas := d.Stats().Deltas
		c.want(`{"b":null}`)
		after(time.Second)
		check(t, "desired", d.desired(), `{"a":1,"b":2} {"a":1}`)
		check(t, "deltas", d.Stats().Deltas, deltas)
		d.disconnect()
	})
}

func TestADeltaLostWhileDisconnectedIsMadeUpForByGet(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		d.connect()
		d.disconnect()
		c.want(`{"model":"b"}`)
		d.connect()
		check(t, "desired", d.desired(), `{} {"model":"b"}`)
		d.disconnect()
	})
}

func TestADeltaLostWhileConnectedIsMadeUpForWithinAboutAnHour(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"model":"a"}`)
		d.connect()
		c.mu.Lock()
		c.desired["model"], c.version = "b", c.version+1 // and nobody is told
		c.mu.Unlock()
		after(refreshEvery * 11 / 10)
		check(t, "desired", d.desired(), `{"model":"a"} {"model":"b"}`)
		d.disconnect()
	})
}

func TestAStormOfDeltasCostsOneGetInFlightAndOneMore(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"n":0}`)
		d.connect()
		after(time.Second)
		gets := c.count("get")
		c.fail("get", mute) // the answer comes below, while the bells ring
		c.want(`{"n":1}`)
		check(t, "gets in flight", c.count("get"), gets+1)
		c.mu.Lock()
		old := c.document()
		for i := range 1000 {
			c.desired["n"] = i
			c.changed("console", false)
		}
		c.mu.Unlock()
		synctest.Wait()
		check(t, "gets while one is in flight", c.count("get"), gets+1)
		c.inject("get/accepted", old)
		after(time.Minute)
		check(t, "gets", c.count("get"), gets+2)
		check(t, "desired", d.desired(), `{"n":0} {"n":999}`)
		check(t, "deltas", d.Stats().Deltas, 1001)
		d.disconnect()
	})
}

func TestDeltasOutOfOrderAndTwiceAreHarmless(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"n":1}`)
		c.want(`{"n":2}`)
		c.want(`{"n":3}`)
		d.connect()
		after(time.Second)
		gets := c.count("get")
		for _, v := range []int{2, 1, 3, 3, 2} {
			c.inject("update/delta", fmt.Sprintf(`{"state":{"n":%d},"version":%d}`, v, v))
		}
		after(10 * time.Second)
		check(t, "desired", d.desired(), `{"n":3}`)
		check(t, "stale", d.Stats().Stale, 3)
		check(t, "gets at once", c.count("get"), gets)
		after(2 * oldBellPause)
		check(t, "gets within a minute", c.count("get"), gets+1)
		d.disconnect()
	})
}

func TestDeletedShadowIsMadeAgainAndItsLowVersionIsNotHeldAgainstIt(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		for range 50 {
			c.want(`{"model":"a"}`)
		}
		d.report(`{"model":"a"}`)
		d.connect()
		after(time.Second)
		c.remove(0, false)
		after(time.Second)
		check(t, "reported", c.has(), `{"model":"a"}`)
		c.want(`{"model":"b"}`)
		after(time.Second)
		check(t, "desired", d.desired(), `{"model":"a"} {} {"model":"b"}`)
		if v := d.Stats().Version; v > 5 {
			t.Errorf("version is %d: the deletion did not reset it", v)
		}
		d.disconnect()
	})
}

func TestVersionBackAfterADeletionThatNobodyToldOf(t *testing.T) {
	for _, online := range []bool{true, false} {
		run(t, func(t *testing.T, c *cloud, d *device) {
			for range 50 {
				c.want(`{"model":"a"}`)
			}
			d.report(`{"model":"a"}`)
			d.connect()
			after(time.Second)
			if !online {
				d.disconnect()
			}
			c.remove(0, true)
			c.want(`{"model":"b"}`)
			if !online {
				d.connect()
			}
			after(2 * oldBellPause)
			check(t, "desired", d.desired(), `{"model":"a"} {"model":"b"}`)
			check(t, "reported", c.has(), `{"model":"a"}`)
			d.disconnect()
		})
	}
}

func TestAnAnswerOlderThanWhatIsKnownIsAskedForAgainAndThenBelieved(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.want(`{"n":1}`)
		c.want(`{"n":2}`)
		d.connect()
		after(time.Second)
		c.fail("get", mute, mute)
		c.inject("update/delta", `{"version":10}`)
		gets := c.count("get")
		stale := `{"state":{"desired":{"n":1}},"version":1}`
		c.inject("get/accepted", stale)
		check(t, "desired after one old answer", d.desired(), `{"n":2}`)
		after(time.Second)
		check(t, "gets", c.count("get"), gets+1)
		c.inject("get/accepted", stale)
		check(t, "desired after the second", d.desired(), `{"n":2} {"n":1}`)
		check(t, "version", d.Stats().Version, 1)
		d.disconnect()
	})
}

func TestGetThatFailsIsRetriedWithGrowingPauses(t *testing.T) {
	for name, f := range map[string]fault{"lost": lost, "mute": mute, "429": 429, "500": 500, "409": 409, "garbage": garbage} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, c *cloud, d *device) {
				c.want(`{"a":1}`)
				c.fail("get", f, f, f, f)
				d.connect()
				after(5 * time.Minute)
				check(t, "desired", d.desired(), `{"a":1}`)
				check(t, "gets", c.count("get"), 5)
				check(t, "retries", d.Stats().Retries, 4)
				first, last := c.requests[1].at.Sub(c.requests[0].at), c.requests[4].at.Sub(c.requests[3].at)
				if last-first < 3*time.Second { // at least 4 s against at most 1 s, over the same timeout
					t.Errorf("pauses do not grow: %v, then %v", first, last)
				}
				d.disconnect()
			})
		})
	}
}

func TestUpdateThatMayWorkLaterIsRetriedUntilItDoes(t *testing.T) {
	for name, f := range map[string]fault{"lost": lost, "mute": mute, "409": 409, "429": 429, "500": 500, "garbage": garbage} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, c *cloud, d *device) {
				c.want(`{"a":1}`)
				d.connect()
				c.fail("update", f, f, f)
				d.report(`{"a":1}`)
				after(5 * time.Minute)
				check(t, "reported", c.has(), `{"a":1}`)
				check(t, "in sync", d.Stats().InSync, true)
				want := 4
				if f == mute { // carried out; the GET that follows shows it
					want = 1
				}
				check(t, "updates", c.count("update"), want)
				d.disconnect()
			})
		})
	}
}

func TestRefusalThatLastsIsLoggedOnceAndNotHammered(t *testing.T) {
	for _, code := range []fault{400, 401, 403, 413, 415} {
		for _, topic := range []string{"update", "get"} {
			t.Run(fmt.Sprint(topic, " ", code), func(t *testing.T) {
				run(t, func(t *testing.T, c *cloud, d *device) {
					c.want(`{"a":1}`)
					c.failAlways(topic, code)
					d.connect()
					d.report(`{"a":1}`)
					after(50 * time.Minute)
					if n := c.count(topic); n > 8 {
						t.Errorf("%d requests in 50 minutes", n)
					}
					logged := d.logs.FilterField(zapString("request", topic)).All()
					if len(logged) != 1 || logged[0].ContextMap()["advice"] == "" {
						t.Fatalf("logged %d times: %v", len(logged), logged)
					}
					c.failAlways(topic, none)
					d.report(`{"a":2}`) // something has changed
					after(refreshEvery)
					check(t, "reported", c.has(), `{"a":2}`)
					d.disconnect()
				})
			})
		}
	}
}

func TestChangingReportsDoNotHammerAServiceThatRefusesThem(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		c.failAlways("update", 403)
		d.connect()
		for i := range 600 {
			d.report(fmt.Sprintf(`{"n":%d}`, i))
			after(time.Second)
		}
		if n := c.count("update"); n > 8 {
			t.Errorf("%d updates in 10 minutes", n)
		}
		d.disconnect()
	})
}

func TestReportsInQuickSuccessionAreOneUpdateAndTheNewestWins(t *testing.T) {
	run(t, func(t *testing.T, c *cloud, d *device) {
		d.connect()
		for i := range 1000 { // over one second
			d.report(fmt.Sprintf(`{"n":%d}`, i))
			after(time.Millisecond)
		}
		after(time.Second)
		check(t, "reported", c.has(), `{"n":999}`)
		if n := c.count("update"); n > 5 {
			t.Errorf("%d updates in a second", n)
		}
		d.report(`{"n":999}`)
		updates := c.count("update")
		after(time.Second)
		check(t, "updates for an equal report", c.count("update"), updates)
		d.disconnect()
	})
}
