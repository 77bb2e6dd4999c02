package artifact

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Set for a child of TestKilledInMidDownload: what to fetch, where to, whom to trust, and what to expect.
const (
	envURL = "ARTIFACT_TEST_URL"
	envDir = "ARTIFACT_TEST_DIR"
	envCA  = "ARTIFACT_TEST_CA"
	envSum = "ARTIFACT_TEST_SUM"
)

// fetchUntilKilled runs in a child process; the server lets it get no further than to the middle.
func fetchUntilKilled() int {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(os.Getenv(envCA)))
	f, err := New(Options{RootCAs: roots, AllowPrivate: true})
	if err == nil {
		var ref Reference
		if ref, err = ParseReference(os.Getenv(envURL)); err == nil {
			_, err = f.Fetch(context.Background(), Request{Reference: ref, SHA256: os.Getenv(envSum), Dir: os.Getenv(envDir)})
		}
	}
	fmt.Fprintln(os.Stderr, "the download ended:", err)
	return 1
}

func TestKilledInMidDownload(t *testing.T) {
	data := modelBytes(2 << 20)
	const before = 1_500_000
	halfway := make(chan struct{})
	s := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n > 1 {
			object(w, r, data, `"one"`)
			return
		}
		object(&cut{w, before, func() { close(halfway); <-r.Context().Done() }}, r, data, `"one"`)
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ref := s.URL + "/m?" + secret
	child := exec.Command(self)
	child.Env = append(os.Environ(), envURL+"="+ref, envDir+"="+dir, envSum+"="+hexSum(data),
		envCA+"="+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	<-halfway
	partial := filepath.Join(dir, "blob-"+hexSum(data)+".part")
	waitFor(t, "the bytes that were sent to be on disk", func() bool {
		info, err := os.Stat(partial)
		return err == nil && info.Size() == before
	})
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child was not killed: %v", err)
	}
	for _, name := range []string{partial, strings.TrimSuffix(partial, ".part") + ".json"} {
		if kept, err := os.ReadFile(name); err != nil || strings.Contains(string(kept), "PLANTED") {
			t.Errorf("%s: %v, or it has the secret", name, err)
		}
	}

	f := newFetcher(t, Options{RootCAs: s.roots(), AllowPrivate: true})
	result, err := f.Fetch(t.Context(), Request{Reference: reference(t, ref), SHA256: hexSum(data), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	assertBlob(t, result, dir, data)
	asked := s.asked()
	if len(asked) != 2 || asked[1].Header.Get("Range") != fmt.Sprintf("bytes=%d-", before) || asked[1].Header.Get("If-Range") != `"one"` {
		t.Errorf("%d requests, the last for %q", len(asked), asked[len(asked)-1].Header.Get("Range"))
	}
}

// TestStoppedInMidDownload: also a stop from within keeps what arrived.
func TestStoppedInMidDownload(t *testing.T) {
	data := modelBytes(modelSize)
	for name, c := range map[string]struct {
		timeout time.Duration
		want    Code
		is      error
	}{"cancelled": {time.Minute, CodeCancelled, context.Canceled}, "too late": {300 * time.Millisecond, CodeTimeout, context.DeadlineExceeded}} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
				if n == 1 {
					w = &cut{w, 100_000, func() { <-r.Context().Done() }}
				}
				object(w, r, data, `"one"`)
			})
			dir := t.TempDir()
			request := Request{Reference: reference(t, s.URL+"/m"), SHA256: hexSum(data), Dir: dir}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.want == CodeCancelled {
				request.Progress = func(done, _ int64) {
					if done > 0 {
						cancel()
					}
				}
			}
			options := Options{RootCAs: s.roots(), AllowPrivate: true, Limits: Limits{Timeout: c.timeout}}
			_, err := newFetcher(t, options).Fetch(ctx, request)
			assertCode(t, err, c.want)
			if !errors.Is(err, c.is) || len(partials(t, dir)) != 1 {
				t.Errorf("%v, with %v kept", err, partials(t, dir))
			}
			options.Limits.Timeout, request.Progress = 0, nil
			result, err := newFetcher(t, options).Fetch(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			assertBlob(t, result, dir, data)
			if asked := s.asked(); len(asked) != 2 || asked[1].Header.Get("Range") == "" {
				t.Errorf("%d requests, the last for %q", len(asked), asked[len(asked)-1].Header.Get("Range"))
			}
		})
	}
}

func waitFor(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited too long for " + what)
		}
	}
}
