package cloud

import (
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
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

var _ aws.CredentialsProvider = (*Credentials)(nil)

// clock is moved by hand.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

type service struct {
	*httptest.Server
	clock   clock
	opts    CredentialsOptions
	calls   atomic.Int32
	handler atomic.Value // http.HandlerFunc
}

func newService(t *testing.T) *service {
	t.Helper()
	dir := t.TempDir()
	caKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sign := func(name string, c *x509.Certificate, key *ecdsa.PrivateKey) (string, string) {
		der, err := x509.CreateCertificate(rand.Reader, c, ca, key.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		k, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return write(name+".pem", "CERTIFICATE", der), write(name+".key", "PRIVATE KEY", k)
	}
	caFile, _ := sign("ca", ca, caKey)
	leaf := func(name string) (string, string) {
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		return sign(name, &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, key)
	}
	s := &service{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		if r.URL.Path != "/role-aliases/role/credentials" || r.Header.Get("x-amzn-iot-thingname") != "thing-1" {
			t.Errorf("asked for %s as %q", r.URL.Path, r.Header.Get("x-amzn-iot-thingname"))
		}
		s.handler.Load().(http.HandlerFunc)(w, r)
	}))
	serverCert, serverKey := leaf("server")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	caPEM, _ := os.ReadFile(caFile)
	pool.AppendCertsFromPEM(caPEM)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	s.opts = CredentialsOptions{Endpoint: s.URL, RoleAlias: "role", Thing: "thing-1", CAFile: caFile, now: s.clock.now}
	s.opts.CertFile, s.opts.KeyFile = leaf("device")
	s.answer(200, good(s.clock.now().Add(time.Hour), "A1"))
	return s
}

func good(until time.Time, id string) string {
	return fmt.Sprintf(`{"credentials":{"accessKeyId":%q,"secretAccessKey":"s","sessionToken":"t","expiration":%q}}`,
		id, until.UTC().Format(time.RFC3339))
}

func (s *service) answer(status int, body string) {
	s.handler.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
}

func (s *service) credentials(t *testing.T) *Credentials {
	t.Helper()
	c, err := NewCredentials(s.opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.client.CloseIdleConnections)
	return c
}

// want checks the key id that Retrieve gives and the number of requests until now.
func (s *service) want(t *testing.T, c *Credentials, id string, calls int32) {
	t.Helper()
	got, err := c.Retrieve(t.Context())
	if err != nil || got.AccessKeyID != id || s.calls.Load() != calls {
		t.Errorf("got %q, %v after %d requests; want %q after %d", got.AccessKeyID, err, s.calls.Load(), id, calls)
	}
}

func TestLife(t *testing.T) {
	s := newService(t)
	c := s.credentials(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { _, _ = c.Retrieve(t.Context()) })
	}
	wg.Wait()
	s.want(t, c, "A1", 1)
	s.clock.advance(53 * time.Minute)
	s.want(t, c, "A1", 1)
	s.answer(503, "")
	s.clock.advance(3 * time.Minute) // 4 minutes are left
	s.want(t, c, "A1", 2)
	s.want(t, c, "A1", 2) // the failure is remembered
	s.answer(200, good(s.clock.now().Add(time.Hour), "A2"))
	s.clock.advance(73 * time.Second)
	s.want(t, c, "A2", 3)
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name      string
		status    int
		body      string
		fix       string
		temporary bool
		pause     time.Duration // no request before
	}{
		{"thing", 403, `{"message":"Invalid thing name passed"}`, `check that thing "thing-1" exists`, false, pauseRefused},
		{"policy", 403, `{"message":"Access Denied"}`, "iot:AssumeRoleWithCertificate", false, pauseRefused},
		{"certificate", 403, `{"message":"Certificate is invalid on this endpoint"}`, "certificate is registered", false, pauseRefused},
		{"alias", 404, `{"message":"Role alias does not exist"}`, "create the role alias", false, pauseRefused},
		{"role", 400, `{"message":"x"}`, "credentials.iot.amazonaws.com", false, pauseRefused},
		{"throttled", 429, `{}`, "tried again later", true, pauseRefused},
		{"server", 500, `not JSON`, "tried again later", true, pauseServer},
		{"redirect", 302, ``, "check that the endpoint", false, pauseRefused},
		{"not JSON", 200, `<html>`, "login page", false, pauseRefused},
		{"empty", 200, `{}`, "login page", false, pauseRefused},
		{"huge", 200, good(time.Now().Add(time.Hour), "A") + strings.Repeat(" ", maxBody), "login page", false, pauseRefused},
		{"expired", 200, good(time.Now().Add(-time.Minute), "A"), "the clock of this device is wrong; set", false, pauseRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newService(t)
			c := s.credentials(t)
			s.answer(tt.status, tt.body)
			for range 2 {
				_, err := c.Retrieve(t.Context())
				ce, ok := errors.AsType[*CredentialsError](err)
				if !ok || ce.Status != tt.status || !strings.Contains(ce.Fix, tt.fix) || ce.Temporary() != tt.temporary {
					t.Errorf("error %v", err)
				}
			}
			s.clock.advance(tt.pause - time.Second)
			_, _ = c.Retrieve(t.Context())
			if n := s.calls.Load(); n != 1 {
				t.Errorf("%d requests within the pause", n)
			}
			s.answer(200, good(s.clock.now().Add(time.Hour), "A1"))
			s.clock.advance(tt.pause/5 + 2*time.Second)
			s.want(t, c, "A1", 2)
		})
	}
}

// TestClock: a clock that is off is recognised by the answer's Date header, and by the server's certificate.
func TestClock(t *testing.T) {
	for _, tt := range []struct {
		name    string
		off     time.Duration
		status  int
		expires time.Duration // after the real time
		want    string        // in the error's Fix; empty: credentials
		valid   time.Duration // by the device's clock
	}{
		{"right", 0, 200, 30 * time.Minute, "", 30 * time.Minute},
		{"ahead", 40 * time.Minute, 200, 30 * time.Minute, "is wrong: it is 40m0s ahead of", 0},
		{"ahead, refused", 10 * time.Minute, 403, 0, "it is 10m0s ahead of", 0},
		{"behind", -20 * time.Minute, 200, 30 * time.Minute, "", 30 * time.Minute},
		{"behind, refused", -20 * time.Minute, 403, 0, "it is 20m0s behind", 0},
	} {
		s := newService(t)
		c := s.credentials(t)
		s.clock.advance(tt.off)
		s.answer(tt.status, good(time.Now().Add(tt.expires), "A1"))
		got, err := c.Retrieve(t.Context())
		if tt.want == "" {
			if valid := got.Expires.Sub(s.clock.now()); err != nil || (valid-tt.valid).Abs() > time.Minute {
				t.Errorf("%s: valid for %v, %v", tt.name, valid, err)
			}
		} else if ce, ok := errors.AsType[*CredentialsError](err); !ok || !strings.Contains(seconds(ce.Fix), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if off := c.ClockOff(); (off - tt.off).Abs() > time.Minute {
			t.Errorf("%s: off by %v", tt.name, off)
		}
	}
	s := newService(t)
	c := s.credentials(t)
	c.client.Transport.(*http.Transport).TLSClientConfig.Time = func() time.Time { return time.Now().Add(48 * time.Hour) }
	_, err := c.Retrieve(t.Context())
	if ce, ok := errors.AsType[*CredentialsError](err); !ok || !strings.Contains(ce.Fix, "that the clock of this device shows") {
		t.Errorf("at another time: %v", err)
	}
}

// seconds makes a difference of a few seconds none: the Date header has whole ones.
func seconds(fix string) string {
	return strings.NewReplacer("m1s", "m0s", "m2s", "m0s", "19m59s", "20m0s", "19m58s", "20m0s").Replace(fix)
}

// TestRotated: a pair that is no longer one is done without while the old one is in time, and said afterwards.
func TestRotated(t *testing.T) {
	s := newService(t)
	c := s.credentials(t)
	s.want(t, c, "A1", 1)
	if err := os.WriteFile(s.opts.CertFile, []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.client.CloseIdleConnections()
	s.answer(200, good(time.Now().Add(90*time.Minute), "A2"))
	s.clock.advance(57 * time.Minute)
	s.want(t, c, "A2", 2)
	c.client.CloseIdleConnections()
	s.clock.advance(time.Hour)
	_, err := c.Retrieve(t.Context())
	if ce, ok := errors.AsType[*CredentialsError](err); !ok || !strings.Contains(ce.Message, "don't make a pair") || !strings.Contains(ce.Fix, "provision") {
		t.Errorf("error %v", err)
	}
}

func TestNetwork(t *testing.T) {
	s := newService(t)
	c := s.credentials(t)
	s.Close()
	for range 12 {
		_, err := c.Retrieve(t.Context())
		if ce, ok := errors.AsType[*CredentialsError](err); !ok || ce.Status != 0 || !ce.Temporary() {
			t.Fatalf("error %v", err)
		}
		if pause := c.retry.Sub(c.now()); pause > pauseNetworkMax {
			t.Errorf("pause of %v", pause)
		}
		s.clock.advance(pauseNetworkMax)
	}
	if c.network != pauseNetworkMax {
		t.Errorf("the pause has grown to %v", c.network)
	}
}

func TestOptions(t *testing.T) {
	s := newService(t)
	for _, tt := range []struct {
		name   string
		change func(*CredentialsOptions)
		want   string
	}{
		{"plain HTTP", func(o *CredentialsOptions) { o.Endpoint = "http://a" }, "describe-endpoint"},
		{"no endpoint", func(o *CredentialsOptions) { o.Endpoint = "" }, "describe-endpoint"},
		{"path", func(o *CredentialsOptions) { o.Endpoint = "a/b" }, "describe-endpoint"},
		{"alias", func(o *CredentialsOptions) { o.RoleAlias = "a/b" }, "role alias"},
		{"thing", func(o *CredentialsOptions) { o.Thing = "a\r\nb" }, "thing"},
		{"pair", func(o *CredentialsOptions) { o.CertFile = o.CAFile }, "don't make a pair"},
		{"no key", func(o *CredentialsOptions) { o.KeyFile = "" }, "key_file is not set"},
		{"CA", func(o *CredentialsOptions) { o.CAFile = o.KeyFile }, "no certificate in it"},
		{"expired", func(o *CredentialsOptions) { o.now = func() time.Time { return time.Now().Add(2 * time.Hour) } }, "expired at"},
		{"not yet", func(o *CredentialsOptions) { o.now = func() time.Time { return time.Unix(0, 0) } }, "valid only from"},
		{"mode", func(o *CredentialsOptions) { _ = os.Chmod(o.KeyFile, 0o640) }, "chmod 600"}, // last: it stays
	} {
		o := s.opts
		tt.change(&o)
		if _, err := NewCredentials(o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestHTTPClient(t *testing.T) {
	s := newService(t)
	s.TLS.ClientAuth = tls.NoClientCert
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{Certificates: s.TLS.Certificates}
	server.StartTLS()
	t.Cleanup(server.Close)
	for _, ca := range []string{s.opts.CAFile, ""} {
		c, err := HTTPClient(ca)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Get(server.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		c.CloseIdleConnections()
		if (err == nil) != (ca != "") {
			t.Errorf("with the CA file %q: %v", ca, err)
		}
	}
}
