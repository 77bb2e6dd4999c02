package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/models/artifact"
	"gnomon/models/store"
)

func TestHappyPath(t *testing.T) {
	old, next := model{"old", 1, "v1"}, model{"next", 2, "v2"}
	within(t, "", func(t *testing.T, dir string) {
		w := newWorld(old, next)
		dev := boot(t, w, dir, nil)
		dev.expect(dev.after(time.Minute), StateActive, "", "")
		dev.bring(old)
		dev.states = nil
		phases := map[string]string{"probe": "probing", "load": "loading", "swap": "probation"}
		w.set(func(_ context.Context, what, _ string) error {
			if sl := dev.store.State().Slots["default"]; sl.Phase != phases[what] {
				t.Errorf("when it comes to %s the disk says %q", what, sl.Phase)
			}
			return nil
		})
		dev.Desire(one(next))
		dev.expect(dev.after(30*time.Second), StateProbation, "", next.sha())
		if st := dev.store.State(); st.Slot("default").Active.SHA256 != old.sha() || st.Slot("default").Phase != "probation" {
			t.Errorf("in probation: %+v", st.Slot("default"))
		}
		r := dev.after(time.Minute)
		dev.expect(r, StateActive, "", next.sha())
		if r.Version != "v2" || r.Release != 2 || r.URI != next.uri() || r.Candidate != nil || r.Failures != 0 {
			t.Errorf("%+v", r)
		}
		states := slices.DeleteFunc(dev.states, func(s State) bool { return s == StateVerifying })
		if want := []State{StateDownloading, StateProbing, StateLoading, StateProbation, StateActive}; !slices.Equal(states, want) {
			t.Errorf("states %q, want %q", states, want)
		}
		calls := w.count("fetch")
		for range 3 {
			dev.Desire(one(next)) // the same again
			dev.after(time.Hour)
		}
		dev.Desire(one(old)) // installed as previous, and a downgrade
		dev.expect(dev.after(time.Hour), StateFailed, CodeDowngradeRefused, next.sha())
		dev.Desire(desired(map[string]any{"default": old.entry(map[string]any{"allow_downgrade": true})}))
		dev.expect(dev.after(2*time.Minute), StateActive, "", old.sha())
		if w.count("fetch") != calls {
			t.Errorf("%d downloads of what is installed", w.count("fetch")-calls)
		}
		dev.Desire(desired(map[string]any{"default": map[string]any{"uri": Builtin}}))
		r = dev.after(2 * time.Minute)
		dev.expect(r, StateActive, "", "")
		if r.URI != Builtin || dev.store.State().Slots["default"].Release != 2 {
			t.Errorf("%+v", r)
		}
		dev.Desire(desired(map[string]any{"default": nil}))
		dev.expect(dev.after(time.Minute), StateActive, "", "")
	})
}

// hookFor fails one kind of call for one model, the first n times; 0 means always.
func hookFor(kind string, m model, n int, err error) func(context.Context, string, string) error {
	met := 0
	return func(_ context.Context, what, sha string) error {
		if what != kind || sha != m.sha() {
			return nil
		}
		if met++; n > 0 && met > n {
			return nil
		}
		return err
	}
}

func TestFailures(t *testing.T) {
	old, bad := model{"old", 5, "v5"}, model{"bad", 6, "v6"}
	unnumbered, fifth := model{"plain", 0, ""}, model{"fourth", 4, ""}
	refused := &artifact.Error{Code: artifact.CodeSignatureInvalid, Err: errors.New("no trusted key made it")}
	type outcome struct {
		state State
		code  Code
		count map[string]int // of calls in two hours
	}
	banned := func(code Code, kind string) outcome { return outcome{StateBanned, code, map[string]int{kind: 3}} }
	for _, c := range []struct {
		name   string
		hook   func(context.Context, string, string) error
		change map[string]any
		model  model
		damage func(dir string, f *Fetched)
		first  outcome // after 30 seconds
		last   outcome // after two hours
	}{
		{
			name: "another digest", damage: func(_ string, f *Fetched) { f.SHA256 = digest("x") },
			first: outcome{state: StateFailed, code: CodeDigestMismatch}, last: banned(CodeDigestMismatch, "fetch"),
		},
		{
			name: "a file is not as listed", damage: func(_ string, f *Fetched) { f.Meta.Files[0].SHA256 = digest("x") },
			first: outcome{state: StateFailed, code: CodeInstallFailed}, last: banned(CodeInstallFailed, "fetch"),
		},
		{name: "a file is missing", damage: func(dir string, _ *Fetched) { os.Remove(filepath.Join(dir, "model.onnx")) }, //nolint:errcheck // then the test fails
			first: outcome{state: StateFailed, code: CodeInstallFailed}, last: banned(CodeInstallFailed, "fetch")},
		{
			name: "no code", hook: hookFor("fetch", bad, 0, errors.New("odd")),
			first: outcome{state: StateFailed, code: CodeInternal}, last: banned(CodeInternal, "fetch"),
		},
		{
			name: "no network", hook: hookFor("fetch", bad, 0, coded{"network", true}),
			first: outcome{state: StateDownloading, code: "network"}, last: outcome{state: StateDownloading, code: "network"},
		},
		{
			name: "network comes back", hook: hookFor("fetch", bad, 3, fmt.Errorf("it: %w", coded{"network", true})),
			first: outcome{state: StateProbation}, last: outcome{StateActive, "", map[string]int{"fetch": 4, "probe": 1}},
		},
		{
			name: "not there yet", hook: hookFor("fetch", bad, 0, coded{"not_found", false}),
			first: outcome{state: StateDownloading, code: "not_found"}, last: outcome{state: StateDownloading, code: "not_found"},
		},
		{
			name: "presigned URL too old", hook: hookFor("fetch", bad, 0, coded{"url_expired", false}),
			first: outcome{state: StateFailed, code: "url_expired"}, last: outcome{StateFailed, "url_expired", map[string]int{"fetch": 1}},
		},
		{
			name: "signature", hook: hookFor("fetch", bad, 0, fmt.Errorf("it: %w", refused)),
			first: outcome{state: StateFailed, code: "signature_invalid"}, last: outcome{StateFailed, "signature_invalid", map[string]int{"fetch": 1}},
		},
		{
			name: "probe", hook: hookFor("probe", bad, 0, errors.New("it crashed")),
			first: outcome{state: StateFailed, code: CodeProbeFailed}, last: outcome{StateBanned, CodeProbeFailed, map[string]int{"fetch": 1, "probe": 3, "load": 0}},
		},
		{
			name: "probe with a code", hook: hookFor("probe", bad, 0, coded{"probe_killed", false}),
			first: outcome{state: StateFailed, code: "probe_killed"}, last: banned("probe_killed", "probe"),
		},
		{
			name: "probe, third time lucky", hook: hookFor("probe", bad, 2, errors.New("it crashed")),
			first: outcome{state: StateFailed, code: CodeProbeFailed}, last: outcome{StateActive, "", map[string]int{"probe": 3}},
		},
		{
			name: "load", hook: hookFor("load", bad, 0, errors.New("no memory")),
			first: outcome{state: StateFailed, code: CodeLoadFailed}, last: banned(CodeLoadFailed, "load"),
		},
		{
			name: "load, for now", hook: hookFor("load", bad, 0, coded{"no_memory", true}),
			first: outcome{state: StateLoading, code: "no_memory"}, last: outcome{state: StateLoading, code: "no_memory"},
		},
		{
			name: "swap", hook: hookFor("swap", bad, 0, errors.New("the slot is closed")),
			first: outcome{state: StateRolledBack, code: CodeSwapFailed}, last: outcome{StateBanned, CodeSwapFailed, map[string]int{"probe": 3, "load": 6}},
		},
		{
			name: "version", change: map[string]any{"version": "v7"},
			first: outcome{state: StateFailed, code: CodeVersionMismatch}, last: outcome{StateFailed, CodeVersionMismatch, map[string]int{"fetch": 1, "probe": 0}},
		},
		{
			name: "release", change: map[string]any{"release": 7},
			first: outcome{state: StateFailed, code: CodeVersionMismatch}, last: outcome{StateFailed, CodeVersionMismatch, map[string]int{"fetch": 1, "probe": 0}},
		},
		{
			name: "version and release as said", change: map[string]any{"release": 6, "version": "v6"},
			first: outcome{state: StateProbation}, last: outcome{state: StateActive},
		},
		{
			name: "older in the entry", change: map[string]any{"release": 4},
			first: outcome{state: StateFailed, code: CodeDowngradeRefused}, last: outcome{StateFailed, CodeDowngradeRefused, map[string]int{"fetch": 0}},
		},
		{
			name: "older in the manifest", model: fifth,
			first: outcome{state: StateFailed, code: CodeDowngradeRefused}, last: outcome{StateFailed, CodeDowngradeRefused, map[string]int{"fetch": 1, "probe": 0}},
		},
		{
			name: "numbered before, not now", model: unnumbered,
			first: outcome{state: StateFailed, code: CodeDowngradeRefused}, last: outcome{state: StateFailed, code: CodeDowngradeRefused},
		},
		{
			name: "numbered in the entry only", model: unnumbered, change: map[string]any{"release": 6},
			first: outcome{state: StateProbation}, last: outcome{state: StateActive},
		},
	} {
		within(t, c.name, func(t *testing.T, dir string) {
			w := newWorld(old, bad, unnumbered, fifth)
			dev := boot(t, w, dir, nil)
			dev.bring(old)
			if c.hook != nil {
				w.set(c.hook)
			}
			if c.damage != nil {
				w.damage = c.damage
			}
			if c.model == (model{}) {
				c.model = bad
			}
			clear(w.calls)
			dev.Desire(desired(map[string]any{"default": c.model.entry(c.change)}))
			check := func(r SlotReport, want outcome) {
				t.Helper()
				runs := old.sha()
				if want.state == StateActive || want.state == StateProbation {
					runs = c.model.sha()
				}
				dev.expect(r, want.state, want.code, runs)
				waits := want.code != "" && want.state != StateBanned && handling(want.code, true) != Final
				if !r.RetryAt.IsZero() != waits {
					t.Errorf("retry at %v", r.RetryAt)
				}
				for kind, n := range want.count {
					if w.count(kind) != n {
						t.Errorf("%d calls of %s, want %d", w.count(kind), kind, n)
					}
				}
			}
			check(dev.after(30*time.Second), c.first)
			r := dev.after(2 * time.Hour)
			check(r, c.last)
			st := dev.store.State()
			if st.Slots["default"].Candidate != nil || r.Failures != 3 && c.last.state == StateBanned || c.last.state != StateBanned && len(st.Failures) > 0 {
				t.Errorf("failures %d; %+v", r.Failures, st)
			}
			if n := w.count("fetch"); n > 25 {
				t.Errorf("%d downloads in two hours", n)
			}
		})
	}
}

func TestBan(t *testing.T) {
	old, bad, good := model{"old", 1, ""}, model{"bad", 0, ""}, model{"good", 9, ""}
	within(t, "", func(t *testing.T, dir string) {
		w := newWorld(old, bad, good)
		dev := boot(t, w, dir, nil)
		dev.bring(old)
		with := func(release int) []byte {
			return desired(map[string]any{"default": bad.entry(map[string]any{"release": release})})
		}
		w.set(hookFor("probe", bad, 3, errors.New("it crashed")))
		dev.Desire(with(2))
		dev.expect(dev.after(time.Hour), StateBanned, CodeProbeFailed, old.sha())
		dev.stop()
		dev = boot(t, w, dir, nil)
		dev.expect(dev.after(time.Hour), StateBanned, CodeProbeFailed, old.sha())
		dev.Desire(desired(map[string]any{"default": nil}))
		dev.expect(dev.after(time.Minute), StateActive, "", old.sha())
		dev.Desire(with(1)) // a lower number does not help
		dev.expect(dev.after(time.Hour), StateBanned, CodeProbeFailed, old.sha())
		if w.count("probe") != 4 {
			t.Errorf("%d probes", w.count("probe"))
		}
		dev.Desire(desired(map[string]any{"default": bad.entry(map[string]any{"release": 2}), "side": bad.entry(nil)}))
		dev.after(time.Hour)
		if side := dev.Report()["side"]; side.State != StateActive || side.SHA256 != bad.sha() {
			t.Errorf("the other slot: %+v", side)
		}
		dev.Desire(with(3))
		dev.expect(dev.after(time.Hour), StateActive, "", bad.sha())
		if st := dev.store.State(); len(st.Failures) > 0 {
			t.Errorf("not forgiven: %v", st.Failures)
		}
		dev.bring(good)
	})
}

func TestOffline(t *testing.T) {
	old, next := model{"old", 1, ""}, model{"next", 2, ""}
	within(t, "", func(t *testing.T, dir string) {
		w := newWorld(old, next)
		dev := boot(t, w, dir, nil)
		dev.bring(old)
		for _, stage := range []string{"fetch", "probe", "load", "probation"} {
			w.set(func(ctx context.Context, what, _ string) error {
				if what == stage {
					<-ctx.Done()
				}
				return ctx.Err()
			})
			if stage == "fetch" {
				dev.Desire(one(next))
			}
			dev.after(5 * time.Second)
			dev.stop()
			dev = boot(t, w, dir, nil) // nobody desires anything: the store knows
			if r := dev.Report()["default"]; r.SHA256 != old.sha() || len(dev.store.State().Failures) > 0 {
				t.Errorf("after an orderly stop in %s: %+v, %v", stage, r, dev.store.State().Failures)
			}
		}
		dev.expect(dev.after(2*time.Minute), StateActive, "", next.sha())
	})
}

func TestInterrupted(t *testing.T) {
	old, next := model{"old", 1, ""}, model{"next", 2, ""}
	within(t, "", func(t *testing.T, dir string) {
		w := newWorld(old, next)
		dev := boot(t, w, dir, nil)
		dev.bring(old)
		dev.stop()
		for n := 1; n <= 3; n++ {
			s, err := store.Open(dir, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Update(func(st *store.State) error {
				st.Desired = []byte(`{"models":{"default":{"uri":"` + next.uri() + `","sha256":"` + next.sha() + `"}}}`)
				st.SetCandidate("default", store.Entry{SHA256: next.sha(), Release: 2}, "loading", time.Now())
				return nil
			})
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			dev = boot(t, w, dir, nil)
			r := dev.after(time.Second)
			if state := []State{StateFailed, StateFailed, StateBanned}[n-1]; r.State != state || r.Failures != n || r.Error.Code != string(CodeInterrupted) {
				t.Errorf("interrupted %d times: %+v %+v", n, r, r.Error)
			}
			dev.stop()
		}
	})
}

func TestSlotsAndTags(t *testing.T) {
	a, b := model{"a", 1, ""}, model{"b", 1, ""}
	within(t, "isolation", func(t *testing.T, dir string) {
		w := newWorld(a, b)
		w.set(hookFor("fetch", a, 0, coded{"network", true}))
		dev := boot(t, w, dir, nil)
		dev.Desire(desired(map[string]any{"default": a.entry(nil), "side": b.entry(nil), "attic": a.entry(nil), "cellar": nil}))
		dev.expect(dev.after(5*time.Minute), StateDownloading, "network", "")
		all := dev.Report()
		if r := all["side"]; r.State != StateActive || r.SHA256 != b.sha() {
			t.Errorf("side: %+v", r)
		}
		if r := all["attic"]; r.State != StateFailed || r.Error.Code != string(CodeUnknownSlot) || len(all) != 3 {
			t.Errorf("attic: %+v", all)
		}
		dev.Desire([]byte(`[`))
		dev.expect(dev.after(time.Minute), StateFailed, CodeBadDesired, "")
		if r := dev.Report()["side"]; r.State != StateFailed || r.SHA256 != b.sha() {
			t.Errorf("side: %+v", r)
		}
		if !strings.Contains(string(dev.store.State().Desired), a.sha()) {
			t.Error("an unreadable document took the place of the one before")
		}
	})
	within(t, "tag", func(t *testing.T, dir string) {
		w := newWorld(a, b)
		w.tags["stable"] = a.sha()
		tag := map[string]any{"uri": "oci://host/repo:stable"}
		dev := boot(t, w, dir, nil)
		dev.Desire(desired(map[string]any{"default": tag}))
		dev.expect(dev.after(2*time.Minute), StateActive, "", a.sha())
		w.tags["stable"] = b.sha()
		dev.stop()
		dev = boot(t, w, dir, nil)
		dev.expect(dev.after(time.Hour), StateActive, "", a.sha())
		if w.count("resolve") != 1 {
			t.Errorf("resolved %d times", w.count("resolve"))
		}
		tag["release"] = 1 // another entry
		dev.Desire(desired(map[string]any{"default": tag}))
		dev.expect(dev.after(2*time.Minute), StateActive, "", b.sha())
		w.set(func(_ context.Context, what, _ string) error {
			if what == "resolve" {
				return errors.New("odd")
			}
			return nil
		})
		tag["release"] = 2
		dev.Desire(desired(map[string]any{"default": tag}))
		dev.expect(dev.after(time.Hour), StateBanned, CodeInternal, b.sha())
	})
}
