// Package pki is the certificates of devcloud: an authority of its own, the server's certificate, and one for each
// thing, as files in a directory. It is for development only: the keys are kept in the clear, readable for their owner.
package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gnomon/devcloud/internal/statefile"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is replaced at the next start.
	renewBefore = 30 * 24 * time.Hour
	// backdate: a client whose clock is a little slow must not find a certificate that begins in its future.
	backdate = time.Hour

	maxFile    = 64 << 10 // far above a certificate or a key
	dirMode    = 0o700
	serialBits = 127
)

// Authority signs certificates and knows whose they are. Its methods may be called concurrently.
type Authority struct {
	dir    string
	now    func() time.Time
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	pool   *x509.CertPool
	server tls.Certificate

	mu sync.Mutex // one at a time makes or removes files
}

// Open reads or makes the authority in dir and its server certificate for this machine's loopback names, and renews
// what is near its end: with the same key, so that what was signed or copied before goes on working.
func Open(dir string) (*Authority, error) { return open(dir, time.Now) }

func open(dir string, now func() time.Time) (*Authority, error) {
	a := &Authority{dir: dir, now: now, pool: x509.NewCertPool()}
	for _, sub := range []string{"", thingsDir, claimsDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), dirMode); err != nil {
			return nil, fmt.Errorf("make the directory for certificates; check its permissions: %w", err)
		}
	}
	if err := a.openAuthority(); err != nil {
		return nil, fmt.Errorf("open the certificate authority: %w", err)
	}
	a.pool.AddCert(a.cert)
	var err error
	a.server, err = a.pair(filepath.Join(dir, "server"), &x509.Certificate{
		Subject:     pkix.Name{CommonName: "devcloud"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return nil, fmt.Errorf("make the server's certificate: %w", err)
	}
	return a, a.renewThings()
}

// CAFile is the PEM file that clients trust.
func (a *Authority) CAFile() string { return filepath.Join(a.dir, "ca.pem") }

// Server is the certificate for 127.0.0.1, ::1 and localhost.
func (a *Authority) Server() tls.Certificate { return a.server }

func (a *Authority) openAuthority() error {
	key, err := openKey(filepath.Join(a.dir, "ca.key"))
	if err != nil {
		return err
	}
	a.key = key
	if a.cert = readCertificate(a.CAFile()); a.fresh(a.cert, &key.PublicKey) {
		return nil
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "gnomon devcloud"}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if err := a.validity(template, authorityLife); err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	return writePEM(a.CAFile(), "CERTIFICATE", der)
}

func (a *Authority) validity(template *x509.Certificate, life time.Duration) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = a.now().Add(-backdate), a.now().Add(life)
	return err
}

// fresh reports whether a certificate is that of the key and not near its end.
func (a *Authority) fresh(cert *x509.Certificate, key *ecdsa.PublicKey) bool {
	return cert != nil && key.Equal(cert.PublicKey) && a.now().Add(renewBefore).Before(cert.NotAfter) &&
		!a.now().Before(cert.NotBefore)
}

// pair reads or makes a key and a certificate, NAME.key and NAME.pem, and renews the certificate when its time has
// come.
func (a *Authority) pair(name string, template *x509.Certificate) (tls.Certificate, error) {
	key, err := openKey(name + ".key")
	if err != nil {
		return tls.Certificate{}, err
	}
	cert := readCertificate(name + ".pem")
	if !a.fresh(cert, &key.PublicKey) || cert.CheckSignatureFrom(a.cert) != nil {
		if err := a.validity(template, leafLife); err != nil {
			return tls.Certificate{}, err
		}
		der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
		if err != nil {
			return tls.Certificate{}, err
		}
		if cert, err = x509.ParseCertificate(der); err != nil {
			return tls.Certificate{}, err
		}
		if err := writePEM(name+".pem", "CERTIFICATE", der); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// openKey reads a private key or makes one. One that can't be read is not replaced: whoever trusts it would be locked
// out without a word.
func openKey(path string) (*ecdsa.PrivateKey, error) {
	data, err := readFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return key, writePEM(path, "PRIVATE KEY", der)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block != nil {
		if parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := parsed.(*ecdsa.PrivateKey); ok {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("%s is no private key that devcloud made; delete it, a new one is made", path)
}

// readCertificate returns nil for what is no certificate: a new one is made in its place.
func readCertificate(path string) *x509.Certificate {
	data, err := readFile(path)
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return cert
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is not a file that devcloud made; move it away", path)
	}
	return os.ReadFile(path)
}

// writePEM makes files that only their owner may read.
func writePEM(path, kind string, der []byte) error {
	data := bytes.Buffer{}
	if err := pem.Encode(&data, &pem.Block{Type: kind, Bytes: der}); err != nil {
		return err
	}
	return statefile.Write(path, data.Bytes())
}
