package deploy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSupersede(t *testing.T) {
	old, first, second := model{"old", 1, ""}, model{"first", 2, ""}, model{"second", 3, ""}
	for _, stage := range []string{"fetch", "write", "probe", "load", "late load", "swap", "probation"} {
		for name, doc := range map[string]struct {
			raw  []byte
			runs model
		}{
			"by another": {one(second), second},
			"by nothing": {[]byte(`{}`), old},
			"by the old": {one(old), old},
			"by rubbish": {[]byte(`{"models":{"default":{"uri":1}}}`), old},
		} {
			within(t, stage+" "+name, func(t *testing.T, dir string) {
				w := newWorld(old, first, second)
				dev := boot(t, w, dir, nil)
				dev.bring(old)
				w.set(func(ctx context.Context, what, sha string) error {
					switch {
					case sha != first.sha():
					case what == stage:
						<-ctx.Done()
						return ctx.Err()
					case what == "load" && stage == "late load":
						<-ctx.Done() // and it is loaded all the same
					case what == "swap" && stage != "probation":
						t.Error("a model that nobody wants was put in place")
					}
					return nil
				})
				dev.Desire(one(first))
				dev.after(10 * time.Second)
				if stage == "swap" {
					dev.after(swapTime)
				}
				dev.Desire(doc.raw)
				r := dev.after(5 * time.Minute)
				state, code := StateActive, Code("")
				if name == "by rubbish" {
					state, code = StateFailed, CodeBadDesired
				}
				dev.expect(r, state, code, doc.runs.sha())
				st := dev.store.State()
				if stage != "swap" && len(st.Failures) > 0 || st.Slots["default"].Candidate != nil {
					t.Errorf("%+v", st)
				}
				if _, err := os.Stat(filepath.Join(dir, "staging", first.sha())); doc.runs == second && err == nil {
					t.Error("the download that nobody wants is still there")
				}
			})
		}
	}
	within(t, "by the same", func(t *testing.T, dir string) {
		w := newWorld(first)
		w.set(func(ctx context.Context, what, _ string) error {
			if what == "fetch" && !sleep(ctx, time.Minute) {
				return ctx.Err()
			}
			return nil
		})
		dev := boot(t, w, dir, nil)
		for range 8 {
			dev.Desire(one(first))
			dev.after(20 * time.Second)
		}
		dev.expect(dev.after(0), StateActive, "", first.sha())
		if w.count("fetch") != 1 || w.count("probe") != 1 {
			t.Errorf("begun again: %v", w.calls)
		}
	})
	within(t, "another place for the same model", func(t *testing.T, dir string) {
		w := newWorld(first)
		dev := boot(t, w, dir, nil)
		dev.Desire(one(first))
		dev.after(30 * time.Second)
		dev.Desire(desired(map[string]any{"default": first.entry(map[string]any{"uri": "https://host/model?secret=1"})}))
		dev.expect(dev.after(32*time.Second), StateActive, "", first.sha())
		if w.count("fetch") != 1 || w.count("probe") != 1 {
			t.Errorf("begun again: %v", w.calls)
		}
	})
}

func TestStorm(t *testing.T) {
	const n = 200
	within(t, "", func(t *testing.T, dir string) {
		w := newWorld()
		var last model
		for i := range n {
			last = model{fmt.Sprint("m", i), int64(i + 1), ""}
			w.models[last.sha()] = last
		}
		dev := boot(t, w, dir, nil)
		for i := range n {
			dev.Desire(one(model{fmt.Sprint("m", i), 0, ""}))
			if i%10 == 0 {
				dev.after(5 * time.Millisecond)
			}
		}
		dev.expect(dev.after(5*time.Minute), StateActive, "", last.sha())
		if f, p := w.count("fetch"), w.count("probe"); f > n/2 || p > n/2 { // how many depends on the scheduler; it is a tenth of them or so
			t.Errorf("%d downloads, %d probes", f, p)
		}
		if left, err := os.ReadDir(filepath.Join(dir, "staging")); err != nil || len(left) > 0 {
			t.Errorf("downloads left: %v, %v", left, err)
		}
	})
}
