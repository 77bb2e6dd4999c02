package supervise

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a machine in time, with an agent's record on its disk.
type machine struct {
	t    *testing.T
	dir  string
	boot string
	now  time.Time
	up   time.Duration
	full bool // the disk
	s    *Starts
}

func newMachine(t *testing.T) *machine {
	return &machine{t: t, dir: filepath.Join(t.TempDir(), "supervise"), boot: "boot-1", now: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC), up: time.Hour}
}

func (m *machine) options() Options {
	return Options{
		Version: "1.2.3", boot: m.boot,
		now: func() time.Time { return m.now }, uptime: func() (time.Duration, error) { return m.up, nil },
		step: func(string) error {
			if m.full {
				return syscall.ENOSPC
			}
			return nil
		},
	}
}

func (m *machine) later(d time.Duration) { m.now, m.up = m.now.Add(d), m.up+d }

// start is a start of the agent.
func (m *machine) start() Verdict {
	m.t.Helper()
	var err error
	if m.s, err = Open(m.dir, m.options()); err != nil {
		m.t.Fatal(err)
	}
	v, err := m.s.Begin()
	if (err != nil) != m.full {
		m.t.Fatal(err)
	}
	return v
}

// gone is the process being away, without a word.
func (m *machine) gone() {
	m.t.Helper()
	if err := m.s.Close(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) end(reason string, orderly bool) {
	m.t.Helper()
	if err := m.s.End(reason, orderly); err != nil {
		m.t.Fatal(err)
	}
	m.gone()
}

// crash is so many starts that crash, each after so long.
func (m *machine) crash(times int, after time.Duration) (last Verdict) {
	m.t.Helper()
	for range times {
		last = m.start()
		m.later(after)
		m.gone()
	}
	return last
}

func (m *machine) want(v Verdict, safe bool, crashes int, last Kind) {
	m.t.Helper()
	if v.Safe != safe || v.Crashes != crashes || v.Last.Kind != last {
		m.t.Errorf("%+v, want safe %v, %d crashes, %q before", v, safe, crashes, last)
	}
}

func TestStarts(t *testing.T) {
	for name, play := range map[string]func(m *machine){
		"the first": func(m *machine) { m.want(m.start(), false, 0, "") },
		"after a stop": func(m *machine) {
			m.start()
			m.end("SIGTERM", true)
			m.want(m.start(), false, 0, Stopped)
		},
		"five crashes": func(m *machine) {
			m.want(m.crash(5, 10*time.Second), false, 4, Crashed)
			m.want(m.start(), true, 5, Crashed)
		},
		"four crashes": func(m *machine) { m.crash(4, time.Second); m.want(m.start(), false, 4, Crashed) },
		"five slow crashes": func(m *machine) {
			m.crash(5, 20*time.Second)
			m.want(m.start(), false, 4, Crashed)
		},
		"failures count": func(m *machine) {
			for range 5 {
				m.start()
				m.later(time.Second)
				m.end("a camera was stuck", false)
			}
			m.want(m.start(), true, 5, Failed)
		},
		"with a stop between it begins anew": func(m *machine) {
			m.crash(3, time.Second)
			m.start()
			m.end("SIGTERM", true)
			m.crash(3, time.Second)
			m.want(m.start(), false, 3, Crashed)
		},
		"a power cut is no crash": func(m *machine) {
			m.crash(4, time.Second)
			m.start()
			m.gone()
			m.boot, m.up = "boot-2", 20*time.Second
			m.want(m.start(), false, 0, Power)
		},
		"power cuts only": func(m *machine) {
			for range 6 {
				m.start()
				m.gone()
				m.boot += "'"
				m.later(3 * time.Second)
			}
			m.want(m.start(), false, 0, Power)
		},
		"the same boot id on a machine that has restarted": func(m *machine) {
			m.start()
			m.gone()
			m.up = time.Second
			m.want(m.start(), false, 0, Power)
		},
		"steps of the clock": func(m *machine) {
			for i := range 5 {
				m.start()
				m.later(5 * time.Second)
				m.gone()
				m.now = m.now.AddDate(1-2*(i%2), 0, 0)
			}
			m.now = time.Unix(0, 0)
			m.want(m.start(), true, 5, Crashed)
		},
		"safe mode stays while it crashes": func(m *machine) {
			m.crash(6, time.Second)
			m.later(time.Hour)
			m.want(m.start(), true, 1, Crashed)
		},
		"safe mode stays over a power cut": func(m *machine) {
			m.crash(6, time.Second)
			m.boot = "boot-2"
			m.want(m.start(), true, 0, Power)
		},
		"a person's stop ends safe mode": func(m *machine) {
			m.crash(5, time.Second)
			m.want(m.start(), true, 5, Crashed)
			m.end("SIGTERM", true)
			m.want(m.start(), false, 0, Stopped)
		},
		"a good start ends safe mode": func(m *machine) {
			m.crash(5, time.Second)
			m.later(m.start().Good)
			if err := m.s.Good(); err != nil {
				m.t.Fatal(err)
			}
			m.gone()
			m.want(m.start(), false, 1, Crashed)
		},
		"an end is said once": func(m *machine) {
			m.start()
			if err := m.s.End("the first reason", false); err != nil {
				m.t.Fatal(err)
			}
			m.end("another reason", true)
			if v := m.start(); v.Last.Reason != "the first reason" || v.Last.Kind != Failed || v.Last.Version != "1.2.3" {
				m.t.Errorf("%+v", v.Last)
			}
		},
		"a full disk": func(m *machine) {
			m.crash(4, time.Second)
			m.full = true
			m.want(m.start(), false, 4, Crashed)
			m.gone()
			m.full = false
			m.want(m.start(), false, 4, Crashed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			play(m)
			if err := errors.Join(m.s.Close(), m.s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSafeLonger: safe mode lasts longer each time that it did not help, and begins anew after a good start.
func TestSafeLonger(t *testing.T) {
	m := newMachine(t)
	for i, want := range []time.Duration{goodAfter, 2 * goodAfter, 4 * goodAfter, 8 * goodAfter, 16 * goodAfter, 32 * goodAfter, maxSafe, maxSafe} {
		m.later(time.Hour)
		m.crash(5, time.Second)
		v := m.start()
		if !v.Safe || v.Good != want {
			t.Fatalf("%d: %+v, want %v of safe mode", i, v, want)
		}
		if err := m.s.Good(); err != nil {
			t.Fatal(err)
		}
		m.end("leaving safe mode", true)
	}
	if v := m.start(); v.Safe || v.Good != goodAfter {
		t.Fatalf("%+v", v)
	}
	if err := m.s.Good(); err != nil {
		t.Fatal(err)
	}
	m.gone()
	m.crash(4, time.Second)
	if v := m.start(); !v.Safe || v.Good != goodAfter {
		t.Errorf("after a good start: %+v", v)
	}
	m.gone()
}

// TestDamaged: whatever the file is, the agent starts, says what is wrong, and has a good record the next time.
func TestDamaged(t *testing.T) {
	long, err := json.Marshal(record{Format: recordFormat, Runs: []run{{Version: strings.Repeat("x", maxRecord)}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(path string) error{
		"empty":         func(path string) error { return os.WriteFile(path, nil, fileMode) },
		"half":          func(path string) error { return os.WriteFile(path, []byte(`{"format":1,"runs":[{"sta`), fileMode) },
		"wrong types":   func(path string) error { return os.WriteFile(path, []byte(`{"format":1,"runs":{}}`), fileMode) },
		"other version": func(path string) error { return os.WriteFile(path, []byte(`{"format":2}`), fileMode) },
		"endless":       func(path string) error { return os.WriteFile(path, long, fileMode) },
		"two running":   func(path string) error { return os.WriteFile(path, []byte(`{"format":1,"runs":[{},{}]}`), fileMode) },
		"pipe":          func(path string) error { return syscall.Mkfifo(path, fileMode) },
		"link":          func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			path := filepath.Join(m.dir, recordFile)
			if err := os.MkdirAll(m.dir, dirMode); err != nil {
				t.Fatal(err)
			}
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			s, err := Open(m.dir, m.options())
			if err == nil {
				t.Error("nothing is said")
			}
			if v, err := s.Begin(); err != nil || v.Safe {
				t.Errorf("%+v, %v", v, err)
			}
			m.s = s
			m.gone()
			m.want(m.start(), false, 1, Crashed)
			m.gone()
		})
	}
}

// TestNoRecord: without a place for it there is no record, and all else works.
func TestNoRecord(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, fileMode); err != nil {
		t.Fatal(err)
	}
	s, err := Open(filepath.Join(file, "below"), Options{})
	if err == nil {
		t.Error("a folder below a file")
	}
	for _, s := range []*Starts{s, nil} {
		v, err := s.Begin()
		if err = errors.Join(err, s.CatchCrashes(), s.Good(), s.End("", true), s.Close()); err != nil || v.Safe || v.Good != goodAfter {
			t.Errorf("%+v, %v", v, err)
		}
	}
}

// TestLook: others see whether an agent runs and how the last one ended, and disturb nobody.
func TestLook(t *testing.T) {
	m := newMachine(t)
	look := func(running, safe bool, last Kind) {
		t.Helper()
		s, err := Look(m.dir)
		if err != nil || s.Running != running || running && s.PID != os.Getpid() || s.Safe != safe || s.Last.Kind != last {
			t.Errorf("%+v, %v; want running %v, safe %v, %q before", s, err, running, safe, last)
		}
	}
	look(false, false, "") // the folder is not there
	m.start()
	look(true, false, "")
	look(true, false, "")
	other, err := Open(m.dir, m.options())
	if !errors.Is(err, ErrRunning) {
		t.Errorf("two agents: %v", err)
	}
	if _, err := other.Begin(); err != nil { // it is noted nowhere
		t.Error(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	m.end("", true)
	look(false, false, Stopped)
	m.crash(5, time.Second)
	look(false, false, Crashed)
	m.start()
	look(true, true, Crashed)
	m.end("", true)
	look(false, false, Stopped)
	if err := os.WriteFile(filepath.Join(m.dir, recordFile), []byte("?"), fileMode); err != nil {
		t.Fatal(err)
	}
	if s, err := Look(m.dir); err == nil || s.Running {
		t.Errorf("%+v of a damaged record", s)
	}
}
