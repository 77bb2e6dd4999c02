package cloud

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	dialTimeout     = 10 * time.Second // a mobile network takes 3 s on a bad day
	tlsTimeout      = 10 * time.Second
	headerTimeout   = 30 * time.Second
	idleTimeout     = 90 * time.Second
	idlePerHost     = 4
	maxHeaderBytes  = 64 << 10
	maxFile         = 1 << 20 // far above any certificate chain; keeps a wrong path out of memory
	othersMayAccess = 0o077
)

// HTTPClient makes a client for AWS services. It trusts the PEM certificates of caFile, if one is named, beside the
// system's, uses the proxy of the environment, and bounds dialling, the TLS handshake and the wait for an answer's
// header. There is no limit for a whole exchange, because a model takes as long as it takes: use a context.
func HTTPClient(caFile string) (*http.Client, error) {
	t, err := newTransport(caFile)
	if err != nil {
		return nil, fmt.Errorf("HTTP client: %w", err)
	}
	return &http.Client{Transport: t}, nil
}

// Roots are the authorities to trust: the system's and the PEM certificates of caFile. Without a caFile it is nil, which
// stands for the system's.
func Roots(caFile string) (*x509.CertPool, error) {
	if caFile == "" {
		return nil, nil
	}
	pem, _, err := read("ca_file", caFile)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a device without system roots still has those of caFile
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file %s has no certificate in it; it must be PEM, with BEGIN CERTIFICATE", caFile)
	}
	return roots, nil
}

func newTransport(caFile string) (*http.Transport, error) {
	roots, err := Roots(caFile)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        cfg,
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    idlePerHost,
		ForceAttemptHTTP2:      true,
	}, nil
}

// keyPair reads the device's certificate and key and checks that they are fit for use.
func keyPair(certFile, keyFile string, now time.Time) (tls.Certificate, error) {
	var none tls.Certificate
	certPEM, _, err := read("cert_file", certFile)
	if err != nil {
		return none, err
	}
	keyPEM, mode, err := read("key_file", keyFile)
	if err != nil {
		return none, err
	}
	if mode&othersMayAccess != 0 {
		return none, fmt.Errorf("key_file %s is open to others than its owner (mode %04o): run chmod 600 %s", keyFile, mode, keyFile)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return none, fmt.Errorf("cert_file %s and key_file %s don't make a pair: %w; both must be PEM, the key without a passphrase and the one that the certificate was made for", certFile, keyFile, err)
	}
	if now.After(pair.Leaf.NotAfter) {
		return none, fmt.Errorf("cert_file %s expired at %s: provision a new certificate, or check the clock of this device", certFile, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if now.Before(pair.Leaf.NotBefore) {
		return none, fmt.Errorf("cert_file %s is valid only from %s: check the clock of this device", certFile, pair.Leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return pair, nil
}

func read(what, path string) ([]byte, os.FileMode, error) {
	if path == "" {
		return nil, 0, errors.New(what + " is not set; write the path of a PEM file")
	}
	// Opening a named pipe would wait for a writer, so its kind is looked at before.
	if info, err := os.Stat(path); err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", what, err)
	} else if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s %s is not a regular file", what, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", what, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", what, err)
	}
	if len(data) > maxFile {
		return nil, 0, fmt.Errorf("%s %s is larger than %d bytes: that is the wrong file", what, path, maxFile)
	}
	return data, info.Mode().Perm(), nil
}
