package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a spool that the test commits by hand, and which doesn't wait for the disk.
func open(t *testing.T, opts Options) *Spool {
	t.Helper()
	opts.noSync = true
	if opts.CommitEvery == 0 {
		opts.CommitEvery = time.Minute
	}
	s, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fastDir is a folder of the test's own in memory, where there is one: making and removing hundreds of files would have
// the disk take the longest part.
func fastDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "gnomon-spool-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func add(t *testing.T, s *Spool, class Class, payloads ...string) []Record {
	t.Helper()
	var out []Record
	for _, p := range payloads {
		r, err := s.Add(class, "t/"+class.String(), []byte(p), false)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func payloads(records []Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, string(r.Payload))
	}
	return out
}

// crash abandons a spool as the end of the process would: nothing is written any more.
func crash(t *testing.T, s *Spool) {
	t.Helper()
	s.mu.Lock()
	s.closed = true
	close(s.ended)
	s.mu.Unlock()
	if err := errors.Join(s.detach(), s.lock.release()); err != nil {
		t.Fatal(err)
	}
}

func TestLife(t *testing.T) {
	opts := Options{Dir: filepath.Join(fastDir(t), "a", "b")}
	s := open(t, opts)
	add(t, s, Detections, "d0", "d1")
	s.flush(false)
	add(t, s, Detections, "d2")
	add(t, s, Events, "e0")
	s.flush(false)
	add(t, s, Logs, "never written")
	crash(t, s)

	s = open(t, opts)
	if n := s.Depth(); n != [NumClasses]int{1, 3, 0, 0} {
		t.Errorf("%v records after a crash", n)
	}
	got := s.Take(Detections)
	if diff := cmp.Diff([]string{"d0", "d1", "d2"}, payloads(got)); diff != "" || got[2].Topic != "t/detections" {
		t.Error(diff)
	}
	if again := s.Take(Detections); again != nil {
		t.Errorf("taken twice: %v", payloads(again))
	}
	s.Ack(got[1:2])
	s.Ack(got[1:2]) // once more changes nothing
	s.Release(got[:1])
	s.Ack(got[:1]) // is not held
	if diff := cmp.Diff([]string{"d0"}, payloads(s.Take(Detections))); diff != "" {
		t.Error(diff)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, opts)
	got = s.Take(Detections)
	if diff := cmp.Diff([]string{"d0", "d2"}, payloads(got)); diff != "" {
		t.Errorf("after a proper end an acknowledged record came again: %s", diff)
	}
	s.Ack(got)
	s.Ack(s.Take(Events))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, opts)
	if n := s.Depth(); n != [NumClasses]int{} {
		t.Errorf("%v records left", n)
	}
	if _, err := s.Add(Events, "t", make([]byte, MaxPayload+1), false); err == nil {
		t.Error("a payload that is too large was taken")
	}
	if _, err := s.Add(NumClasses, "t", nil, false); err == nil {
		t.Error("a class that doesn't exist was taken")
	}
	_ = s.Close()
	if _, err := s.Add(Events, "t", nil, false); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// What is acknowledged before its commit is due never touches the disk.
func TestAcknowledgedInTime(t *testing.T) {
	s := open(t, Options{Dir: fastDir(t)})
	for i := range 1000 {
		r, err := s.Add(Detections, "t", fmt.Appendf(nil, "%d", i), true)
		if err != nil {
			t.Fatal(err)
		}
		s.Ack([]Record{r})
	}
	s.flush(false)
	if st := s.Stats(); st.Commits != 0 || st.Unsaved != 0 || s.due() < time.Second {
		t.Errorf("stats %+v, next commit in %v", st, s.due())
	}
}

// TestModel does things at random, with crashes, and compares with what should be there.
func TestModel(t *testing.T) {
	t.Parallel()
	seeds := uint64(20)
	if raceEnabled {
		seeds = 4
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 1))
		opts := Options{Dir: fastDir(t)}
		s := open(t, opts)
		type state struct {
			payload      string
			saved, acked bool
		}
		var all [NumClasses][]*state
		var held [NumClasses][]Record
		n := 0
		find := func(r Record) *state {
			for _, st := range all[r.Class] {
				if st.payload == string(r.Payload) {
					return st
				}
			}
			t.Fatalf("seed %d: %.20q was never put", seed, r.Payload)
			return nil
		}
		for range 400 {
			class := Class(rng.IntN(NumClasses))
			switch rng.IntN(10) {
			case 0, 1, 2:
				for range rng.IntN(30) {
					n++
					st := &state{payload: fmt.Sprintf("%d %s", n, strings.Repeat("x", rng.IntN(5000)))}
					hold := rng.IntN(2) == 0
					r, err := s.Add(class, fmt.Sprintf("t/%d", rng.IntN(3)), []byte(st.payload), hold)
					if err != nil {
						t.Fatal(err)
					}
					if hold {
						held[class] = append(held[class], r)
					}
					all[class] = append(all[class], st)
				}
			case 3, 4:
				held[class] = append(held[class], s.Take(class)...)
			case 5, 6:
				rng.Shuffle(len(held[class]), func(i, j int) { held[class][i], held[class][j] = held[class][j], held[class][i] })
				k := rng.IntN(len(held[class]) + 1)
				s.Ack(held[class][:k])
				for _, r := range held[class][:k] {
					find(r).acked = true
				}
				held[class] = slices.Clone(held[class][k:])
			case 7:
				s.Release(held[class])
				held[class] = nil
			case 8:
				s.flush(false)
				for c := range all {
					for _, st := range all[c] {
						st.saved = true
					}
				}
			case 9:
				if rng.IntN(4) > 0 {
					continue
				}
				proper := rng.IntN(2) == 0
				if proper {
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				} else {
					crash(t, s)
				}
				s = open(t, opts)
				held = [NumClasses][]Record{}
				for c := range all {
					var got []string
					for records := s.Take(Class(c)); records != nil; records = s.Take(Class(c)) {
						s.Release(nil)
						held[c] = append(held[c], records...)
						got = append(got, payloads(records)...)
					}
					var left []*state
					for _, st := range all[c] {
						found := slices.Contains(got, st.payload)
						switch {
						case !st.acked && (st.saved || proper) && !found:
							t.Fatalf("seed %d: %.20q is lost", seed, st.payload)
						case st.acked && proper && found:
							t.Fatalf("seed %d: %.20q came again after a proper end", seed, st.payload)
						}
						if found {
							st.acked, st.saved = false, true
							left = append(left, st)
						}
					}
					want := []string{}
					for _, st := range left {
						want = append(want, st.payload)
					}
					if len(got) != len(want) || len(got) > 0 && !slices.Equal(got, want) {
						t.Fatalf("seed %d: not what was put, in its order", seed)
					}
					all[c] = left
				}
			}
			for c, depth := range s.Depth() {
				want := 0
				for _, st := range all[c] {
					if !st.acked {
						want++
					}
				}
				if depth != want {
					t.Fatalf("seed %d: %d records of class %d, want %d", seed, depth, c, want)
				}
			}
		}
		checkCounters(t, s)
		_ = s.Close()
	}
}

// checkCounters compares the counters with the blocks.
func checkCounters(t *testing.T, s *Spool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	unsaved, stored := 0, int64(0)
	for c := range s.queues {
		q := &s.queues[c]
		records, onDisk, bytes := 0, 0, int64(0)
		for b := q.first; b != nil; b = b.next {
			records, onDisk, bytes = records+b.live(), onDisk+b.inFile(), bytes+b.bytes
			stored += b.stored
			if b.items != nil {
				unsaved += b.pending()
			}
		}
		if records != q.records || onDisk != q.onDisk || bytes != q.bytes {
			t.Errorf("class %d: %d records, %d on disk, %d bytes; counted %d, %d, %d", c, records, onDisk, bytes, q.records, q.onDisk, q.bytes)
		}
	}
	if unsaved != s.unsaved || stored != s.stored {
		t.Errorf("%d bytes unsaved and %d stored; counted %d, %d", unsaved, stored, s.unsaved, s.stored)
	}
}

func TestCommits(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{0, 20 * time.Millisecond} {
		s, err := Open(Options{Dir: t.TempDir(), CommitEvery: every})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		var wg sync.WaitGroup
		for p := range 8 {
			wg.Go(func() {
				for i := range 20 {
					if err := s.Put(Class(p%NumClasses), "t", fmt.Appendf(nil, "%d %d", p, i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		st := s.Stats()
		if st.Unsaved != 0 || st.Commits == 0 || st.Commits > 160 || st.Classes[Logs].OnDisk != 40 {
			t.Errorf("commits every %v: %+v", every, st)
		}
		if every > 0 && st.Commits > 40 {
			t.Errorf("%d commits for 20 rounds: those of one window don't share one", st.Commits)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = s.Close()
		if err := s.Run(context.Background()); err == nil {
			t.Error("a closed spool runs")
		}
	}
}

func TestLock(t *testing.T) {
	dir := fastDir(t)
	s := open(t, Options{Dir: dir})
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "end the other gnomon") {
		t.Errorf("a second one: %v", err)
	}
	_ = s.Close()
	open(t, Options{Dir: dir})
	for _, bad := range []Options{{}, {Dir: dir, MaxBytes: 1}, {Dir: dir, Memory: 1}, {Dir: dir, CommitEvery: -1}} {
		if _, err := Open(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// A week without a network: what is given up is the oldest of the least important, and the file stays in its bounds.
func TestSevenDaysOffline(t *testing.T) {
	t.Parallel()
	maxBytes, seconds, perSecond := int64(32<<20), 7*24*3600, 30
	if raceEnabled {
		maxBytes, seconds = 8<<20, 6*3600 // the detector makes it ten times as slow, and everything here is in one goroutine
	}
	opts := Options{Dir: fastDir(t), MaxBytes: maxBytes}
	s := open(t, opts)
	payload := make([]byte, 0, 64)
	put := func(class Class, n int) {
		payload = fmt.Appendf(payload[:0], `{"seq":%d}`, n)
		if _, err := s.Add(class, "t", payload, false); err != nil {
			t.Fatal(err)
		}
	}
	events, detections, metrics, logs := 0, 0, 0, 0
	largest := int64(0)
	for second := range seconds { // of a clock that is as fast as the machine
		if second%600 == 0 {
			put(Events, events)
			events++
		}
		if second%30 == 0 {
			put(Metrics, metrics)
			metrics++
		}
		put(Logs, logs)
		logs++
		for range perSecond {
			put(Detections, detections)
			detections++
		}
		if second%600 == 0 {
			s.flush(false)
			largest = max(largest, s.store.size())
		}
	}
	s.flush(false)
	if largest > maxBytes {
		t.Errorf("the file had %d bytes, at most %d are allowed", largest, maxBytes)
	}
	st := s.Stats()
	checkCounters(t, s)
	if st.Classes[Events].Dropped != 0 || st.Classes[Events].Records != events {
		t.Errorf("events: %+v of %d", st.Classes[Events], events)
	}
	for class, n := range map[Class]int{Detections: detections, Metrics: metrics, Logs: logs} {
		if c := st.Classes[class]; c.Records+int(c.Dropped) != n {
			t.Errorf("%v: %+v doesn't add up to %d", class, c, n)
		}
	}
	if st.Classes[Detections].Dropped == 0 {
		t.Fatal("everything fits: the test is too small")
	}
	// When detections were given up, the others had nothing left but what came since.
	if st.Classes[Metrics].Records > 2000 || st.Classes[Logs].Records > 2000 {
		t.Errorf("detections were given up before metrics and logs: %+v", st.Classes)
	}
	if got := s.Take(Detections); string(got[0].Payload) != fmt.Sprintf(`{"seq":%d}`, st.Classes[Detections].Dropped) {
		t.Errorf("the oldest is %s, though %d were dropped", got[0].Payload, st.Classes[Detections].Dropped)
	}
	// Drained, the file becomes small again.
	for class := range Class(NumClasses) {
		for records := s.Take(class); records != nil; records = s.Take(class) {
			s.Ack(records)
		}
	}
	s.flush(false)
	if s.due() <= 0 {
		t.Error("there is something to do at once")
	}
	s.last = s.last.Add(-idle)
	if s.due() > 0 {
		t.Error("after a while nothing is to be done")
	}
	s.flush(false)
	if size := s.store.size(); size > 4<<20 {
		t.Errorf("empty, the file has %d bytes", size)
	}
	add(t, s, Events, "after")
	s.flush(false)
	crash(t, s)
	if n := open(t, opts).Depth(); n[Events] == 0 {
		t.Errorf("%v records", n)
	}
}

// TestSizes fills the smallest spool many times over with records of all sizes: it stays in its bounds, however the
// free pages lie, and what is there is what came last.
func TestSizes(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	opts := Options{Dir: fastDir(t), MaxBytes: MinMaxBytes}
	s := open(t, opts)
	filler := strings.Repeat("x", MaxPayload)
	n := 6000
	if raceEnabled {
		n = 1500
	}
	for i := range n {
		size := 1 << rng.IntN(18)
		add(t, s, Detections, fmt.Sprintf("%06d %s", i, filler[:min(rng.IntN(size+1), MaxPayload-7)]))
		if rng.IntN(8) == 0 {
			s.flush(false)
		}
		if st := s.Stats(); st.FileBytes > MinMaxBytes || st.Fault != nil {
			t.Fatalf("after %d records: %+v", i, st)
		}
	}
	s.flush(false)
	checkCounters(t, s)
	st := s.Stats()
	if c := st.Classes[Detections]; c.Bytes < MinMaxBytes/2 || st.Unsaved != 0 {
		t.Errorf("%d bytes are left of %d: too much was given up", c.Bytes, MinMaxBytes)
	}
	crash(t, s)
	s = open(t, opts)
	next := int(st.Classes[Detections].Dropped)
	for records := s.Take(Detections); records != nil; records = s.Take(Detections) {
		for _, r := range records {
			if !strings.HasPrefix(string(r.Payload), fmt.Sprintf("%06d ", next)) {
				t.Fatalf("%.6s, want %d", r.Payload, next)
			}
			next++
		}
	}
	if next != n {
		t.Errorf("the last one is %d", next-1)
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left on device")
	var fault error
	core, logs := observer.New(zapcore.InfoLevel)
	opts := Options{Dir: fastDir(t), Memory: 1 << 20, Log: zap.New(core), fail: func() error { return fault }}
	s := open(t, opts)
	add(t, s, Events, "before")
	s.flush(false)
	fault = full
	r := add(t, s, Events, "kept")
	for i := range 3000 { // 3 MB
		add(t, s, Class(1+i%3), fmt.Sprintf("%d %s", i, strings.Repeat("x", 1000)))
		if i%500 == 0 {
			s.flush(false)
		}
	}
	if err := s.Wait(r[0]); !errors.Is(err, ErrNotDurable) || !errors.Is(err, full) {
		t.Errorf("Wait: %v", err)
	}
	st := s.Stats()
	if !errors.Is(st.Fault, full) || st.Unsaved > 1<<20 || st.Classes[Events].Dropped != 0 || st.Classes[Logs].Dropped == 0 ||
		st.Classes[Logs].Records > st.Classes[Detections].Records {
		t.Errorf("stats %+v", st)
	}
	checkCounters(t, s)
	if diff := cmp.Diff([]string{"before", "kept"}, payloads(s.Take(Events))); diff != "" {
		t.Errorf("what is there can be read all the same: %s", diff)
	}
	fault = nil
	s.flush(false)
	if st := s.Stats(); st.Fault != nil || st.Unsaved != 0 {
		t.Errorf("stats %+v", st)
	}
	if err := s.Wait(r[0]); err != nil {
		t.Error(err)
	}
	checkCounters(t, s)
	if logs.Len() != 2 {
		t.Errorf("log: %v", logs.All())
	}
	want := s.Depth()
	crash(t, s)
	if got := open(t, Options{Dir: opts.Dir}).Depth(); got != want {
		t.Errorf("%v records after a crash, want %v", got, want)
	}
}

// A directory that can't be used at first is used when it can.
func TestDiskComesLater(t *testing.T) {
	dir := filepath.Join(fastDir(t), "spool")
	s := open(t, Options{Dir: dir})
	add(t, s, Events, "old")
	_ = s.Close()
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // no directory can be made there
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir})
	add(t, s, Events, "new")
	s.flush(false)
	if st := s.Stats(); st.Fault == nil || st.Classes[Events].Records != 1 {
		t.Errorf("stats %+v", st)
	}
	if err := os.Rename(dir+".away", dir+".x"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(dir), os.Rename(dir+".x", dir)); err != nil {
		t.Fatal(err)
	}
	s.flush(false)
	if st := s.Stats(); st.Fault != nil || st.Unsaved != 0 || st.Classes[Events].Records != 2 {
		t.Errorf("stats %+v", st)
	}
	got := payloads(append(s.Take(Events), s.Take(Events)...))
	if diff := cmp.Diff([]string{"old", "new"}, got); diff != "" {
		t.Error(diff)
	}
}
