package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gnomon/cloud/keypair"
)

func TestClock(t *testing.T) {
	at := func(year int) func() time.Time {
		return func() time.Time { return time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC) }
	}
	kept := func(on bool, err error) func() (bool, time.Duration, error) {
		return func() (bool, time.Duration, error) { return on, 12 * time.Millisecond, err }
	}
	for name, c := range map[string]struct {
		o          ClockOptions
		want       Status
		detail, do string
	}{
		"right":     {ClockOptions{at(2026), kept(true, nil)}, OK, "2026-06-01T00:00:00Z, right to 12ms", ""},
		"alone":     {ClockOptions{at(2026), kept(false, nil)}, Warning, "nothing keeps it right", "timesyncd"},
		"closed":    {ClockOptions{at(2026), kept(false, syscall.EPERM)}, Warning, "does not say", "adjtimex"},
		"never set": {ClockOptions{at(1970), kept(false, nil)}, Failed, "1970-06-01", "set the clock"},
		"far ahead": {ClockOptions{at(2185), kept(true, nil)}, Failed, "2185-06-01", "set the clock"},
	} {
		t.Run(name, func(t *testing.T) { look(t, Clock(c.o), c.want, c.detail, c.do) })
	}
	if f := Clock(ClockOptions{}).Run(t.Context()); f.Status == Failed { // of this machine
		t.Errorf("%+v", f)
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	look(t, Disk(dir), OK, "free, 4 KB written in", "")
	look(t, Disk(filepath.Join(dir, "not", "yet")), OK, "made at the first start", "")
	file := write(t, filepath.Join(dir, "file"), "x", 0o600)
	look(t, Disk(file), Failed, "not a directory", "move the file away")
	look(t, Disk(filepath.Join(file, "below")), Failed, "not a directory", "move the file away")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("it left something behind: %v, %v", entries, err)
	}
	look(t, Disk("/proc"), Failed, "cannot write", "")
}

// TestFullDisk: a disk without room, and one that was mounted for reading.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("needs a small disk of its own, which only root may mount: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	look(t, Disk(dir), Warning, "0 MB of 0 MB free", "free some space")
	full := filepath.Join(dir, "full")
	if err := os.WriteFile(full, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal("the disk has no end: ", err)
	}
	look(t, Disk(dir), Failed, "no space left", "free some space")
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	look(t, Disk(dir), Failed, "read-only", "mount it writable")
}

func TestPermissions(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	key := write(t, filepath.Join(dir, "key.pem"), "key", 0o600)
	loose := write(t, filepath.Join(dir, "loose.pem"), "key", 0o644)
	config := write(t, filepath.Join(dir, "gnomon.yaml"), "x", 0o644)
	secret := func(path string) []File { return []File{{"key_file", path}, {"password_file", ""}} }
	for name, c := range map[string]struct {
		o          PermissionsOptions
		want       Status
		detail, do string
	}{
		"nothing":       {PermissionsOptions{}, Skipped, "no files", ""},
		"not yet there": {PermissionsOptions{StateDir: filepath.Join(dir, "none")}, Skipped, "no files", ""},
		"good":          {PermissionsOptions{StateDir: state, Secrets: secret(key), Config: config}, OK, "3 files", ""},
		"a loose key":   {PermissionsOptions{StateDir: state, Secrets: secret(loose)}, Failed, "loose.pem is open to others", "chmod 600 " + loose},
		"no key":        {PermissionsOptions{Secrets: secret(filepath.Join(dir, "none"))}, Failed, "no such file", "put the file there"},
		"a folder":      {PermissionsOptions{Secrets: secret(dir)}, Failed, "not a regular file", "put the right file"},
		"passwords":     {PermissionsOptions{Config: config, Passwords: true}, Warning, "passwords of cameras", "chmod o= " + config},
		"two things":    {PermissionsOptions{Secrets: secret(loose), Config: config, Passwords: true}, Failed, "everybody may read it", "chmod 600 " + loose + "; chmod o= " + config},
	} {
		t.Run(name, func(t *testing.T) { look(t, Permissions(c.o), c.want, c.detail, c.do) })
	}
	if err := os.Chmod(state, 0o770); err != nil {
		t.Fatal(err)
	}
	look(t, Permissions(PermissionsOptions{StateDir: state}), Failed, "others may write in", "chmod 700")
	if os.Geteuid() != 0 {
		t.Skip("only root can look on behalf of the agent's user")
	}
	const agent = 54321
	if err := errors.Join(os.Chmod(state, 0o700), os.Chown(state, agent, agent)); err != nil {
		t.Fatal(err)
	}
	o := PermissionsOptions{StateDir: state, Secrets: secret(key)}
	look(t, Permissions(o), Failed, "not the agent's to read, which runs as user 54321", "chown 54321 "+key)
	if err := os.Chown(key, agent, agent); err != nil {
		t.Fatal(err)
	}
	look(t, Permissions(o), OK, "2 files", "")
}

func TestCertificate(t *testing.T) {
	ca := newAuthority(t)
	day := 24 * time.Hour
	now := time.Now()
	good := ca.issue(t, "camera-7", now.Add(-day), now.Add(100*day))
	other := ca.issue(t, "other", now.Add(-day), now.Add(100*day))
	for name, c := range map[string]struct {
		files      keypair.Files
		want       Status
		detail, do string
	}{
		"none":      {keypair.Files{}, Skipped, "without one", ""},
		"good":      {good, OK, `"camera-7", valid until `, ""},
		"ends soon": {ca.issue(t, "soon", now.Add(-day), now.Add(10*day+time.Hour)), Warning, "in 10 days", "exchanged"},
		"expired":   {ca.issue(t, "old", now.Add(-9*day), now.Add(-day)), Failed, "expired at", "provision a new certificate"},
		"too early": {ca.issue(t, "new", now.Add(day), now.Add(9*day)), Failed, "valid only from", "check the clock"},
		"no pair":   {keypair.Files{CertFile: good.CertFile, KeyFile: other.KeyFile}, Failed, "don't make a pair", "put the right file"},
		"missing":   {keypair.Files{CertFile: good.CertFile, KeyFile: "/none"}, Failed, "no such file", "gnomon provision"},
	} {
		t.Run(name, func(t *testing.T) { look(t, Certificate(c.files, nil), c.want, c.detail, c.do) })
	}
	if err := os.Chmod(good.KeyFile, 0o640); err != nil {
		t.Fatal(err)
	}
	look(t, Certificate(good, nil), Failed, "open to others", "chmod 600")
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}
