package keypair

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// issue signs a request with an authority of the moment.
func issue(t *testing.T, csrPEM []byte, from, to time.Time) []byte {
	t.Helper()
	block, _ := pem.Decode(csrPEM)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil {
		t.Fatalf("request: %v", err)
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: csr.Subject, NotBefore: from, NotAfter: to}
	parent := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "CA"}}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, csr.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestLoad(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	f := Files{filepath.Join(dir, "c.pem"), filepath.Join(dir, "c.key")}
	key := must[[]byte](t)(NewKey())
	csr := must[[]byte](t)(Request(key, "camera-7"))
	cert := issue(t, csr, now.Add(-time.Hour), now.Add(time.Hour))
	for path, data := range map[string][]byte{f.CertFile: cert, f.KeyFile: key} {
		if err := Replace(path, data); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := Load(f, now)
	if err != nil || pair.Leaf.Subject.CommonName != "camera-7" {
		t.Fatalf("%v", err)
	}
	if leaf, err := Leaf(f.CertFile); err != nil || ID(leaf) != ID(pair.Leaf) || len(ID(leaf)) != 64 {
		t.Errorf("leaf: %v", err)
	}
	if _, err := Belongs(cert, must[[]byte](t)(NewKey())); !errors.Is(err, ErrMismatch) {
		t.Errorf("another key: %v", err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	huge, empty := filepath.Join(dir, "huge"), filepath.Join(dir, "empty")
	_ = os.WriteFile(huge, bytes.Repeat([]byte{'a'}, maxFile+1), 0o600)
	_ = os.WriteFile(empty, nil, 0o600)
	for _, tt := range []struct {
		name  string
		files Files
		at    time.Time
		mode  os.FileMode
		kind  error
		text  string
	}{
		{"expired", f, now.Add(2 * time.Hour), 0o600, ErrExpired, "provision a new certificate"},
		{"not yet", f, now.Add(-2 * time.Hour), 0o600, ErrNotYetValid, "check the clock"},
		{"world", f, now, 0o604, ErrLoose, "run chmod 600 " + f.KeyFile},
		{"group", f, now, 0o660, ErrLoose, "run chmod 600"},
		{"pair", Files{f.KeyFile, f.KeyFile}, now, 0o600, ErrMismatch, "don't make a pair"},
		{"missing", Files{f.CertFile, "/nowhere"}, now, 0o600, fs.ErrNotExist, "read key_file"},
		{"unset", Files{"", f.KeyFile}, now, 0o600, nil, "cert_file is not set"},
		{"pipe", Files{f.CertFile, pipe}, now, 0o600, nil, "not a regular file"},
		{"huge", Files{f.CertFile, huge}, now, 0o600, nil, "wrong file"},
		{"empty", Files{f.CertFile, empty}, now, 0o600, nil, "is empty"},
	} {
		if err := os.Chmod(f.KeyFile, tt.mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(tt.files, tt.at)
		if err == nil || tt.kind != nil && !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestLoose(t *testing.T) {
	for _, tt := range []struct {
		mode        os.FileMode
		owner, self int
		want        bool
	}{
		{0o600, 1000, 1000, false},
		{0o400, 0, 0, false},
		{0o640, 0, 1000, false}, // root gives it to a service
		{0o440, 0, 1000, false},
		{0o640, 1000, 1000, true},
		{0o640, 0, 0, true},
		{0o660, 0, 1000, true},
		{0o644, 0, 1000, true},
		{0o601, 0, 1000, true},
	} {
		if got := loose(tt.mode, tt.owner, tt.self); got != tt.want {
			t.Errorf("%04o of %d for %d: %v", tt.mode, tt.owner, tt.self, got)
		}
	}
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	_ = os.WriteFile(path, []byte("old"), 0o644)
	if err := Replace(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	data, _ := os.ReadFile(path)
	if err != nil || info.Mode().Perm() != 0o600 || string(data) != "new" {
		t.Errorf("%v %q %v", info.Mode(), data, err)
	}
	if err := errors.Join(Remove(path), Remove(path)); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if err := Replace(filepath.Join(path, "x"), nil); err == nil {
		t.Error("written where there is no folder")
	}
}

func TestRequestRefuses(t *testing.T) {
	for _, key := range []string{"", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := Request([]byte(key), "x"); err == nil {
			t.Errorf("%q is taken", key)
		}
	}
}

func TestSource(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	f := Files{filepath.Join(dir, "c.pem"), filepath.Join(dir, "c.key")}
	write := func(name string) (key []byte) {
		key = must[[]byte](t)(NewKey())
		cert := issue(t, must[[]byte](t)(Request(key, name)), now.Add(-time.Hour), now.Add(time.Hour))
		if err := errors.Join(Replace(f.KeyFile, key), Replace(f.CertFile, cert)); err != nil {
			t.Fatal(err)
		}
		return key
	}
	old := write("old")
	s := must[*Source](t)(NewSource(f, now))
	want := func(what, name string, at time.Time) {
		t.Helper()
		if pair, err := s.Certificate(at); (err == nil) != (name != "") || err == nil && pair.Leaf.Subject.CommonName != name {
			t.Errorf("%s: %v", what, err)
		}
	}
	want("as it was", "old", now)
	fresh := write("new")
	_ = Replace(f.KeyFile, old)
	want("in the middle of an exchange", "old", now)
	_ = Replace(f.KeyFile, fresh)
	want("exchanged", "new", now)
	_ = Remove(f.KeyFile)
	want("without a key", "new", now)
	want("when it has expired", "", now.Add(2*time.Hour))
}
