package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"gnomon/devcloud/objects"
)

// cloud is the object side of AWS on loopback. before may answer a request itself by returning true.
func cloud(t *testing.T, o objects.Options, before func(n int, w http.ResponseWriter, r *http.Request) bool) (*objects.Service, *server, Options) {
	t.Helper()
	o.Dir = t.TempDir()
	service, err := objects.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if before == nil || !before(n, w, r) {
			service.ServeHTTP(w, r)
		}
	})
	t.Cleanup(func() { _ = service.Close() })
	return service, s, awsOptions(s, s.URL)
}

func awsOptions(s *server, endpoint string) Options {
	return Options{RootCAs: s.roots(), AllowPrivate: true, ECRHosts: []string{s.Listener.Addr().String()}, AWS: aws.Config{
		Region: "eu-central-1", BaseEndpoint: aws.String(endpoint), HTTPClient: s.Client(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "PLANTED"}, nil
		}),
	}}
}

func put(t *testing.T, s *objects.Service, key string, data []byte) {
	t.Helper()
	if err := s.PutObject(objects.ModelBucket, key, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}

func TestS3(t *testing.T) {
	data, changed := modelBytes(modelSize), modelBytes(modelSize + 1)[1:]
	xmlAnswer := func(status int, code string) func(int, http.ResponseWriter, *http.Request, *objects.Service) bool {
		return func(_ int, w http.ResponseWriter, _ *http.Request, _ *objects.Service) bool {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>said S3</Message></Error>", code)
			return true
		}
	}
	drop := func(s *objects.Service, w http.ResponseWriter, r *http.Request, n int) bool {
		s.ServeHTTP(dropAfter(w, n), r)
		return true
	}
	for name, c := range map[string]struct {
		ref    string // empty: the object
		before func(n int, w http.ResponseWriter, r *http.Request, s *objects.Service) bool
		want   Code
		ranges []string // nil: not compared
	}{
		"good":           {ranges: []string{""}},
		"no such object": {ref: "s3://gnomon-models/missing", want: CodeNotFound, ranges: []string{""}},
		"no such bucket": {ref: "s3://no-bucket/a.onnx", want: CodeNotFound, ranges: []string{""}},
		"dropped every 120000 bytes": {
			before: func(_ int, w http.ResponseWriter, r *http.Request, s *objects.Service) bool {
				return drop(s, w, r, 120_000)
			},
			ranges: []string{"", "bytes=120000-", "bytes=240000-"},
		},
		"changed": {
			before: func(n int, w http.ResponseWriter, r *http.Request, s *objects.Service) bool {
				if n > 1 {
					return false
				}
				defer put(t, s, "d/a.onnx", data)
				put(t, s, "d/a.onnx", changed)
				return drop(s, w, r, 120_000)
			},
			ranges: []string{"", "bytes=120000-", ""},
		},
		"throttled once": {before: func(n int, w http.ResponseWriter, r *http.Request, s *objects.Service) bool {
			return n == 1 && xmlAnswer(503, "SlowDown")(n, w, r, s)
		}, ranges: []string{"", ""}},
		"throttled":     {before: xmlAnswer(503, "SlowDown"), want: CodeThrottled},
		"broken":        {before: xmlAnswer(500, "InternalError"), want: CodeServerError},
		"denied":        {before: xmlAnswer(403, "AccessDenied"), want: CodeAccessDenied, ranges: []string{""}},
		"expired token": {before: xmlAnswer(400, "ExpiredToken"), want: CodeCredentials, ranges: []string{""}},
		"wrong clock":   {before: xmlAnswer(403, "RequestTimeTooSkewed"), want: CodeCredentials},
		"other region":  {before: xmlAnswer(301, "PermanentRedirect"), want: CodeNotConfigured, ranges: []string{""}},
		"in an archive": {before: xmlAnswer(403, "InvalidObjectState"), want: CodeAccessDenied, ranges: []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			var service *objects.Service
			service, s, options := cloud(t, objects.Options{}, func(n int, w http.ResponseWriter, r *http.Request) bool {
				return c.before != nil && c.before(n, w, r, service)
			})
			put(t, service, "d/a.onnx", data)
			if c.ref == "" {
				c.ref = "s3://gnomon-models/d/a.onnx"
			}
			f, dir := newFetcher(t, options), t.TempDir()
			result, err := f.Fetch(t.Context(), Request{Reference: reference(t, c.ref), SHA256: hexSum(data), Dir: dir})
			assertCode(t, err, c.want)
			if err == nil {
				assertBlob(t, result, dir, data)
				if result.Blobs[0].Name != "a.onnx" {
					t.Errorf("name %q", result.Blobs[0].Name)
				}
			}
			var ranges []string
			for _, r := range s.asked() {
				ranges = append(ranges, r.Header.Get("Range"))
				if (r.Header.Get("Range") != "") != (r.Header.Get("If-Match") != "") {
					t.Errorf("range %q with If-Match %q", r.Header.Get("Range"), r.Header.Get("If-Match"))
				}
			}
			if c.ranges != nil && fmt.Sprintf("%q", ranges) != fmt.Sprintf("%q", c.ranges) {
				t.Errorf("ranges %q, want %q", ranges, c.ranges)
			}
		})
	}
}

func TestS3Version(t *testing.T) {
	data := modelBytes(1000)
	var asked atomic.Value
	_, _, options := cloud(t, objects.Options{}, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		asked.Store(r.URL.Query().Get("versionId"))
		w.Header().Set("X-Amz-Version-Id", "v/7")
		object(w, r, data, `"one"`)
		return true
	})
	f := newFetcher(t, options)
	for _, ref := range []string{"s3://gnomon-models/a", "s3://gnomon-models/a?versionId=v%2F7"} {
		dir := t.TempDir()
		for range 2 { // the second finds the file
			result, err := f.Fetch(t.Context(), Request{Reference: reference(t, ref), SHA256: hexSum(data), Dir: dir})
			if err != nil || result.Reference.String() != "s3://gnomon-models/a?versionId=v%2F7" {
				t.Errorf("%s was pinned to %s, %v", ref, result.Reference, err)
			}
		}
	}
	if asked.Load() != "v/7" {
		t.Errorf("asked for the version %q", asked.Load())
	}
}

func TestS3WithoutCredentials(t *testing.T) {
	_, s, options := cloud(t, objects.Options{}, nil)
	options.AWS.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New("the certificate expired")
	})
	f := newFetcher(t, options)
	for ref, sum := range map[string]string{"s3://gnomon-models/a": hexSum(nil), "oci://" + s.Listener.Addr().String() + "/a:1": ""} {
		_, err := f.Fetch(t.Context(), Request{Reference: reference(t, ref), SHA256: sum, Dir: t.TempDir()})
		assertCode(t, err, CodeCredentials)
		if err == nil || !strings.Contains(err.Error(), "the certificate expired") {
			t.Errorf("%v does not say why", err)
		}
	}
	if n := len(s.asked()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

// TestBadNetwork has a proxy between the fetcher and S3 that does what networks do.
func TestBadNetwork(t *testing.T) {
	const size = 600_000
	data := modelBytes(size)
	for name, c := range map[string]struct {
		toxic string
		want  Code
	}{
		"latency":     {`{"type":"latency","attributes":{"latency":50,"jitter":20}}`, ""},
		"bandwidth":   {`{"type":"bandwidth","attributes":{"rate":2000}}`, ""},
		"slicer":      {`{"type":"slicer","attributes":{"average_size":1000,"size_variation":500,"delay":10}}`, ""},
		"slow close":  {`{"type":"slow_close","attributes":{"delay":50}}`, ""},
		"closed soon": {`{"type":"limit_data","attributes":{"bytes":250000}}`, ""},
		"reset":       {`{"type":"reset_peer","attributes":{"timeout":0}}`, CodeNetwork},
		"black hole":  {`{"type":"timeout","attributes":{"timeout":0}}`, CodeNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service, s, _ := cloud(t, objects.Options{}, nil)
			put(t, service, "a", data)
			api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
			proxy := toxiproxy.NewProxy(api, name, "127.0.0.1:0", s.Listener.Addr().String())
			if err := proxy.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(proxy.Stop)
			toxic, err := proxy.Toxics.AddToxicJson(strings.NewReader(c.toxic))
			if err != nil {
				t.Fatal(err)
			}
			options := awsOptions(s, "https://"+proxy.Listen)
			client := *s.Client()
			transport := client.Transport.(*http.Transport).Clone()
			t.Cleanup(transport.CloseIdleConnections)
			client.Transport, options.AWS.HTTPClient = transport, &client
			options.Limits.Stall = 500 * time.Millisecond
			f, dir := newFetcher(t, options), t.TempDir()
			request := Request{Reference: reference(t, "s3://gnomon-models/a"), SHA256: hexSum(data), Dir: dir}
			result, err := f.Fetch(t.Context(), request)
			assertCode(t, err, c.want)
			if err != nil {
				if err := proxy.Toxics.RemoveToxic(t.Context(), toxic.Name); err != nil {
					t.Fatal(err)
				}
				transport.CloseIdleConnections()
				if result, err = f.Fetch(t.Context(), request); err != nil {
					t.Fatalf("after the network had come back: %v", err)
				}
			}
			assertBlob(t, result, dir, data)
		})
	}
}
