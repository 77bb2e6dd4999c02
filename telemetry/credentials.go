package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"

	"gnomon/cloud/keypair"
)

// tlsConfig reads the certificates. It returns nil for a broker without TLS.
func tlsConfig(o *Options, broker endpoint) (*tls.Config, error) {
	if !broker.secure {
		if o.CAFile != "" || o.CertFile != "" || o.KeyFile != "" {
			return nil, fmt.Errorf("certificates are set, but %s is a connection without TLS; write mqtts:// or remove ca_file, cert_file and key_file", broker.url)
		}
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: broker.host}
	if broker.port == alpnPort {
		cfg.NextProtos = []string{alpnMQTT}
	}
	if o.CAFile != "" {
		pem, err := keypair.Read("ca_file", o.CAFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s has no certificate in it; it must be PEM, with BEGIN CERTIFICATE", o.CAFile)
		}
	}
	switch {
	case o.CertFile == "" && o.KeyFile == "":
		return cfg, nil
	case o.KeyFile == "":
		return nil, fmt.Errorf("cert_file %s is set but key_file is not; set both or neither", o.CertFile)
	case o.CertFile == "":
		return nil, fmt.Errorf("key_file %s is set but cert_file is not; set both or neither", o.KeyFile)
	}
	last, err := keyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		// Anew for each connection, as certificates are exchanged. While they are, no pair may be there: the last one then.
		if cert, err := keyPair(o.CertFile, o.KeyFile); err == nil {
			last = cert
		}
		used := last
		return &used, nil
	}
	return cfg, nil
}

func keyPair(certFile, keyFile string) (tls.Certificate, error) {
	certPEM, err := keypair.Read("cert_file", certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyPEM, err := keypair.ReadSecret("key_file", keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("cert_file %s and key_file %s don't make a pair: %w; both must be PEM, the key without a passphrase and the one that the certificate was made for", certFile, keyFile, err)
	}
	return cert, nil
}

// password is the first line of the file; empty without a file.
func password(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	data, err := keypair.ReadSecret("password_file", file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return "", fmt.Errorf("password_file %s has an empty first line; write the password there", file)
	}
	if len(line) > maxPassword {
		return "", fmt.Errorf("password_file %s has a first line of %d bytes; MQTT allows %d", file, len(line), maxPassword)
	}
	return line, nil
}
