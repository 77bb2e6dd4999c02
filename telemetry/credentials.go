package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxCredentialFile is far above any certificate chain, and keeps a wrong path from being read into memory.
const maxCredentialFile = 1 << 20

// publicBits are the file modes that let users outside the owner and the group in.
const publicBits = 0o007

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
		pem, err := readCredential("ca_file", o.CAFile, false)
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
	cert, err := keyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, err
	}
	cfg.Certificates = []tls.Certificate{cert}
	return cfg, nil
}

func keyPair(certFile, keyFile string) (tls.Certificate, error) {
	certPEM, err := readCredential("cert_file", certFile, false)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyPEM, err := readCredential("key_file", keyFile, true)
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
	data, err := readCredential("password_file", file, true)
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

// readCredential reads a file that the option named what points to. A secret one must not be open to everybody.
func readCredential(what, path string, secret bool) ([]byte, error) {
	// Opening a named pipe would wait for a writer, so its kind is looked at before.
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %s is not a regular file", what, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if mode := info.Mode().Perm(); secret && mode&publicBits != 0 {
		return nil, fmt.Errorf("%s %s is open to every user of this machine (mode %04o): run chmod 600 %s", what, path, mode, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxCredentialFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if len(data) > maxCredentialFile {
		return nil, fmt.Errorf("%s %s is larger than %d bytes: that is the wrong file", what, path, maxCredentialFile)
	}
	if len(data) == 0 {
		return nil, errors.New(what + " " + path + " is empty")
	}
	return data, nil
}
