package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// template fills a spool's file with blocks of all kinds and returns it, and the payloads in it.
func template(t *testing.T) ([]byte, map[string]bool) {
	t.Helper()
	dir := fastDir(t)
	s := open(t, Options{Dir: dir, MaxBytes: MinMaxBytes})
	put := map[string]bool{}
	for i := range 960 {
		p := fmt.Sprintf("%d %s", i, strings.Repeat(string(rune('a'+i%26)), i%900))
		put[p] = true
		add(t, s, Class(i%NumClasses), p)
		if i%90 == 0 {
			s.flush(false)
		}
	}
	s.flush(false)
	for class := range Class(NumClasses) { // and pages that are free again
		s.Ack(s.Take(class))
	}
	s.flush(false)
	crash(t, s)
	data, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return data, put
}

// TestDamage opens files that are damaged in many ways. Whatever is in them, the spool opens, gives out nothing that
// wasn't put, and works.
func TestDamage(t *testing.T) {
	t.Parallel()
	good, put := template(t)
	rng := rand.New(rand.NewPCG(1, 2))
	used := len(bytes.TrimRight(good, "\x00"))
	damaged := map[string][]byte{"whole": good, "nothing but zeros": make([]byte, len(good)), "text": []byte(strings.Repeat("not a database\n", 4000))}
	for i := range 10 {
		damaged[fmt.Sprintf("truncated %d", i)] = good[:rng.IntN(used)]
	}
	flip := func(name string, at ...int) {
		p := bytes.Clone(good)
		for _, i := range at {
			p[i] ^= byte(1 + rng.IntN(255))
		}
		damaged[name] = p
	}
	for i := range 40 {
		flip(fmt.Sprintf("a byte anywhere %d", i), rng.IntN(used))
	}
	for page := 0; page < used/pageSize; page += 1 + page/12 { // where the structure is; the first pages have most of it
		for i := range 2 {
			flip(fmt.Sprintf("page %d, %d", page, i), page*pageSize+rng.IntN(100))
		}
		p := bytes.Clone(good)
		copy(p[page*pageSize:], good[rng.IntN(used/pageSize)*pageSize:][:pageSize])
		damaged[fmt.Sprintf("page %d replaced by another", page)] = p
		p = bytes.Clone(good)
		clear(p[page*pageSize:][:pageSize])
		damaged[fmt.Sprintf("page %d empty", page)] = p
	}
	for i := range 10 {
		at := make([]int, 50)
		for j := range at {
			at[j] = rng.IntN(used)
		}
		flip(fmt.Sprintf("many bytes %d", i), at...)
	}
	dir := fastDir(t)
	aside, lost := 0, uint64(0)
	for name, data := range damaged {
		path := filepath.Join(dir, fileName)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, Options{Dir: dir, MaxBytes: MinMaxBytes})
		seen, before := 0, lost
		for class := range Class(NumClasses) {
			for records := s.Take(class); records != nil; records = s.Take(class) {
				for _, p := range payloads(records) {
					if !put[p] {
						t.Fatalf("%s: %.40q was never put", name, p)
					}
					seen++
				}
			}
		}
		st := s.Stats()
		if st.Damage.Reason != "" {
			aside++
			if _, err := os.Stat(st.Damage.Path); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, c := range st.Classes {
			lost += c.Lost
		}
		if name == "whole" && (seen == 0 || st.Damage.Reason != "" || lost != before) {
			t.Errorf("the whole file: %d records, %+v", seen, st)
		}
		add(t, s, Events, "after the damage")
		s.flush(false)
		if st := s.Stats(); st.Unsaved != 0 || st.Fault != nil {
			t.Errorf("%s: it doesn't work afterwards: %+v", name, st)
		}
		checkCounters(t, s)
		_ = s.Close()
		if others, _ := filepath.Glob(filepath.Join(dir, damagedPrefix+"*")); len(others) > 1 {
			t.Fatalf("%s: more than one file is kept: %v", name, others)
		}
	}
	t.Logf("of %d files %d were set aside, and %d records were found damaged", len(damaged), aside, lost)
	if aside < 15 || lost == 0 {
		t.Errorf("of %d files %d were set aside, and %d records were found damaged: the test is too mild", len(damaged), aside, lost)
	}
}

// TestDamageWhileOpen: the disk loses what it had.
func TestDamageWhileOpen(t *testing.T) {
	t.Parallel()
	good, put := template(t)
	ruin := map[string]func(f *os.File) error{
		"truncated": func(f *os.File) error { return f.Truncate(2 * pageSize) },
		"overwritten": func(f *os.File) error {
			_, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, len(good)-2*pageSize), 2*pageSize)
			return err
		},
	}
	for name, ruin := range ruin {
		dir := fastDir(t)
		path := filepath.Join(dir, fileName)
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, Options{Dir: dir})
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := ruin(f); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		add(t, s, Events, "during")
		for class := range Class(NumClasses) {
			for _, p := range payloads(s.Take(class)) {
				if !put[p] && p != "during" {
					t.Errorf("%s: %.40q was never put", name, p)
				}
			}
		}
		s.flush(false)
		if st := s.Stats(); st.Damage.Reason == "" || st.Fault != nil || st.Unsaved != 0 || st.Classes[Logs].Lost == 0 {
			t.Errorf("%s: %+v", name, st)
		}
		checkCounters(t, s)
		crash(t, s)
		s = open(t, Options{Dir: dir})
		if got := payloads(s.Take(Events)); len(got) != 1 || got[0] != "during" {
			t.Errorf("%s: afterwards there is %v", name, got)
		}
	}
}

func FuzzParseChunk(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add(appendChunk(nil, Logs, 7, []item{{topic: "a", payload: []byte("one")}, {gone: true}, {topic: "a"}, {topic: "b", payload: []byte("2")}}), false)
	f.Add([]byte("\x03a\x03one\x00\x01\x00"), true)
	f.Fuzz(func(t *testing.T, p []byte, body bool) {
		if body { // with checksums that fit, so that the records are read
			h := appendChunk(nil, Logs, 7, nil)
			p = reseal(append(h[:headerSize:headerSize], p...))
		}
		items, err := parseChunk(p, Logs, 7)
		if err != nil {
			return
		}
		again, err := parseChunk(appendChunk(nil, Logs, 7, items), Logs, 7)
		if err != nil || len(again) != len(items) {
			t.Fatalf("read again: %v, %d of %d records", err, len(again), len(items))
		}
		for i := range items {
			if items[i].topic != again[i].topic || !bytes.Equal(items[i].payload, again[i].payload) || items[i].gone != again[i].gone {
				t.Fatalf("record %d is %+v, then %+v", i, items[i], again[i])
			}
		}
	})
}

// reseal makes the header fit the body: its length, checksum, and as many records as can be read.
func reseal(p []byte) []byte {
	body := p[headerSize:]
	n, gone, topic := 0, 0, ""
	for rest := body; len(rest) > 0; n++ {
		it, next, err := parseItem(rest, topic)
		if err != nil {
			break
		}
		if rest = next; it.gone {
			gone++
		} else {
			topic = it.topic
		}
	}
	le := binary.LittleEndian
	le.PutUint32(p[16:], uint32(n))
	le.PutUint32(p[20:], uint32(gone))
	le.PutUint32(p[24:], 0)
	le.PutUint32(p[28:], uint32(len(body)))
	le.PutUint32(p[32:], checksum(body))
	le.PutUint32(p[36:], checksum(p[:36]))
	return p
}
