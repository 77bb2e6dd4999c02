package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// moment is what an undisturbed play of a story passes.
type moment struct {
	step     string
	old, new State // of the update that the step may belong to: both equal between updates
}

// record plays a story to its end and returns its moments, the last state, and what lies in the store afterwards.
func record(t *testing.T, st story) ([]moment, State, map[string]string) {
	t.Helper()
	dir := st.prepared(t)
	var moments []moment
	var s *Store
	hook := func(name string) error {
		m := moment{step: name}
		if s != nil {
			m.old = s.State()
		}
		moments = append(moments, m)
		return nil
	}
	s, err := Open(dir, Options{MaxBytes: 1, step: hook})
	if err != nil {
		t.Fatal(err)
	}
	opened := s.State()
	if err := st.play(s, hook); err != nil {
		t.Fatal(err)
	}
	last := s.State()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next := last
	for i := len(moments) - 1; i >= 0; i-- {
		m := &moments[i]
		if m.old.Format == 0 { // a step of Open, which changes no state that is whole
			m.old = opened
		}
		if m.new = m.old; i+1 < len(moments) && cmp.Equal(m.old, moments[i+1].old) {
			m.new = moments[i+1].new
		} else {
			m.new = next
		}
		next = m.old
	}
	if len(moments) == 0 {
		t.Fatal("the story has no steps")
	}
	return moments, last, tree(t, dir)
}

// tree maps the files of a store to their contents; the lock holds a process id and is left out, and so are files set
// aside.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == lockName || name == prevName || strings.HasPrefix(name, badPrefix) {
			return err
		}
		if d.IsDir() {
			files[name+"/"] = ""
			return nil
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// assertWhole opens a store that was left in the middle of a story and checks the promise of this package.
func assertWhole(t *testing.T, st story, dir string, m moment) {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatalf("the next start fails: %v", err)
	}
	defer s.Close()
	if !st.damaged && len(s.Damaged()) > 0 {
		t.Errorf("damage: %v", s.Damaged())
	}
	state := s.State()
	if !cmp.Equal(state, m.old) && !cmp.Equal(state, m.new) {
		t.Errorf("the state is neither the old nor the new one; against the old (-want +got):\n%s", cmp.Diff(m.old, state))
	}
	for name, sl := range state.Slots {
		if sl.Active == nil {
			continue
		}
		if err := s.Verify(sl.Active.SHA256); err != nil {
			t.Errorf("slot %s: the committed model: %v", name, err)
		}
		if sl.Previous != nil && sl.Previous.SHA256 != "" && !st.damaged {
			if err := s.Verify(sl.Previous.SHA256); err != nil {
				t.Errorf("slot %s: the model to go back to: %v", name, err)
			}
		}
	}
	versions, err := s.Versions()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		if err := s.Verify(v.SHA256); err != nil {
			t.Errorf("torn: %v", err)
		}
	}
	for name := range tree(t, dir) {
		ours := !strings.HasPrefix(name, stagingDir+"/") // downloads are the fetcher's until they are installed
		if ours && strings.HasSuffix(name, tempSuffix) || strings.HasPrefix(name, trashDir+"/") && name != trashDir+"/" {
			t.Errorf("left over: %s", name)
		}
	}
}

// assertEnds plays a story again from where it was left, and compares with the undisturbed play.
func assertEnds(t *testing.T, st story, dir string, last State, files map[string]string) {
	t.Helper()
	if err := st.run(dir, undisturbed); err != nil {
		t.Fatalf("played again: %v", err)
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if diff := cmp.Diff(last, s.State()); diff != "" {
		t.Errorf("played again, another state (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(files, tree(t, dir)); diff != "" {
		t.Errorf("played again, other files (-want +got):\n%s", diff)
	}
}

func TestKilledAtEveryStep(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, st := range stories() {
		moments, last, files := record(t, st)
		cases += len(moments)
		begin := st.prepared(t)
		for i, m := range moments {
			t.Run(fmt.Sprintf("%s/%03d %s", st.name, i, m.step), func(t *testing.T) {
				t.Parallel()
				dir := copied(t, begin)
				child := exec.Command(self)
				child.Env = append(os.Environ(), envStory+"="+st.name, envDir+"="+dir, fmt.Sprint(envStep, "=", i))
				out, err := child.CombinedOutput()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("the child was not killed: %v\n%s", err, out)
				}
				assertWhole(t, st, dir, m)
				assertEnds(t, st, dir, last, files)
			})
		}
	}
	if cases < 60 {
		t.Errorf("only %d places to die", cases)
	}
}

func TestDiskFailsAtEveryStep(t *testing.T) {
	for _, st := range stories() {
		moments, last, files := record(t, st)
		begin := st.prepared(t)
		for i, m := range moments {
			for errno, words := range map[syscall.Errno]string{
				syscall.ENOSPC: "the disk is full; free some space",
				syscall.EROFS:  "the file system is read-only; check the disk",
				syscall.EIO:    "the disk reports an I/O error; check",
			} {
				t.Run(fmt.Sprintf("%s/%03d %s/%d", st.name, i, m.step, errno), func(t *testing.T) {
					t.Parallel()
					dir := copied(t, begin)
					failOnce(t, st, dir, i, m, errno, words)
					assertWhole(t, st, dir, m)
					assertEnds(t, st, dir, last, files)
				})
			}
		}
	}
}

// failOnce plays a story whose given step fails.
func failOnce(t *testing.T, st story, dir string, at int, m moment, errno syscall.Errno, words string) {
	t.Helper()
	step := 0
	hook := func(string) error {
		step++
		if step == at+1 {
			return errno
		}
		return nil
	}
	s, err := Open(dir, Options{MaxBytes: 1, step: hook})
	if err != nil {
		t.Fatalf("a step of Open that fails must not keep the device from starting: %v", err)
	}
	defer s.Close()
	if step > at { // Open met it
		said := false
		for _, d := range s.Damaged() {
			said = said || errors.Is(d.Err, errno) && strings.Contains(d.Err.Error(), words)
		}
		if !said {
			t.Errorf("Open kept quiet about it: %v", s.Damaged())
		}
		return
	}
	err = st.play(s, hook)
	if !errors.Is(err, errno) {
		t.Errorf("error %v, want one that wraps %v", err, errno)
	}
	// The downloads of the story are not the store's, so their errors are not either.
	if err != nil && !strings.HasPrefix(m.step, "download") && !strings.Contains(err.Error(), words) {
		t.Errorf("%q does not say %q", err, words)
	}
	if diff := cmp.Diff(m.old, s.State()); diff != "" {
		t.Errorf("the state in memory changed (-want +got):\n%s", diff)
	}
}
