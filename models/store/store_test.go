package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, opts Options) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "store"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) //nolint:errcheck // tests of Close look
	return s
}

func install(t *testing.T, s *Store, r release) *Version {
	t.Helper()
	dir, err := s.Staging(r.sha())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.download(dir, undisturbed); err != nil {
		t.Fatal(err)
	}
	v, err := s.Install(r.sha(), filepath.Join(dir, "files"), r.meta())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestInstall(t *testing.T) {
	s := open(t, Options{})
	one := release{number: 1}
	v := install(t, s, one)
	want := &Version{SHA256: one.sha(), Meta: one.meta(), Dir: filepath.Join(s.dir, versionsDir, one.sha())}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, text := range one.files() {
		data, err := os.ReadFile(filepath.Join(v.Dir, name))
		if err != nil || string(data) != text {
			t.Errorf("%s: %q, %v", name, data, err)
		}
		if info, err := os.Stat(filepath.Join(v.Dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir, stagingDir, one.sha())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the download is still there: %v", err)
	}
	if again := install(t, s, one); !cmp.Equal(v, again) {
		t.Errorf("installed again: %s", cmp.Diff(v, again))
	}
	if err := os.WriteFile(filepath.Join(v.Dir, "model.onnx"), []byte(strings.Repeat("x", int(one.meta().Files[0].Size))), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Version(one.sha()); err != nil {
		t.Errorf("the cheap check reads contents: %v", err)
	}
	if err := s.Verify(one.sha()); !errors.Is(err, ErrDamaged) {
		t.Errorf("Verify of a changed file: %v", err)
	}
	install(t, s, one)
	if err := s.Verify(one.sha()); err != nil {
		t.Errorf("after repair: %v", err)
	}
}

func TestInstallRefuses(t *testing.T) {
	for name, change := range map[string]func(dir string, m *Meta) error{
		"another digest": func(_ string, m *Meta) error { m.Files[0].SHA256 = digest("x"); return nil },
		"another size":   func(_ string, m *Meta) error { m.Files[0].Size++; return nil },
		"missing":        func(dir string, _ *Meta) error { return os.Remove(filepath.Join(dir, "model.onnx")) },
		"no files":       func(_ string, m *Meta) error { m.Files = nil; return nil },
		"twice":          func(_ string, m *Meta) error { m.Files = append(m.Files, m.Files[0]); return nil },
		"upwards":        func(_ string, m *Meta) error { m.Files[0].Name = "../archive.part"; return nil },
		"absolute":       func(_ string, m *Meta) error { m.Files[0].Name = "/etc/passwd"; return nil },
		"own name":       func(_ string, m *Meta) error { m.Files[0].Name = metaName; return nil },
		"backslash":      func(_ string, m *Meta) error { m.Files[0].Name = `a\b`; return nil },
		"negative":       func(_ string, m *Meta) error { m.Release = -1; return nil },
		"symbolic link": func(dir string, _ *Meta) error {
			model := filepath.Join(dir, "model.onnx")
			return errors.Join(os.Rename(model, model+"2"), os.Symlink("model.onnx2", model))
		},
		"linked folder": func(dir string, _ *Meta) error {
			data := filepath.Join(dir, "data")
			return errors.Join(os.Rename(data, data+"2"), os.Symlink("data2", data))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, one := open(t, Options{}), release{number: 1}
			dir, err := s.Staging(one.sha())
			if err != nil {
				t.Fatal(err)
			}
			m := one.meta()
			if err := errors.Join(one.download(dir, undisturbed), change(filepath.Join(dir, "files"), &m)); err != nil {
				t.Fatal(err)
			}
			if v, err := s.Install(one.sha(), filepath.Join(dir, "files"), m); err == nil {
				t.Errorf("installed: %+v", v)
			}
			if _, err := s.Version(one.sha()); !errors.Is(err, ErrNotFound) {
				t.Errorf("after a refusal: %v", err)
			}
		})
	}
	s := open(t, Options{})
	if _, err := s.Install(digest("a"), s.dir, release{}.meta()); !errors.Is(err, ErrInvalid) {
		t.Errorf("files that are not in the download: %v", err)
	}
	for _, sha := range []string{"", "..", strings.Repeat("A", 64), digest("a")[1:] + "/"} {
		if _, err := s.Staging(sha); !errors.Is(err, ErrInvalid) {
			t.Errorf("digest %q: %v", sha, err)
		}
	}
}

func TestOnlyOneHolder(t *testing.T) {
	s := open(t, Options{})
	_, err := Open(s.dir, Options{})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("second holder: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := s.Update(func(*State) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	again, err := Open(s.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	again.Close() //nolint:errcheck // only the lock matters
}

func TestOpenRefusesSharedDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a directory that a group may write: %v", err)
	}
}

func TestRemoveAndCollect(t *testing.T) {
	s := open(t, Options{MaxBytes: 1})
	var all []release
	for n := range int64(6) {
		all = append(all, release{number: n + 1})
		install(t, s, all[n])
	}
	err := s.Update(func(st *State) error {
		st.Slot("a").Active, st.Slot("b").Previous = new(all[0].entry()), new(all[1].entry())
		st.SetCandidate("b", all[2].entry(), "", when())
		st.Desired = []byte(`{"models":{"a":{"sha256":"` + all[3].sha() + `"}}}`)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := s.Remove(all[i].sha()); !errors.Is(err, ErrInUse) {
			t.Errorf("remove %d: %v", i, err)
		}
	}
	if err := s.Remove(digest("none")); !errors.Is(err, ErrNotFound) {
		t.Errorf("remove none: %v", err)
	}
	stale, begun := digest("stale"), digest("begun")
	if err := os.Mkdir(filepath.Join(s.dir, stagingDir, stale), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Staging(begun); err != nil {
		t.Fatal(err)
	}
	removed, freed, err := s.Collect()
	if want := []string{stale, all[4].sha(), all[5].sha()}; err != nil || !slices.Equal(removed, want) || freed < 200 {
		t.Errorf("collected %q, %d bytes, %v; want %q", removed, freed, err, want)
	}
	if _, err := os.Stat(filepath.Join(s.dir, stagingDir, begun)); err != nil {
		t.Errorf("a download under way: %v", err)
	}
	// Within the bound the oldest goes only when it must.
	s.opts.MaxBytes = 1 << 20
	install(t, s, all[4])
	if removed, _, err := s.Collect(); err != nil || len(removed) > 0 {
		t.Errorf("below the bound: %q, %v", removed, err)
	}
}

func TestUpdate(t *testing.T) {
	s, one := open(t, Options{}), release{number: 1}
	entry := one.entry()
	err := s.Update(func(st *State) error { st.Slot("a").Active = &entry; return nil })
	if !errors.Is(err, ErrNotFound) || len(s.State().Slots) > 0 {
		t.Errorf("an active version that is not installed: %v, %v", err, s.State())
	}
	install(t, s, one)
	if err := s.Update(func(st *State) error {
		st.Slot("a").Active = &entry
		st.Slot("a").Error = &Problem{Code: "c", Message: strings.Repeat("é", maxMessage)}
		st.Desired = []byte(`{"a": "<&>"}`)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	entry.URI = "changed behind the store's back"
	copied := s.State()
	copied.Slot("a").Active.URI = "likewise"
	if got := s.State(); got.Slots["a"].Active.URI != one.meta().URI || string(got.Desired) != `{"a":"<&>"}` {
		t.Errorf("%+v, %s", got.Slots["a"].Active, got.Desired)
	}
	if n := len(s.State().Slots["a"].Error.Message); n != maxMessage {
		t.Errorf("the message has %d bytes", n)
	}
	stop := errors.New("no")
	if err := s.Update(func(st *State) error { st.Slots = nil; return stop }); !errors.Is(err, stop) || len(s.State().Slots) != 1 {
		t.Errorf("a change that fails: %v", err)
	}
	writes := 0
	s.opts.step = func(string) error { writes++; return nil }
	if err := s.Update(func(*State) error { return nil }); err != nil || writes > 0 {
		t.Errorf("no change: %d writes, %v", writes, err)
	}
}

func TestDamagedStateFallsBack(t *testing.T) {
	s := open(t, Options{})
	for n := range 3 {
		if err := s.Update(func(st *State) error { st.Slot("a").Release = int64(n + 1); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for name, damage := range map[string]struct {
		files map[string]string // "" removes
		want  int64
	}{
		"torn":         {map[string]string{stateName: `{"format":1,"sl`}, 2},
		"gone":         {map[string]string{stateName: ""}, 2},
		"newer format": {map[string]string{stateName: `{"format":2}`}, 2},
		"zeros":        {map[string]string{stateName: strings.Repeat("\x00", 200)}, 2},
		"too large":    {map[string]string{stateName: `{"format":1}` + strings.Repeat(" ", maxState)}, 2},
		"both":         {map[string]string{stateName: "{", prevName: "{"}, 0},
		"only prev":    {map[string]string{prevName: "{"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, s.dir)
			for file, text := range damage.files {
				err := os.Remove(filepath.Join(dir, file))
				if text != "" {
					err = os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for round, reports := range []int{min(1, 3-int(damage.want)), 0} {
				if name == "both" {
					reports = 1 // until the next update
				}
				again, err := Open(dir, Options{})
				if err != nil {
					t.Fatal(err)
				}
				state := again.State()
				if got := state.Slot("a").Release; got != damage.want || len(again.Damaged()) != reports {
					t.Errorf("round %d: release %d, want %d; damage %v", round, got, damage.want, again.Damaged())
				}
				if err := again.Close(); err != nil {
					t.Fatal(err)
				}
			}
			bad, err := filepath.Glob(filepath.Join(dir, badPrefix+"*"))
			if want := min(1, len(damage.files[stateName])); err != nil || len(bad) != want {
				t.Errorf("set aside: %q, %v", bad, err)
			}
		})
	}
}

func TestStateHelpers(t *testing.T) {
	var st State
	at := when()
	if st.Promote("a", at) == nil || st.RollBack("a", nil, at) == nil {
		t.Error("nothing was promoted or rolled back")
	}
	one, two := release{number: 1}.entry(), release{number: 2}.entry()
	st.SetCandidate("a", one, "probation", at)
	if err := st.Promote("a", at); err != nil {
		t.Fatal(err)
	}
	st.SetCandidate("a", two, "probation", at)
	if !st.Uses(two.SHA256) || st.Uses("") || st.Uses(digest("x")) {
		t.Error("Uses is wrong")
	}
	if err := st.Promote("a", at); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Slot{Active: &two, Previous: &one, Release: 2, Since: at}, st.Slots["a"]); diff != "" {
		t.Errorf("after two (-want +got):\n%s", diff)
	}
	st.SetCandidate("a", two, "", at)
	if err := st.Promote("a", at); err != nil || st.Slots["a"].Previous.SHA256 != one.SHA256 {
		t.Errorf("the same again: %v, %+v", err, st.Slots["a"].Previous)
	}
	why := &Problem{Code: "c"}
	if err := st.RollBack("a", why, at); err != nil {
		t.Fatal(err)
	}
	st.SetCandidate("a", two, "x", at)
	st.Drop("a", why, at)
	if diff := cmp.Diff(&Slot{Active: &one, Release: 2, Since: at, Error: why}, st.Slots["a"]); diff != "" {
		t.Errorf("after going back (-want +got):\n%s", diff)
	}
	for n := range maxFailures + 1 {
		st.Fail(fmt.Sprint(n), "c", "m", at.Add(time.Duration(n)))
	}
	if _, first := st.Failures["0"]; first || len(st.Failures) != maxFailures || st.Fail("7", "c", "m", at) != 2 {
		t.Error("failures are not counted as they should be")
	}
	if st.Forgive("7"); st.Failures["7"].Count != 0 {
		t.Error("not forgiven")
	}
}

func FuzzParseState(f *testing.F) {
	f.Add([]byte(`{"format":1,"slots":{"a":{"active":{"sha256":"` + digest("a") + `"},"phase":"x"}},"desired":{"a":[1,null]},"failures":{"k":{"count":1}}}`))
	for _, text := range []string{`{"format":1}`, `{"format":1}x`, `{"format":1,"slots":{"A":{}}}`, `{"format":1,"slots":{"a":null}}`, `{"format":1,"desired":null}`, `{"format":1,"slots":{"a":{"active":{"sha256":"../x"}}}}`, "null", "", "[", `{"format":1,"slots":{"a":{"release":-1}}}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		state, err := parseState(data)
		if err != nil {
			if state != nil || !errors.Is(err, ErrInvalid) {
				t.Fatalf("%v, %v", state, err)
			}
			return
		}
		written, err := encodeState(state)
		if err != nil {
			return // larger when written: escapes
		}
		again, err := parseState(written)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, written)
		}
		if twice, err := encodeState(again); err != nil || string(twice) != string(written) {
			t.Fatalf("%v\n%s\n%s", err, written, twice)
		}
	})
}
