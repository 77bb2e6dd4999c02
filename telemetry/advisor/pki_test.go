package advisor_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates; the file is its own.
type authority struct {
	file string
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	own := sign(t, template, nil, ecdsaKey(t))
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem"), cert: own.Leaf, key: own.PrivateKey.(crypto.Signer)}
	writePEM(t, a.file, "CERTIFICATE", own.Certificate[0], 0o644)
	return a
}

// server is a certificate for localhost, after change.
func (a *authority) server(t *testing.T, change func(c *x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	return sign(t, template, a, ecdsaKey(t))
}

// device writes a certificate and a key for the thing.
func (a *authority) device(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	c := sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: thing}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a, ecdsaKey(t))
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certFile, "CERTIFICATE", c.Certificate[0], 0o644)
	writePEM(t, keyFile, "PRIVATE KEY", key, 0o600)
	return certFile, keyFile
}

// sign makes a certificate, valid for an hour unless the template says otherwise; by nil: it signs itself.
func sign(t *testing.T, template *x509.Certificate, by *authority, key crypto.Signer) tls.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if by == nil {
		by = &authority{cert: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// forged has a signature that is not the authority's.
func forged(c tls.Certificate) tls.Certificate {
	der := bytes.Clone(c.Certificate[0])
	der[len(der)-1] ^= 1
	c.Certificate = [][]byte{der}
	return c
}

// wide gives a certificate so many names more.
func wide(names int) func(c *x509.Certificate) {
	return func(c *x509.Certificate) {
		for i := range names {
			c.DNSNames = append(c.DNSNames, fmt.Sprintf("endpoint-%04d.iot.eu-central-1.example.com", i))
		}
	}
}

func ecdsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, file, kind string, der []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		t.Fatal(err)
	}
}
