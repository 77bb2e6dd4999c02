package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func leaf(t *testing.T, f Files) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestThingsAndRestart(t *testing.T) {
	dir := t.TempDir()
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := a.AddThing("cam:7")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{f.KeyFile, filepath.Join(dir, "ca.key"), filepath.Join(dir, "server.key")} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	before := leaf(t, f)
	if a, err = Open(dir); err != nil {
		t.Fatal(err)
	}
	if f, err = a.AddThing("cam:7"); err != nil || !leaf(t, f).Equal(before) {
		t.Errorf("the certificate is another one after a restart: %v", err)
	}
	if who, err := a.Identify([]*x509.Certificate{before}); err != nil || who.Name != "cam:7" || who.Admin {
		t.Errorf("%+v, %v", who, err)
	}
	admin, err := a.AdminFiles()
	if err != nil {
		t.Fatal(err)
	}
	if who, err := a.Identify([]*x509.Certificate{leaf(t, admin)}); err != nil || !who.Admin {
		t.Errorf("%+v, %v", who, err)
	}
	server := a.Server()
	if _, err := a.Identify([]*x509.Certificate{server.Leaf}); !errors.Is(err, ErrUnknown) {
		t.Errorf("the server's certificate as a client's: %v", err)
	}
	if _, err := a.Identify(nil); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("no certificate: %v", err)
	}
	if err := a.RemoveThing("cam:7"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Identify([]*x509.Certificate{before}); !errors.Is(err, ErrRemoved) {
		t.Errorf("removed: %v", err)
	}
}

// TestRenewal: what is near its end is made anew at the start, with the same keys.
func TestRenewal(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := a.AddThing("cam")
	if err != nil {
		t.Fatal(err)
	}
	old, oldServer, oldCA := leaf(t, f), a.Server().Leaf, a.cert
	for _, test := range []struct {
		later  time.Duration
		leaf   bool // renewed
		wholly bool // the authority as well
	}{
		{leafLife - renewBefore - time.Hour, false, false},
		{leafLife - renewBefore + time.Hour, true, false},
		{authorityLife - renewBefore + time.Hour, true, true},
	} {
		at := now.Add(test.later)
		b, err := open(dir, func() time.Time { return at })
		if err != nil {
			t.Fatal(err)
		}
		fresh := leaf(t, f)
		if fresh.Equal(old) == test.leaf || b.Server().Leaf.Equal(oldServer) == test.leaf || b.cert.Equal(oldCA) == test.wholly {
			t.Errorf("after %v: renewed %v, the server's %v, the authority %v", test.later, !fresh.Equal(old),
				!b.Server().Leaf.Equal(oldServer), !b.cert.Equal(oldCA))
		}
		if !bytes.Equal(fresh.RawSubjectPublicKeyInfo, old.RawSubjectPublicKeyInfo) {
			t.Error("the key has changed")
		}
		if _, err := b.Identify([]*x509.Certificate{fresh}); err != nil {
			t.Errorf("after %v: %v", test.later, err)
		}
		ours, _ := os.ReadFile(f.CAFile)
		theirs, _ := os.ReadFile(b.CAFile())
		if !bytes.Equal(ours, theirs) {
			t.Errorf("after %v the thing has an old copy of the authority's certificate", test.later)
		}
	}
}

func TestDamage(t *testing.T) {
	dir := t.TempDir()
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := a.AddThing("cam")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.CertFile, []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddThing("cam"); err != nil || leaf(t, f) == nil {
		t.Errorf("a damaged certificate was not made again: %v", err)
	}
	if err := os.WriteFile(f.KeyFile, []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddThing("cam"); err == nil || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("a damaged key: %v", err)
	}
}

func TestNames(t *testing.T) {
	a, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "..", "a/b", "a b", Admin, Admin + "-2", strings.Repeat("a", 129), "a\x00"} {
		if _, err := a.AddThing(name); err == nil {
			t.Errorf("%q is taken", name)
		}
		if err := a.RemoveThing(name); err == nil {
			t.Errorf("%q can be removed", name)
		}
	}
}
