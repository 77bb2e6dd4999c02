package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// when is the time of everything in the stories, so that equal histories make equal states.
func when() time.Time { return time.Date(2025, 4, 1, 12, 0, 0, 0, time.UTC) }

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// release is one model version of a story.
type release struct {
	number int64
	bad    bool // fails its probation
}

func (r release) sha() string { return digest(fmt.Sprint("artefact ", r.number)) }

// files are the contents of the version by name.
func (r release) files() map[string]string {
	return map[string]string{
		"model.onnx":       strings.Repeat(fmt.Sprint("weights ", r.number, "\n"), 50),
		"data/weights.bin": strings.Repeat(fmt.Sprint(r.number), 100),
	}
}

func (r release) meta() Meta {
	m := Meta{URI: fmt.Sprintf("s3://models/%d", r.number), Name: "m", Version: fmt.Sprint("v", r.number), Release: r.number}
	m.Installed = when().Add(time.Duration(r.number) * time.Hour)
	for _, name := range []string{"model.onnx", "data/weights.bin"} {
		text := r.files()[name]
		m.Files = append(m.Files, File{Name: name, Size: int64(len(text)), SHA256: digest(text)})
	}
	return m
}

func (r release) entry() Entry {
	return Entry{SHA256: r.sha(), URI: r.meta().URI, Version: r.meta().Version, Release: r.number, At: when()}
}

// download puts the files into a directory, in two parts, as a fetcher would.
func (r release) download(dir string, hook func(string) error) error {
	if err := os.MkdirAll(filepath.Join(dir, "files", "data"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "archive.part"), []byte("left by the fetcher"), 0o644); err != nil {
		return err
	}
	for name, text := range r.files() {
		for _, part := range []string{text[:len(text)/2], text} {
			if err := hook("download: write"); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "files", name), []byte(part), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// story is a script whose every step may be its last, and that can be played again from wherever it ended.
type story struct {
	name    string
	prepare func(dir string) error // makes what was there before; runs undisturbed
	damaged bool                   // prepare leaves damage, which Open may report
	play    func(s *Store, hook func(string) error) error
}

// run opens the store, plays and closes. Options are such that only what is protected stays.
func (st story) run(dir string, hook func(string) error) error {
	s, err := Open(dir, Options{MaxBytes: 1, step: hook})
	if err != nil {
		return err
	}
	return errors.Join(st.play(s, hook), s.Close())
}

const slotName = "cam-1"

// bring takes a release all the way, unless that has happened.
func bring(s *Store, r release, hook func(string) error) error {
	state := s.State()
	if state.Slot(slotName).Release >= r.number || state.Failures[r.sha()].Count > 0 {
		return s.DiscardStaging(r.sha())
	}
	dir, err := s.Staging(r.sha())
	if err != nil {
		return err
	}
	if _, err := s.Version(r.sha()); err != nil {
		if err := r.download(dir, hook); err != nil {
			return err
		}
	}
	if _, err := s.Install(r.sha(), filepath.Join(dir, "files"), r.meta()); err != nil {
		return err
	}
	steps := []func(*State) error{
		func(st *State) error { st.SetCandidate(slotName, r.entry(), "candidate", when()); return nil },
		func(st *State) error { st.Slot(slotName).Phase = "probation"; return nil },
		func(st *State) error { return st.Promote(slotName, when()) },
	}
	if r.bad {
		steps[2] = func(st *State) error {
			st.Drop(slotName, &Problem{Code: "probe", Stage: "probation"}, when())
			st.Fail(r.sha(), "probe", "it fell over", when())
			return nil
		}
	}
	for _, change := range steps {
		if err := s.Update(change); err != nil {
			return err
		}
	}
	return nil
}

// rollBack leaves a release that was committed.
func rollBack(s *Store, r release) error {
	state := s.State()
	if state.Failures[r.sha()].Count > 0 {
		return nil
	}
	return s.Update(func(st *State) error {
		st.Fail(r.sha(), "regret", "seen too late", when())
		return st.RollBack(slotName, &Problem{Code: "regret"}, when())
	})
}

func collect(s *Store) error {
	_, _, err := s.Collect()
	return err
}

// brings returns a script that takes several releases and then collects.
func brings(releases ...release) func(*Store, func(string) error) error {
	return func(s *Store, hook func(string) error) error {
		for _, r := range releases {
			if err := bring(s, r, hook); err != nil {
				return err
			}
		}
		return collect(s)
	}
}

func undisturbed(string) error { return nil }

// after prepares what a script leaves, and then changes the directory.
func after(play func(*Store, func(string) error) error, change func(dir string) error) func(string) error {
	return func(dir string) error {
		if err := (story{play: play}).run(dir, undisturbed); err != nil {
			return err
		}
		return change(dir)
	}
}

func nothing(string) error { return nil }

func stories() []story {
	one, two, three, bad := release{number: 1}, release{number: 2}, release{number: 3}, release{number: 4, bad: true}
	return []story{
		{name: "first", prepare: nothing, play: brings(one)},
		{name: "upgrade and collect", prepare: after(brings(one, two), nothing), play: brings(three)},
		{name: "failed probation", prepare: after(brings(one), nothing), play: brings(bad)},
		{name: "roll back", prepare: after(brings(one, two), nothing), play: func(s *Store, _ func(string) error) error {
			if err := rollBack(s, two); err != nil {
				return err
			}
			return collect(s)
		}},
		{
			name: "damaged state", damaged: true,
			prepare: after(brings(one, two), func(dir string) error {
				return os.WriteFile(filepath.Join(dir, stateName), []byte("{\"format\": 1, \"slo"), 0o600)
			}),
			play: brings(two, three),
		},
		{
			name: "damaged version", damaged: true,
			prepare: after(brings(one, two), func(dir string) error {
				return os.Truncate(filepath.Join(dir, versionsDir, one.sha(), "model.onnx"), 5)
			}),
			play: func(s *Store, hook func(string) error) error {
				dir, err := s.Staging(one.sha())
				if err != nil {
					return err
				}
				if err := one.download(dir, hook); err != nil {
					return err
				}
				_, err = s.Install(one.sha(), filepath.Join(dir, "files"), one.meta())
				return err
			},
		},
		{
			name: "leftovers",
			prepare: after(brings(one, two), func(dir string) error {
				old := filepath.Join(dir, stagingDir, three.sha())
				err := errors.Join(
					os.MkdirAll(filepath.Join(dir, trashDir, "versions-x", "y"), 0o700),
					os.WriteFile(filepath.Join(dir, stateName+tempSuffix), []byte("{"), 0o600),
					os.Mkdir(old, 0o700),
				)
				return errors.Join(err, os.Chtimes(old, when(), when()))
			}),
			play: brings(three),
		},
		{
			name: "remove",
			prepare: after(func(s *Store, hook func(string) error) error {
				return errors.Join(brings(one, two)(s, hook), rollBack(s, two))
			}, nothing),
			play: func(s *Store, _ func(string) error) error {
				if err := s.Remove(two.sha()); err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
				return nil
			},
		},
	}
}

// prepared makes the beginning of a story in a new directory.
func (st story) prepared(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if err := st.prepare(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copied copies a beginning, with modes and times, which is faster than making it again.
func copied(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "store")
	var folders []string
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(name, from))
		if d.IsDir() {
			folders = append(folders, name)
			return os.Mkdir(target, 0o700)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return to // a story that begins with nothing
	}
	for _, name := range folders {
		info, statErr := os.Stat(name)
		if statErr != nil {
			t.Fatal(statErr)
		}
		err = errors.Join(err, os.Chtimes(filepath.Join(to, strings.TrimPrefix(name, from)), info.ModTime(), info.ModTime()))
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}
