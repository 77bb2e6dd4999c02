package shadows

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestVersionAfterDeletion(t *testing.T) {
	for name, test := range map[string]struct {
		pause time.Duration
		want  int64
	}{
		"at once":        {0, 3},
		"within 48 h":    {versionMemory - time.Second, 3}, // ask adds a second
		"later":          {versionMemory, 0},
		"clock set back": {-time.Hour, 3},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.ask(classic+"update", `{"state":{"desired":{"a":1}}}`)
			b.ask(classic+"update", `{"state":{"desired":{"b":1}}}`)
			b.ask(classic+"delete", ``)
			b.open()
			if _, err := b.Get(thing, ""); err == nil {
				t.Error("a deleted shadow came back")
			}
			b.at = b.at.Add(test.pause)
			got := b.ask(classic+"update", `{"state":{"reported":{"c":1}}}`)
			equal(t, "version: "+got, b.version(), test.want)
			follows := fmt.Sprintf(`{"previous":{"state":{},"metadata":{},"version":%d}`, max(test.want-1, 0))
			equal(t, "follows in the documents: "+got, strings.Contains(got, follows), true)
			equal(t, "state", b.state(), `{"reported":{"c":1}}`)
			b.ask(classic+"update", `{"state":{}}`)
			equal(t, "the next version", b.version(), test.want+1)
		})
	}
}

func TestLockAgainstADeletedShadow(t *testing.T) {
	b := newBench(t)
	b.ask(classic+"update", `{"state":{}}`)
	b.ask(classic+"delete", ``)
	if got := b.ask(classic+"update", `{"state":{},"version":0}`); !strings.Contains(got, "Version conflict") {
		t.Error(got)
	}
	b.ask(classic+"update", `{"state":{},"version":1}`)
	equal(t, "version", b.version(), 2)
}

func TestThrottlesAThingAcrossItsShadows(t *testing.T) {
	b := newBench(t)
	count := func(thing string) (refused int) {
		for i := range 30 {
			b.sent = nil
			b.Request(fmt.Sprintf("$aws/things/%s/shadow/name/s%d/get", thing, i%3), []byte(`{"clientToken":"t"}`))
			if string(b.sent[0].Payload) == fmt.Sprintf(`{"code":429,"message":"Rate exceeded","timestamp":%d,"clientToken":"t"}`, b.at.Unix()) {
				refused++
			}
		}
		return refused
	}
	equal(t, "refused at once", count("a"), 10)
	equal(t, "refused, of another thing", count("b"), 10)
	b.at = b.at.Add(500 * time.Millisecond)
	equal(t, "refused after half a second", count("a"), 20)
	b.at = b.at.Add(time.Hour)
	equal(t, "refused after an hour", count("a"), 10)
	for range 30 {
		if _, err := b.Update("a", "", []byte(`{"state":{}}`)); err != nil {
			t.Fatal("in process:", err)
		}
	}
	for i := range 3 * maxBuckets {
		b.Request(fmt.Sprintf("$aws/things/many%d/shadow/get", i), nil)
	}
	equal(t, "things counted are bounded", len(b.limits.buckets), maxBuckets)
	b.at = b.at.Add(time.Second)
	equal(t, "a new thing after they were quiet", count("c"), 10)
}

func TestNumberOfShadowsIsBounded(t *testing.T) {
	b := newBench(t)
	for i := range maxShadows { // not through the disk, for the time that would take
		b.shadows[key{fmt.Sprint("t", i), ""}] = &record{version: 5}
	}
	refused := &Error{}
	if _, err := b.Update(thing, "", []byte(`{"state":{}}`)); !errors.As(err, &refused) || refused.Code != 503 {
		t.Errorf("one too many: %v", err)
	}
	b.ask("$aws/things/t3/shadow/delete", "")
	if _, err := b.Update(thing, "", []byte(`{"state":{}}`)); !errors.As(err, &refused) || refused.Code != 503 {
		t.Errorf("one was deleted just now: %v", err)
	}
	b.at = b.at.Add(versionMemory + time.Second)
	if _, err := b.Update(thing, "", []byte(`{"state":{}}`)); err != nil {
		t.Errorf("one was deleted long ago: %v", err)
	}
	equal(t, "shadows", len(b.shadows), maxShadows)
	if _, err := os.Stat(filepath.Join(b.dir, key{"t3", ""}.file())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the forgotten shadow's file: %v", err)
	}
}

func TestDamagedFilesAreSetAside(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"good", "cut", "swapped", "metadata", "long", "null", "undead"} {
		if _, err := b.Update(thing, name, []byte(`{"state":{"reported":{"a":[1,{"b":2}]}}}`)); err != nil {
			t.Fatal(err)
		}
	}
	path := func(name string) string { return filepath.Join(b.dir, key{thing, name}.file()) }
	edit := func(name string, change func(string) string) {
		data, err := os.ReadFile(path(name))
		if err = errors.Join(err, os.WriteFile(path(name), []byte(change(string(data))), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	edit("cut", func(s string) string { return s[:len(s)/2] })
	edit("swapped", func(s string) string { return strings.Replace(s, `"swapped"`, `"good"`, 1) })
	edit("metadata", func(s string) string { return strings.Replace(s, `,{"b":{"timestamp":1700000000}}]`, `]`, 1) })
	edit("long", func(s string) string { return s + spaces(maxFile) })
	edit("null", func(s string) string { return strings.Replace(s, `"b":2`, `"b":null`, 1) })
	edit("undead", func(s string) string { return strings.Replace(s, `"version"`, `"deleted":5,"version"`, 1) })
	if err := os.WriteFile(filepath.Join(b.dir, ".new-1"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.WarnLevel)
	s, err := New(Options{Dir: b.dir, Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "lines in the log", logs.Len(), 6)
	for _, name := range []string{"good", "cut", "swapped", "metadata", "long", "null", "undead"} {
		exists := name == "good"
		_, err := s.Get(thing, name)
		equal(t, name+" exists", err == nil, exists)
		_, err = os.Stat(path(name) + asideMark)
		equal(t, name+" was set aside", err == nil, !exists)
	}
	if _, err := os.Stat(filepath.Join(b.dir, ".new-1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the half-written file: %v", err)
	}
	if _, err := s.Update(thing, "cut", []byte(`{"state":{}}`)); err != nil {
		t.Errorf("a damaged shadow made again: %v", err)
	}
}

func TestAFailedWriteChangesNothing(t *testing.T) {
	b := newBench(t)
	b.ask(classic+"update", `{"state":{"reported":{"a":1}}}`)
	b.dir, b.Service.dir = "", filepath.Join(b.dir, "gone")
	for _, op := range []string{"update", "delete"} {
		equal(t, op, b.ask(classic+op, `{"state":{"reported":{"a":2}}}`),
			fmt.Sprintf(`%s/rejected {"code":500,"message":"Internal service failure","timestamp":%d}`, op, b.at.Unix()))
	}
	refused := &Error{}
	if _, err := b.Update(thing, "", []byte(`{"state":{}}`)); err == nil || errors.As(err, &refused) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in process: %v", err)
	}
	equal(t, "state", b.state(), `{"reported":{"a":1}}`)
	equal(t, "version", b.version(), 1)
}

func TestClosed(t *testing.T) {
	b := newBench(t)
	b.ask(classic+"update", `{"state":{}}`)
	if err := errors.Join(b.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	equal(t, "answers", b.ask(classic+"get", ""), "")
	_, err := b.Get(thing, "")
	_, err2 := b.Update(thing, "", []byte(`{"state":{}}`))
	equal(t, "both refuse", errors.Is(err, ErrClosed) && errors.Is(err2, ErrClosed), true)
	if _, err := New(Options{}); err == nil {
		t.Error("no directory, no error")
	}
	refused := &Error{}
	if _, err := b.Get("a/b", ""); !errors.As(err, &refused) || refused.Code != 400 {
		t.Errorf("impossible name: %v", err)
	}
}

func TestConcurrentUpdatesAreCountedOneByOne(t *testing.T) {
	seen := map[int64]int{}
	s, err := New(Options{Dir: t.TempDir(), Publish: func(m Message) { // without a lock of its own: the race detector looks on
		var d struct{ Version int64 }
		if json.Unmarshal(m.Payload, &d) == nil && strings.HasSuffix(m.Topic, "/accepted") {
			seen[d.Version]++
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	const workers, each = 4, 10
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := range each {
				if _, err := s.Update(thing, "", fmt.Appendf(nil, `{"state":{"reported":{"w%d":%d}}}`, w, i)); err != nil {
					t.Error(err)
				}
				s.Request(classic+"name/other/get", nil)
			}
		})
	}
	wait.Wait()
	for v := range int64(workers * each) {
		equal(t, fmt.Sprint("answers with version ", v+1), seen[v+1], 1)
	}
}

func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		``, `{`, `null`, `{"state":{"desired":{"a":{"b":[1,2,{"c":null}]}},"reported":null},"version":1,"clientToken":"t"}`,
		`{"state":{"desired":{"a":1.0e5}}}`, `{"state":{"reported":{"a":10e4,"\ud800":"\u2028<"}}}`, "\xff",
	} {
		f.Add(seed, seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, first, second string) {
		at := time.Unix(start, 0)
		s, err := New(Options{Dir: dir, now: func() time.Time { return at }, Publish: func(m Message) {
			if !json.Valid(m.Payload) || len(m.Payload) > maxMessage {
				t.Errorf("%s: %d bytes, valid %v: %.200s", m.Topic, len(m.Payload), json.Valid(m.Payload), m.Payload)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, payload := range []string{first, second, `{"state":{"desired":` + first + `,"reported":` + second + `}}`} {
			for _, op := range []string{"update", "get"} {
				if !s.Request(classic+op, []byte(payload)) {
					t.Fatal("not a request")
				}
			}
		}
		r := s.shadows[key{thing, ""}]
		if r.exists() && (r.size() > maxState || levels(r.full().State.Desired) > maxDepth) {
			t.Errorf("kept %d bytes: %+v", r.size(), r.full())
		}
		before, _ := s.Get(thing, "")
		again, err := New(Options{Dir: dir, now: s.now})
		if err != nil {
			t.Fatal(err)
		}
		after, _ := again.Get(thing, "")
		if string(before) != string(after) {
			t.Errorf("from disk:\n got %s\nwant %s", after, before)
		}
		s.Request(classic+"delete", []byte(first))
	})
}
