// Package doctor looks at what an agent needs, and says of each thing whether it is well and else what to do.
//
// Checks run side by side, each with a time limit, so that one that hangs hides none of the others. Here are those of the
// machine and of the connections; whoever calls adds those of cameras and models. Nothing here changes anything for good,
// and nothing disturbs an agent that runs. Without cgo.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gnomon/telemetry/redact"
)

const (
	// usualLimit is how long a check may take unless it says otherwise: longer than a name server, a handshake on a mobile
	// network or a disk takes on a bad day.
	usualLimit = 15 * time.Second
	// maxSide is how many checks run at once: more cameras than that at once would slow each other down.
	maxSide = 8
)

// Schema names the form of a Report. The number goes up when a reader of the old form would misread the new one.
const Schema = "gnomon.doctor/1"

// Status says how one thing is, or all of them together.
type Status string

// The states.
const (
	OK      Status = "ok"
	Skipped Status = "skip" // not looked at: it is not in use, or was not asked for
	Warning Status = "warn" // the agent does its work, but somebody should look
	Failed  Status = "fail" // the agent cannot do its work, or a part of it
)

// Finding is what a check has found.
type Finding struct {
	Status Status
	Detail string // what was found, for a person
	Do     string // what to do about it; empty: nothing
}

// Good is a Finding of something that is well.
func Good(format string, args ...any) Finding { return Finding{OK, fmt.Sprintf(format, args...), ""} }

// Skip is a Finding of something that was not looked at.
func Skip(format string, args ...any) Finding {
	return Finding{Skipped, fmt.Sprintf(format, args...), ""}
}

// Warn is a Finding of something that somebody should look at.
func Warn(do, format string, args ...any) Finding {
	return Finding{Warning, fmt.Sprintf(format, args...), do}
}

// Fail is a Finding of something that does not work.
func Fail(do, format string, args ...any) Finding {
	return Finding{Failed, fmt.Sprintf(format, args...), do}
}

// Check is one thing to look at.
type Check struct {
	Name  string
	Limit time.Duration // 0: 15 s
	// Alone has it wait for all others: what is measured should not be disturbed. Such checks run one after the other.
	Alone bool
	// Run looks. It should return when ctx ends, which it does after the limit; where it does not, it is left behind.
	Run func(ctx context.Context) Finding
}

// Result is what became of a check.
type Result struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"`
	TookMS int64  `json:"took_ms"`
}

// Report is what became of all checks, in their order.
type Report struct {
	Schema  string   `json:"schema"`
	Version string   `json:"version"` // of the agent; the caller's to set
	Time    string   `json:"time"`    // RFC 3339 in UTC
	Status  Status   `json:"status"`  // the worst of all
	Checks  []Result `json:"checks"`
}

// Examine runs the checks. waiting, which may be nil, is told which are still under way whenever that changes: from the
// caller's goroutine, one call at a time. When ctx ends, checks that have not are left behind.
func Examine(ctx context.Context, checks []Check, waiting func(names []string)) Report {
	r := Report{Schema: Schema, Time: time.Now().UTC().Format(time.RFC3339), Status: OK, Checks: make([]Result, len(checks))}
	var beside, alone []int
	for i, c := range checks {
		if c.Alone {
			alone = append(alone, i)
		} else {
			beside = append(beside, i)
		}
	}
	e := &examination{ctx: ctx, checks: checks, report: &r, waiting: waiting}
	e.run(beside, maxSide)
	e.run(alone, 1)
	for _, one := range r.Checks {
		if rank(one.Status) > rank(r.Status) {
			r.Status = one.Status
		}
	}
	return r
}

// rank orders states; what was not looked at is as good as what is well.
func rank(s Status) int { return slices.Index([]Status{Skipped, OK, Warning, Failed}, s) }

// Count is how many checks ended in a state.
func (r *Report) Count(s Status) (n int) {
	for _, one := range r.Checks {
		if one.Status == s {
			n++
		}
	}
	return n
}

// examination is Examine at work.
type examination struct {
	ctx     context.Context
	checks  []Check
	report  *Report
	waiting func([]string)
}

// run runs some of the checks, at most so many at once.
func (e *examination) run(which []int, most int) {
	type ended struct {
		i int
		f Finding
	}
	results := make(chan ended, len(which))
	started := make([]time.Time, len(e.checks))
	open := slices.Clone(which) // not ended
	next := 0
	for len(open) > 0 {
		for ; next < len(which) && next-(len(which)-len(open)) < most; next++ {
			i := which[next]
			started[i] = time.Now()
			go func() { results <- ended{i, e.limited(e.checks[i])} }()
		}
		if e.waiting != nil {
			var names []string
			for _, i := range open {
				if !started[i].IsZero() {
					names = append(names, e.checks[i].Name)
				}
			}
			e.waiting(names)
		}
		r := <-results
		open = slices.DeleteFunc(open, func(i int) bool { return i == r.i })
		e.report.Checks[r.i] = Result{
			Name: e.checks[r.i].Name, Status: r.f.Status, Detail: redact.Text(r.f.Detail), Do: redact.Text(r.f.Do),
			TookMS: time.Since(started[r.i]).Milliseconds(),
		}
	}
}

// limited runs a check for as long as it may take.
func (e *examination) limited(c Check) Finding {
	limit := c.Limit
	if limit == 0 {
		limit = usualLimit
	}
	if e.ctx.Err() != nil {
		return Skip("interrupted")
	}
	ctx, cancel := context.WithTimeout(e.ctx, limit)
	defer cancel()
	found := make(chan Finding, 1)
	go func() { found <- c.Run(ctx) }()
	select {
	case f := <-found:
		return f
	case <-ctx.Done():
	}
	grace := time.NewTimer(returnGrace) // what returns when it is told to says more
	defer grace.Stop()
	select {
	case f := <-found:
		return f
	case <-grace.C:
	}
	if e.ctx.Err() != nil {
		return Skip("interrupted")
	}
	return Fail("see whether it hangs for others too: the log of the system (journalctl -k) may say why", "no answer within %v", limit)
}

// returnGrace is how long a check may take to return after its limit.
const returnGrace = 500 * time.Millisecond
