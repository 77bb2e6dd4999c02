package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gnomon/models/store"
)

func TestRollBack(t *testing.T) {
	old, bad := model{"old", 1, ""}, model{"bad", 2, ""}
	sick := func(sha string) Health {
		h := Health{Begun: 500, Frames: 500, Detections: 500, Median: 10 * time.Millisecond}
		if sha == bad.sha() {
			h.NotFinite = 9
		}
		return h
	}
	for _, c := range []struct {
		name        string
		oldFails    int // loads of the old model that fail after the first deployment
		alsoBuiltin int // likewise of the built-in one
		after       time.Duration
		state       State
		code        Code
		runs        string
	}{
		{"at once", 0, 0, 30 * time.Second, StateRolledBack, CodeProbationNotFinite, old.sha()},
		{"three times", 0, 0, time.Hour, StateBanned, CodeProbationNotFinite, old.sha()},
		{"the old one at the third attempt", 2, 0, 30 * time.Second, StateRolledBack, CodeProbationNotFinite, old.sha()},
		{"to the built-in one", 1 << 20, 0, 30 * time.Second, StateRolledBack, CodeRollbackFailed, ""},
		{"to the built-in one and on", 3, 0, 30 * time.Second, StateRolledBack, CodeProbationNotFinite, old.sha()},
		{"nothing can be loaded", 1 << 20, 1 << 20, 30 * time.Second, StateRolledBack, CodeRollbackFailed, bad.sha()},
		{"nothing could be loaded", 9, 2, time.Hour, StateBanned, CodeProbationNotFinite, old.sha()},
		{"only the built-in one", 1 << 20, 2, 3 * time.Hour, StateBanned, CodeRollbackFailed, ""},
	} {
		within(t, c.name, func(t *testing.T, dir string) {
			w := newWorld(old, bad)
			dev := boot(t, w, dir, nil)
			dev.bring(old)
			w.health = sick
			left := map[string]int{old.sha(): c.oldFails, "": c.alsoBuiltin}
			w.set(func(_ context.Context, what, sha string) error {
				if what != "load" || left[sha] == 0 {
					return nil
				}
				left[sha]--
				return errors.New("no memory")
			})
			dev.Desire(one(bad))
			r := dev.after(c.after)
			dev.expect(r, c.state, c.code, c.runs)
			if st := dev.store.State(); st.Slots["default"].Active.SHA256 != old.sha() {
				t.Errorf("committed: %+v", st.Slots["default"].Active)
			}
			if c.code == CodeRollbackFailed && !strings.Contains(r.Error.Message, "runs") {
				t.Errorf("what runs is not said: %s", r.Error.Message)
			}
		})
	}
	within(t, "a new model is the way out", func(t *testing.T, dir string) {
		good := model{"good", 3, ""}
		w := newWorld(old, bad, good)
		dev := boot(t, w, dir, nil)
		dev.bring(old)
		w.health = sick
		w.set(func(_ context.Context, what, sha string) error {
			if what == "load" && (sha == old.sha() || sha == "") {
				return errors.New("no memory")
			}
			return nil
		})
		dev.Desire(one(bad))
		dev.after(30 * time.Second)
		dev.bring(good)
	})
}

func TestStartWithDamage(t *testing.T) {
	first, second := model{"first", 1, ""}, model{"second", 2, ""}
	for _, c := range []struct {
		name    string
		damaged []model
		offline bool
		starts  string
		state   State
		code    Code
		runs    string // ten minutes later
	}{
		{"active", []model{second}, false, first.sha(), StateActive, "", second.sha()},
		{"active, offline", []model{second}, true, first.sha(), StateDownloading, "network", first.sha()},
		{"both", []model{first, second}, false, "", StateActive, "", second.sha()},
		{"both, offline", []model{first, second}, true, "", StateDownloading, "network", ""},
		{"previous", []model{first}, false, second.sha(), StateActive, "", second.sha()},
	} {
		within(t, c.name, func(t *testing.T, dir string) {
			w := newWorld(first, second)
			dev := boot(t, w, dir, nil)
			dev.bring(first)
			dev.bring(second)
			dev.stop()
			for _, m := range c.damaged {
				if err := os.WriteFile(filepath.Join(dir, "versions", m.sha(), "model.onnx"), []byte(strings.Repeat("x", len("first model.onnx\n")*20)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.offline {
				w.set(hookFor("fetch", second, 0, coded{"network", true}))
			}
			dev = boot(t, w, dir, nil)
			if got := w.runs("default"); got != c.starts {
				t.Errorf("started with %.8q, want %.8q", got, c.starts)
			}
			dev.expect(dev.after(10*time.Minute), c.state, c.code, c.runs)
			dev.stop()
			boot(t, w, dir, nil)
			if got := w.runs("default"); got != c.runs {
				t.Errorf("the next start: %.8q, want %.8q", got, c.runs)
			}
		})
	}
	within(t, "nothing desired", func(t *testing.T, dir string) {
		w := newWorld(first)
		dev := boot(t, w, dir, nil)
		dev.bring(first)
		dev.Desire([]byte(`{}`))
		dev.after(time.Minute)
		dev.stop()
		if err := os.Remove(filepath.Join(dir, "versions", first.sha(), "model.onnx")); err != nil {
			t.Fatal(err)
		}
		dev = boot(t, w, dir, nil)
		dev.expect(dev.after(time.Minute), StateActive, CodeVersionDamaged, "")
	})
}

func TestReject(t *testing.T) {
	first, second := model{"first", 1, ""}, model{"second", 2, ""}
	within(t, "", func(t *testing.T, dir string) {
		w := newWorld(first, second)
		dev := boot(t, w, dir, nil)
		dev.bring(first)
		dev.bring(second)
		dev.Desire([]byte(`{}`))
		dev.after(time.Minute)
		dev.stop()
		w.unready = true
		w.set(func(_ context.Context, what, _ string) error {
			if what == "load" && w.count("load") < 5 {
				return errors.New("the driver is not ready")
			}
			return nil
		})
		clear(w.calls)
		dev = boot(t, w, dir, nil)
		dev.expect(dev.after(time.Second), StateActive, CodeLoadFailed, "")
		if st := dev.store.State(); st.Slots["default"].Active.SHA256 != second.sha() {
			t.Error("a rejected version is no longer committed")
		}
		dev.expect(dev.after(time.Minute), StateActive, "", second.sha())
		if _, err := dev.Start(t.Context(), "attic"); err == nil {
			t.Error("a slot that is not there was started")
		}
	})
}

func TestDiskFails(t *testing.T) {
	old, next := model{"old", 1, ""}, model{"next", 2, ""}
	for _, when := range []string{"desired: store", "probing: store", "loading: store", "probation: store", "commit: store"} {
		within(t, when, func(t *testing.T, dir string) {
			w := newWorld(old, next)
			blocked := filepath.Join(dir, "state.json.tmp")
			armed := false
			dev := boot(t, w, dir, func(o *Options) {
				o.step = func(name string) {
					if name == when && armed {
						armed = false
						if err := os.Mkdir(blocked, 0o700); err != nil {
							t.Error(err)
						}
						go func() {
							time.Sleep(10 * time.Second)
							os.Remove(blocked) //nolint:errcheck // the test fails if it stays
						}()
					}
				}
			})
			dev.bring(old)
			armed = true
			dev.Desire(one(next))
			dev.expect(dev.after(5*time.Minute), StateActive, "", next.sha())
			dev.stop()
			dev = boot(t, w, dir, nil)
			if st := dev.store.State(); w.runs("default") != next.sha() || !strings.Contains(string(st.Desired), next.sha()) || len(st.Failures) > 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestFramesMeetNoClosedModel lets cameras run while models come and go; it is for the race detector.
func TestFramesMeetNoClosedModel(t *testing.T) {
	within(t, "", func(t *testing.T, dir string) {
		w := newWorld()
		dev := boot(t, w, dir, nil)
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			go func() {
				for sleep(ctx, 100*time.Millisecond) {
					w.frame("default")
					dev.Report()
				}
			}()
		}
		w.health = func(sha string) Health {
			h := Health{Begun: 50, Frames: 50}
			if sha == (model{name: "m2"}).sha() {
				h.Errors = 50
			}
			return h
		}
		for i := range 5 {
			m := model{fmt.Sprint("m", i), int64(i), ""}
			w.mu.Lock()
			w.models[m.sha()] = m
			w.mu.Unlock()
			dev.Desire(one(m))
			dev.after(time.Duration(20*i+10) * time.Second)
		}
		dev.after(10 * time.Minute)
		cancel()
		if dev.after(time.Second); w.runs("default") != (model{name: "m4"}).sha() {
			t.Error("the last one does not run")
		}
	})
}

func TestReportIsSmallAndKeepsSecrets(t *testing.T) {
	within(t, "secrets", func(t *testing.T, dir string) {
		m := model{"m", 1, ""}
		w := newWorld(m)
		const secret = "X-Amz-Signature=53cr3t"
		w.set(hookFor("fetch", m, 0, errors.New("GET https://host/m.tar?"+secret+": 500, url https://host/m.tar?"+secret)))
		dev := boot(t, w, dir, nil)
		dev.Desire(desired(map[string]any{"default": m.entry(map[string]any{"uri": "https://host/m.tar?" + secret})}))
		r := dev.after(10 * time.Second)
		dev.expect(r, StateFailed, CodeInternal, "")
		raw, err := json.Marshal(dev.Report())
		st := dev.store.State()
		if err != nil || strings.Contains(string(raw), secret) || strings.Contains(fmt.Sprint(st.Failures, st.Slots["default"].Error), secret) {
			t.Errorf("%s, %+v, %v", raw, st.Failures, err)
		}
	})
	d := &Deployer{slots: map[string]*slot{}, unknown: map[string]store.Problem{}}
	fill := func(text string) {
		for i := range 4 {
			e := store.Entry{SHA256: digest("x"), URI: strings.Repeat(text, 2000), Version: strings.Repeat(text, 100), Release: 1 << 60}
			p := &store.Problem{Code: string(CodeProbationNotFinite), Message: strings.Repeat(text, 900), Stage: "rolling_back"}
			v := view{state: StateRolledBack, since: time.Now(), candidate: &e, problem: p, failures: 2, retryAt: time.Now()}
			name := fmt.Sprintf("%s-%d", strings.Repeat("n", 20), i)
			d.slots[name] = &slot{name: name, running: e, view: v}
		}
		for i := range maxUnknown {
			d.unknown[clip(fmt.Sprint(i, strings.Repeat(text, 300)), maxWord)] = store.Problem{Code: "unknown_slot", Message: strings.Repeat(text, 300)}
		}
	}
	for _, text := range []string{"a", "é", "<", "\x00", "\xff", `"`} {
		clear(d.unknown)
		fill(text)
		if n := size(d.Report()); n > maxReport {
			t.Errorf("%q: %d bytes", text, n)
		}
	}
}
