package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// secret is in the query of every https reference here and must never come out again.
const secret = "X-Amz-Signature=PLANTEDSECRET"

func TestMain(m *testing.M) {
	if os.Getenv(envURL) != "" {
		os.Exit(fetchUntilKilled())
	}
	// A link of toxiproxy that closed its connection by itself waits for ever to pass on the next piece.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"))
}

// modelBytes are the same in every run, and no two parts of them are alike.
func modelBytes(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data) // never fails
	return data
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// server is an https server for tests that remembers what it was asked.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

// serve calls handle with the number of the request, from 1.
func serve(t *testing.T, handle func(n int, w http.ResponseWriter, r *http.Request)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Clone(context.Background()))
		n := len(s.requests)
		s.mu.Unlock()
		handle(n, w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *server) asked() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.requests...)
}

func (s *server) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

// object answers as a good server does.
func object(w http.ResponseWriter, r *http.Request, data []byte, etag string) {
	if etag != "" {
		w.Header().Set("ETag", etag)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// cut passes on some bytes of the body and then calls end.
type cut struct {
	http.ResponseWriter
	left int
	end  func()
}

func (c *cut) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 && err == nil {
		err = http.NewResponseController(c.ResponseWriter).Flush()
		c.end()
	}
	return n, err
}

// dropAfter resets the connection after so many bytes of the body.
func dropAfter(w http.ResponseWriter, n int) http.ResponseWriter {
	return &cut{w, n, func() { panic(http.ErrAbortHandler) }}
}

// newFetcher has pauses that tests can wait for. Its log is checked for the secret.
func newFetcher(t *testing.T, o Options) *Fetcher {
	t.Helper()
	logged := &bytes.Buffer{}
	o.Log = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
		zapcore.Lock(zapcore.AddSync(logged)), zap.DebugLevel))
	if o.Limits.KeepFree == 0 {
		o.Limits.KeepFree = 1
	}
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	f.pause = time.Millisecond
	t.Cleanup(func() {
		f.Close()
		if strings.Contains(logged.String(), "PLANTED") {
			t.Errorf("the log has the secret: %s", logged)
		}
	})
	return f
}

func reference(t *testing.T, s string) Reference {
	t.Helper()
	r, err := ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// assertCode compares the code of an error; empty for none. The secret must be nowhere in its chain.
func assertCode(t *testing.T, err error, want Code) {
	t.Helper()
	var e *Error
	if want == "" && err != nil || want != "" && (!errors.As(err, &e) || e.Code != want) {
		t.Errorf("error %v (%+v), want code %q", err, e, want)
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if strings.Contains(err.Error(), "PLANTED") {
			t.Errorf("the error has the secret: %v", err)
		}
	}
}

// assertBlob checks the one file of a result, and that nothing partial is left.
func assertBlob(t *testing.T, result Result, dir string, want []byte) {
	t.Helper()
	if len(result.Blobs) != 1 || result.Blobs[0].SHA256 != hexSum(want) || result.Blobs[0].Size != int64(len(want)) {
		t.Fatalf("result %+v", result)
	}
	got, err := os.ReadFile(result.Blobs[0].Path)
	if err != nil || !bytes.Equal(got, want) || filepath.Dir(result.Blobs[0].Path) != dir {
		t.Errorf("%d bytes in %s, %v; want %d", len(got), result.Blobs[0].Path, err, len(want))
	}
	if left := partials(t, dir); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func partials(t *testing.T, dir string) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "*.part"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// leave makes what an interrupted Fetch of the model with the digest sum leaves behind.
func leave(t *testing.T, dir, sum string, partial []byte, journal string) {
	t.Helper()
	name := filepath.Join(dir, "blob-"+sum)
	if err := errors.Join(os.WriteFile(name+".part", partial, 0o600), os.WriteFile(name+".json", []byte(journal), 0o600)); err != nil {
		t.Fatal(err)
	}
}
