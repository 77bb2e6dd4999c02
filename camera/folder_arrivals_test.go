package camera

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// watching begins with a folder.
func watching(t *testing.T, dir string) *arrivals {
	t.Helper()
	a, err := newArrivals(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.close()
		if err := a.release(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// put has files appear under their names, whole.
func put(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		temp := filepath.Join(dir, ".tmp")
		if err := errors.Join(os.WriteFile(temp, []byte(name), 0o600), os.Rename(temp, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
}

// take reads n pictures and returns their names.
func take(t *testing.T, a *arrivals, n int) (names []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range n {
		found, err := a.wait(ctx)
		if err != nil {
			t.Fatalf("after %v: %v", names, err)
		}
		file, now, err := a.open(found)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close() // was only read
		a.did(now)
		names = append(names, now.name)
	}
	return names
}

// nothing tells that no picture comes for a while.
func nothing(t *testing.T, a *arrivals) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if found, err := a.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v, %v", found, err)
	}
}

func sorted(names []string) string { slices.Sort(names); return strings.Join(names, " ") }

// Those that are there come first, then each that comes, once; one that is written anew comes again. What is no picture, no
// regular file, or hidden behind a link does not come.
func TestArrivals(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir, outside := t.TempDir(), t.TempDir()
	put(t, outside, "secret.jpg")
	put(t, dir, "b.jpg", "text.txt", "a.png")
	if err := errors.Join(os.Symlink(filepath.Join(outside, "secret.jpg"), filepath.Join(dir, "link.jpg")),
		unix.Mkfifo(filepath.Join(dir, "pipe.jpg"), 0o600), os.Mkdir(filepath.Join(dir, "folder.jpg"), 0o700)); err != nil {
		t.Fatal(err)
	}
	a := watching(t, dir)
	put(t, dir, "c.BMP") // between the beginning and the first look
	if got := sorted(take(t, a, 3)); got != "a.png b.jpg c.BMP" {
		t.Fatal(got)
	}
	nothing(t, a)
	f, err := os.Create(filepath.Join(dir, "slow.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half"); err != nil {
		t.Fatal(err)
	}
	nothing(t, a)
	put(t, dir, "d.jpg", "e.jpg")
	_, err = f.WriteString(" and half")
	if err := errors.Join(err, f.Close(), os.Symlink("a.png", filepath.Join(dir, "new.jpg"))); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "a.png")
	if got := take(t, a, 4); strings.Join(got, " ") != "d.jpg e.jpg slow.jpg a.png" {
		t.Fatal(got)
	}
	nothing(t, a)
	// Between an event and the reading of its file somebody puts a link there.
	put(t, dir, "f.jpg")
	found, err := a.wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "f.jpg")
	if err := errors.Join(os.Remove(path), os.Symlink(filepath.Join(outside, "secret.jpg"), path)); err != nil {
		t.Fatal(err)
	}
	if file, _, err := a.open(found); err == nil {
		_ = file.Close() // was only read
		t.Error("a link was followed")
	}
}

// overflow is what the kernel sends when it has thrown events away.
func overflow() []byte {
	e := make([]byte, 16)
	binary.NativeEndian.PutUint32(e, ^uint32(0))
	binary.NativeEndian.PutUint32(e[4:], unix.IN_Q_OVERFLOW)
	return e
}

// What came while events were lost is found, and nothing twice; so it is in a folder with more files than are kept at once.
func TestArrivalsAreLost(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for i := range 25 {
		names = append(names, fmt.Sprintf("%02d.jpg", i))
	}
	put(t, dir, names...)
	a := watching(t, dir)
	a.most = 4
	if got := take(t, a, 25); sorted(got) != strings.Join(names, " ") {
		t.Fatal(got)
	}
	put(t, dir, "new0.jpg")
	if got := take(t, a, 1); got[0] != "new0.jpg" {
		t.Fatal(got)
	}
	put(t, dir, "lost1.jpg", "lost2.jpg", "03.jpg")
	buf := make([]byte, 1<<16)
	if _, err := a.events.Read(buf); err != nil { // and thrown away
		t.Fatal(err)
	}
	if err := a.take(overflow()); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "new1.jpg")
	if got := take(t, a, 4); sorted(got) != "03.jpg lost1.jpg lost2.jpg new1.jpg" {
		t.Fatal(got)
	}
	nothing(t, a)
	if n := cap(a.batch); n > 64 {
		t.Errorf("room for %d names", n)
	}
	if err := a.take([]byte("rubbish that is no event \xff\xff\xff\xff\xff")); err != nil {
		t.Error(err)
	}
}

// The memory for what was read stays bounded.
func TestArrivalsForget(t *testing.T) {
	a := watching(t, t.TempDir())
	for i := range int64(3 * maxRecent) {
		a.did(arrival{"x", i + 1})
	}
	if len(a.ring) != maxRecent || len(a.recent) != maxRecent || a.mark != 2*maxRecent {
		t.Errorf("%d and %d, up to %d", len(a.ring), len(a.recent), a.mark)
	}
	if !a.known(arrival{"x", 3 * maxRecent}) || a.known(arrival{"x", 2 * maxRecent}) || a.known(arrival{"y", 3 * maxRecent}) {
		t.Error("knows others than the latest")
	}
}

// A folder that is removed is waited for, and another one under its name begins anew; one that only was away goes on.
func TestArrivalsOfAnotherFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "in")
	away := dir + ".away"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "a.jpg")
	a := watching(t, dir)
	take(t, a, 1)
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "a.jpg", "b.jpg")
	if got := take(t, a, 2); sorted(got) != "a.jpg b.jpg" {
		t.Fatal(got)
	}
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	put(t, away, "c.jpg")
	nothing(t, a)
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if got := take(t, a, 1); got[0] != "c.jpg" {
		t.Fatal(got)
	}
	put(t, dir, "d.jpg")
	if got := take(t, a, 1); got[0] != "d.jpg" {
		t.Fatal(got)
	}
	if _, err := newArrivals(away); err == nil {
		t.Error("there is no such folder")
	}
}

// Where the kernel tells nothing, a picture is read when it has stayed as it is.
func TestArrivalsByPolling(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.jpg", "b.jpg", "c.jpg")
	a := watching(t, dir)
	a.poll, a.every, a.most = true, 50*time.Millisecond, 2
	a.begin()
	if got := take(t, a, 3); sorted(got) != "a.jpg b.jpg c.jpg" {
		t.Fatal(got)
	}
	put(t, dir, "e.jpg", "a.jpg")
	if got := take(t, a, 2); sorted(got) != "a.jpg e.jpg" {
		t.Fatal(got)
	}
	pass := func() string {
		a.begin()
		if err := a.scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, found := range a.batch {
			names = append(names, found.name)
		}
		a.batch = nil
		return strings.Join(names, " ")
	}
	slow := filepath.Join(dir, "slow.jpg")
	for before := (arrival{}); len(before.name) < 5; { // longer than a time stamp is
		if err := os.WriteFile(slow, []byte("some"), 0o600); err != nil {
			t.Fatal(err)
		}
		now, _ := a.look("slow.jpg")
		if now.changed == before.changed {
			continue
		}
		before = arrival{before.name + "x", now.changed}
		if got := pass(); got != "" {
			t.Errorf("%s is still being written", got)
		}
	}
	if got := pass() + "|" + pass(); got != "slow.jpg|" {
		t.Error(got)
	}
	a.close()
	if _, err := a.wait(t.Context()); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
