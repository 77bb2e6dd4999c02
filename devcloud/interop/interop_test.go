package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/devcloud"
)

// patience is for one program. A quick machine needs a second or two; one that does something else meanwhile needs more.
const patience = 2 * time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// required skips the test unless make test-interop runs it. The programs take seconds of processor time each, and the
// other targets run every package up to two times.
func required(t *testing.T) {
	t.Helper()
	if os.Getenv("GNOMON_REQUIRE_INTEROP") != "1" {
		t.Skip("starts programs from outside gnomon: run make test-interop, which installs them and sets GNOMON_REQUIRE_INTEROP=1")
	}
}

// startCloud runs a Cloud on free ports until the test ends.
func startCloud(t *testing.T) *devcloud.Cloud {
	t.Helper()
	c, err := devcloud.NewCloud(devcloud.CloudOptions{Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return c
}

// httpClient trusts the Cloud and shows no certificate.
func httpClient(t *testing.T, c *devcloud.Cloud) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(c.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		t.Fatal("the authority's file has no certificate")
	}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}
