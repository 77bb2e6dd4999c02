// Package keypair reads, makes and replaces a device's private key and certificate. It says what is wrong with them
// in words that tell what to do, and imports nothing else of gnomon.
package keypair

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// maxFile is far above any certificate chain, and keeps a wrong path out of memory.
const maxFile = 1 << 20

const (
	// othersMayAccess are the modes that let anybody in but the owner.
	othersMayAccess = 0o077
	// groupMayRead is the one of them that is taken where root owns the file: that is how a key is given to a service
	// that runs as a user of its own and shall not be able to change it.
	groupMayRead = 0o040
)

// What may be wrong with a pair; errors of Load and Parse wrap one of these or the system's error.
var (
	ErrLoose       = errors.New("others may read the private key")
	ErrMismatch    = errors.New("no pair")
	ErrExpired     = errors.New("the certificate has expired")
	ErrNotYetValid = errors.New("the certificate is not valid yet")
)

// Files are the paths of a certificate (chain) and its private key, both PEM.
type Files struct{ CertFile, KeyFile string }

// problem has a text of its own and a kind for errors.Is.
type problem struct {
	kind error
	text string
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.kind }

func because(kind error, format string, args ...any) error {
	return &problem{kind, fmt.Sprintf(format, args...)}
}

// Load reads a pair and checks that it is fit for use at a time: the key is nobody else's to read and belongs to the
// certificate, whose time is now. The Leaf of what it returns is set.
func Load(f Files, now time.Time) (tls.Certificate, error) {
	var none tls.Certificate
	certPEM, err := Read("cert_file", f.CertFile)
	if err != nil {
		return none, err
	}
	keyPEM, err := ReadSecret("key_file", f.KeyFile)
	if err != nil {
		return none, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return none, because(ErrMismatch, "cert_file %s and key_file %s don't make a pair: %v; both must be PEM, the key "+
			"without a passphrase and the one that the certificate was made for", f.CertFile, f.KeyFile, err)
	}
	if err := InTime("cert_file "+f.CertFile, pair.Leaf, now); err != nil {
		return none, err
	}
	return pair, nil
}

// InTime checks that a certificate is valid at a time; what names it in the error.
func InTime(what string, cert *x509.Certificate, now time.Time) error {
	if now.After(cert.NotAfter) {
		return because(ErrExpired, "%s expired at %s: provision a new certificate, or check the clock of this device",
			what, cert.NotAfter.UTC().Format(time.RFC3339))
	}
	if now.Before(cert.NotBefore) {
		return because(ErrNotYetValid, "%s is valid only from %s: check the clock of this device",
			what, cert.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// Belongs checks that a certificate that has just come, PEM, is for a private key, PEM, and returns its leaf.
func Belongs(certPEM, keyPEM []byte) (*x509.Certificate, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, because(ErrMismatch, "the certificate is not for this device's key: %v", err)
	}
	return pair.Leaf, nil
}

// ID is the SHA-256 of a certificate in hex, which is AWS IoT's certificate id.
func ID(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Leaf reads the first certificate of a PEM file.
func Leaf(path string) (*x509.Certificate, error) {
	data, err := Read("cert_file", path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, because(ErrMismatch, "cert_file %s has no certificate in it; it must be PEM, with BEGIN CERTIFICATE", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, because(ErrMismatch, "cert_file %s has a certificate that can't be read: %v", path, err)
	}
	return cert, nil
}

// Read reads a PEM file of up to 1 MB; what names the setting in errors, such as ca_file.
func Read(what, path string) ([]byte, error) {
	data, _, err := read(what, path)
	return data, err
}

// ReadSecret is Read for a private key or a password. It refuses a file that others may read, with the command that
// mends that. A group may read what root owns, as long as this process isn't root's.
func ReadSecret(what, path string) ([]byte, error) {
	data, info, err := read(what, path)
	if err != nil {
		return nil, err
	}
	owner := os.Geteuid()
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(stat.Uid)
	}
	if mode := info.Mode().Perm(); loose(mode, owner, os.Geteuid()) {
		return nil, because(ErrLoose, "%s %s is open to others than its owner (mode %04o): run chmod 600 %s", what, path, mode, path)
	}
	return data, nil
}

// loose reports whether a secret's mode lets too many read it.
func loose(mode os.FileMode, owner, self int) bool {
	open := mode & othersMayAccess
	return open != 0 && !(open == groupMayRead && owner == 0 && self != 0)
}

func read(what, path string) ([]byte, os.FileInfo, error) {
	if path == "" {
		return nil, nil, errors.New(what + " is not set; write the path of a file")
	}
	// Opening a named pipe would wait for a writer, so its kind is looked at before.
	if info, err := os.Stat(path); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", what, err)
	} else if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s %s is not a regular file", what, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", what, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("read %s: %w", what, err)
	case len(data) > maxFile:
		return nil, nil, fmt.Errorf("%s %s is larger than %d bytes: that is the wrong file", what, path, maxFile)
	case len(data) == 0:
		return nil, nil, fmt.Errorf("%s %s is empty", what, path)
	}
	return data, info, nil
}
