package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"gnomon/devcloud"
)

// plan is what happens when, all counted from the end of the warm-up. It is made from the duration alone.
type plan struct {
	Warm      time.Duration `json:"warm_ns"`
	Measured  time.Duration `json:"measured_ns"`
	SwapEvery time.Duration `json:"swap_every_ns"`
	CutEvery  time.Duration `json:"cut_every_ns"`
	PullEvery time.Duration `json:"pull_every_ns"`
	Pulls     int           `json:"pulls"`
}

// The plan of an hour: ten pulls in the first ten minutes, exchanges of models every five, cuts every seven. A shorter run
// has the same number of pulls as long as each has its quarter of a minute, and the rest at shorter distances.
const (
	shortest = 90 * time.Second // below it a slope says nothing

	mostPulls           = 10
	pullLeast, pullMost = 15 * time.Second, time.Minute
	warmParts           = 6 // of the duration
	warmLeast, warmMost = 20 * time.Second, 5 * time.Minute
	swapParts           = 12
	swapLeast, swapMost = 20 * time.Second, 5 * time.Minute
	cutParts            = 6
	cutLeast, cutMost   = 35 * time.Second, 7 * time.Minute

	gone            = 5 * time.Second // how long a camera is away
	severed, silent = 5 * time.Second, 15 * time.Second
)

// What is expected of the agent.
const (
	backWithin  = 5 * time.Second // of a camera's return
	undisturbed = 0.9             // of the speed before
	swapWithin  = time.Minute
	// settleWithin is for what has waited at the end, deliversWithin for all sources at the start.
	settleWithin   = time.Minute
	deliversWithin = 2 * time.Minute
)

func newPlan(duration time.Duration) plan {
	p := plan{Warm: clamp(duration/warmParts, warmLeast, warmMost)}
	p.Measured = duration - p.Warm
	p.SwapEvery = clamp(duration/swapParts, swapLeast, swapMost)
	p.CutEvery = clamp(duration/cutParts, cutLeast, cutMost)
	p.PullEvery = clamp(p.Measured/(mostPulls+2), pullLeast, pullMost)
	p.Pulls = min(mostPulls, int(p.Measured/p.PullEvery)-2) // none at the very begin, and none that ends too late to be judged
	return p
}

func clamp(d, least, most time.Duration) time.Duration { return min(max(d, least), most) }

// event is something that was done to the agent.
type event struct {
	At   float64   `json:"at_s"`
	Kind string    `json:"kind"` // pull, swap, cut
	Text string    `json:"text"`
	End  float64   `json:"end_s"`
	from time.Time // when it began
	to   time.Time // when what was taken away was there again
}

// scenario does what the plan says.
type scenario struct {
	plan    plan
	begin   time.Time
	cloud   *devcloud.Cloud
	models  []deployment
	network *proxy
	cameras []*rtspCamera // the first is the one whose plug is pulled

	failedSwaps int // only swaps uses it, until run has returned

	mu     sync.Mutex
	events []event
}

// happened notes an event that is over.
func (s *scenario) happened(kind, text string, from, to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event{
		At: from.Sub(s.begin).Seconds(), End: to.Sub(s.begin).Seconds(), Kind: kind, Text: text, from: from, to: to,
	})
}

// run returns when the measured time is over, with everything whole again.
func (s *scenario) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.plan.Measured)
	defer cancel()
	var group sync.WaitGroup
	errs := make(chan error, 3)
	for _, part := range []func(context.Context) error{s.swaps, s.cuts, s.pulls} {
		group.Go(func() {
			err := part(ctx)
			if err != nil {
				cancel() // there is no point in going on
			}
			errs <- err
		})
	}
	group.Wait()
	<-ctx.Done()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// each calls do every so often, and not in the last of these times.
func each(ctx context.Context, every time.Duration, do func(n int) error) error {
	end, _ := ctx.Deadline()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if time.Until(end) < every {
			return nil
		}
		if err := do(n); err != nil {
			return err
		}
	}
}

// swaps exchanges the model for the other one, through the shadow.
func (s *scenario) swaps(ctx context.Context) error {
	return each(ctx, s.plan.SwapEvery, func(n int) error {
		d := s.models[(n+1)%len(s.models)] // the first one runs from the start
		from := time.Now()
		if err := deploy(s.cloud, d); err != nil {
			return err
		}
		err := until(context.WithoutCancel(ctx), swapWithin, "the agent to run "+d.name, func() (bool, error) {
			r, ok := reported(s.cloud)
			if ok && r.Error != nil && r.SHA256 != d.sha256 && r.State != "downloading" {
				return false, fmt.Errorf("%s was refused: %s: %s", d.name, r.Error.Code, r.Error.Message)
			}
			return ok && r.State == "active" && r.SHA256 == d.sha256, nil
		})
		text := d.name
		if err != nil {
			s.failedSwaps++ // the agent's failure, not ours
			text += ": " + err.Error()
		}
		s.happened("swap", text, from, time.Now())
		return nil
	})
}

// cuts ends the connections, or lets nothing through, by turns.
func (s *scenario) cuts(ctx context.Context) error {
	return each(ctx, s.plan.CutEvery, func(n int) error {
		from, kind, lasts := time.Now(), "severed", severed
		if n%2 == 1 {
			kind, lasts = "silent", silent
			s.network.silence()
		} else {
			s.network.sever()
		}
		sleep(ctx, lasts)
		s.network.mend()
		s.happened("cut", kind, from, time.Now())
		return nil
	})
}

// pulls takes the first camera away: its server is killed and started again, or stopped and continued.
func (s *scenario) pulls(ctx context.Context) error {
	c := s.cameras[0]
	return each(ctx, s.plan.PullEvery, func(n int) error {
		if n >= s.plan.Pulls {
			return nil
		}
		from, kind := time.Now(), "killed"
		if n%2 == 1 {
			kind = "stopped"
			if err := c.signal(syscall.SIGSTOP); err != nil {
				return err
			}
			sleep(ctx, gone)
			if err := c.signal(syscall.SIGCONT); err != nil {
				return err
			}
		} else {
			if err := c.kill(); err != nil {
				return err
			}
			sleep(ctx, gone)
			if err := c.start(); err != nil {
				return err
			}
		}
		s.happened("pull", kind, from, time.Now())
		return nil
	})
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
