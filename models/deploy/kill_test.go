package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gnomon/models/store"
)

// Set for a child of TestKilledAtEveryStep: which story, where, at which step to die, and what that is called.
const (
	envStory = "DEPLOY_TEST_STORY"
	envDir   = "DEPLOY_TEST_DIR"
	envStep  = "DEPLOY_TEST_STEP"
	envName  = "DEPLOY_TEST_NAME"
)

// story is a life of the process whose every step may be its last.
type story struct {
	name   string
	before []model // brought into the slot undisturbed
	change func(dir string) error
	docs   [][]byte // desired one after the other, 10 seconds apart, the last one in every later life too; none: offline
	from   string   // the first step to die at, where others have died at those before; empty: the first of all
	hook   func(what, sha string) error
	sick   string // digest that fails its probation
	state  State  // at the end
	runs   string // likewise
}

func stories() []story {
	a, b, c := model{"a", 1, ""}, model{"b", 2, ""}, model{"c", 3, ""}
	probeFails := func(what, sha string) error {
		if what == "probe" && sha == c.sha() {
			return errors.New("it crashed")
		}
		return nil
	}
	damage := func(dir string) error {
		return os.Truncate(filepath.Join(dir, "versions", b.sha(), "model.onnx"), 5)
	}
	back := desired(map[string]any{"default": a.entry(map[string]any{"allow_downgrade": true})})
	builtin := desired(map[string]any{"default": map[string]any{"uri": Builtin}})
	tag := desired(map[string]any{"default": map[string]any{"uri": "oci://host/repo:stable"}})
	return []story{
		{name: "first", docs: [][]byte{one(a)}, state: StateActive, runs: a.sha()},
		{name: "upgrade", before: []model{a, b}, docs: [][]byte{one(c)}, state: StateActive, runs: c.sha()},
		{name: "probe fails", before: []model{a, b}, docs: [][]byte{one(c)}, from: "probing: store", hook: probeFails, state: StateBanned, runs: b.sha()},
		{name: "probation fails", before: []model{a, b}, docs: [][]byte{one(c)}, from: "probation: store", sick: c.sha(), state: StateBanned, runs: b.sha()},
		{name: "back to the one before", before: []model{a, b}, docs: [][]byte{back}, state: StateActive, runs: a.sha()},
		{name: "builtin", before: []model{a, b}, docs: [][]byte{builtin}, state: StateActive},
		{name: "tag", before: []model{a}, docs: [][]byte{tag}, state: StateActive, runs: c.sha()},
		{name: "damaged", before: []model{a, b}, change: damage, state: StateActive, runs: b.sha()},
		{name: "superseded in probation", before: []model{a}, docs: [][]byte{one(b), one(c)}, from: "probation", state: StateActive, runs: c.sha()},
		{name: "withdrawn in probation", before: []model{a}, docs: [][]byte{one(b), []byte("{}")}, from: "probation", state: StateActive, runs: a.sha()},
	}
}

// world is the outside of a story, in which step is told of every call.
func (st story) world(step func(string)) *world {
	w := newWorld(model{"a", 1, ""}, model{"b", 2, ""}, model{"c", 3, ""})
	w.tags["stable"] = model{name: "c"}.sha()
	w.set(func(_ context.Context, what, sha string) error {
		step("outside: " + what)
		if st.hook != nil {
			return st.hook(what, sha)
		}
		return nil
	})
	w.health = func(sha string) Health {
		h := Health{Begun: 500, Frames: 500}
		if sha != "" && sha == st.sick {
			h.Errors = 500
		}
		return h
	}
	return w
}

// prepare makes what there was before the story.
func (st story) prepare(t *testing.T, dir string) {
	synctest.Test(t, func(t *testing.T) {
		dev := boot(t, newWorld(st.before...), dir, nil)
		for _, m := range st.before {
			dev.bring(m)
		}
	})
	if st.change != nil {
		if err := st.change(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// play lives through the story and returns what it ends in. It looks at the first second of the life too.
func (st story) play(t *testing.T, dir string, docs [][]byte, step func(string), look func(*device)) {
	synctest.Test(t, func(t *testing.T) {
		w := st.world(step)
		dev := boot(t, w, dir, func(o *Options) {
			o.Slots, o.step = []string{"default"}, step
			o.Retry.Counted = []time.Duration{time.Minute} // banned the second time: enough to see, and fewer steps
		})
		if look != nil {
			look(dev)
		}
		for _, doc := range docs {
			dev.Desire(doc)
			dev.after(10 * time.Second)
		}
		r := dev.after(2 * time.Hour)
		if r.State != st.state || r.SHA256 != st.runs || w.runs("default") != st.runs {
			t.Errorf("ended in %s with %.8q; want %s with %.8q; %+v %+v", r.State, r.SHA256, st.state, st.runs, r, r.Error)
		}
	})
}

// versions lists what is in the store.
func versions(t *testing.T, dir string) (names []string) {
	t.Helper()
	for _, folder := range []string{"versions", "staging", "trash"} {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, folder+"/"+e.Name())
		}
	}
	return names
}

// TestDieOnTheWay is the child of TestKilledAtEveryStep.
func TestDieOnTheWay(t *testing.T) {
	at, err := strconv.Atoi(os.Getenv(envStep))
	if err != nil {
		t.Skip("it runs in a child process of TestKilledAtEveryStep")
	}
	step := 0
	die := func(name string) {
		if step++; step == at {
			if name != os.Getenv(envName) {
				t.Errorf("step %d is %q, not %q", at, name, os.Getenv(envName))
				return
			}
			syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // the parent notices
			select {}
		}
	}
	for _, st := range stories() {
		if st.name == os.Getenv(envStory) {
			st.play(t, os.Getenv(envDir), st.docs, die, nil)
		}
	}
	t.Errorf("alive after %d steps", step)
}

func TestKilledAtEveryStep(t *testing.T) {
	cases := 0
	for _, st := range stories() {
		begin, whole := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "store")
		st.prepare(t, begin)
		copied(t, begin, whole)
		var steps, disk []string
		st.play(t, whole, st.docs, func(name string) {
			steps, disk = append(steps, name), append(disk, contents(whole))
		}, nil)
		left := versions(t, whole)
		first := max(0, slices.Index(steps, st.from))
		for i, name := range steps {
			if i < first || i > first && disk[i] == disk[i-1] {
				continue // to die here is to die at the step before
			}
			cases++
			t.Run(fmt.Sprintf("%s/%02d %s", st.name, i+1, name), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "store")
				copied(t, begin, dir)
				st.die(t, dir, i+1, name)
				st.assertGoesOn(t, dir, left)
			})
		}
	}
	if cases < 60 {
		t.Errorf("only %d places to die", cases)
	}
}

// contents is a digest of everything that is on the disk, which is all that outlives a kill. The lock, with its process
// id, is left out.
func contents(dir string) string {
	var all strings.Builder
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() == "lock" {
			return err
		}
		fmt.Fprintln(&all, name)
		if e.IsDir() {
			return nil
		}
		data, err := os.ReadFile(name)
		all.Write(data)
		return err
	})
	return fmt.Sprint(digest(all.String()), err)
}

func copied(t *testing.T, from, to string) {
	t.Helper()
	if err := errors.Join(os.CopyFS(to, os.DirFS(from)), os.Chmod(to, 0o700)); err != nil {
		t.Fatal(err)
	}
}

// die plays a story in a process that is killed before the given step.
func (st story) die(t *testing.T, dir string, at int, name string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, "-test.run=^TestDieOnTheWay$")
	child.Env = append(os.Environ(), envStory+"="+st.name, envDir+"="+dir, fmt.Sprint(envStep, "=", at), envName+"="+name)
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed: %v\n%s", err, out)
	}
}

// assertGoesOn starts again where the process died. It finds the old or the new committed model, whole, and ends where
// an undisturbed life does.
func (st story) assertGoesOn(t *testing.T, dir string, left []string) {
	t.Helper()
	var before store.State
	raw, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err == nil {
		err = json.Unmarshal(raw, &before)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state cannot be read: %v", err)
	}
	tried := before.Slot("default").Candidate != nil
	found := func(dev *device) {
		if st.change == nil && len(dev.store.Damaged()) > 0 {
			t.Errorf("damage: %v", dev.store.Damaged())
		}
		committed := []string{st.runs, ""}
		if n := len(st.before); n > 0 {
			committed = []string{st.runs, st.before[n-1].sha()}
		}
		if st.change != nil {
			committed = append(committed, st.before[0].sha())
		}
		runs := dev.w.runs("default")
		if !strings.Contains(strings.Join(committed, " ")+" ", runs+" ") {
			t.Errorf("starts with %.8q; want one of %.8q", runs, committed)
		}
		state := dev.store.State()
		if e := active(&state, "default"); e.SHA256 != runs {
			t.Errorf("committed is %.8q, and %.8q runs", e.SHA256, runs)
		}
		why := state.Slot("default").Error
		if interrupted := why != nil && why.Code == string(CodeInterrupted); interrupted != tried {
			t.Errorf("a death while a model was tried (%v) is noted as %+v", tried, why)
		}
		for _, f := range state.Failures {
			if f.Count > 1 && st.state != StateBanned {
				t.Errorf("one death counts as %d failures", f.Count)
			}
		}
	}
	st.play(t, dir, st.docs[max(0, len(st.docs)-1):], func(string) {}, found)
	if !slices.Equal(left, versions(t, dir)) { // what the death left over is tidied up by the next start at the latest
		st.play(t, dir, st.docs[max(0, len(st.docs)-1):], func(string) {}, nil)
	}
	if diff := cmp.Diff(left, versions(t, dir)); diff != "" {
		t.Errorf("another content of the store (-undisturbed +got):\n%s", diff)
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if st.runs != "" {
		if err := s.Verify(st.runs); err != nil {
			t.Error(err)
		}
	}
}
