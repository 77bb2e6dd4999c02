package month

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gnomon/cloud/keypair"
	"gnomon/devcloud/iot"
	"gnomon/devcloud/shadows"
)

const (
	region, account = "eu-central-1", "000000000000"
	cloudHost       = "iot.example.com"
	cloudURL        = "mqtts://" + cloudHost + ":8883"
	adminName       = "gnomon-admin"
	thingName       = "thing-1"
	shadowName      = "gnomon"

	authorityLife = 10 * 365 * 24 * time.Hour
	backdate      = time.Hour
)

// authority signs the certificates of the cloud and of its things.
type authority struct {
	born time.Time // what it signs before is valid only from then on
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string // PEM
	pool *x509.CertPool
}

func newAuthority(dir string, born time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &authority{born: born, key: key, file: filepath.Join(dir, "ca.pem"), pool: x509.NewCertPool()}
	a.cert = &x509.Certificate{
		Subject: pkix.Name{CommonName: "soak"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	text, err := a.sign(a.cert, &key.PublicKey, authorityLife)
	if err != nil {
		return nil, err
	}
	if a.cert, err = parse(text); err != nil {
		return nil, err
	}
	a.pool.AddCert(a.cert)
	return a, os.WriteFile(a.file, text, 0o600)
}

// sign returns PEM. The life begins now, or when the authority is born.
func (a *authority) sign(template *x509.Certificate, key any, life time.Duration) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	from := time.Now()
	if from.Before(a.born) {
		from = a.born
	}
	template.NotBefore, template.NotAfter = from.Add(-backdate), from.Add(life)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

// leaf is the template of a certificate for both ends of a connection.
func leaf(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{cloudHost}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

func parse(certPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, errors.New("there is no PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// issue writes a new pair for a name.
func (a *authority) issue(f keypair.Files, name string, life time.Duration) error {
	key, err := keypair.NewKey()
	if err != nil {
		return err
	}
	csr, err := keypair.Request(key, name)
	if err != nil {
		return err
	}
	cert, err := a.answer(csr, life)
	if err != nil {
		return err
	}
	return errors.Join(keypair.Replace(f.KeyFile, key), keypair.Replace(f.CertFile, cert))
}

// answer makes the certificate for a request.
func (a *authority) answer(csrPEM []byte, life time.Duration) ([]byte, error) {
	block, _ := pem.Decode(csrPEM)
	if block == nil {
		return nil, errors.New("there is no request")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	return a.sign(leaf(csr.Subject.CommonName), csr.PublicKey, life)
}

// identify is what the broker asks: a certificate that is signed by us and in its time.
func (a *authority) identify(state tls.ConnectionState) (iot.Identity, error) {
	cert := state.PeerCertificates[0]
	if _, err := cert.Verify(x509.VerifyOptions{Roots: a.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return iot.Identity{}, err
	}
	sum := sha256.Sum256(cert.Raw)
	name := cert.Subject.CommonName
	return iot.Identity{Name: name, Thing: name, Admin: name == adminName, Principal: hex.EncodeToString(sum[:])}, nil
}

// config is what a client connects with, beside Options.Dial.
func (a *authority) config(f keypair.Files) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cloudHost, RootCAs: a.pool, Certificates: []tls.Certificate{pair}}, err
}

// cloud is the other side: the broker, the shadow, and who listens to what devices send.
type cloud struct {
	dir     string
	ca      *authority
	at      *listener
	broker  *iot.Broker
	shadows *shadows.Service
	ledger  *ledger
	inside  *network // of who listens; it is never cut
}

func newCloud(t *testing.T, dir string, born time.Time) *cloud {
	t.Helper()
	c := &cloud{dir: dir, at: newListener(), ledger: newLedger()}
	c.inside = newNetwork(c.at)
	must := func(err error) {
		if err != nil {
			t.Fatal("the cloud: ", err)
		}
	}
	var err error
	must(os.MkdirAll(dir, 0o700))
	c.ca, err = newAuthority(dir, born)
	must(err)
	server := c.files("server")
	must(c.ca.issue(server, cloudHost, authorityLife))
	pair, err := tls.LoadX509KeyPair(server.CertFile, server.KeyFile)
	must(err)
	policy, err := iot.ParsePolicy(iot.DefaultPolicy(region, account), region, account)
	must(err)
	c.broker, err = iot.New(iot.Options{
		Socket: c.at, TLS: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}, Policy: policy,
		Identify: c.ca.identify, Shadow: func(topic string, payload []byte) { c.shadows.Request(topic, payload) },
	})
	must(err)
	c.shadows, err = shadows.New(shadows.Options{Dir: filepath.Join(dir, "shadows"), Publish: func(m shadows.Message) {
		if err := c.broker.Publish(m.Topic, m.Payload); err != nil {
			t.Error(err)
		}
	}})
	must(err)
	return c
}

func (c *cloud) files(name string) keypair.Files {
	return keypair.Files{CertFile: filepath.Join(c.dir, name+".pem"), KeyFile: filepath.Join(c.dir, name+".key")}
}

// run serves until ctx ends.
func (c *cloud) run(ctx context.Context) error {
	return errors.Join(c.broker.Run(ctx), c.shadows.Close())
}

// listen has the ledger note what arrives, until leave is called.
func (c *cloud) listen(t *testing.T) (leave func(), err error) {
	admin := c.files(adminName)
	if err := c.ca.issue(admin, adminName, authorityLife); err != nil {
		return nil, err
	}
	config, err := c.ca.config(admin)
	if err != nil {
		return nil, err
	}
	return c.ledger.listen(c.inside, config, t)
}

// desire merges into the desired state of the thing.
func (c *cloud) desire(desired any) error {
	doc, err := json.Marshal(map[string]any{"state": map[string]any{"desired": desired}})
	if err != nil {
		return err
	}
	if _, err := c.shadows.Update(thingName, shadowName, doc); err != nil {
		return fmt.Errorf("desire %s: %w", doc, err)
	}
	return nil
}
