package metrics

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gnomon/engine/detect"
)

// watch lets a camera run: a frame every 10 s, with detections of a certain confidence.
func watch(c *clock, s *Source, rng *rand.Rand, d time.Duration, confidence float64) {
	for range int(d / maxGap) {
		c.pass(maxGap)
		var list []detect.Detection
		for range rng.IntN(5) {
			list = append(list, found(0, float32(confidence+0.1*rng.NormFloat64()))...)
		}
		s.Observe(observation(c.at, list))
	}
}

func driftOf(r *Registry) Drift {
	m := r.Snapshot(Inputs{}).Sources[0].Models
	return m[len(m)-1].Drift
}

func TestDrift(t *testing.T) {
	c, rng, dir := newClock(), rand.New(rand.NewPCG(5, 6)), filepath.Join(t.TempDir(), "references")
	r := newRegistry(t, c, dir)
	s := r.Source("street")
	s.Observe(observation(c.at, nil)) // the first snapshot finds out that there is nothing on the disk
	if d := driftOf(r); d.State != Learning || d.Learned != 0 {
		t.Errorf("%+v", d)
	}
	watch(c, s, rng, 12*time.Hour, 0.7)
	if d := driftOf(r); d.State != Learning || d.Learned < 0.49 || d.Learned > 0.51 || d.Confidence != nil {
		t.Errorf("half a day: %+v", d)
	}
	if err := r.Save(); err != nil {
		t.Fatal(err)
	}

	// After a restart, and a week without power, it goes on.
	c.pass(7 * 24 * time.Hour)
	r = newRegistry(t, c, dir)
	s = r.Source("street")
	s.Observe(observation(c.at, nil))
	if d := driftOf(r); d.Learned < 0.49 || d.Learned > 0.51 {
		t.Errorf("after the restart: %+v", d)
	}
	watch(c, s, rng, 12*time.Hour+time.Minute, 0.7)
	if d := driftOf(r); d.State != TooFew || d.Learned != 1 || d.Confidence.PSI != nil || d.Confidence.ReferenceMean < 0.69 || d.Confidence.ReferenceMean > 0.71 {
		t.Errorf("a day: %+v", d)
	}
	watch(c, s, rng, 24*time.Hour, 0.7)
	if d := driftOf(r); d.State != Stable || *d.Confidence.PSI > 0.05 || *d.Confidence.Shift > 0.1 || *d.PerFrame.PSI > 0.05 {
		t.Errorf("the same: %+v, %+v", d.Confidence, d.PerFrame)
	}

	// Something happens: the hour tells at once, the day when it has weight, and what was before is forgotten after a day.
	watch(c, s, rng, 2*time.Hour, 0.5)
	if d := driftOf(r); *d.Confidence.HourPSI < 1 || *d.Confidence.PSI > 1 {
		t.Errorf("2 hours: %+v", d.Confidence)
	}
	watch(c, s, rng, 24*time.Hour, 0.5)
	d := driftOf(r)
	if d.State != Significant || *d.Confidence.PSI < 1 || *d.Confidence.Shift > -1.9 || *d.Confidence.Shift < -2.1 || *d.PerFrame.PSI > 0.05 || d.Confidence.Mean > 0.51 {
		t.Errorf("after a day: %+v", d.Confidence)
	}

	// The whole first day is on the disk without being asked for; another threshold finds other things, so it learns anew.
	r = newRegistry(t, c, dir)
	o := observation(c.at, nil)
	r.Source("street").Observe(o)
	if d := driftOf(r); d.Learned != 1 {
		t.Errorf("%+v", d)
	}
	o.Threshold = 0.5
	r.Source("street").Observe(o)
	if d := driftOf(r); d.Learned != 0 || d.State != Learning {
		t.Errorf("%+v", d)
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		a, b *float64
		want DriftState
	}{
		{nil, nil, TooFew},
		{new(0.05), nil, Stable},
		{new(0.1), new(0.05), Moderate},
		{new(0.05), new(0.24), Moderate},
		{new(0.1), new(0.25), Significant},
		{new(0.9), nil, Significant},
	} {
		if got := verdict(c.a, c.b); got != c.want {
			t.Errorf("%v: want %v", got, c.want)
		}
	}
}

// TestDamagedReference: whatever is in the file, it is learnt anew and the file is replaced.
func TestDamagedReference(t *testing.T) {
	good := func(t *testing.T) (string, string) {
		c, dir := newClock(), t.TempDir()
		r := newRegistry(t, c, dir)
		s := r.Source("street")
		s.Observe(observation(c.at, nil))
		driftOf(r)
		watch(c, s, rand.New(rand.NewPCG(7, 8)), time.Hour, 0.7)
		if err := r.Save(); err != nil {
			t.Fatal(err)
		}
		return dir, filepath.Join(dir, digest+".json")
	}
	for name, change := range map[string]func(string) string{
		"empty":        func(string) string { return "" },
		"cut":          func(s string) string { return s[:len(s)/2] },
		"too large":    func(s string) string { return s + strings.Repeat(" ", maxReference) },
		"another":      func(s string) string { return strings.Replace(s, digest, strings.Repeat("0", 64), 1) },
		"another form": func(s string) string { return strings.Replace(s, "reference/1", "reference/9", 1) },
		"other sums":   func(s string) string { return strings.Replace(s, `"n":3`, `"n":4`, 1) },
		"fewer bins":   func(s string) string { return strings.Replace(s, `"bins":[0,`, `"bins":[`, 1) },
		"endless":      func(s string) string { return strings.Replace(s, `"running_s":`, `"running_s":1e9`, 1) },
		"huge bin":     func(s string) string { return strings.Replace(s, `"bins":[0,`, `"bins":[18446744073709551615,`, 1) },
		"no reference": func(string) string { return "[]" },
		"null sources": func(s string) string { return s[:strings.Index(s, `"sources"`)] + `"sources":[{}]}` },
	} {
		t.Run(name, func(t *testing.T) {
			dir, file := good(t)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(change(string(data))), 0o600); err != nil {
				t.Fatal(err)
			}
			c := newClock()
			r := newRegistry(t, c, dir)
			r.Source("street").Observe(observation(c.at, nil))
			if d := driftOf(r); d.Learned != 0 || d.State != Learning {
				t.Errorf("%+v", d)
			}
			watch(c, r.Source("street"), rand.New(rand.NewPCG(7, 8)), time.Hour, 0.7)
			r.Snapshot(Inputs{}) // on the disk without being asked, as time has passed
			r = newRegistry(t, c, dir)
			r.Source("street").Observe(observation(c.at, nil))
			if d := driftOf(r); d.Learned == 0 {
				t.Error("what was learnt anew was not kept")
			}
		})
	}
}

// TestReferenceFiles: a few private files with whole names, whatever a digest looks like; others are left alone.
func TestReferenceFiles(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(sha256 string) {
		r := newRegistry(t, c, dir)
		for range 2 {
			c.pass(maxGap)
			o := observation(c.at, nil)
			o.Model.SHA256 = sha256
			r.Source("street").Observe(o)
			r.Snapshot(Inputs{})
		}
		if err := r.Save(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "../../x", strings.Repeat("../", 21) + "x", strings.Repeat("A", 64)} {
		run(name)
	}
	const hex = "0123456789abcdef"
	for i := range maxReferences + 3 {
		run(strings.Repeat("0", 62) + string(hex[i/16]) + string(hex[i%16]))
		old := time.Now().Add(time.Duration(i-100) * time.Minute) // file systems may not tell them apart
		name := filepath.Join(dir, strings.Repeat("0", 62)+string(hex[i/16])+string(hex[i%16])+".json")
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != maxReferences+1 || entries[0].Name() != strings.Repeat("0", 63)+"3.json" || entries[maxReferences].Name() != "notes.json" {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	info, err := entries[0].Info()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestNowhereToKeep: a directory that cannot be written is told of by Save and stops nothing.
func TestNowhereToKeep(t *testing.T) {
	c, dir := newClock(), filepath.Join(t.TempDir(), "gone")
	r := newRegistry(t, c, dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	r.Source("street").Observe(observation(c.at, nil))
	r.Snapshot(Inputs{})
	watch(c, r.Source("street"), rand.New(rand.NewPCG(7, 8)), time.Hour, 0.7)
	if d := driftOf(r); d.Learned == 0 {
		t.Errorf("%+v", d)
	}
	if err := r.Save(); err == nil {
		t.Error("saved into nothing")
	}
	if _, err := New(Options{Dir: "/dev/null/x"}); err == nil {
		t.Error("made a directory in a file")
	}
}
