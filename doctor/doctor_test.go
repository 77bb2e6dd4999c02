package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func fixed(name string, f Finding, after time.Duration) Check {
	return Check{Name: name, Run: func(context.Context) Finding { time.Sleep(after); return f }}
}

func TestExamine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		measured := time.Duration(0)
		began := time.Now()
		checks := []Check{
			{Name: "measured", Alone: true, Run: func(context.Context) Finding { measured = time.Since(began); return Good("first in the list") }},
			fixed("slow", Good("late"), 10*time.Second),
			fixed("secret", Warn("see rtsp://a:secret@b/", "rtsp://a:secret@b/ is black"), time.Second),
			{Name: "hangs", Limit: 12 * time.Second, Run: func(context.Context) Finding { time.Sleep(time.Minute); return Good("too late") }},
			{Name: "told to end", Limit: 3 * time.Second, Run: func(ctx context.Context) Finding { <-ctx.Done(); return Fail("plug it in", "no picture") }},
			fixed("left out", Skip("--offline"), 0),
		}
		var waited []string
		r := Examine(t.Context(), checks, func(names []string) { waited = append(waited, strings.Join(names, " ")) })
		if r.Time = ""; measured < 12*time.Second || time.Since(began) > 13*time.Second {
			t.Errorf("measured after %v, all over after %v", measured, time.Since(began))
		}
		want := Report{Schema: Schema, Status: Failed, Checks: []Result{
			{"measured", OK, "first in the list", "", 0},
			{"slow", OK, "late", "", 10000},
			{"secret", Warning, "rtsp://***@b/ is black", "see rtsp://***@b/", 1000},
			{"hangs", Failed, "no answer within 12s", "see whether it hangs for others too: the log of the system (journalctl -k) may say why", 12500},
			{"told to end", Failed, "no picture", "plug it in", 3000},
			{"left out", Skipped, "--offline", "", 0},
		}}
		if d := cmp.Diff(want, r); d != "" {
			t.Error(d)
		}
		wantWaited := []string{"slow secret hangs told to end left out", "slow secret hangs told to end", "slow hangs told to end", "slow hangs", "hangs", "measured"}
		if d := cmp.Diff(wantWaited, waited); d != "" {
			t.Error(d)
		}
		if r.Count(OK) != 2 || r.Count(Failed) != 2 || r.Count(Warning) != 1 || r.Count(Skipped) != 1 {
			t.Errorf("%+v", r)
		}
		time.Sleep(time.Hour) // what was left behind ends
	})
}

// TestMany: there are never too many at once, and none is forgotten.
func TestMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var checks []Check
		var running, most atomic.Int32
		for i := range 50 {
			checks = append(checks, Check{Name: fmt.Sprint(i), Run: func(context.Context) Finding {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				time.Sleep(time.Duration(1+i%3) * time.Second)
				return Good("%d", i)
			}})
		}
		r := Examine(t.Context(), checks, nil)
		if most.Load() != maxSide || r.Count(OK) != len(checks) || r.Status != OK {
			t.Errorf("%d at once, %d ok, %s", most.Load(), r.Count(OK), r.Status)
		}
	})
}

func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := Examine(ctx, []Check{
			{Name: "hangs", Run: func(context.Context) Finding { time.Sleep(time.Minute); return Good("") }},
			{Name: "later", Alone: true, Run: func(context.Context) Finding { return Good("") }},
		}, nil)
		if r.Count(Skipped) != 2 || r.Status != OK {
			t.Errorf("%+v", r)
		}
		time.Sleep(time.Hour)
	})
}

// TestJSON: programs read this; what it says stays where it is.
func TestJSON(t *testing.T) {
	r := Report{Schema: Schema, Version: "1.2.3", Time: "2026-11-24T10:00:00Z", Status: Warning, Checks: []Result{
		{"clock", Warning, "nothing keeps it right", "start chrony", 3}, {"disk", OK, "12 GB free", "", 20},
	}}
	got, err := json.Marshal(r)
	want := `{"schema":"gnomon.doctor/1","version":"1.2.3","time":"2026-11-24T10:00:00Z","status":"warn","checks":[` +
		`{"name":"clock","status":"warn","detail":"nothing keeps it right","do":"start chrony","took_ms":3},{"name":"disk","status":"ok","detail":"12 GB free","took_ms":20}]}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	order := []Status{Skipped, OK, Warning, Failed}
	if !slices.IsSortedFunc(order, func(a, b Status) int { return rank(a) - rank(b) }) {
		t.Error("the states have another order")
	}
}

// look runs one check and holds it against what it should find: the beginning of the detail, and a part of what to do.
func look(t *testing.T, c Check, want Status, detail, do string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), usualLimit)
	defer cancel()
	f := c.Run(ctx)
	if f.Status != want || !strings.Contains(f.Detail, detail) || !strings.Contains(f.Do, do) || (f.Do == "") != (want == OK || want == Skipped) {
		t.Errorf("%s: %+v, want %s, %q and %q", c.Name, f, want, detail, do)
	}
}
