package health_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/telemetry/health"
)

type story struct {
	t   *testing.T
	now time.Time
	m   *health.Monitor
	doc health.Document
}

func begin(t *testing.T) *story {
	s := &story{t: t, now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	s.m = health.New(health.Options{Device: "thing-1", BootID: "boot-1", Now: func() time.Time { return s.now }})
	return s
}

// last updates every 5 s for a while, and tells how often the document changed.
func (s *story) last(d time.Duration, in func(now time.Time) health.Inputs) int {
	changes := 0
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(5 * time.Second) {
		doc, changed := s.m.Update(in(s.now))
		s.doc = doc
		if changed {
			changes++
		}
	}
	return changes
}

func (s *story) want(status health.Status, codes ...health.Code) {
	s.t.Helper()
	var got []health.Code
	for _, r := range s.doc.Reasons {
		got = append(got, r.Code)
	}
	if s.doc.Status != status || !slices.Equal(got, codes) {
		s.t.Fatalf("at %v: %s because of %v, want %s because of %v", s.now, s.doc.Status, s.doc.Reasons, status, codes)
	}
}

func always(in health.Inputs) func(time.Time) health.Inputs {
	return func(time.Time) health.Inputs { return in }
}

// good is an agent at its best, with a change.
func good(change func(*health.Inputs)) func(time.Time) health.Inputs {
	return func(now time.Time) health.Inputs {
		in := health.Inputs{
			Sources:    []health.Source{{Name: "street", State: health.Running, Last: now, Frames: 100}, {Name: "yard", State: health.Running, Last: now, Frames: 100}},
			Slots:      []health.Slot{{Name: "main", State: "active"}},
			Connection: &health.Connection{Connected: true}, Spool: &health.Spool{Bytes: 10, MaxBytes: 100},
			Disk:   &health.Disk{Available: 50e9, Total: 100e9, FreeFiles: 900, Files: 1000},
			Memory: &health.Memory{Available: 4e9, Total: 8e9}, Clock: &health.Clock{Synchronised: true},
			Certificate: now.AddDate(1, 0, 0), Parameters: &health.Parameters{Fetched: now, Since: now, Every: 5 * time.Minute},
		}
		if change != nil {
			change(&in)
		}
		return in
	}
}

// TestRules: each rule comes when it should, not before, and goes when it should.
func TestRules(t *testing.T) {
	certificate := time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		change  func(*health.Inputs)
		in, out time.Duration // after which it is there, and gone
		status  health.Status
		want    []health.Code
		message string // part of the first reason's
	}{
		"source away": {
			func(in *health.Inputs) { in.Sources[0].State, in.Sources[0].Error = health.Retrying, "no route" },
			10 * time.Second, time.Minute, health.Degraded,
			[]health.Code{health.SourceRetrying},
			"no route",
		},
		"source given up": {
			func(in *health.Inputs) { in.Sources[0].State, in.Sources[0].Error = health.Broken, "no such file" },
			0, 0, health.Degraded,
			[]health.Code{health.SourceFailed},
			"no such file",
		},
		"all away": {
			func(in *health.Inputs) { in.Sources[0].State, in.Sources[1].State = health.Retrying, health.Broken },
			time.Minute, time.Minute, health.Failed,
			[]health.Code{health.NoSource, health.SourceFailed, health.SourceRetrying},
			"none of 2",
		},
		"silent": {func(in *health.Inputs) { in.Sources[0].Last = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC) }, 0, 30 * time.Second, health.Degraded, []health.Code{health.SourceSilent}, "nothing for"},
		"silent, as it may be": {func(in *health.Inputs) {
			in.Sources[0].Last, in.Sources[0].Silence = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), 24*time.Hour
		}, 0, 0, health.OK, nil, ""},
		"silent, a folder": {func(in *health.Inputs) {
			in.Sources[0].Last, in.Sources[0].Silence = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), -1
		}, 0, 0, health.OK, nil, ""},
		"safe mode": {func(in *health.Inputs) { in.SafeMode = true }, 0, 0, health.Degraded, []health.Code{health.SafeMode}, "again and again"},
		"frozen": {
			func(in *health.Inputs) { in.Sources[0].Frozen = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC) },
			0, 30 * time.Second, health.Degraded,
			[]health.Code{health.PictureFrozen},
			"does not change",
		},
		"black": {
			func(in *health.Inputs) { in.Sources[0].Black = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC) },
			0, 30 * time.Second, health.Degraded,
			[]health.Code{health.PictureBlack},
			"lens",
		},
		"away, black before": {
			func(in *health.Inputs) {
				in.Sources[0].Black, in.Sources[0].State = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), health.Ended
			},
			0, 0, health.OK, nil, "",
		},
		"file at its end": {func(in *health.Inputs) { in.Sources[0].State = health.Ended }, 0, 0, health.OK, nil, ""},
		"model fails": {
			func(in *health.Inputs) { in.Sources[1].Failed = 5 },
			0, 30 * time.Second, health.Degraded,
			[]health.Code{health.ModelFailing},
			"5 of 100",
		},
		"model fails a little":    {func(in *health.Inputs) { in.Sources[1].Failed = 4 }, 0, 0, health.OK, nil, ""},
		"too few frames to judge": {func(in *health.Inputs) { in.Sources[1].Frames, in.Sources[1].Failed = 10, 10 }, 0, 0, health.OK, nil, ""},
		"model fails always": {
			func(in *health.Inputs) { in.Sources[0].Failed, in.Sources[1].Failed = 100, 99 },
			0, 30 * time.Second, health.Failed,
			[]health.Code{health.ModelBroken, health.ModelFailing, health.ModelFailing},
			"every frame",
		},
		"rolled back": {
			func(in *health.Inputs) {
				in.Slots[0] = health.Slot{Name: "main", State: health.RolledBack, Error: "too slow"}
			},
			0, 0, health.Degraded,
			[]health.Code{health.ModelRolledBack},
			"too slow",
		},
		"refused": {func(in *health.Inputs) { in.Slots[0].State = health.Refused }, 0, 0, health.Degraded, []health.Code{health.ModelRefused}, "cannot be used"},
		"banned":  {func(in *health.Inputs) { in.Slots[0].State = health.Banned }, 0, 0, health.Degraded, []health.Code{health.ModelRefused}, "not tried again"},
		"disconnected": {
			func(in *health.Inputs) { in.Connection = &health.Connection{Error: "refused"} },
			time.Minute, 10 * time.Second, health.Degraded,
			[]health.Code{health.Disconnected},
			"refused",
		},
		"spool near full": {
			func(in *health.Inputs) { in.Spool.Bytes = 95 },
			0, 30 * time.Second, health.Degraded,
			[]health.Code{health.SpoolNearFull},
			"95 %",
		},
		"spool broken": {
			func(in *health.Inputs) { in.Spool.Error = "the disk is full" },
			0, 30 * time.Second, health.Degraded,
			[]health.Code{health.SpoolBroken},
			"the disk is full",
		},
		"disk low": {func(in *health.Inputs) { in.Disk.Available = 1e9 }, 0, 30 * time.Second, health.Degraded, []health.Code{health.DiskLow}, "1000 MB"},
		"no files": {func(in *health.Inputs) { in.Disk.FreeFiles = 10 }, 0, 30 * time.Second, health.Degraded, []health.Code{health.DiskLow}, "10 files"},
		"small disk that is roomy": {
			func(in *health.Inputs) { in.Disk = &health.Disk{Available: 300e6, Total: 400e6} }, 0, 0, health.OK, nil, "",
		},
		"memory low": {
			func(in *health.Inputs) { in.Memory.Available = 100e6 },
			30 * time.Second, 2 * time.Minute, health.Degraded,
			[]health.Code{health.MemoryLow},
			"100 MB",
		},
		"clock": {
			func(in *health.Inputs) { in.Clock.Synchronised = false },
			5 * time.Minute, time.Minute, health.Degraded,
			[]health.Code{health.ClockUnsynchronised},
			"NTP",
		},
		"throttled": {
			func(in *health.Inputs) { in.Throttled = []string{"heat", "under_voltage"} },
			10 * time.Second, 2 * time.Minute, health.Degraded,
			[]health.Code{health.Throttled},
			"heat, under_voltage",
		},
		"certificate ends":  {func(in *health.Inputs) { in.Certificate = certificate }, 0, 0, health.Degraded, []health.Code{health.CertificateEnds}, "27 days"},
		"certificate ended": {func(in *health.Inputs) { in.Certificate = certificate.AddDate(0, -1, 0) }, 0, 0, health.Failed, []health.Code{health.CertificateEnded}, "has ended"},
		"parameters fail": {
			func(in *health.Inputs) {
				in.Parameters.Fetched = in.Parameters.Fetched.Add(-16 * time.Minute)
				in.Parameters.Error = "denied"
			},
			0, 30 * time.Second, health.Degraded,
			[]health.Code{health.ParametersStale},
			"16m0s: denied",
		},
		"parameters never": {
			func(in *health.Inputs) {
				in.Parameters.Fetched, in.Parameters.Since = time.Time{}, in.Parameters.Since.Add(-16*time.Minute)
			},
			0, 30 * time.Second, health.Degraded,
			[]health.Code{health.ParametersStale},
			"16m0s",
		},
		"nothing is known": {func(in *health.Inputs) { *in = health.Inputs{} }, 0, 0, health.OK, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t)
			s.last(time.Minute, good(nil))
			s.want(health.OK)
			if c.in > 5*time.Second {
				s.last(c.in, good(c.change))
				if slices.ContainsFunc(s.doc.Reasons, func(r health.Reason) bool { return r.Code == c.want[0] }) {
					t.Fatalf("too early: %v", s.doc.Reasons)
				}
			}
			changes := s.last(10*time.Second, good(c.change))
			s.want(c.status, c.want...)
			if c.want != nil {
				if !strings.Contains(s.doc.Reasons[0].Message, c.message) || changes == 0 {
					t.Errorf("%q after %d changes", s.doc.Reasons[0].Message, changes)
				}
				if c.out > 10*time.Second {
					s.last(c.out-5*time.Second, good(nil))
					if s.doc.Status == health.OK {
						t.Error("gone too early")
					}
				}
			}
			s.last(15*time.Second, good(nil))
			s.want(health.OK)
		})
	}
}

// TestFlapping: what comes and goes is one reason that stays, and what is between two marks changes nothing.
func TestFlapping(t *testing.T) {
	s := begin(t)
	i := 0
	changes := s.last(10*time.Minute, func(now time.Time) health.Inputs {
		i++
		return good(func(in *health.Inputs) {
			if i%4 != 0 { // 15 s of 20 away
				in.Sources[0].State = health.Retrying
			}
		})(now)
	})
	s.want(health.Degraded, health.SourceRetrying)
	if changes != 1 || s.doc.Reasons[0].Since != "2026-11-22T10:00:00Z" || s.doc.Seq != 1 {
		t.Errorf("%d changes, %+v", changes, s.doc)
	}

	s = begin(t)
	near := func(bytes uint64) func(time.Time) health.Inputs {
		return good(func(in *health.Inputs) { in.Spool.Bytes = bytes })
	}
	s.last(time.Minute, near(85))
	s.want(health.OK) // on the way up it is not yet
	s.last(time.Minute, near(91))
	changes = s.last(10*time.Minute, near(85)) // on the way down it is not over
	s.want(health.Degraded, health.SpoolNearFull)
	s.last(time.Minute, near(70))
	s.want(health.OK)
	if changes != 0 {
		t.Errorf("%d changes between the marks", changes)
	}
}

func TestSpoolDropping(t *testing.T) {
	s, dropped := begin(t), uint64(0)
	drops := func(n uint64) func(time.Time) health.Inputs {
		return func(now time.Time) health.Inputs {
			dropped += n
			return good(func(in *health.Inputs) { in.Spool.Dropped = dropped })(now)
		}
	}
	s.last(time.Minute, drops(3))
	s.want(health.Degraded, health.SpoolDropping)
	s.last(9*time.Minute, drops(0))
	s.want(health.Degraded, health.SpoolDropping)
	s.last(2*time.Minute, drops(0))
	s.want(health.OK)
}

func TestSilentSource(t *testing.T) {
	s := begin(t)
	last := s.now
	quiet := func(now time.Time) health.Inputs {
		return good(func(in *health.Inputs) { in.Sources[0].Last = last })(now)
	}
	s.last(30*time.Second, quiet)
	s.want(health.OK)
	s.last(30*time.Second, quiet)
	s.want(health.Degraded, health.SourceSilent)
	if r := s.doc.Reasons[0]; r.Subject != "street" || r.Severity != health.Degraded {
		t.Errorf("%+v", r)
	}
	// Alone, it means that nothing is delivered.
	s.last(2*time.Minute, func(now time.Time) health.Inputs {
		in := quiet(now)
		in.Sources = in.Sources[:1]
		return in
	})
	s.want(health.Failed, health.NoSource, health.SourceSilent)
}

// TestDocument: the form, its order and its bounds.
func TestDocument(t *testing.T) {
	s := begin(t)
	s.last(2*time.Minute, always(health.Inputs{}))
	in := health.Inputs{Certificate: s.now.Add(240 * time.Hour)}
	for i := range 50 {
		in.Sources = append(in.Sources, health.Source{Name: fmt.Sprintf("camera-%02d", i), State: health.Retrying, Error: strings.Repeat("é", 1000) + "\xff"})
	}
	slices.Reverse(in.Sources)
	s.last(2*time.Minute, always(in))
	d := s.doc
	if d.Status != health.Failed || len(d.Reasons) != 20 || d.More != 32 || d.Reasons[0].Code != health.NoSource || d.Reasons[1].Code != health.CertificateEnds || d.Reasons[2].Subject != "camera-00" {
		t.Fatalf("%+v", d)
	}
	if d.Reasons[1].At != "2026-12-02T10:02:00Z" || d.Since != "2026-11-22T10:03:00Z" || d.Time != "2026-11-22T10:03:55Z" {
		t.Errorf("%s, %s, %s", d.Reasons[1].At, d.Since, d.Time)
	}
	data, err := json.Marshal(d)
	if err != nil || len(data) > 10000 || !strings.HasPrefix(string(data), `{"schema":"gnomon.health/1","device":"thing-1","boot_id":"boot-1","source":"agent","seq":`) {
		t.Errorf("%d bytes, %v: %.200s", len(data), err, data)
	}
	again := s.m.Document()
	again.Reasons[0].Code = "x"
	if s.m.Document().Reasons[0].Code != health.NoSource {
		t.Error("the document is shared")
	}
	if d := health.New(health.Options{}).Document(); d.Status != health.OK || d.Reasons == nil {
		t.Errorf("before the first look: %+v", d)
	}
}
