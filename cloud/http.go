package cloud

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"time"

	"gnomon/cloud/keypair"
)

const (
	dialTimeout    = 10 * time.Second // a mobile network takes 3 s on a bad day
	tlsTimeout     = 10 * time.Second
	headerTimeout  = 30 * time.Second
	idleTimeout    = 90 * time.Second
	idlePerHost    = 4
	maxHeaderBytes = 64 << 10
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
	pem, err := keypair.Read("ca_file", caFile)
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
