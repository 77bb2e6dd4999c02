package artifact

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const modelSize = 300_000

// TestMisbehavingServers fetches an object from servers with one fault each, and again from a good one: that must go
// well whatever the first attempt left behind.
func TestMisbehavingServers(t *testing.T) {
	data := modelBytes(modelSize)
	other := modelBytes(modelSize + 1)[1:]
	const etag = `"one"`
	status := func(code int) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	once := func(fault, then func(int, http.ResponseWriter, *http.Request)) func(int, http.ResponseWriter, *http.Request) {
		return func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				fault(n, w, r)
				return
			}
			then(n, w, r)
		}
	}
	good := func(_ int, w http.ResponseWriter, r *http.Request) { object(w, r, data, etag) }
	dropped := func(_ int, w http.ResponseWriter, r *http.Request) { object(dropAfter(w, 100_000), r, data, etag) }
	tests := []struct {
		name     string
		handle   func(n int, w http.ResponseWriter, r *http.Request)
		want     Code
		requests int      // 0: not compared
		ranges   []string // of the requests; nil: not compared
		kept     bool     // a partial file that the next attempt goes on with
	}{
		{name: "good", handle: good, requests: 1},
		{name: "403", handle: status(403), want: CodeAccessDenied, requests: 1},
		{name: "401", handle: status(401), want: CodeAccessDenied, requests: 1},
		{name: "404", handle: status(404), want: CodeNotFound, requests: 1},
		{name: "410", handle: status(410), want: CodeNotFound, requests: 1},
		{name: "416 at the beginning", handle: status(416), want: CodeBadAnswer, requests: 1},
		{name: "206 without a range", handle: status(206), want: CodeBadAnswer, requests: 1},
		{name: "204", handle: status(204), want: CodeBadAnswer, requests: 1},
		{name: "500 for ever", handle: status(500), want: CodeServerError, requests: maxAttempts},
		{name: "429 for ever", handle: status(429), want: CodeThrottled, requests: maxAttempts},
		{name: "500, then good", handle: once(status(500), good), requests: 2},
		{name: "429, then good", handle: once(status(429), good), requests: 2},
		{name: "expired presigned URL", want: CodeURLExpired, requests: 1, handle: func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>`)
		}},
		{name: "dropped once", handle: once(dropped, good), ranges: []string{"", "bytes=100000-"}},
		{name: "drops every 100000 bytes", handle: dropped, ranges: []string{"", "bytes=100000-", "bytes=200000-"}},
		{name: "drops every 30000 bytes", requests: modelSize / 30_000, handle: func(_ int, w http.ResponseWriter, r *http.Request) {
			object(dropAfter(w, 30_000), r, data, etag)
		}},
		{name: "drops at once, for ever", want: CodeNetwork, requests: maxAttempts, handle: func(int, http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}},
		{name: "ends earlier than announced", want: CodeNetwork, handle: func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(modelSize+100))
			w.Write(data) //nolint:errcheck // the client finds out
		}},
		{name: "announces less than it has", want: CodeDigestMismatch, requests: 1, handle: func(_ int, w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n%s", data)
		}},
		{name: "sends more than announced", want: CodeLengthMismatch, requests: 2, handle: once(dropped,
			func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("ETag", etag)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 100000-%d/%d", modelSize-1, modelSize))
				w.WriteHeader(http.StatusPartialContent)
				w.Write(data) //nolint:errcheck // the client stops
			})},
		{name: "goes on elsewhere", want: CodeBadAnswer, requests: 2, kept: true, handle: once(dropped,
			func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("ETag", etag)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", modelSize-1, modelSize))
				w.WriteHeader(http.StatusPartialContent)
			})},
		{name: "nonsense Content-Range", want: CodeBadAnswer, requests: 2, kept: true, handle: once(dropped,
			func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Range", "bytes 9-1/x")
				w.WriteHeader(http.StatusPartialContent)
			})},
		{name: "wrong digest", want: CodeDigestMismatch, requests: 1, handle: func(_ int, w http.ResponseWriter, r *http.Request) {
			object(w, r, other, etag)
		}},
		{name: "stalls at 99 %", ranges: []string{"", "bytes=297000-"}, handle: once(
			func(_ int, w http.ResponseWriter, r *http.Request) {
				object(&cut{w, modelSize / 100 * 99, func() { <-r.Context().Done() }}, r, data, etag)
			}, good)},
		{name: "never answers", want: CodeNetwork, requests: maxAttempts, handle: func(_ int, _ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // returning would be an empty answer, which a busy machine may still let through
		}},
		{name: "the object changed", ranges: []string{"", "bytes=100000-"}, handle: once(
			func(_ int, w http.ResponseWriter, r *http.Request) { object(dropAfter(w, 100_000), r, other, `"old"`) }, good)},
		{name: "the object changed and got shorter", ranges: []string{"", "bytes=400000-", ""}, handle: once(
			func(_ int, w http.ResponseWriter, r *http.Request) {
				object(dropAfter(w, 400_000), r, modelBytes(500_000), `"old"`)
			},
			func(_ int, w http.ResponseWriter, r *http.Request) {
				r.Header.Del("If-Range") // a server that does not know it
				object(w, r, data, etag)
			})},
		{name: "a range of another object", ranges: []string{"", "bytes=100000-", ""}, handle: once(
			func(_ int, w http.ResponseWriter, r *http.Request) { object(dropAfter(w, 100_000), r, other, `"old"`) },
			func(_ int, w http.ResponseWriter, r *http.Request) {
				r.Header.Del("If-Range")
				object(w, r, data, etag)
			})},
		{name: "changes every time", want: CodeServerError, handle: func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 2 { // so that the last of all attempts finds a change
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			r.Header.Del("If-Range")
			object(dropAfter(w, 100_000), r, data, fmt.Sprintf(`"%d"`, n))
		}},
		{name: "no ETag", ranges: []string{"", ""}, handle: once(
			func(_ int, w http.ResponseWriter, r *http.Request) { object(dropAfter(w, 100_000), r, data, "") },
			func(_ int, w http.ResponseWriter, r *http.Request) { object(w, r, data, "") })},
		{name: "weak ETag", ranges: []string{"", ""}, handle: once(
			func(_ int, w http.ResponseWriter, r *http.Request) { object(dropAfter(w, 100_000), r, data, `W/"x"`) },
			func(_ int, w http.ResponseWriter, r *http.Request) { object(w, r, data, `W/"x"`) })},
		{name: "no ranges", ranges: []string{"", "bytes=100000-"}, handle: once(dropped,
			func(_ int, w http.ResponseWriter, r *http.Request) {
				r.Header.Del("Range")
				object(w, r, data, etag)
			})},
		{name: "no ranges, and always dropped", want: CodeNetwork, requests: maxAttempts, handle: func(_ int, w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			object(dropAfter(w, 100_000), r, data, etag)
		}},
		{name: "announces too much", want: CodeTooLarge, requests: 1, handle: func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2000000")
		}},
		{name: "infinite body", want: CodeTooLarge, requests: 1, handle: func(_ int, w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(data); err != nil {
					return
				}
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, test.handle)
			f := newFetcher(t, Options{RootCAs: s.roots(), AllowPrivate: true, Limits: Limits{MaxBytes: 1 << 20, Stall: 300 * time.Millisecond}})
			dir := t.TempDir()
			request := Request{Reference: reference(t, s.URL+"/m/yolo.onnx?"+secret), SHA256: hexSum(data), Dir: dir}
			result, err := f.Fetch(t.Context(), request)
			assertCode(t, err, test.want)
			var ranges []string
			for _, r := range s.asked() {
				ranges = append(ranges, r.Header.Get("Range"))
				if !strings.Contains(r.RequestURI, secret) {
					t.Errorf("asked for %s", r.RequestURI)
				}
			}
			if test.requests != 0 && len(ranges) != test.requests {
				t.Errorf("%d requests, want %d", len(ranges), test.requests)
			}
			if test.ranges != nil && fmt.Sprintf("%q", ranges) != fmt.Sprintf("%q", test.ranges) {
				t.Errorf("ranges %q, want %q", ranges, test.ranges)
			}
			if err == nil {
				assertBlob(t, result, dir, data)
				if result.Blobs[0].Name != "yolo.onnx" {
					t.Errorf("name %q", result.Blobs[0].Name)
				}
			}
			wrong := test.want == CodeDigestMismatch || test.want == CodeLengthMismatch || test.want == CodeTooLarge
			if left := partials(t, dir); wrong && len(left) > 0 {
				t.Errorf("not discarded: %v", left)
			}

			again := serve(t, good)
			f = newFetcher(t, Options{RootCAs: again.roots(), AllowPrivate: true, Limits: Limits{MaxBytes: 1 << 20}})
			request.Reference = reference(t, again.URL+"/m/yolo.onnx?"+secret)
			if result, err = f.Fetch(t.Context(), request); err != nil {
				t.Fatalf("afterwards, from a good server: %v", err)
			}
			assertBlob(t, result, dir, data)
			if asked := again.asked(); test.want == "" && len(asked) != 0 {
				t.Error("a whole file was fetched again")
			} else if test.kept && asked[0].Header.Get("Range") != "bytes=100000-" {
				t.Errorf("went on with %q", asked[0].Header.Get("Range"))
			}
		})
	}
}

// TestContentEncoding: bytes are taken as they come, so a small answer stays small.
func TestContentEncoding(t *testing.T) {
	plain := make([]byte, 10<<20)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", fmt.Sprint(packed.Len()))
		w.Write(packed.Bytes()) //nolint:errcheck // the client finds out
	})
	f := newFetcher(t, Options{RootCAs: s.roots(), AllowPrivate: true, Limits: Limits{MaxBytes: 1 << 20}})
	r := Request{Reference: reference(t, s.URL+"/m.tar.gz"), SHA256: hexSum(packed.Bytes()), Dir: t.TempDir()}
	result, err := f.Fetch(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	assertBlob(t, result, r.Dir, packed.Bytes())
	r.SHA256 = hexSum(plain)
	_, err = f.Fetch(t.Context(), r)
	assertCode(t, err, CodeDigestMismatch)
	if err == nil || !strings.Contains(err.Error(), "gzip") {
		t.Errorf("%v does not say why", err)
	}
}

func TestRequestsThatAskNobody(t *testing.T) {
	s := serve(t, func(int, http.ResponseWriter, *http.Request) {})
	sum := strings.Repeat("ab", 32)
	tests := []struct {
		name    string
		options Options
		ref     string
		sum     string
		ctx     context.Context
		want    Code
	}{
		{"not allowed", Options{Policy: Policy{Allow: []string{"https://elsewhere.example/*"}}}, s.URL + "/m", sum, nil, CodeNotAllowed},
		{"a file without an allow-list", Options{}, "file:///etc/passwd", sum, nil, CodeNotAllowed},
		{"no digest", Options{}, s.URL + "/m", "", nil, CodeBadReference},
		{"no hexadecimal digest", Options{}, s.URL + "/m", "xyz", nil, CodeBadReference},
		{"two digests", Options{}, "oci://r.example/x@" + digest, sum, nil, CodeBadReference},
		{"loopback", Options{RootCAs: s.roots()}, s.URL + "/m", sum, nil, CodeAddressRefused},
		{"a registry on loopback", Options{RootCAs: s.roots()}, "oci://" + s.Listener.Addr().String() + "/m:1", "", nil, CodeAddressRefused},
		{"s3 without a region", Options{}, "s3://bucket/m", sum, nil, CodeNotConfigured},
		{"ecr without a region", Options{ECRHosts: []string{"r.example"}}, "oci://r.example/m:1", "", nil, CodeNotConfigured},
		{"cancelled", Options{RootCAs: s.roots(), AllowPrivate: true}, s.URL + "/m", sum, canceled(), CodeCancelled},
		{"too late", Options{RootCAs: s.roots(), AllowPrivate: true, Limits: Limits{Timeout: 1}}, s.URL + "/m", sum, nil, CodeTimeout},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFetcher(t, test.options)
			if test.ctx == nil {
				test.ctx = t.Context()
			}
			_, err := f.Fetch(test.ctx, Request{Reference: reference(t, test.ref), SHA256: test.sum, Dir: t.TempDir()})
			assertCode(t, err, test.want)
			if test.want == CodeCancelled && !errors.Is(err, context.Canceled) {
				t.Errorf("%v does not wrap the context's error", err)
			}
		})
	}
	if n := len(s.asked()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

// TestLeftovers: whatever lies in the directory, the result is right or there is none.
func TestLeftovers(t *testing.T) {
	data := modelBytes(modelSize)
	sum := hexSum(data)
	write := func(dir, name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whole := fmt.Sprintf(`{"format":1,"etag":"\"one\"","total":%d}`, modelSize)
	for name, c := range map[string]struct {
		leave  func(dir string)
		ranges []string
	}{
		"whole file":         {func(dir string) { write(dir, "blob-"+sum, data) }, nil},
		"damaged whole file": {func(dir string) { write(dir, "blob-"+sum, data[1:]) }, []string{""}},
		"whole partial file": {func(dir string) { leave(t, dir, sum, data, whole) }, nil},
		"half": {func(dir string) {
			leave(t, dir, sum, data[:1000], whole)
		}, []string{"bytes=1000-"}},
		"half without a journal": {func(dir string) { write(dir, "blob-"+sum+".part", data[:1000]) }, []string{""}},
		"half with a damaged journal": {func(dir string) {
			leave(t, dir, sum, data[:1000], whole[:20])
		}, []string{""}},
		"zeros, as after a power cut": {func(dir string) {
			leave(t, dir, sum, make([]byte, 1000), whole)
		}, []string{"bytes=1000-", ""}},
		"as long as the whole, but wrong": {func(dir string) {
			leave(t, dir, sum, make([]byte, modelSize), whole)
		}, []string{""}},
		"too long": {func(dir string) {
			leave(t, dir, sum, make([]byte, modelSize+1), whole)
		}, []string{""}},
		"a link": {func(dir string) {
			write(dir, "target", []byte("precious"))
			if err := os.Symlink("target", filepath.Join(dir, "blob-"+sum+".part")); err != nil {
				t.Fatal(err)
			}
			write(dir, "blob-"+sum+".json", []byte(whole))
		}, []string{""}},
		"directories": {func(dir string) {
			for _, name := range []string{"", ".part"} {
				if err := os.MkdirAll(filepath.Join(dir, "blob-"+sum+name, "x"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
		}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.leave(dir)
			s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { object(w, r, data, `"one"`) })
			f := newFetcher(t, Options{RootCAs: s.roots(), AllowPrivate: true})
			var done, total int64
			result, err := f.Fetch(t.Context(), Request{
				Reference: reference(t, s.URL+"/m"), SHA256: strings.ToUpper(sum), Dir: dir,
				Progress: func(d, t int64) { done, total = d, t },
			})
			if err != nil {
				t.Fatal(err)
			}
			assertBlob(t, result, dir, data)
			var ranges []string
			for _, r := range s.asked() {
				ranges = append(ranges, r.Header.Get("Range"))
			}
			if fmt.Sprintf("%q", ranges) != fmt.Sprintf("%q", c.ranges) {
				t.Errorf("asked for %q, want %q", ranges, c.ranges)
			}
			if done != modelSize || total != modelSize {
				t.Errorf("progress ended with %d of %d", done, total)
			}
			if kept, err := os.ReadFile(filepath.Join(dir, "target")); err == nil && string(kept) != "precious" {
				t.Error("wrote through a link")
			}
		})
	}
}

// TestRateAndProgress: the rate limit is no stall, and progress only grows.
func TestRateAndProgress(t *testing.T) {
	data := modelBytes(3000)
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { object(w, r, data, `"one"`) })
	// 2000 bytes at once, and the rest half a second later: longer than the stall.
	f := newFetcher(t, Options{RootCAs: s.roots(), AllowPrivate: true, Limits: Limits{Rate: 2000, Stall: 250 * time.Millisecond}})
	last, begin := int64(0), time.Now()
	r := Request{Reference: reference(t, s.URL+"/m"), SHA256: hexSum(data), Dir: t.TempDir(), Progress: func(done, total int64) {
		if done < last || total != int64(len(data)) {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	}}
	if _, err := f.Fetch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 400*time.Millisecond || len(s.asked()) != 1 {
		t.Errorf("took %v and %d requests", took, len(s.asked()))
	}
}

func TestUntrustedServer(t *testing.T) {
	s := serve(t, func(int, http.ResponseWriter, *http.Request) {})
	f := newFetcher(t, Options{AllowPrivate: true, RootCAs: x509.NewCertPool()})
	_, err := f.Fetch(t.Context(), Request{Reference: reference(t, s.URL+"/m?"+secret), SHA256: hexSum(nil), Dir: t.TempDir()})
	assertCode(t, err, CodeNetwork)
	if err == nil || !strings.Contains(err.Error(), "certificate is not trusted") {
		t.Errorf("%v does not say why", err)
	}
}
